"""A decision whose commit takes its time when its connection breaks: nobody takes it for none, neither its runner nor a writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from crossfade.store.backends.file.gate import Gate
from crossfade.store.writer import Writer
from support.cluster import Cluster
from support.proxy import Proxy
from support.running import Terminal, finish, kill_group, wait_for

LOG = "events/r/j/events-1.jsonl"
COMMITTING = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'crossfade hand-over' AND state = 'active' AND query ILIKE 'commit%'
"""
SLOW = """
SET search_path = {};
CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_catalog.pg_sleep(1.5); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON routes DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (old.epoch <> new.epoch) EXECUTE FUNCTION take_time();
"""
"""As a slow disk does, or a replica that is waited for: the commit was received, and is not there yet."""

_SCHEMA = count(1)


@pytest.fixture
def schema(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PGPASSWORD", cluster.password)
    name = f"inflight{next(_SCHEMA)}"
    yield name
    with cluster.connect() as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


def one(connection: psycopg.Connection, query: str) -> object:
    found = connection.execute(query).fetchone()
    return found and found[0]


def test_it_stands_when_it_is_there(cluster: Cluster, terminal: Terminal, schema: str, tmp_path: Path):
    """The runner goes on in reverse. A write that began meanwhile is where the authority is, and nowhere else."""
    root = tmp_path / "live"
    (root / LOG).parent.mkdir(parents=True)
    (root / LOG).write_bytes(b'{"id":"first"}\n')
    with Proxy(cluster.port) as proxy, cluster.connect() as sql:
        url = cluster.url(schema, proxy.port)
        follower = terminal.popen("start", root, url, "--cpu-max", "100")
        try:
            ask = f"SELECT count(*) FROM {schema}.journal WHERE event = 'following'"
            wait_for("a schema", lambda: one(sql, f"SELECT to_regclass('{schema}.journal')"), 60)
            wait_for("a follower", lambda: one(sql, ask) == 1, 60)
            sql.execute(SLOW.format(schema))
            asked = terminal.popen("cutover", "--store", cluster.url(schema), "--writers-stopped")
            wait_for("its commit", lambda: one(sql, COMMITTING) == 1, 60)
            proxy.drop()
            writer = Program(root, cluster.url(schema))
            writer.start()
            done = finish(asked)
            writer.join(60)

            assert done.status == 0, done
            assert writer.error is None
            assert one(sql, f"SELECT authority FROM {schema}.routes") == "here"
            marker = Gate(bytes(root)).read()
            assert marker is not None
            assert (marker.side_of(""), marker.epoch) == ("database", 2)
            assert one(sql, f"SELECT count(*) FROM {schema}.events WHERE id = 'meanwhile'") == 1
            wait_for("the files", lambda: (root / LOG).read_bytes().count(b"meanwhile") == 1)
            assert one(sql, f"SELECT count(*) FROM {schema}.drift") == 0
            follower.terminate()
            ended = finish(follower, 60)
            assert ended.status == 0, ended
        finally:
            kill_group(follower)


class Program(threading.Thread):
    """Writes one line through crossfade."""

    def __init__(self, root: Path, database: str) -> None:
        super().__init__()
        self._root, self._database = bytes(root), database
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with Writer(self._root, self._database) as writer:
                writer.append(LOG.encode(), b'{"id":"meanwhile"}\n')
        except BaseException as error:
            self.error = error
            raise
