"""What somebody writes on the side that does not decide: found, kept, compared; put aside or taken, and never anything else."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import pytest

from crossfade.migrate.follow import drifting, taking
from crossfade.migrate.follow.dealing import Dealing
from crossfade.migrate.follow.drifting import Drifting
from crossfade.migrate.plan import Limits
from crossfade.store.backends.postgres import drift, server
from crossfade.store.backends.postgres.drift import Item
from support.following import following
from support.person import Person, refused, said
from support.running import Terminal, compare, finish, kill_group, wait_for
from support.servers import Database

LOG = "events/r/j/events-1.jsonl"
ONE, TWO, THREE = (f"sessions/{name}.json" for name in ("one", "two", "three"))
DOCUMENT = '{"session_id":"%s","status":"Running"}'

KNOWS_ONE = """
from crossfade.console.main import run
from crossfade.migrate.follow import drifting

drifting._KNOWN = 1
run()
"""
"""A runner that knows one open item by heart."""


STOPS_WHILE_IT_TAKES = """
import os, signal
from crossfade.console.main import run
from crossfade.migrate.follow import taking

carry = taking._carry

def stop(*words):
    os.kill(os.getpid(), signal.SIGSTOP)
    carry(*words)

taking._carry, taking._SILENCE_SECONDS = stop, 1.0
run()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A log and some documents."""
    root = tmp_path / "live"
    (root / LOG).parent.mkdir(parents=True)
    (root / "sessions").mkdir()
    (root / LOG).write_text('{"id":"first"}\n{"id":"second"}\n')
    for path in (ONE, TWO, THREE):
        (root / path).write_text(DOCUMENT % path)
    return root


@pytest.fixture
def runners() -> Iterator[list[Any]]:
    """Whoever still runs at the end is killed."""
    started: list[Any] = []
    yield started
    for process in started:
        kill_group(process)
        process.communicate()


class Pair:
    """A pair that follows in reverse: the database decides, and the files are retired."""

    def __init__(self, person: Person, terminal: Terminal, root: Path, database: Database, runners: list[Any]) -> None:
        self.person, self.terminal, self.root, self.database, self.runners = person, terminal, root, database, runners
        self.id = ""

    def run(self, program: str = "") -> None:
        """A runner, arrived."""
        self.runners.append(following(self.terminal, self.root, self.database, program=program))

    def stop(self) -> None:
        process = self.runners.pop()
        process.send_signal(signal.SIGTERM)
        done = finish(process, 60)
        assert done.status == 0, done

    def cut_over(self) -> None:
        done = self.person.types("cutover", "--store", self.database.url, "--writers-stopped", "--hold-max", "5")
        assert done.status == 0, done

    def drift(self, *words: object, status: int) -> Any:
        """What ``drift --json`` says."""
        run = self.person.types("drift", *words, "--store", self.database.url, "--json")
        assert status == run.status, run
        return said(run)

    def open(self) -> dict[str, tuple[int, str]]:
        """The open items: path, number and class."""
        run = self.person.types("drift", "list", "--store", self.database.url, "--json")
        return {item["path"]: (item["item"], item["class"]) for item in said(run)["items"]}

    def await_drift(self, **classes: str) -> dict[str, int]:
        """Wait until exactly these are open, by path and class; their numbers."""
        expected = {path.replace("__", "/").replace("_json", ".json"): klass for path, klass in classes.items()}
        wait_for("drift", lambda: {path: klass for path, (_, klass) in self.open().items()} == expected, 30)
        return {path: number for path, (number, _) in self.open().items()}

    def content(self, path: str) -> str | None:
        """What the database has at a path."""
        return self.database.one(
            "SELECT convert_from(content(e), 'UTF8') FROM entries e WHERE path = %s AND type = 'file'", path
        )

    def put(self, path: str, text: str) -> None:
        """As a program writes the side that decides."""
        with self.database.connect(origin="") as connection:
            connection.execute(f"SELECT {self.database.location.schema}.put(%s, %s)", [path, text])


@pytest.fixture
def pair(person: Person, terminal: Terminal, root: Path, database: Database, runners: list[Any]) -> Pair:
    made = Pair(person, terminal, root, database, runners)
    made.run()
    made.cut_over()
    return made


def test_what_somebody_writes_into_retired_files_is_kept_and_dealt_with(pair: Pair):
    """Changed, added and removed; put aside or taken by whoever runs it, or here; and a roll back waits for that."""
    root = pair.root
    (root / ONE).write_text("rogue one")
    (root / "sessions/new.json").write_text(DOCUMENT % "new")
    (root / TWO).unlink()
    numbers = pair.await_drift(sessions__one_json="changed", sessions__new_json="added", sessions__two_json="removed")
    pair.put(THREE, DOCUMENT % "later")
    wait_for("what goes on", lambda: (root / THREE).read_text() == DOCUMENT % "later", 60)
    assert (root / ONE).read_text() == "rogue one"
    assert not (root / TWO).exists()
    assert pair.content(ONE) == DOCUMENT % ONE

    status = pair.person.types("status", "--store", pair.database.url)
    assert "\ndrift     3 open" in status.out
    assert f"drift {pair.person.asks('status', '--store', pair.database.url)['migration']} list" in status.out
    sentence, hint = refused(
        pair.person.types("rollback", "--store", pair.database.url, "--writers-stopped", "--timeout", "1"), "CF709", 7
    )
    assert "3 paths drifted" in sentence
    assert "drift" in hint
    shown = pair.drift("show", numbers[ONE], status=0)
    assert (shown["differs_at"], shown["other"]["size"], shown["authority"]["size"]) == (0, 9, len(DOCUMENT % ONE))
    assert "rogue one" not in pair.person.types("drift", "show", numbers[ONE], "--store", pair.database.url).out
    assert pair.person.types("drift", "show", numbers[ONE], "--content", "--store", pair.database.url).out == "rogue one"

    (ignored,) = pair.drift("ignore", numbers[ONE], status=0)["items"]
    assert ignored["state"] == "ignored"
    assert Path(ignored["outcome"].removeprefix("kept as ")).read_text() == "rogue one"
    assert (root / ONE).read_text() == DOCUMENT % ONE
    (taken,) = pair.drift("take", numbers["sessions/new.json"], status=0)["items"]
    assert taken["state"] == "taken"
    assert pair.content("sessions/new.json") == DOCUMENT % "new"
    assert (root / "sessions/new.json").read_text() == DOCUMENT % "new"
    (root / "sessions/new.json").unlink()
    numbers = pair.await_drift(sessions__new_json="removed", sessions__two_json="removed")
    (taken,) = pair.drift("take", numbers["sessions/new.json"], status=0)["items"]
    assert taken["state"] == "taken"
    assert pair.database.one("SELECT type FROM entries WHERE path = 'sessions/new.json'") == "gone"

    pair.stop()
    assert pair.drift("ignore", status=0)["items"][0]["state"] == "ignored"
    assert (root / TWO).read_text() == DOCUMENT % TWO
    assert pair.drift("list", status=0)["items"] == []
    events = {event for (event,) in pair.database.all("SELECT event FROM journal")}
    assert {"drift", "drift ignore wished", "drift take wished", "drift ignored", "drift taken"} <= events
    rolled = pair.person.types("rollback", "--store", pair.database.url, "--writers-stopped")
    assert rolled.status == 0, rolled
    assert pair.terminal.run("start", "--once", pair.database.url, root.with_name("back")).status == 0
    compare(root, root.with_name("back"))


def test_writers_wait_for_as_long_as_something_is_taken(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    """A large file takes longer than a session may say nothing: its gate would open in the middle of it."""
    (pair.root / ONE).write_text("rogue one")
    numbers = pair.await_drift(sessions__one_json="changed")
    pair.stop()
    carry, put = taking._carry, threading.Thread(target=pair.put, args=(ONE, "a program's"))
    waited: list[bool] = []

    def slow(*words: Any) -> None:
        put.start()
        put.join(1.5)
        carry(*words)
        waited.append(put.is_alive())

    monkeypatch.setattr(taking, "_carry", slow)
    monkeypatch.setattr(server, "_SESSION", server._SESSION.replace(b"'60s'", b"'500ms'"))
    assert pair.drift("take", numbers[ONE], status=0)["items"][0]["state"] == "taken"
    put.join()
    assert waited == [True]
    assert pair.content(ONE) == "a program's"


def test_a_page_after_the_other_keeps_writers_waiting(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    """The silence of the connection that holds them off means that nothing goes on; however long it takes, a page is a word."""
    (pair.root / LOG).write_text("".join(f'{{"id":"rogue {number}"}}\n' for number in range(6)))
    numbers = pair.await_drift(**{LOG: "changed"})
    pair.stop()
    carrying = taking.Carrier._apply

    def slow(self: Any, page: Any, records: int) -> Any:
        time.sleep(0.4)
        return carrying(self, page, records)

    monkeypatch.setattr(taking.Carrier, "_apply", slow)
    monkeypatch.setattr(taking, "Limits", lambda: Limits(page_records=1))
    monkeypatch.setattr(taking, "_SILENCE_SECONDS", 1.0)
    assert pair.drift("take", numbers[LOG], status=0)["items"][0]["state"] == "taken"
    assert pair.content(LOG) == (pair.root / LOG).read_text()


def test_writers_do_not_wait_for_whoever_stands_still(pair: Pair):
    """Stopped while it takes something, or waiting for a disk that is gone. It finds out when it goes on, and writes nothing."""
    (pair.root / ONE).write_text("rogue one")
    numbers = pair.await_drift(sessions__one_json="changed")
    pair.stop()
    taker = pair.terminal.popen(
        "drift", "take", numbers[ONE], "--store", pair.database.url, "--json", program=STOPS_WHILE_IT_TAKES
    )
    try:
        wait_for("a taker that stands still", lambda: _state(taker.pid) == "T", 60)
        began = time.monotonic()
        pair.put(ONE, "a program's")
        assert time.monotonic() - began < 20
        os.kill(taker.pid, signal.SIGCONT)
        done = finish(taker, 60)
    finally:
        kill_group(taker)

    assert done.status == 3, done
    (left,) = said(done)["items"]
    assert (left["state"], left["outcome"]) == ("open", "it took so long that the database let its writers go on")
    assert pair.content(ONE) == "a program's"


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0].decode()


def test_what_changed_since_it_was_seen_is_left_open(pair: Pair):
    """A decision is about what was shown: what stands there by now is shown again first. What is set right ends by itself.

    Whoever dies on the way goes on with it; and a roll back by force keeps what it overwrites.
    """
    root = pair.root
    (root / ONE).write_text("rogue one")
    (root / TWO).write_text("rogue two")
    os.utime(root / TWO, ns=(1, 1))
    numbers = pair.await_drift(sessions__one_json="changed", sessions__two_json="changed")
    pair.stop()
    (root / ONE).write_text("rogue once more")

    (left,) = pair.drift("take", numbers[ONE], status=3)["items"]
    assert (left["state"], left["outcome"]) == ("open", "it changed since it was seen; look at it again")
    assert (left["count"], left["size"]) == (2, 15)
    assert pair.content(ONE) == DOCUMENT % ONE
    assert pair.drift("take", numbers[ONE], status=0)["items"][0]["state"] == "taken"
    assert pair.content(ONE) == "rogue once more"

    (root / ONE).write_text("rogue at last")
    pair.run()
    numbers = pair.await_drift(sessions__one_json="changed", sessions__two_json="changed")
    pair.stop()
    for place in ("file.aside:before", "file.aside:after"):
        died = pair.terminal.run("drift", "ignore", numbers[ONE], "--store", pair.database.url, CROSSFADE_FAILPOINT=place)
        assert died.status == -signal.SIGKILL, died
    (done,) = pair.drift("ignore", numbers[ONE], status=0)["items"]
    assert Path(done["outcome"].removeprefix("kept as ")).read_text() == "rogue at last"
    assert (root / ONE).read_text() == "rogue once more"

    pair.put(TWO, "the authority's own")
    assert pair.drift("take", numbers[TWO], status=3)["items"][0]["outcome"].startswith("it changed")
    assert pair.content(TWO) == "the authority's own"
    (root / TWO).unlink()
    pair.run()
    wait_for(
        "what the authority has", lambda: (root / TWO).exists() and (root / TWO).read_text() == "the authority's own", 30
    )
    wait_for("no drift", lambda: pair.open() == {}, 30)

    (root / THREE).write_text("rogue three")
    pair.await_drift(sessions__three_json="changed")
    rolled = pair.person.types("rollback", "--store", pair.database.url, "--writers-stopped", "--force")
    assert rolled.status == 0, rolled
    assert (root / THREE).read_text() == DOCUMENT % THREE
    (kept,) = root.with_name("live.crossfade").glob("drift/*-three.json")
    assert kept.read_text() == "rogue three"


def test_what_is_written_again_while_it_is_put_back_is_open_anew(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    """The wish was about what was there before; it is over, and the next one is done as the first was."""
    (pair.root / ONE).write_text("rogue one")
    numbers = pair.await_drift(sessions__one_json="changed")
    pair.stop()
    brought = Drifting.brought

    def meddled(self: Drifting, paths: AbstractSet[bytes]) -> None:
        if ONE.encode() in paths & self.anew:
            (pair.root / ONE).write_text("rogue again")
            monkeypatch.undo()
        brought(self, paths)

    monkeypatch.setattr(Drifting, "brought", meddled)
    (left,) = pair.drift("ignore", numbers[ONE], status=3)["items"]
    assert (left["state"], left["wish"], left["size"]) == ("open", None, len("rogue again"))
    assert "somebody wrote it again" in left["outcome"]
    assert (pair.root / ONE).read_text() == "rogue again"

    (done,) = pair.drift("ignore", numbers[ONE], status=0)["items"]
    assert Path(done["outcome"].removeprefix("kept as ")).read_text() == "rogue again"
    assert (pair.root / ONE).read_text() == DOCUMENT % ONE


def test_much_that_drifts_is_in_hand_by_the_page_and_dealt_with_all_the_same(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    """One ``chmod -R`` on retired files may be a million items: nobody may hold them all. A page is small here, to be passed."""
    root, page, longest = pair.root, 6, [0]
    paths = [f"sessions/many-{number:02}.json" for number in range(20)]
    for path in paths:
        pair.put(path, DOCUMENT % path)
    wait_for("the documents", lambda: all((root / path).exists() for path in paths), 30)
    for path in paths:
        (root / path).chmod(0o600)
    pair.await_drift(**{path.replace("/", "__").replace(".json", "_json"): "changed" for path in paths})
    pair.stop()

    rows_of = drift._items

    def measured(*arguments: Any) -> list[Item]:
        found = rows_of(*arguments)
        longest[0] = max(longest[0], len(found))
        return found

    monkeypatch.setattr(drift, "_items", measured)
    monkeypatch.setattr(drift, "PAGE", page)
    monkeypatch.setattr(drifting, "_KNOWN", 8)
    found = pair.open()
    assert sorted(found) == paths
    shown = pair.person.types("drift", "list", "--store", pair.database.url)
    assert [path for path in paths if f" {path} " not in shown.out] == []

    numbers = [found[path][0] for path in paths]
    pair.database.run(f"UPDATE drift SET wish = 'take' WHERE item_id = ANY('{{{','.join(map(str, numbers[:10]))}}}')")
    assert pair.drift("take", numbers[0], status=0)["items"][0]["state"] == "taken"
    dealt = pair.drift("ignore", status=0)["items"]
    assert sorted((item["path"], item["state"]) for item in dealt) == [(path, "ignored") for path in paths[10:]]
    assert [(root / path).stat().st_mode & 0o777 for path in paths] == [0o600] * 10 + [0o644] * 10
    for path in paths:
        (root / path).write_text("rogue")
    rolled = pair.person.types("rollback", "--store", pair.database.url, "--writers-stopped", "--force")
    assert rolled.status == 0, rolled
    assert [path for path in paths if (root / path).read_text() != DOCUMENT % path] == []
    assert len(list(root.with_name("live.crossfade").glob("drift/*-many-*.json"))) == len(paths[10:]) + len(paths)
    assert longest == [page]


def test_what_is_set_right_ends_by_itself_however_much_is_open(pair: Pair):
    """Only some of what is open is known by heart; about the rest the table is asked."""
    paths = [ONE, TWO, THREE]
    for path in paths:
        (pair.root / path).chmod(0o600)
    pair.await_drift(**{path.replace("/", "__").replace(".json", "_json"): "changed" for path in paths})
    pair.stop()
    pair.run(program=KNOWS_ONE)
    for path in paths:
        (pair.root / path).chmod(0o644)

    wait_for("no drift", lambda: pair.open() == {}, 20)
    assert pair.database.all("SELECT DISTINCT state FROM drift") == [("undone",)]


@pytest.mark.parametrize("moment", ["before it is put back", "once it is done"])
def test_who_interrupts_it_waits_for_the_page_in_hand_and_no_more(pair: Pair, monkeypatch: pytest.MonkeyPatch, moment: str):
    """What was wished for stands, and whoever comes next does it; of what comes behind that page nothing was wished. A page is one item here."""
    for path in (ONE, TWO):
        (pair.root / path).write_text(f"rogue {path}")
    pair.await_drift(sessions__one_json="changed", sessions__two_json="changed")
    pair.stop()
    place, name = (Dealing, "deal") if moment == "before it is put back" else (Drifting, "_end")
    done, pressed = getattr(place, name), threading.Event()

    def interrupted(*arguments: Any) -> Any:
        if arguments[-1] and not pressed.is_set():
            pressed.set()
            signal.raise_signal(signal.SIGINT)
        return done(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(drift, "PAGE", 1)
        patched.setattr(place, name, interrupted)
        run = pair.person.types("drift", "ignore", "--store", pair.database.url)
    sentence, _ = refused(run, "CF601", 6)
    assert sentence == "stopped; what was asked for before may stand"
    assert run.seconds < 20
    assert pair.database.one("SELECT count(*) FROM drift WHERE wish = 'ignore' OR state = 'ignored'") == 1

    pair.drift("ignore", status=0)
    assert pair.database.all("SELECT DISTINCT state FROM drift") == [("ignored",)]
    for path in (ONE, TWO):
        assert (pair.root / path).read_text() == DOCUMENT % path
        (kept,) = pair.root.with_name("live.crossfade").glob(f"drift/*-{Path(path).name}")
        assert kept.read_text() == f"rogue {path}"


def test_what_somebody_writes_into_the_database_by_hand_is_drift_too(
    person: Person, terminal: Terminal, root: Path, database: Database, runners: list[Any]
):
    """The files decide. It is not overwritten by itself, not even by a run that begins; then the files' version is put back."""
    pair = Pair(person, terminal, root, database, runners)
    pair.run()
    pair.stop()
    row = (
        "INSERT INTO entries (store_id, path, key, type, kind, form, generation, size, records, raws, mode, mtime_ns, link,"
    )
    database.run(
        "SET crossfade.origin = 'by hand'",
        f"UPDATE entries SET digest = sha256('x') WHERE path = '{ONE}'",
        f"DELETE FROM sessions WHERE entry_id = (SELECT entry_id FROM entries WHERE path = '{TWO}')",
        f"UPDATE entries SET type = 'gone', size = 0, records = 0, digest = NULL WHERE path = '{TWO}'",
        f"UPDATE sessions SET body = '{{}}' WHERE entry_id = (SELECT entry_id FROM entries WHERE path = '{THREE}')",
        "UPDATE migrations SET proved_at = NULL, verified_at = NULL",  # so that every record is looked at
        f"{row} complete, unstable) SELECT store_id, 'by-hand', 'by-hand', 'link', '', 'blob', 1, 0, 0, 0, 511, 0, 'x', true,"
        " false FROM stores",
    )
    pair.run()
    expected = {"by-hand": "added", "sessions__three_json": "changed"}
    numbers = pair.await_drift(sessions__one_json="changed", sessions__two_json="removed", **expected)
    (left,) = pair.drift("take", numbers[ONE], status=3)["items"]
    assert left["outcome"].startswith("the files have the authority"), left

    done = pair.drift("ignore", status=0)["items"]
    assert [item["state"] for item in done] == ["ignored"] * 4
    assert pair.content(THREE) == DOCUMENT % THREE
    assert any(Path(item["outcome"].removeprefix("kept as ")).is_file() for item in done)
    assert pair.content(TWO) == DOCUMENT % TWO
    pair.stop()
    assert person.types("validate", root, database.url, "--jobs", "1").status == 0


def test_a_volume_that_goes_away_is_no_drift(pair: Pair):
    """On the side that does not decide, too: an unmount is not written down as so many files that somebody removed."""
    pair.put(THREE, DOCUMENT % "later")
    wait_for("the way back", lambda: (pair.root / THREE).read_text() == DOCUMENT % "later", 60)
    pair.root.rename(pair.root.with_name("away"))
    pair.root.mkdir()
    done = finish(pair.runners.pop(), 60)

    assert done.status == 7, done
    assert "error[CF707]" in done.err
    assert "the target's root is gone, empty, or another volume than before" in done.err
    assert pair.open() == {}
    assert pair.content(ONE) is not None
