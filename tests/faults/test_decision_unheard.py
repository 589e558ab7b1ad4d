"""The server goes away at the very COMMIT of a hand-over, and cannot be asked: nobody guesses, and whoever comes next completes it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest

from crossfade.store.backends.file.gate import Gate
from crossfade.store.writer import Writer
from support.cluster import Cluster
from support.following import following
from support.proxy import Act, Proxy
from support.running import Run, Terminal, compare, finish, kill_group, wait_for
from support.servers import Database

LOG = "events/r/j/events-1.jsonl"
DECISION, END = b".migrations SET reversed", b".migrations SET phase = $1, updated_at"
"""What no other transaction says than the one that hands over, and the one that ends a migration."""

_IMPATIENT = """
from crossfade.console import main, ordering

ordering._BACK_SECONDS = 1.0
main.run()
"""
"""Takes an order back within a second, or not at all: the server stays away."""

_SCHEMA = count(1)


@dataclass
class Pair:
    """Files, and the database that they are followed into. Its URL leads through *proxy*; tests ask it past that."""

    root: Path
    database: Database
    proxy: Proxy
    terminal: Terminal

    def decide(self, act: Act) -> tuple[Run, Run]:
        """How the follower and the cut-over end that is asked of it, with *act* done to the decision; told to stop if it lives on."""
        process = following(self.terminal, self.root, self.database)
        self.proxy.at_commit_of(DECISION, act)
        try:
            asked = self.cut_over()
            if self.side == "database":
                process.terminate()
            return finish(process, 60), asked
        finally:
            kill_group(process)

    def end(self, verb: str, act: Act) -> tuple[Run, Run]:
        """How the follower and *verb* end, which ends the migration, with *act* done to the transaction that does."""
        process = following(self.terminal, self.root, self.database)
        self.proxy.at_commit_of(END, act)
        try:
            asked = self.verb(verb, "--timeout", "20")
            return finish(process, 60), asked
        finally:
            kill_group(process)

    def cut_over(self) -> Run:
        """How it ends; nobody waits for it any more once a server has gone away that stays away."""
        words = ("cutover", "--store", self.database.url, "--writers-stopped", "--timeout", "20")
        asked = self.terminal.popen(*words, program=_IMPATIENT)
        try:
            wait_for("its decision", lambda: self.proxy.events or asked.poll() is not None, 60)
            if "went away" in self.proxy.events:
                asked.send_signal(signal.SIGTERM)
            return finish(asked, 60)
        finally:
            kill_group(asked)

    def verb(self, name: str, *options: str) -> Run:
        return self.terminal.run(name, "--store", self.database.url, *options)

    @property
    def side(self) -> str:
        """The side that decides, by the marker."""
        marker = Gate(bytes(self.root)).read()
        return "files" if marker is None else marker.side_of("")

    def written(self) -> tuple[int, object]:
        """How often the last line stands in the files, and in the database."""
        files = (self.root / LOG).read_bytes().count(b"last")
        return files, self.database.one("SELECT count(*) FROM events WHERE id = 'last'")

    def is_whole(self, back: Path) -> None:
        """A writer writes on the side that decides, and only there; whoever follows brings it to the other."""
        before = (1, 0) if self.side == "files" else (0, 1)
        with Writer(bytes(self.root), self.database.url) as writer:
            writer.append(LOG.encode(), b'{"id":"last"}\n')
        assert self.written() == before
        process = following(self.terminal, self.root, self.database)
        try:
            wait_for("the other side", lambda: self.written() == (1, 1), 60)
            process.terminate()
            assert finish(process, 60).status == 0
        finally:
            kill_group(process)
        assert self.terminal.run("start", "--once", self.database.url, back).status == 0
        compare(self.root, back)


@pytest.fixture
def pair(cluster: Cluster, terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setenv("PGPASSWORD", cluster.password)
    root, schema = tmp_path / "live", f"unheard{next(_SCHEMA)}"
    (root / LOG).parent.mkdir(parents=True)
    (root / LOG).write_bytes(b'{"id":"first"}\n')
    patient = Terminal(terminal.home, {"CROSSFADE_PATIENCE_SECONDS": "2"})
    with Proxy(cluster.port) as proxy:
        database = replace(cluster.database(schema), url=cluster.url(schema, proxy.port))
        yield Pair(root, database, proxy, patient)
    database.run(f"DROP SCHEMA {schema} CASCADE")


@pytest.mark.parametrize(("having_committed", "side"), [(True, "database"), (False, "files")])
def test_what_nobody_heard_is_said_and_repair_completes_it(pair: Pair, tmp_path: Path, having_committed: bool, side: str):
    """The marker says undecided meanwhile, so that a writer asks; then it names the side that the database names."""
    done, asked = pair.decide(pair.proxy.go_away(having_committed=having_committed))

    assert done.status == 2, done
    assert "error[CF203]: the server went away at the decision, and nobody heard which side has the authority" in done.err
    assert "\n  try: crossfade repair " in done.err
    assert "Traceback" not in done.err + asked.err
    assert asked.status == 2, asked
    assert "the order could not be taken back, and is begun no later than 40 s after it was given" in asked.err
    assert pair.side == "undecided"
    assert pair.database.all("SELECT DISTINCT authority FROM routes") == [("here" if having_committed else "elsewhere",)]

    pair.proxy.go_on()
    assert "crossfade repair" in pair.verb("doctor").out
    assert "write the marker anew" in pair.verb("repair").out
    assert pair.side == side
    assert "nothing is left to repair" in pair.verb("repair").out
    pair.is_whole(tmp_path / "back")


def lost(proxy: Proxy) -> Act:
    """It is decided, and the answer gets lost."""
    return proxy.lose_answer


def late(proxy: Proxy) -> Act:
    """The connection breaks, and the COMMIT arrives after that."""
    return proxy.delay_commit(0.7)


@pytest.mark.parametrize("act", [lost, late])
def test_a_decision_that_was_not_heard_is_asked_for_and_stands(pair: Pair, tmp_path: Path, act: Callable[[Proxy], Act]):
    """The server is there: the follower finds that it was decided, also where that is still to come, and goes on, in reverse."""
    done, asked = pair.decide(act(pair.proxy))

    assert asked.status == 0, asked
    assert done.status == 0, done
    assert pair.proxy.events in (["answer lost"], ["commit under way", "commit arrived"])
    assert pair.side == "database"
    assert pair.database.all("SELECT DISTINCT authority FROM routes") == [("here",)]
    pair.is_whole(tmp_path / "back")


@pytest.mark.parametrize("act", [lost, late])
@pytest.mark.parametrize(("verb", "phase"), [("rollback", "rolled-back"), ("finish", "finished")])
def test_an_end_that_was_not_heard_is_asked_for_and_stands(pair: Pair, verb: str, phase: str, act: Callable[[Proxy], Act]):
    """It was carried out, once, and nobody follows on. To do it again would find the order gone, as if it were taken back."""
    if verb == "finish":
        assert pair.terminal.run("start", "--once", pair.root, pair.database.url).status == 0
        assert pair.cut_over().status == 0
    done, asked = pair.end(verb, act(pair.proxy))

    assert asked.status == 0, asked
    assert done.status == 0, done
    assert pair.proxy.events in (["answer lost"], ["commit under way", "commit arrived"])
    assert pair.database.one("SELECT phase FROM migrations") == phase
    ended = "SELECT count(*) FROM journal WHERE event = 'hand-over completed' AND detail::jsonb ->> 'phase' = %s"
    assert pair.database.one(ended, phase) == 1
    assert pair.database.one("SELECT count(*) FROM journal WHERE event = 'hand-over refused'") == 0
