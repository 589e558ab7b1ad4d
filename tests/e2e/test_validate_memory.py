"""What an interrupted validation knows is of use until something changed, and not for ever; and what validate may not touch."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossfade.errors import Interrupted
from crossfade.migrate.validate import ending, validation, validator
from crossfade.migrate.validate.parts import Held
from crossfade.migrate.validate.sides import sides
from crossfade.migrate.validate.validation import validate as compare_sides
from crossfade.migrate.validate.validator import Extent
from crossfade.migrate.validate.verdict import Options
from crossfade.model.entries import Entry, altered
from crossfade.store.location import parse
from crossfade.testing import prodigy
from support.person import Person, refused, said
from support.powerless import obey_permissions
from support.running import Terminal, finish, in_group, kill_group, wait_for
from support.servers import Database

COUNT = 60
WHOLE = Extent()


@pytest.fixture
def tree(person: Person, database: Database, tmp_path: Path) -> Path:
    """Many documents, and a log at the end of the order, in step with a database."""
    root = tmp_path / "tree"
    (root / "sessions").mkdir(parents=True)
    (root / "notes").mkdir()
    for number in range(COUNT):
        (root / "sessions" / f"{number:03}.json").write_text(f'{{"session_id":"{number}"}}')
        (root / "notes" / f"{number:03}.txt").write_text(str(number))
    person.moves(root, database.url)
    return root


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there is something between the first and the last."""
    monkeypatch.setattr(validator, "_BATCH_ENTRIES", 5)


def _interrupt(source: Path, url: str, monkeypatch: pytest.MonkeyPatch, after: int, extent: Extent = WHOLE) -> str:
    """Every batch is remembered; the validation is interrupted behind so many entries. What there is to type then."""
    stop = threading.Event()
    told = validation._Validation._told

    def telling(self: Any, findings: Any, measured: Any) -> None:
        if findings.entries >= after:
            stop.set()
        self._memory._last = 0.0  # as if a while had passed
        told(self, findings, measured)

    monkeypatch.setattr(validation._Validation, "_told", telling)
    with sides(parse(str(source)), parse(url), "") as pair, pytest.raises(Interrupted) as interrupted:
        compare_sides(pair, Options(extent, jobs=1), watch=lambda _: None, stop=stop)
    monkeypatch.undo()
    monkeypatch.setattr(validator, "_BATCH_ENTRIES", 5)
    return interrupted.value.hint


def _again(person: Person, tree: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, set[str]]:
    """What the next validation says; and the files whose content it compared."""
    compared: set[str] = set()
    pair = validator.Pair

    def noting(here: Any, *rest: Any, **named: Any) -> Any:
        compared.add(os.fsdecode(here.path))
        return pair(here, *rest, **named)

    monkeypatch.setattr(validator, "Pair", noting)
    run = person.types("validate", tree, database.url, "--jobs", "1", "--json")
    return said(run), compared


