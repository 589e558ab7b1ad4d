"""A tree that began in a database: files take the authority from it, and give it back."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from crossfade.migrate.follow.follower import Follower
from crossfade.store.writer import Writer
from support.person import Person, typed
from support.running import Terminal, compare, kill_group, wait_for
from support.servers import Database
from support.sql_programs import SqlProgram, follower, in_step, new_tree, quiet

_LOG = "events/a/files/events-1.jsonl"


def test_a_database_hands_over_to_files_and_takes_it_back_again_and_again(
    terminal: Terminal, database: Database, tmp_path: Path
):
    """Each side refuses what is not its to take, and nothing that it took is missing on the other."""
    new_tree(database)
    program = SqlProgram(database, seed=11)
    program.work(60)
    files, schema = tmp_path / "files", database.location.schema
    process = follower(terminal, database.url, files, database)
    try:
        with Writer(bytes(files), database.url) as writer:
            for number in range(2):
                program.work(30)
                _hand_over(terminal, "cutover", database)
                with pytest.raises(psycopg.Error) as refused:
                    program.call("append", _LOG, b"{}\n")
                assert refused.value.sqlstate == "XF002"
                writer.append(_LOG.encode(), b'{"id":"by files %d"}\n' % number)
                assert (files / _LOG).read_bytes().count(b"\n") == 2 * number + 1
                _hand_over(terminal, "rollback", database)
                program.call("append", _LOG, b'{"id":"by sql %d"}\n' % number)
        program.files[_LOG] = b"".join(b'{"id":"by files %d"}\n{"id":"by sql %d"}\n' % (n, n) for n in range(2))
        in_step(files, program)
        ids = [
            identity for (identity,) in database.all(f"SELECT id FROM {schema}.events WHERE id LIKE 'by %%' ORDER BY pos")
        ]
        assert ids == ["by files 0", "by sql 0", "by files 1", "by sql 1"]
        wait_for("no drift", lambda: database.one(f"SELECT count(*) FROM {schema}.drift WHERE state = 'open'") == 0, 60)
        quiet(process)
    finally:
        kill_group(process)
    assert typed(terminal, "start", database.url, tmp_path / "back", "--once").status == 0
    compare(files, tmp_path / "back")


def test_what_no_other_tree_of_files_would_move_is_heard_of_before_it_is_taken_back(
    person: Person, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """All of a tree that came out of a database is moved, locks and temporary files as well: it may have come with some."""
    new_tree(database)
    SqlProgram(database, seed=3).work(5)
    files, schema = tmp_path / "files", database.location.schema
    person.moves(database.url, files)
    asked = ("--store", database.url, "--writers-stopped", "--hold-max", "10s")
    cut = person.types("cutover", *asked)
    assert cut.status == 0, cut
    lock, settle = files / "locks/r/x.lock", Follower.settle
    lock.parent.mkdir(parents=True)

    def late(self: Follower, paths: list[bytes], seconds: float) -> None:
        lock.write_bytes(b"4711")
        settle(self, paths, seconds)

    monkeypatch.setattr(Follower, "settle", late)
    taken = person.types("rollback", *asked)

    assert taken.status == 0, taken
    assert database.one(f"SELECT type FROM {schema}.entries WHERE path = 'locks/r/x.lock'") == "file"


def _hand_over(terminal: Terminal, verb: str, database: Database) -> None:
    done = typed(terminal, verb, "--store", database.url, "--writers-stopped", "--hold-max", "10s", "--timeout", "2m")
    assert done.status == 0, done
