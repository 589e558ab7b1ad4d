"""The change feed as hints: whatever order transactions commit in, all that they touched is named, and no cursor is ahead of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace

import psycopg
import pytest

from crossfade.migrate.follow import feed as watching
from crossfade.migrate.follow.dirty import NEVER, Dirty
from crossfade.migrate.follow.feed import FeedWatch, Place, begin
from crossfade.migrate.handover.control import Tree
from crossfade.store.backends.postgres import feed
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.session import Session
from support.running import wait_for
from support.servers import Database
from support.sql_programs import connection_of, new_tree

MINE = "0123456789ab"
ONE, TWO, THREE = (f"sessions/{name}.json" for name in ("one", "two", "three"))


class Watched(FeedWatch):
    """One that counts its looks at the feed."""

    looks = 0

    def _save(self, connection: Session) -> None:
        super()._save(connection)
        self.looks += 1

    def has_looked(self) -> None:
        """Wait until it has looked at all that stands there now: one look may be under way."""
        before = self.looks
        wait_for("two looks", lambda: self.looks >= before + 2)


@dataclass
class Feed:
    """A tree in a database whose feed is on, and a reader of it."""

    database: Database
    place: Place
    told: list[tuple[str, str]] = field(default_factory=list)
    dirty: Dirty = field(default_factory=Dirty)

    def watch(self) -> Watched:
        """A reader with nothing in its memory."""
        self.dirty = Dirty()
        return Watched(self.place, self.dirty, lambda event, _detail, reason: self.told.append((event, reason)))

    def put(self, path: str, connection: psycopg.Connection | None = None) -> None:
        """A write, of its own transaction unless there is one."""
        query = f"SELECT {self.place.schema}.put(%s, %s::text)"
        if connection is not None:
            connection.execute(query, [path, "{}"])
            return
        with self.database.connect(origin="") as own:
            own.execute(query, [path, "{}"])

    def named(self) -> set[str]:
        """The files that are named just now, and taken."""
        batch = self.dirty.take(float("inf"), 1000)
        return {dirt.path.decode() for dirt in batch if b"/" in dirt.path}

    def everything_seen(self) -> None:
        """As if a look at everything had found nothing more."""
        self.dirty.made_good = self.dirty.missed

    def left(self) -> set[str]:
        """What would be named to whoever starts now, from the cursor that is written down."""
        schema, store_id = self.place.schema, self.place.store_id
        with closing(self.place.connect()) as connection:
            cursor = feed.load(connection, schema, MINE, store_id)
            assert cursor is not None
            found, _ = feed.dirty(connection, schema, store_id, cursor, MINE, 1000)
        return {dirt.key.replace(b"\0", b"/").decode() for dirt in found}

    def history(self) -> object:
        """The history that the cursor which is written down belongs to."""
        return self.database.one("SELECT timeline FROM cursors")

    def noted(self) -> object:
        """How many changes the feed holds."""
        return self.database.one("SELECT count(*) FROM changes")


@pytest.fixture
def read(database: Database, monkeypatch: pytest.MonkeyPatch) -> Feed:
    monkeypatch.setattr(watching, "_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(watching, "_POLL_SECONDS", 0.1)
    new_tree(database)
    place = Place(database.server, database.location.schema, 1, MINE)
    read = Feed(database, place)
    read.put("sessions/first.json")  # else writers would wait for whoever makes the directory
    assert begin(place, threading.Event(), lambda _: None)
    return read


def settle(read: Feed) -> set[str]:
    """Take what is named and say that it is in step."""
    found = read.named()
    read.dirty.settled()
    return found


def names(read: Feed, *paths: str) -> Callable[[], bool]:
    """All of *paths* were named, taken together."""
    seen: set[str] = set()

    def look() -> bool:
        seen.update(settle(read))
        return set(paths) <= seen

    return look


def test_what_commits_late_is_named_though_its_number_is_smaller(read: Feed):
    """And what a transaction rolls back takes nothing else with it."""
    late, lost = connection_of(read.database), connection_of(read.database)
    with read.watch() as watch, closing(late), closing(lost):
        read.put(ONE, late)
        read.put(THREE, lost)
        read.put(TWO)
        lost.rollback()
        watch.has_looked()
        assert TWO not in settle(read)
        late.commit()
        wait_for("both", names(read, ONE, TWO))


def test_no_cursor_is_written_down_before_all_that_it_names_is_in_step(read: Feed):
    with read.watch() as watch:
        read.everything_seen()
        read.put(ONE)
        wait_for("a name", lambda: len(read.dirty))
        assert ONE in read.named()
        read.put(TWO)
        watch.has_looked()
        assert {ONE, TWO} <= read.left()
        read.dirty.settled()
        wait_for("another name", names(read, TWO))
        wait_for("a cursor", lambda: not read.left())
        wait_for("an empty feed", lambda: read.noted() == 0)


def test_what_is_put_back_holds_the_cursor_and_what_cannot_be_read_does_not(read: Feed):
    with read.watch() as watch:
        read.everything_seen()
        read.put(ONE)
        wait_for("a name", lambda: len(read.dirty))
        taken = read.dirty.take(float("inf"), 10)
        read.dirty.again(taken[0], time.monotonic(), 30.0)
        read.dirty.settled()
        watch.has_looked()
        assert ONE in read.left()
        assert [dirt.path for dirt in read.dirty.take(float("inf"), 10)] == [taken[0].path]
        read.dirty.again(replace(taken[0], number=NEVER), time.monotonic(), 30.0)
        read.dirty.settled()
        wait_for("a cursor", lambda: not read.left())


def test_whoever_starts_again_hears_again_what_was_not_in_step(read: Feed):
    with read.watch():
        read.everything_seen()
        read.put(ONE)
        wait_for("a name", lambda: len(read.dirty))
        assert ONE in read.named()  # taken, and never settled
    with read.watch():
        wait_for("the same", names(read, ONE))
        read.everything_seen()
        wait_for("an empty feed", lambda: read.noted() == 0)
    with read.watch() as watch:
        watch.has_looked()
        assert settle(read) == set()


def test_until_everything_was_looked_at_no_cursor_moves(read: Feed):
    """What an earlier run left undone has no name in the feed."""
    with read.watch() as watch:
        read.put(ONE)
        wait_for("a name", names(read, ONE))
        watch.has_looked()
        assert ONE in read.left()
        read.everything_seen()
        wait_for("a cursor", lambda: not read.left())


def test_our_own_changes_do_not_come_back(read: Feed):
    with read.watch(), read.database.connect(origin=MINE) as mine:
        read.put(ONE)
        wait_for("a name", names(read, ONE))
        mine.execute("UPDATE entries SET mtime_ns = 1 WHERE path = %s", [ONE])
        read.put(TWO)
        heard: set[str] = set()
        wait_for("another name", lambda: heard.update(read.named()) or TWO in heard)
        assert ONE not in heard


def test_another_history_is_begun_anew_and_only_once_all_is_compared(read: Feed):
    """A dump that was restored, a replica that was promoted: the old cursor leads nowhere."""
    read.database.run("UPDATE cursors SET timeline = timeline + 1")
    began = read.history()
    with read.watch() as watch:
        wait_for("being told", lambda: read.told)
        assert read.told[0][0] == "feed began anew"
        wait_for("the reason", lambda: "everything is being compared" in watch.trouble)
        watch.has_looked()
        assert read.history() == began
        read.put(ONE)
        wait_for("a name", names(read, ONE))
        read.everything_seen()
        wait_for("a cursor", lambda: read.history() != began)
        assert not read.left()
        wait_for("no trouble", lambda: not watch.trouble)


FOREIGN = """
INSERT INTO changes (store_id, xid, entry_id, origin)
SELECT 1, ((pg_current_xact_id()::text::bigint) + 1000000)::text::xid8, entry_id, 'sql' FROM entries
"""
"""What a dump of another server brings, which had many more transactions by then: this one will not have them for years."""


def test_what_another_server_noted_is_not_waited_for(read: Feed):
    """Nobody could read it, or ever have it behind; as a backlog it would shut the gate of a hand-over for good."""
    read.database.run(FOREIGN, "UPDATE cursors SET system = system + 1")
    with read.watch() as watch:
        read.everything_seen()
        wait_for("being told", lambda: read.told)
        wait_for("an empty feed", lambda: read.noted() == 0)
        read.put(ONE)
        wait_for("a name", names(read, ONE))
        read.everything_seen()
        wait_for("no trouble", lambda: not watch.trouble and not watch.unread)


def test_a_feed_that_begins_has_nothing_of_another_server_in_it(read: Feed):
    read.database.run(FOREIGN, "DELETE FROM cursors")
    assert begin(read.place, threading.Event(), lambda _: None)
    assert not read.database.one("SELECT count(*) FROM changes WHERE xid > pg_current_xact_id()")


def test_who_holds_the_feed_back_is_named(read: Feed, monkeypatch: pytest.MonkeyPatch):
    """Any transaction of the server that has a number does."""
    monkeypatch.setattr(watching, "_LONG_SECONDS", 0.1)
    with read.watch() as watch, closing(connection_of(read.database)) as other:
        other.execute("SET application_name = 'a long report'")
        other.execute("SELECT pg_current_xact_id()")
        read.put(ONE)
        pid = other.info.backend_pid
        wait_for("the holder", lambda: f"process {pid} (a long report" in watch.trouble)
        assert watch.unread
        assert watch.unread_since is not None
        assert ONE not in settle(read)
        other.rollback()
        wait_for("the name", names(read, ONE))
        wait_for("no trouble", lambda: not watch.trouble and not watch.unread)


def test_a_connection_that_is_cut_is_made_again_and_nothing_is_missed(read: Feed):
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s"
    with read.watch():
        for path in (ONE, TWO, THREE):
            read.put(path)
            wait_for("a name", names(read, path))
            wait_for("a cut", lambda: read.database.all(query, f"crossfade {MINE} feed%"))


def test_the_feed_is_turned_on_behind_writers_in_flight_without_holding_others_up(database: Database):
    """A transaction that wrote before is waited for; who comes meanwhile waits for a moment at most."""
    new_tree(database)
    place, told = Place(database.server, database.location.schema, 1, MINE), []
    read = Feed(database, place)
    read.put("sessions/first.json")
    early = connection_of(database)
    with closing(early):
        read.put(ONE, early)
        done: list[bool] = []
        waiting = threading.Thread(target=lambda: done.append(begin(place, threading.Event(), told.append)))
        waiting.start()
        wait_for("being told", lambda: told)
        assert f"process {early.info.backend_pid}" in told[0]
        for _ in range(5):
            began = time.monotonic()
            read.put(TWO)
            assert time.monotonic() - began < 5.0
        early.commit()
        waiting.join(30)
        assert done == [True]
    assert begin(place, threading.Event(), told.append) is False
    with read.watch():
        read.put(THREE)
        wait_for("a name", names(read, THREE))


def test_a_reader_that_was_retired_leaves_no_place_behind(read: Feed):
    """It runs on for a moment beside the hand-over that retires it: its place would hold the feed on for ever."""
    schema, store_id = read.place.schema, read.place.store_id
    with read.watch() as watch:
        read.everything_seen()
        read.put(ONE)
        wait_for("a name", lambda: ONE in read.named())
        with closing(connection_of(read.database)) as connection:
            feed.retire(connection, schema, MINE, store_id)
            connection.commit()
        read.dirty.settled()
        wait_for("its next word", lambda: watch._saved_at > time.monotonic() - 0.05, 60)
        watch.has_looked()
    assert read.database.one("SELECT count(*) FROM cursors") == 0
    assert read.database.one("SELECT bool_or(fed) FROM stores") is False


def _reading(read: Feed, reader: str, connection: psycopg.Connection, how: str) -> None:
    """*reader* begins in the transaction of *connection*, which does not end: as a follower, or by a hand-over."""
    place = replace(read.place, migration=reader)
    if how == "follows":
        assert watching._begin(connection, place)
        return
    Tree(Ledger(place.server, place.schema), place.store_id, reader).begin_feed(connection)


@pytest.mark.parametrize("how", ["follows", "is handed over to"])
@pytest.mark.parametrize("is_first", [True, False], ids=["who begins is first", "who lets go is first"])
def test_nobody_lets_go_of_a_feed_that_somebody_begins_to_read(read: Feed, how: str, is_first: bool):
    """The last reader goes, another one comes, and neither sees the other's transaction: who comes would never hear anything."""
    schema, store_id, other = read.place.schema, read.place.store_id, "fedcba543210"
    with ExitStack() as held:
        comes, goes = (held.enter_context(closing(connection_of(read.database))) for _ in range(2))
        for connection in (comes, goes):
            connection.execute("SELECT set_config('lock_timeout', '10s', false)")
            connection.commit()
        acts = [
            (comes, lambda: _reading(read, other, comes, how)),
            (goes, lambda: feed.retire(goes, schema, MINE, store_id)),
        ]
        (first, act), (second, act_too) = acts if is_first else reversed(acts)
        act()
        thread = threading.Thread(target=lambda: (act_too(), second.commit()))
        thread.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        wait_for("who waits", lambda: read.database.one(waits, second.info.backend_pid) or not thread.is_alive(), 10)
        first.commit()
        thread.join(10)

    assert read.database.all("SELECT migration_id FROM cursors") == [(other,)]
    assert read.database.one("SELECT fed FROM stores") is True
    before = read.noted()
    read.put(THREE)
    assert read.noted() != before