CHANGES: dict[str, Callable[[Path, Database], object]] = {
    "a file": lambda root, _: (root / "notes" / "030.txt").write_text("30"),
    "its time": lambda root, _: os.utime(root / "notes" / "030.txt", ns=(0, 0)),
    "its mode": lambda root, _: (root / "notes" / "030.txt").chmod(0o600),
    "a file that came": lambda root, _: (root / "notes" / "030.a").touch(),
    "a file that went": lambda root, _: (root / "notes" / "030.txt").unlink(),
    "an entry": lambda _, base: base.run("UPDATE entries SET size = 7 WHERE path = 'notes/030.txt'"),
    "its mark": lambda _, base: base.run(
        "UPDATE marks SET inode = 7 WHERE entry_id = (SELECT entry_id FROM entries WHERE path = 'notes/030.txt')"
    ),
    "its rows": lambda _, base: base.run(
        "UPDATE other SET raw = 'xx' WHERE entry_id = (SELECT entry_id FROM entries WHERE path = 'notes/030.txt')"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_since_and_what_is_behind_it_is_compared_again(
    change: str, person: Person, database: Database, tree: Path, monkeypatch: pytest.MonkeyPatch
):
    """What is before it need not be."""
    _interrupt(tree, database.url, monkeypatch, after=COUNT + 20)
    CHANGES[change](tree, database)
    found, compared = _again(person, tree, database, monkeypatch)

    assert {f"notes/{number:03}.txt" for number in range(31, COUNT)} <= compared
    assert {f"sessions/{number:03}.json" for number in range(COUNT)} <= compared
    assert ("notes/030.txt" in compared) == (change != "a file that went")
    assert found["compared"] >= 2 * COUNT - 1
    paths = {each["path"] for each in found["differences"]}
    assert paths - {"", "notes"} <= {"notes/030.txt", "notes/030.a"}
    assert (found["state"] == "different") == (change != "its mark")
    if change in ("a file", "its time", "its mode", "an entry", "its mark"):  # what rows went, nobody can say
        assert found["resumed"] is True
        assert "notes/000.txt" not in compared


def test_nothing_is_compared_again_where_nothing_changed(
    person: Person, database: Database, tree: Path, monkeypatch: pytest.MonkeyPatch
):
    """The verdict and the roots are those of a validation in one piece."""
    whole = said(person.types("validate", tree, database.url, "--jobs", "1", "--json"))
    _interrupt(tree, database.url, monkeypatch, after=COUNT + 20)
    found, compared = _again(person, tree, database, monkeypatch)

    assert found["resumed"] is True
    assert len(compared) < COUNT
    for key in ("state", "entries", "compared", "records", "source_root", "target_root", "questions", "kinds"):
        assert found[key] == whole[key]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE validations SET updated_at = clock_timestamp() - interval '25 hours'",
        'UPDATE validations SET state = \'{"of": "another release"}\'',
        "DELETE FROM sessions WHERE entry_id = (SELECT max(entry_id) FROM entries WHERE kind = 'sessions')",
    ],
)
def test_what_is_old_or_nobody_can_place_is_compared_again(
    change: str, person: Person, database: Database, tree: Path, monkeypatch: pytest.MonkeyPatch
):
    """From the beginning."""
    _interrupt(tree, database.url, monkeypatch, after=COUNT + 20)
    database.run(change)
    found, compared = _again(person, tree, database, monkeypatch)

    assert found["resumed"] is False
    assert len(compared) == 2 * COUNT


HOLD = """
INSERT INTO quarantine (migration_id, path, key, kind, entry_id, pos, size, code)
SELECT m.migration_id, e.path, e.key, e.kind, e.entry_id, NULL, 2, 'CF401' FROM migrations AS m, entries AS e
WHERE e.path = 'notes/030.txt'
"""


def test_what_is_held_back_no_more_does_not_count_where_it_goes_on(
    person: Person, database: Database, tree: Path, monkeypatch: pytest.MonkeyPatch
):
    """Somebody looks at it while the validation is stopped, and says that it does not matter."""
    database.run(HOLD)
    _interrupt(tree, database.url, monkeypatch, after=COUNT + 20)
    assert person.types("quarantine", "ignore", "--store", database.url).status == 0
    found, _ = _again(person, tree, database, monkeypatch)

    assert (found["state"], found["classes"], found["ignored"]) == ("equal", {}, 1)
    records = [Held({(30, 0): "held"}), Held({(30, 0): "ignored"}), Held(), Held({(30, 1): "held"})]
    assert len({held.digest for held in records}) == 4


