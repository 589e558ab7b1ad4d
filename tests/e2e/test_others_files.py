"""A tree of which a part belongs to another account: it can be followed, and cannot follow, as modes and times are for their owner to set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crossfade.migrate.handover import rehearse
from support.cluster import Cluster
from support.person import Person, refused
from support.powerless import obey_owners
from support.running import Run, Terminal, finish
from support.servers import Database

SOMEBODY = 65534
LOG = "events/r/j/events-1.jsonl"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "live"
    (root / LOG).parent.mkdir(parents=True)
    (root / LOG).write_text('{"id":"first"}\n')
    (root / "sessions").mkdir()
    (root / "sessions/one.json").write_text('{"session_id":"one"}')
    return root


@pytest.fixture
def url(cluster: Cluster, terminal: Terminal, request: pytest.FixtureRequest) -> str:
    """One that can be reached without powers."""
    terminal.environment["PGPASSWORD"] = cluster.password
    return cluster.url(f"others_{abs(hash(request.node.name)) % 10**9}")


def powerless(terminal: Terminal, *words: object) -> Run:
    return finish(terminal.popen(*words, preexec_fn=obey_owners))


def give_away(path: Path) -> None:
    """To somebody who lets everybody write there, and read."""
    if not path.is_symlink():
        path.chmod(path.stat().st_mode | (0o777 if path.is_dir() else 0o666))
    os.chown(path, SOMEBODY, SOMEBODY, follow_symlinks=False)


@pytest.mark.parametrize(
    ("place", "named"),
    [("", "written: "), ("sessions", "at sessions: "), ("sessions/one.json", "one.json: "), (LOG, f"{LOG}: ")],
)
def test_files_of_another_account_do_not_hand_over(terminal: Terminal, root: Path, url: str, place: str, named: str):
    """Behind the decision the first page that comes there would end the runner, and every one after it."""
    give_away(root / place)
    assert terminal.run("start", root, url, "--once", "--workers", "1").status == 0
    cutover = ("cutover", root, url, "--writers-stopped", "--hold-max", "5s")
    rehearsed = powerless(terminal, *cutover, "--dry-run")
    assert rehearsed.status == 7, rehearsed
    why = next(line for line in rehearsed.out.splitlines() if "SHUT" in line)
    assert f"{named}it is another account's: there would be no way back" in why

    sentence, hint = refused(powerless(terminal, *cutover), "CF206", 2)
    assert f"{named}it is another account's" in sentence
    assert "chown" in hint
    os.chown(root / place, 0, 0)
    done = powerless(terminal, *cutover)
    assert done.status == 0, done


def test_whoever_passes_for_every_owner_hands_over(terminal: Terminal, root: Path, url: str):
    give_away(root)
    give_away(root / LOG)
    for words in (("start", root, url, "--once"), ("cutover", root, url, "--writers-stopped", "--hold-max", "5s")):
        done = terminal.run(*words)
        assert done.status == 0, done


def test_what_gets_no_other_mode_or_time_where_it_is_may_be_anybodys(terminal: Terminal, root: Path, url: str):
    """A link is made anew; what does not move is left alone."""
    (root / "locks").mkdir()
    (root / "locks/one.lock").write_text("1")
    (root / "latest").symlink_to("sessions/one.json")
    for name in ("locks/one.lock", "latest"):
        give_away(root / name)
    for words in (("start", root, url, "--once"), ("cutover", root, url, "--writers-stopped", "--hold-max", "5s")):
        done = powerless(terminal, *words)
        assert done.status == 0, done


def test_a_directory_of_another_account_is_refused_before_anything_is_written(
    terminal: Terminal, root: Path, url: str, tmp_path: Path
):
    """As a fresh volume that is root's, for a group: all would be written, and the root at the end would not get its time."""
    assert terminal.run("start", root, url, "--once", "--workers", "1").status == 0
    target = tmp_path / "target"
    target.mkdir()
    give_away(target)
    sentence, _ = refused(powerless(terminal, "start", url, target, "--once", "--workers", "1"), "CF206", 2)

    assert "it is another account's" in sentence
    assert not list(target.iterdir())


def test_a_rehearsal_that_does_not_see_as_the_runner_says_nothing_of_the_files(
    person: Person, root: Path, database: Database, monkeypatch: pytest.MonkeyPatch
):
    """Another account's rights, or another host's mounts, are none of the runner's."""
    asked: list[bool] = []
    person.moves(root, database.url)
    monkeypatch.setattr(rehearse, "check_way_back", lambda *_, include_transient: asked.append(include_transient))
    monkeypatch.setattr(rehearse.Ledger, "runner", lambda *_: object())
    for sees in (False, True):
        monkeypatch.setattr(rehearse, "_sees_as", lambda _, sees=sees: sees)
        person.types("cutover", root, database.url, "--writers-stopped", "--dry-run")
        assert asked == [False] * sees


def test_a_rehearsal_looks_at_what_would_be_followed(
    person: Person, root: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Files that were filled from a database are followed into with all that is transient."""
    asked: list[bool] = []
    person.moves(root, database.url)
    for verb in (("cutover", root, database.url, "--writers-stopped"), ("finish", root, database.url)):
        assert person.types(*verb).status == 0
    pair = (database.url, tmp_path / "back", "--writers-stopped")
    person.moves(*pair[:2])
    done = person.types("cutover", *pair)
    assert done.status == 0, done
    monkeypatch.setattr(rehearse, "check_way_back", lambda *_, include_transient: asked.append(include_transient))
    person.types("rollback", *pair, "--dry-run")

    assert asked == [True]