WEEK_OLD = """
INSERT INTO changes (store_id, entry_id, origin, at)
SELECT 1, (SELECT max(entry_id) FROM entries), 'sql', clock_timestamp() - interval '7 days' FROM generate_series(1, {})
"""
"""What programs have written while nobody read."""


def test_who_has_more_to_read_is_behind_by_it(read: Feed, monkeypatch: pytest.MonkeyPatch):
    """The path that is named is brought over in a moment, and a hand-over would be begun with the most of it still to be read."""
    monkeypatch.setattr(watching, "_ROWS", 100)
    read.database.run(WEEK_OLD.format(250))
    watch, behind = read.watch(), []
    with closing(read.place.connect()) as connection:
        assert not watch.hears_all
        watch._at = watch._load(connection)
        while watch._take(connection):
            settle(read)
            assert watch.hears_all
            behind.append(time.monotonic() - (watch.unread_since or time.monotonic()))
        assert (watch.unread, watch.unread_since) == (0, None)

    assert len(behind) == 2
    assert min(behind) > 6 * 24 * 3600


def test_not_all_of_it_is_read_while_all_writers_wait(read: Feed, monkeypatch: pytest.MonkeyPatch):
    """Who comes back after a week has millions of rows before it."""
    monkeypatch.setattr(feed, "MOST", 100)
    schema, store_id = read.place.schema, read.place.store_id
    read.database.run(WEEK_OLD.format(99))
    with closing(connection_of(read.database)) as connection:
        cursor = feed.load(connection, schema, MINE, store_id)
        assert cursor is not None
        connection.rollback()
        found, _ = feed.drained(connection, schema, store_id, cursor, MINE, seconds=1.0)
        assert len(found) == 1
        connection.rollback()
        read.database.run(WEEK_OLD.format(2))
        with pytest.raises(feed.TooMany):
            feed.drained(connection, schema, store_id, cursor, MINE, seconds=1.0)