def test_a_proof_is_as_old_as_what_was_looked_at_first(
    person: Person, database: Database, tree: Path, monkeypatch: pytest.MonkeyPatch
):
    """What an earlier run has read may have gone wrong since, in bytes that no list tells of."""
    _interrupt(tree, database.url, monkeypatch, after=COUNT + 20)
    database.run("UPDATE validations SET basis = basis - interval '2 hours'", "UPDATE migrations SET proved_at = NULL")
    basis = database.one("SELECT basis FROM validations")
    found, _ = _again(person, tree, database, monkeypatch)

    assert found["resumed"] is True
    assert database.one("SELECT proved_at FROM migrations") == basis
    assert person.types("validate", tree, database.url, "--jobs", "1").status == 0
    assert database.one("SELECT proved_at > clock_timestamp() - interval '1 minute' FROM migrations") is True


def test_what_a_list_says_of_an_entry_that_is_being_written_is_remembered():
    """Such an entry is as large as before once it stands, and has the same name, mode and time."""
    entry = Entry(b"a", "file", "notes", "blob")
    changed = [altered(entry, complete=False), altered(entry, unstable=True)]
    assert len({validator.listed(b"", one, None) for one in (entry, *changed)}) == 3


def test_states_are_few_however_long_it_takes(
    person: Person, database: Database, tree: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each a stretch behind the one before."""
    _interrupt(tree, database.url, monkeypatch, after=2 * COUNT)
    states = database.one("SELECT json_array_length(state::json -> 'pins') FROM validations")
    assert isinstance(states, int)
    assert 3 <= states <= 9
    assert person.types("validate", tree, database.url, "--jobs", "1").status == 0
    assert database.one("SELECT count(*) FROM validations") == 0


KEEPING = """
import crossfade.migrate.validate.memory as memory
memory._SECONDS = 0.0
"""
"""For an interpreter of our own: what is found is kept at once, as it is after a while."""


def test_a_validation_that_was_killed_goes_on_where_it_stopped(terminal: Terminal, database: Database, tmp_path: Path):
    """``kill -9`` of the command and its processes, in the middle of it: nobody is left, and what was compared still counts."""
    prodigy.write_sessions(str(tmp_path / "many"), count=6_000)
    assert terminal.run("start", tmp_path / "many", database.url, "--once").status == 0
    (tmp_path / "keeping").mkdir()
    (tmp_path / "keeping" / "sitecustomize.py").write_text(KEEPING)
    found = os.pathsep.join([str(tmp_path / "keeping"), *filter(None, [os.environ.get("PYTHONPATH")])])
    words = ("validate", tmp_path / "many", database.url, "--jobs", "2", "--json")
    process = terminal.popen(*words, environment={"PYTHONPATH": found})
    wait_for("something that is kept", lambda: database.one("SELECT count(*) FROM validations") == 1)
    assert len(in_group(process.pid)) > 2
    kill_group(process)
    process.communicate()
    wait_for("the end of all", lambda: not in_group(process.pid))
    run = terminal.run(*words)

    assert run.status == 0, run
    assert (said(run)["resumed"], said(run)["compared"]) == (True, 6_000)
    assert database.one("SELECT count(*) FROM validations") == 0


# What it may not touch, and what it cannot read


def test_a_rehearsal_takes_no_lease(person: Person, database: Database, tree: Path):
    """Whoever runs the migration goes on running it; nothing is written down about the look."""
    database.run("DELETE FROM sessions WHERE pos = 0 AND entry_id = (SELECT max(entry_id) FROM sessions)")
    database.run("UPDATE leases SET host = 'elsewhere', boot = 'b', expires_at = clock_timestamp() + interval '50 seconds'")
    before = database.all("SELECT * FROM leases"), database.one("SELECT count(*) FROM journal WHERE event = 'claimed'")
    run = person.types("validate", tree, database.url, "--jobs", "1", "--repair", "--dry-run")
    assert run.status == 3, run
    assert "would mend put" in run.err
    after = database.all("SELECT * FROM leases"), database.one("SELECT count(*) FROM journal WHERE event = 'claimed'")
    assert before == after
    refused(person.types("validate", tree, database.url, "--jobs", "1", "--repair"), "CF501", 5)


def test_strangers_are_not_mended_nor_is_it_rehearsed(person: Person, database: Database, tree: Path, tmp_path: Path):
    """Of a pair that never met neither side decides; nothing at all is written about it."""
    os.rename(tree, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "notes" / "001.txt").write_text("other")
    for rehearsal in ((), ("--dry-run",)):
        words = ("validate", tmp_path / "elsewhere", database.url, "--jobs", "1", "--repair", *rehearsal)
        refused(person.types(*words), "CF708", 7)
    assert database.one("SELECT count(*) FROM migrations") == 1


def test_a_sample_that_was_interrupted_is_the_same_sample(
    person: Person, database: Database, tree: Path, monkeypatch: pytest.MonkeyPatch
):
    """The first of each kind is in it, and not again where it goes on. Which sample it was is said, to go on with."""
    words = ("validate", tree, database.url, "--jobs", "1", "--json", "--sample-percentage", "5", "--seed", "7")
    whole = said(person.types(*words))
    hint = _interrupt(tree, database.url, monkeypatch, after=COUNT + 20, extent=Extent(5.0, 7))
    found = said(person.types(*words))

    assert "--seed 7" in hint
    assert found["resumed"] is True
    for key in ("state", "entries", "compared", "records", "source_root", "target_root"):
        assert found[key] == whole[key]


def test_the_command_that_is_advised_goes_on_with_the_sample_that_was_drawn(
    person: Person, database: Database, tree: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its seed is at random, and stands nowhere else; another Ctrl-C does not add it once more."""
    told = validation._Validation._told

    def telling(self: Any, findings: Any, measured: Any) -> None:
        if findings.entries >= COUNT:
            signal.raise_signal(signal.SIGINT)
        told(self, findings, measured)

    with monkeypatch.context() as patched:
        patched.setattr(validation._Validation, "_told", telling)
        words = ("validate", tree, database.url, "--jobs", "1", "--sample-percentage", "50")
        _, first = refused(person.types(*words), "CF601", 6)
        _, hint = refused(person.types(*shlex.split(first)[1:]), "CF601", 6)
    found = said(person.types(*shlex.split(hint)[1:], "--json"))

    assert hint == first
    assert found["resumed"] is True
    assert hint.endswith(f"--sample-percentage 50 --seed {found['sample']['seed']}")


def test_what_cannot_be_read_stops_it_or_is_left_out(terminal: Terminal, cluster: Any, tree: Path):
    """CF202 names it, and an option that there is: with it, exit 4, and everything else is compared."""
    terminal.environment["PGPASSWORD"] = cluster.password
    url = f"postgresql://crossfade@127.0.0.1:{cluster.port}/postgres?schema=unreadable_memory"
    assert terminal.run("start", tree, url, "--once").status == 0
    for hidden in (tree / "notes" / "007.txt", tree / "sessions"):
        hidden.chmod(0)

    def validate(*options: str) -> Any:
        process = terminal.popen("validate", tree, url, "--jobs", "1", *options, preexec_fn=obey_permissions)
        return finish(process)

    run = validate()
    assert run.status == 2, run
    assert "error[CF202]: cannot read " in run.err
    assert "--skip-unreadable" in run.err

    run = validate("--skip-unreadable", "--json")
    (tree / "sessions").chmod(0o755)
    (tree / "notes" / "007.txt").chmod(0o644)
    assert run.status == 3, run  # their modes are not what they were
    found = said(run)
    assert {item["path"] for item in found["unreadable"]} == {"notes/007.txt", "sessions"}
    assert {(each["class"], each["path"]) for each in found["differences"]} == {("metadata", "notes/007.txt")}
    assert found["compared"] == COUNT

    with cluster.connect() as connection:
        connection.execute("SET crossfade.origin = 'by-hand'")
        connection.execute("UPDATE unreadable_memory.entries SET mode = 0 WHERE path = 'notes/007.txt'")
    (tree / "notes" / "007.txt").chmod(0)
    run = validate("--skip-unreadable")
    assert run.status == 4, run
    assert "left out, could not be read: notes/007.txt: Permission denied" in run.out
    assert "equal, but for what could not be read" in run.out

    (tree / "notes" / "003.txt").write_text("other")
    with cluster.connect() as connection:
        connection.execute("SET crossfade.origin = 'by-hand'")
        connection.execute(
            "INSERT INTO unreadable_memory.sessions (store_id, entry_id, pos, body) SELECT store_id, 999999, 0, '{}' FROM unreadable_memory.stores"
        )
    run = validate("--skip-unreadable", "--json")
    assert run.status == 3, run
    found = said(run)  # of what was read everything is asked
    assert ("query", "sessions") in {(each["class"], each["kind"]) for each in found["differences"]}
    assert found["unasked"] == ["other"]
    run = validate("--skip-unreadable", "--repair", "--dry-run")
    assert "would mend put     notes/003.txt" in run.err
    run = validate("--skip-unreadable", "--repair")
    (tree / "notes" / "007.txt").chmod(0o644)
    assert run.status == 4, run
    assert "equal, but for what could not be read" in run.out


def test_progress_is_told(person: Person, database: Database, tree: Path):
    """One line at the beginning where nobody watches; bars on a terminal."""
    run = person.types("validate", tree, database.url, "--jobs", "1")
    assert "validating; 0 B of " in run.err
    assert "validating" not in run.out


def test_bars_are_drawn_on_a_terminal(terminal: Terminal, database: Database, tree: Path):
    """A bar a kind, and how much of it is compared."""
    ours, theirs = os.openpty()
    process = terminal.popen("validate", tree, database.url, "--jobs", "1", stderr=theirs)
    os.close(theirs)
    process.wait(60)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(ours)
    text = shown.decode(errors="replace")

    assert process.returncode == 0, text
    assert "validating" in text
    assert "sessions" in text
    assert f"{COUNT}/{COUNT} entries" in text


@pytest.mark.parametrize("back", [False, True], ids=["to a database", "to files"])
def test_the_validation_at_the_end_of_a_copy_goes_on_where_it_was_stopped(
    back: bool, person: Person, database: Database, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The copy is done, so the same command has nothing else to do; what changed since is compared, and so is what is behind it."""
    pair = (database.url, tmp_path / "back") if back else (tree, database.url)
    if back:
        person.moves(*pair)
    (wanted,) = [row["migration"] for row in person.asks("list", "--store", database.url)["migrations"]][-1:]
    database.run(f"UPDATE migrations SET phase = 'copying', proved_at = NULL WHERE migration_id = '{wanted}'")
    told, stopped = ending._Ending._told, []

    def telling(self: Any, findings: Any, measured: Any) -> None:
        if findings.entries >= COUNT + 20:
            self._stop.set()
            stopped.append(findings.compared)
        told(self, findings, measured)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(ending._Ending, "_told", telling)
        assert person.types("start", *pair, "--once").status == 6
    assert stopped
    database.run("UPDATE validations SET basis = basis - interval '2 hours'")
    basis = database.one("SELECT basis FROM validations")
    compared: list[str] = []
    made = validator.Pair

    def noting(here: Any, *rest: Any, **named: Any) -> Any:
        compared.append(os.fsdecode(here.path))
        return made(here, *rest, **named)

    monkeypatch.setattr(validator, "Pair", noting)
    done = person.types("start", *pair, "--once", "--json")
    assert said(done)["validation"]["resumed"] is True
    assert 0 < len(compared) <= 2 * COUNT - stopped[0]
    assert said(done)["validation"]["files"] == 2 * COUNT
    assert database.one("SELECT proved_at FROM migrations WHERE migration_id = %s", wanted) == basis
    assert database.one("SELECT count(*) FROM validations") == 0
