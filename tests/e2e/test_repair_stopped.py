"""``validate --repair`` that is told to stop while it mends."""

from __future__ import annotations

from pathlib import Path

from support.person import Person, refused
from support.running import Terminal
from support.servers import Database

_LARGER_THAN_HALF_A_PAGE = 5 << 20


def test_who_interrupts_a_repair_waits_for_a_page_and_no_more(
    terminal: Terminal, person: Person, database: Database, tiny: Path
):
    """What was mended stands; the same command mends the rest."""
    person.moves(tiny, database.url)
    for number in range(3):
        (tiny / f"sessions/large-{number}.json").write_text(f'{{"pad":"{"x" * _LARGER_THAN_HALF_A_PAGE}"}}')
    repair = ("validate", tiny, database.url, "--repair")
    interrupted = {"CROSSFADE_FAILPOINT": "postgres.page:after", "CROSSFADE_FAILPOINT_SIGNAL": "SIGINT"}
    stopped = terminal.run(*repair, **interrupted)

    sentence, _ = refused(stopped, "CF601", 6)
    assert "stopped while it mended; what was mended stands" in sentence
    assert "1 path mended" in stopped.err
    assert database.one("SELECT count(*) FROM entries WHERE starts_with(path, 'sessions/large-')") == 1
    done = person.types(*repair)
    assert done.status == 0, done
    assert database.one("SELECT count(*) FROM entries WHERE starts_with(path, 'sessions/large-')") == 3
