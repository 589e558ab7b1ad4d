"""``validate`` against changes made under it, by plain SQL and by plain file edits, on either side; and what mends them."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crossfade.errors import Interrupted
from crossfade.migrate.carry import Carrier
from crossfade.migrate.validate.sides import sides
from crossfade.migrate.validate.validation import validate as compare_sides
from crossfade.migrate.validate.validator import Extent
from crossfade.migrate.validate.verdict import Options
from crossfade.model import figures
from crossfade.model.entries import RECORD_LIMIT
from crossfade.store.location import parse
from support.person import Person, refused, said, words_of
from support.running import Run, compare
from support.servers import NAMES, Database, Servers

SEGMENT = 1 << 20
LINE = 4096
LINES = 625
"""Ten million and a bit: two whole segments, and a part of a third."""

LOG = "events/repo/job-1/events-20251116_101500.jsonl"
UNEVEN = "events/repo/job-2/events-20251116_101500.jsonl"
EMPTY = "events/repo/job-3/events-20251116_101500.jsonl"
SESSION = "sessions/one.json"
BLOB = "notes/readme.txt"

EDGES = [0, SEGMENT // LINE - 1, SEGMENT // LINE, 2 * SEGMENT // LINE, LINES - 1]
"""Lines at the edges of segments, and of the log."""


def _line(number: int) -> str:
    head = f'{{"id":"{number:06}","timestamp":"2025-11-16T10:15:00Z","event":{{"event_type":"agent_started"}},"pad":"'
    return head + "x" * (LINE - len(head) - 3) + '"}\n'


def _build(root: Path) -> None:
    for name in (LOG, UNEVEN, EMPTY, SESSION, BLOB):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / LOG).write_text("".join(map(_line, range(LINES))))
    (root / UNEVEN).write_text('{"id":"short"}\n{"id":"a longer one"}\n{"id":"last"}\n')
    (root / EMPTY).write_bytes(b"")
    (root / SESSION).write_text('{"session_id":"one","status":"Running"}')
    (root / BLOB).write_bytes(b"\x00 anything \xff")
    (root / "empty").mkdir()
    (root / "latest").symlink_to(SESSION)


@dataclass
class Pair:
    """A tree of files and one in a database, in step. What is done to them by ``edit`` and ``sql`` can be undone."""

    person: Person
    database: Database
    files: Path
    source: object
    target: object
    edited: bool = False
    altered: bool = False

    def edit(self, path: str) -> Path:
        """A path in the tree of files, to do something to it by hand."""
        self.edited = True
        return self.files / path

    def sql(self, *statements: str) -> None:
        """Something that is done to the database by plain SQL."""
        self.altered = True
        self.database.run(*statements)

    def says(self, *options: object, status: int) -> Any:
        """What ``validate --json`` says; it ends with *status*."""
        run = self.person.types("validate", self.source, self.target, "--jobs", "1", "--json", *options)
        assert status == run.status, run
        return said(run)

    def talks(self, *options: object) -> Run:
        """The same for people."""
        return self.person.types("validate", self.source, self.target, "--jobs", "1", *options)

    def finds(self, path: str, *options: object) -> dict[str, Any]:
        """The difference at *path*: there is one. The time that an edit leaves behind comes last."""
        found = [each for each in self.says(*options, status=3)["differences"] if each["path"] == path]
        return min(found, key=lambda each: each["class"] == "metadata")

    def places(self, path: str) -> tuple[str, int | None, int | None]:
        """Class, segment and offset of the difference at *path*."""
        found = self.finds(path)
        return found["class"], found["segment"], found["offset"]

    @property
    def absent(self) -> str:
        """The class of a path that the database does not have."""
        return "missing" if self.source is self.files else "extra"

    @property
    def additional(self) -> str:
        """The class of a path that the files do not have."""
        return "extra" if self.source is self.files else "missing"


_TABLES = ("events", "sessions", "other", "entries", "chunks")


def _in_step(direction: str, database: Database, folder: Path) -> Pair:
    """Moved: the files are the source, or the files are the target."""
    person, source = Person(folder / "state"), folder / "tree"
    _build(source)
    person.moves(source, database.url)
    if direction == "to database":
        return Pair(person, database, source, source, database.url)
    files = folder / "restored"
    person.moves(database.url, files)
    return Pair(person, database, files, database.url, files)


@pytest.fixture(scope="module", params=["to database", "to files"])
def steady(request: pytest.FixtureRequest, servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One pair for many tests, with a copy of both sides."""
    folder = tmp_path_factory.mktemp("steady")
    with servers.database(NAMES[0]) as database:
        made = _in_step(request.param, database, folder)
        shutil.copytree(made.files, folder / "saved", symlinks=True)
        database.run(*(f"CREATE TABLE saved_{name} AS TABLE {name}" for name in _TABLES))
        yield made


@pytest.fixture
def pair(steady: Pair) -> Iterator[Pair]:
    """In step, either way round; and again in step for the next test."""
    yield steady
    if steady.edited:
        shutil.rmtree(steady.files)
        shutil.copytree(steady.files.parent / "saved", steady.files, symlinks=True)
    if steady.altered:
        steady.database.run(*(f"DELETE FROM {name}; INSERT INTO {name} TABLE saved_{name}" for name in _TABLES))
    steady.edited = steady.altered = False


@pytest.fixture(params=["to database", "to files"])
def own(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Pair:
    """The same for one test alone, which may mend it."""
    return _in_step(request.param, database, tmp_path)


def _lasting(value: dict[str, Any]) -> dict[str, Any]:
    """What a second validation says again."""
    return {key: part for key, part in value.items() if key not in ("duration_seconds", "head")}


def _id(path: str) -> str:
    return f"(SELECT entry_id FROM entries WHERE path = '{path}')"


def test_stores_in_step_are_equal(pair: Pair):
    """Exit 0, both roots the same, everything compared; and asking changes nothing."""
    found = pair.says(status=0)

    assert found["state"] == "equal"
    assert found["source_root"] == found["target_root"]
    assert found["compared"] == 5
    assert found["differences"] == []
    assert _lasting(found) == _lasting(pair.says(status=0))
    assert f"equal: {parse(str(pair.source))} and " in pair.talks().out


@pytest.mark.parametrize("line", EDGES)
@pytest.mark.parametrize("side", ["files", "database"])
def test_one_flipped_byte_is_found_in_its_segment(pair: Pair, side: str, line: int):
    """At the edges of segments, too: the segment that holds the record is named, and where it starts."""
    if side == "files":
        with pair.edit(LOG).open("r+b") as file:
            file.seek(line * LINE + 200)
            file.write(b"y")
    else:
        wrong = "replace(body::text, 'xxx\"', 'xxy\"')::json"
        pair.sql(f"UPDATE events SET body = {wrong} WHERE entry_id = {_id(LOG)} AND pos = {line * LINE}")

    segment = line * LINE // SEGMENT
    assert pair.places(LOG) == ("content", segment, segment * SEGMENT)


@pytest.mark.parametrize("line", [0, *(SEGMENT // LINE + n for n in (-2, -1, 0, 1)), LINES - 1])
@pytest.mark.parametrize("side", ["files", "database"])
def test_a_missing_line_is_found_in_its_segment(pair: Pair, side: str, line: int):
    """Even the first of a segment, whose place another one takes, and the last of one."""
    if side == "files":
        lines = pair.edit(LOG).read_bytes().splitlines(keepends=True)
        del lines[line]
        (pair.files / LOG).write_bytes(b"".join(lines))
    else:
        pair.sql(f"DELETE FROM events WHERE entry_id = {_id(LOG)} AND pos = {line * LINE}")

    segment = line * LINE // SEGMENT
    assert pair.places(LOG) == ("content", segment, segment * SEGMENT)


@pytest.mark.parametrize("side", ["files", "database"])
def test_a_record_too_many_is_found(pair: Pair, side: str):
    """Behind the last one, and where there was none at all."""
    places = {LOG: (LINES * LINE, 2), EMPTY: (0, 0), UNEVEN: (51, 0)}
    for path, (size, _) in places.items():
        if side == "files":
            with pair.edit(path).open("ab") as file:
                file.write(b'{"id":"extra"}\n')
        else:
            pair.sql(
                f"""INSERT INTO events (store_id, entry_id, pos, body) VALUES (1, {_id(path)}, {size}, '{{"id":"x"}}\n')"""
            )

    for path, (_, segment) in places.items():
        assert pair.places(path) == ("content", segment, segment * SEGMENT)


@pytest.mark.parametrize(("pos", "segment"), [(SEGMENT - LINE, 0), (SEGMENT, 1), (SEGMENT + LINE, 1)])
def test_a_line_too_many_at_the_edge_of_a_segment_is_found(pair: Pair, pos: int, segment: int):
    """In the segment where it starts: the one before holds what it held."""
    data = pair.edit(LOG).read_bytes()
    (pair.files / LOG).write_bytes(data[:pos] + b'{"id":"extra"}\n' + data[pos:])

    assert pair.places(LOG) == ("content", segment, segment * SEGMENT)


@pytest.mark.parametrize(("pos", "segment"), [(SEGMENT - 1, 0), (SEGMENT + 1, 1)])
def test_a_row_too_many_at_the_edge_of_a_segment_is_found(pair: Pair, pos: int, segment: int):
    """Beside the one that starts there: two have no place in common."""
    row = f'(1, {_id(LOG)}, {pos}, \'{{"id":"x"}}\n\')'
    pair.sql(f"INSERT INTO events (store_id, entry_id, pos, body) VALUES {row}")

    assert pair.places(LOG) == ("content", segment, segment * SEGMENT)


SWAPS = [(LOG, 3 * LINE, 4 * LINE, 0), (LOG, 0, LINES * LINE - LINE, 0), (LOG, SEGMENT, 2 * SEGMENT, 1), (UNEVEN, 0, 15, 0)]


@pytest.mark.parametrize(("path", "one", "other", "segment"), SWAPS)
@pytest.mark.parametrize("side", ["files", "database"])
def test_two_swapped_records_are_found(pair: Pair, side: str, path: str, one: int, other: int, segment: int):
    """Of the same length, within a segment and across; and of different lengths, where a row's place stays as it was."""
    if side == "files":
        data = pair.edit(path).read_bytes()
        first, second = (data[at : data.index(b"\n", at) + 1] for at in (one, other))
        between = data[one + len(first) : other]
        (pair.files / path).write_bytes(data[:one] + second + between + first + data[other + len(second) :])
    else:
        pair.sql(
            f"UPDATE events e SET body = o.body FROM events o WHERE e.entry_id = {_id(path)} AND o.entry_id = e.entry_id"
            f" AND ((e.pos = {one} AND o.pos = {other}) OR (e.pos = {other} AND o.pos = {one}))"
        )

    assert pair.places(path) == ("content", segment, segment * SEGMENT)


_TYPE = "event_type = 'agent_failed'"


@pytest.mark.parametrize(
    ("line", "change"), [*((line, _TYPE) for line in EDGES), (7, "event_type = NULL"), (7, "reason = 'nul'")]
)
def test_a_wrong_column_is_found_at_its_record(pair: Pair, line: int, change: str):
    """The bytes are right, but a query would not be: the very record is named."""
    pair.sql(f"UPDATE events SET {change} WHERE entry_id = {_id(LOG)} AND pos = {line * LINE}")

    assert pair.places(LOG) == ("column", line * LINE // SEGMENT, line * LINE)


def test_a_log_of_more_figures_than_are_held_plainly_is_compared_as_any_other(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    """Those of a long one are packed on both sides."""
    monkeypatch.setattr(figures, "_PLAIN", 1)
    assert pair.says(status=0)["differences"] == []
    pair.sql(f"UPDATE events SET event_type = 'x' WHERE entry_id = {_id(LOG)} AND pos = {SEGMENT + LINE}")
    assert pair.places(LOG) == ("column", 1, SEGMENT + LINE)
    pair.sql(f"DELETE FROM events WHERE entry_id = {_id(LOG)} AND pos = {2 * SEGMENT}")
    assert pair.places(LOG)[0:2] == ("content", 2)


def test_rows_that_hold_the_right_bytes_in_wrong_places_are_found(pair: Pair):
    """Two records as one: the bytes of the entry are the same, the count of records is not."""
    pair.sql(
        f"""UPDATE events SET body = NULL, raw = convert_to('{{"id":"short"}}\n{{"id":"a longer one"}}\n', 'UTF8')
            WHERE entry_id = {_id(UNEVEN)} AND pos = 0""",
        f"DELETE FROM events WHERE entry_id = {_id(UNEVEN)} AND pos = 15",
    )

    assert pair.places(UNEVEN) == ("column", 0, 0)


@pytest.mark.parametrize(
    ("path", "one", "other"), [(LOG, 3 * LINE, 4 * LINE), (LOG, SEGMENT, SEGMENT + LINE), (UNEVEN, 15, 37)]
)
def test_a_byte_that_went_from_one_record_to_the_next_is_found(pair: Pair, path: str, one: int, other: int):
    """Each stands where it did, and all of them come to the same; but the other does not begin where the one ends."""
    pair.sql(
        f"UPDATE events SET body = rtrim(body::text, E'\\n')::json WHERE entry_id = {_id(path)} AND pos = {one}",
        f"UPDATE events SET body = (E'\\n' || body::text)::json WHERE entry_id = {_id(path)} AND pos = {other}",
    )

    assert pair.places(path) == ("column", other // SEGMENT, other)


LONG = '{"id":"long","pad":"' + "x" * RECORD_LIMIT + '"}\n'
HEAD = '{"id":"first"}\n'
_TO_PIECES = (
    "UPDATE events SET body = rtrim(body::text, E'\\n')::json WHERE pos = 0",
    f"UPDATE chunks SET data = '\\x0a'::bytea || data WHERE pos = {len(HEAD)}",
)
_FROM_PIECES = (
    "UPDATE chunks SET data = substr(data, 1, octet_length(data) - 1) WHERE pos = (SELECT max(pos) FROM chunks)",
    f"UPDATE events SET body = (E'\\n' || body::text)::json WHERE pos = {len(HEAD) + len(LONG)}",
)


@pytest.mark.parametrize(("change", "at"), [(_TO_PIECES, len(HEAD)), (_FROM_PIECES, len(HEAD) + len(LONG))])
def test_a_byte_that_went_between_a_record_and_the_pieces_of_a_long_one_is_found(
    person: Person, database: Database, tmp_path: Path, change: tuple[str, ...], at: int
):
    root = tmp_path / "tree"
    (root / LOG).parent.mkdir(parents=True)
    (root / LOG).write_text(HEAD + LONG + '{"id":"last"}\n')
    person.moves(root, database.url)
    pair = Pair(person, database, root, root, database.url)
    pair.says(status=0)
    pair.sql(*change)

    assert pair.places(LOG) == ("column", at // SEGMENT, at)


def test_a_byte_that_went_from_a_record_to_one_that_a_server_refused_is_found(own: Pair):
    """Which has no row, and is the last; its being held explains no more than that."""
    last = f"entry_id = {_id(UNEVEN)} AND pos = 37"
    own.sql(
        f"INSERT INTO chunks SELECT store_id, entry_id, pos, convert_to(E'\\n' || body::text, 'UTF8') FROM events WHERE {last}",
        f"""INSERT INTO quarantine (migration_id, path, key, kind, entry_id, pos, size, code)
            SELECT migration_id, '{UNEVEN}', key, kind, entry_id, 37, 15, 'refused' FROM migrations, entries
            WHERE path = '{UNEVEN}'""",
        f"DELETE FROM events WHERE {last}",
        f"UPDATE events SET body = rtrim(body::text, E'\\n')::json WHERE entry_id = {_id(UNEVEN)} AND pos = 15",
    )

    assert own.places(UNEVEN) == ("column", 0, 15)


def test_json_that_was_put_where_bytes_belong_is_found(pair: Pair):
    """The bytes are the same, but ``body->>'x'`` would not find it any more."""
    pair.sql(
        f"UPDATE events SET raw = convert_to(body::text, 'UTF8'), body = NULL WHERE entry_id = {_id(LOG)} AND pos = {SEGMENT}"
    )

    assert pair.places(LOG) == ("column", 1, SEGMENT)


def test_rows_that_belong_to_nobody_are_found(pair: Pair):
    """They would be counted by everybody's queries."""
    pair.sql("""INSERT INTO sessions (store_id, entry_id, pos, body) VALUES (1, 999999, 0, '{"id":"nobody"}')""")

    found = pair.finds("")
    assert (found["class"], found["kind"], found["detail"]) == ("extra", "sessions", "1 records that belong to no entry")


@pytest.mark.parametrize("path", [EMPTY, "empty", "latest", "sessions/never.json"])
def test_pieces_that_belong_to_no_file_are_found(pair: Pair, path: str):
    """No foreign key keeps them out: below a directory, a link, or what is not there at all; and they would be part of a file."""
    entry = f"coalesce({_id(path)}, 999999)"
    pair.sql(f"INSERT INTO chunks (store_id, entry_id, pos, data) VALUES (1, {entry}, 0, 'x')")

    if path == EMPTY:
        assert pair.places(EMPTY) == ("content", 0, 0)
    else:
        found = pair.finds("")
        assert (found["class"], found["kind"]) == ("extra", "chunks")
        assert found["detail"] == "1 records that belong to no entry"


@pytest.mark.parametrize(
    "change", ["size = size + 1", "digest = sha256('')", "digest = NULL", "records = records + 7", "raws = raws + 1"]
)
def test_books_that_do_not_match_the_records_are_found(pair: Pair, change: str):
    """The rows are right, but not what their entry says of them: a restore would stop there, a status would count more."""
    pair.sql(f"UPDATE entries SET {change} WHERE path = '{SESSION}'")

    assert pair.finds(SESSION)["class"] == "content"


def test_a_path_in_words_that_is_another_is_found(pair: Pair):
    """Who asks for an entry by its path would not find it; names of every kind that are right are left alone."""
    pair.sql(
        f"UPDATE entries SET path = 'sessions/another.json' WHERE path = '{SESSION}'",
        "UPDATE entries SET path = 'e' WHERE path = 'empty'",
    )

    assert [pair.finds(path)["class"] for path in (SESSION, "empty")] == ["metadata"] * 2


@pytest.mark.parametrize("line", [0, SEGMENT // LINE])
@pytest.mark.parametrize(
    "change",
    [
        "event_type = 'agent_failed', reason = 'server 22008'",
        "raw = convert_to(body::text, 'UTF8'), body = NULL, reason = 'server 22008'",
    ],
)
def test_a_reason_that_a_server_gave_excuses_no_other_column(pair: Pair, change: str, line: int):
    """A record whose columns a server refused has none; whatever else stands there is wrong."""
    pair.sql(f"UPDATE events SET {change} WHERE entry_id = {_id(LOG)} AND pos = {line * LINE}")

    assert pair.places(LOG) == ("column", line * LINE // SEGMENT, line * LINE)


def _later(path: Path) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


METADATA: list[tuple[str, str, Callable[[Path], object], str]] = [
    (SESSION, "mode = 384", lambda path: path.chmod(0o600), "mode"),
    (BLOB, "mtime_ns = mtime_ns + 1", _later, "mtime"),
    ("empty", "mtime_ns = mtime_ns - 1", _later, "mtime"),
    ("notes", "mode = 448", lambda path: path.chmod(0o700), "mode"),
    ("latest", "link = 'elsewhere'", lambda path: (path.unlink(), path.symlink_to("elsewhere")), "link text"),
]


@pytest.mark.parametrize("side", ["files", "database"])
def test_metadata_is_compared_to_the_nanosecond(pair: Pair, side: str):
    """Of files, directories and links."""
    for path, by_sql, by_hand, _ in METADATA:
        if side == "files":
            by_hand(pair.edit(path))
        else:
            pair.sql(f"UPDATE entries SET {by_sql} WHERE path = '{path}'")

    for path, _, _, says in METADATA:
        found = pair.finds(path)
        assert (found["class"], found["segment"]) == ("metadata", None)
        assert says in found["detail"]


@pytest.mark.parametrize("side", ["files", "database"])
def test_what_was_removed_is_missed(pair: Pair, side: str):
    """A file, a directory, a link, an empty log."""
    paths = (SESSION, "empty", "latest", EMPTY)
    for path in paths:
        if side == "files":
            pair.edit(path).rmdir() if path == "empty" else pair.edit(path).unlink()
        else:
            pair.sql(f"DELETE FROM sessions WHERE entry_id = {_id(path)}", f"DELETE FROM entries WHERE path = '{path}'")

    klass = pair.additional if side == "files" else pair.absent
    assert [pair.finds(path)["class"] for path in paths] == [klass] * 4


@pytest.mark.parametrize("side", ["files", "database"])
def test_what_was_added_is_met(pair: Pair, side: str):
    """A path that the other side never had."""
    if side == "files":
        pair.edit("a file").write_text("new")
        pair.edit("a dir").mkdir()
    else:
        pair.sql(
            "INSERT INTO entries (store_id, path, key, type, kind, form, generation, size, records, raws, mode, mtime_ns,"
            " link, digest, complete, unstable) SELECT 1, 'a ' || type, ('a ' || type)::bytea, type, kind, 'blob', 1, 0, 0, 0,"
            " 493, 0, '', sha256(''), true, false FROM (VALUES ('file', 'other'), ('dir', '')) AS new (type, kind)"
        )

    klass = pair.absent if side == "files" else pair.additional
    assert [pair.finds(path)["class"] for path in ("a file", "a dir")] == [klass] * 2


def test_another_type_at_a_path_is_a_difference(pair: Pair):
    """A directory where a file was."""
    pair.edit(SESSION).unlink()
    pair.edit(SESSION).mkdir()

    found = pair.finds(SESSION)
    assert found["class"] == "content"
    assert "dir" in found["detail"]


# What mends them


def _spoil_files(files: Path) -> None:
    with (files / LOG).open("r+b") as file:
        file.seek(SEGMENT + 200)
        file.write(b"y")
    (files / SESSION).unlink()
    (files / BLOB).chmod(0o600)
    (files / UNEVEN).unlink()
    (files / UNEVEN).mkdir()
    (files / "empty").rmdir()
    (files / "empty").write_text("no directory")
    (files / "latest").unlink()
    (files / "latest").mkdir()


def _spoil_database(database: Database) -> None:
    database.run(
        f"DELETE FROM events WHERE entry_id = {_id(LOG)} AND pos = {SEGMENT}",
        f"UPDATE events SET event_type = 'x' WHERE entry_id = {_id(LOG)} AND pos = 0",
        f"UPDATE entries SET mode = 384 WHERE path = '{BLOB}'",
        f"DELETE FROM sessions WHERE entry_id = {_id(SESSION)}",
        f"DELETE FROM entries WHERE path = '{SESSION}'",
        f"""INSERT INTO events (store_id, entry_id, pos, body) VALUES (1, {_id(EMPTY)}, 0, '{{}}')""",
        """INSERT INTO sessions (store_id, entry_id, pos, body) VALUES (1, 999999, 0, '{"id":"nobody"}')""",
        "INSERT INTO chunks (store_id, entry_id, pos, data) VALUES (1, 999999, 0, 'x')",
        f"INSERT INTO chunks (store_id, entry_id, pos, data) VALUES (1, {_id('empty')}, 0, 'x')",
        "UPDATE entries SET path = 'e' WHERE path = 'empty'",
        f"UPDATE entries SET records = 7 WHERE path = '{UNEVEN}'",
    )


def test_repair_makes_the_target_what_the_source_is(own: Pair, tmp_path: Path):
    """Whatever was done to it, with one command that says what it does and validates again."""
    if own.target is own.files:
        _spoil_files(own.files)
        (own.files / UNEVEN / "stranger").write_text("kept, unless it is said")
        kept = own.talks("--repair")
        assert kept.status == 3, kept
        assert (own.files / UNEVEN / "stranger").read_text() == "kept, unless it is said"
        run = own.talks("--repair", "--delete-extra")
    else:
        _spoil_database(own.database)
        run = own.talks("--repair")

    assert run.status == 0, run
    assert "mended" in run.err
    assert own.says(status=0)["differences"] == []
    assert (own.database.one("SELECT count(*) FROM events"), LINES + 3) == (LINES + 3, LINES + 3)
    own.person.moves(own.database.url, tmp_path / "proof")
    compare(tmp_path / "tree", tmp_path / "proof")
    assert own.database.one("SELECT count(*) FROM quarantine") == 0


def test_a_rehearsed_repair_changes_nothing(own: Pair):
    """``--dry-run`` names each path, and exits 3: it is still different."""
    if own.target is own.files:
        (own.files / SESSION).write_text("{}")
    else:
        own.database.run(f"UPDATE events SET event_type = 'x' WHERE entry_id = {_id(LOG)} AND pos = 0")
    before = own.says(status=3)["differences"]
    run = own.talks("--repair", "--dry-run")

    assert run.status == 3, run
    assert "would mend put     " in run.err
    assert before == own.says(status=3)["differences"]


def test_repair_never_writes_the_source(own: Pair):
    """What differs because of the source comes over; a database that contradicts itself is not believed."""
    if own.source is own.files:
        (own.files / SESSION).write_text('{"session_id":"one","status":"Completed"}')
        assert own.talks("--repair").status == 0
        assert own.database.all("SELECT status FROM sessions") == [("Completed",)]
        return
    own.database.run(f"""UPDATE sessions SET body = '{{"id":"someone else"}}' WHERE entry_id = {_id(SESSION)}""")
    run = own.talks("--repair")
    assert run.status == 3, run
    assert "error[CF301]" in run.err
    assert (own.files / SESSION).read_text() == '{"session_id":"one","status":"Running"}'


def test_repair_with_the_words_exchanged_is_refused(person: Person, database: Database, tmp_path: Path):
    """The live files of a migration into the database are not its target, nor is a directory of somebody else."""
    _build(tmp_path / "tree")
    person.moves(tmp_path / "tree", database.url)
    (tmp_path / "tree" / SESSION).write_text('{"session_id":"one","status":"newest"}')
    (tmp_path / "somebodys").mkdir()
    (tmp_path / "somebodys" / "own.txt").write_text("mine")
    for target in ("tree", "somebodys"):
        for rehearsal in ((), ("--dry-run",)):
            words = ("validate", database.url, tmp_path / target, "--jobs", "1", "--repair", *rehearsal)
            _, hint = refused(person.types(*words, "--delete-extra"), "CF708", 7)
            assert target == "somebodys" or hint.startswith(f"crossfade validate file://{tmp_path}/tree ")

    assert "newest" in (tmp_path / "tree" / SESSION).read_text()
    assert [path.name for path in (tmp_path / "somebodys").iterdir()] == ["own.txt"]
    assert database.one("SELECT count(*) FROM migrations") == 1


def test_files_that_another_migration_reads_are_never_mended(person: Person, database: Database, tmp_path: Path):
    """They came out of the database, and are moved on from there into another tree."""
    _build(tmp_path / "tree")
    person.moves(tmp_path / "tree", database.url)
    person.moves(database.url, tmp_path / "back")
    person.moves(tmp_path / "back", f"{database.url}&store=on")
    (tmp_path / "back" / SESSION).write_text("{}")
    words = ("validate", database.url, tmp_path / "back", "--store-name", "tree", "--jobs", "1", "--repair")
    _, hint = refused(person.types(*words), "CF708", 7)

    assert (tmp_path / "back" / SESSION).read_text() == "{}"
    assert Person(tmp_path / "elsewhere").types(*words_of(hint), "--jobs", "1").status == 0
    assert (tmp_path / "back" / SESSION).read_text() == "{}"


def _meddling(monkeypatch: pytest.MonkeyPatch, deed: Callable[[], object]) -> None:
    """A program that writes into the target once what is to be mended was listed."""
    apply, done = Carrier._apply, list[object]()

    def meddle(self: Any, page: Any, records: int) -> Any:
        if not done:
            done.append(deed() or True)
        return apply(self, page, records)

    monkeypatch.setattr(Carrier, "_apply", meddle)


@pytest.mark.parametrize("deed", ["write", "remove", "touch"])
def test_what_is_written_while_it_is_mended_stays(own: Pair, deed: str, monkeypatch: pytest.MonkeyPatch):
    """Exit 3, and the path: nobody's write is covered, nor undone by the next round. The others are mended."""
    if own.target is own.files:
        path, deeds = own.files / SESSION, _DONE_TO_FILES
        path.write_text("wrong")
        (own.files / BLOB).write_text("wrong")
        _meddling(monkeypatch, lambda: deeds[deed](path))
    else:
        own.database.run("UPDATE sessions SET status = 'x'", f"UPDATE other SET raw = 'x' WHERE entry_id = {_id(BLOB)}")
        _meddling(monkeypatch, lambda: own.database.run(_DONE_TO_ROWS[deed]))
    run = own.talks("--repair")

    assert run.status == 3, run
    assert f"left as it is: {SESSION}; somebody wrote there meanwhile" in run.err
    monkeypatch.undo()
    assert {each["path"] for each in own.says(status=3)["differences"]} >= {SESSION}
    assert BLOB not in {each["path"] for each in own.says(status=3)["differences"]}
    if own.target is own.files:
        assert (own.files / SESSION).exists() is (deed != "remove")
        assert deed == "remove" or (own.files / SESSION).read_text() == {"write": "theirs", "touch": "wrong"}[deed]
    assert own.talks("--repair", "--delete-extra").status == 0


_DONE_TO_FILES: dict[str, Callable[[Path], object]] = {
    "write": lambda path: path.write_text("theirs"),
    "remove": lambda path: path.unlink(),
    "touch": lambda path: path.chmod(0o600),
}
_DONE_TO_ROWS = {
    "write": f"UPDATE entries SET generation = generation + 1, digest = sha256('x') WHERE path = '{SESSION}'",
    "remove": f"DELETE FROM entries WHERE path = '{SESSION}'",
    "touch": f"UPDATE entries SET mtime_ns = 5 WHERE path = '{SESSION}'",
}


def test_what_somebody_makes_where_something_was_missing_stays(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A rename would cover it."""
    own = _in_step("to files", database, tmp_path)
    (own.files / SESSION).unlink()
    _meddling(monkeypatch, lambda: (own.files / SESSION).write_text("theirs"))

    assert own.talks("--repair").status == 3
    assert (own.files / SESSION).read_text() == "theirs"


def test_a_difference_takes_the_proof_away(person: Person, database: Database, tmp_path: Path):
    """What was proven once is not by that: the next start looks, and no authority changes hands, until it is proven anew."""
    _build(tmp_path / "tree")
    person.moves(tmp_path / "tree", database.url)
    pair = Pair(person, database, tmp_path / "tree", tmp_path / "tree", database.url)
    assert "already there" in person.moves(tmp_path / "tree", database.url).out
    pair.sql("UPDATE sessions SET status = 'x'")
    pair.says(status=3)

    assert database.all("SELECT phase, proved_at FROM migrations") == [("different", None)]
    assert person.types("start", tmp_path / "tree", database.url, "--once", "--incremental").status == 3
    pair.sql("UPDATE sessions SET status = 'Running'")
    pair.says(status=0)
    assert database.all("SELECT phase, proved_at IS NULL FROM migrations") == [("copied", False)]
    assert "already there" in person.moves(tmp_path / "tree", database.url).out


def test_repair_finds_the_tree_by_its_name_and_transient_rule(person: Person, database: Database, tmp_path: Path):
    """The options that a migration was begun with need not be said again, and no second tree is made."""
    _build(tmp_path / "tree")
    (tmp_path / "tree" / "resume_locks").mkdir()
    (tmp_path / "tree" / "resume_locks" / "one.lock").write_text('{"pid":1}')
    person.moves(tmp_path / "tree", database.url, "--store-name", "mine", "--include-transient")
    database.run("DELETE FROM sessions")
    run = person.types("validate", tmp_path / "tree", database.url, "--jobs", "1", "--repair")

    assert run.status == 0, run
    assert database.all("SELECT name FROM stores") == [("mine",)]
    assert database.one("SELECT count(*) FROM sessions") == 1
    assert database.one("SELECT count(*) FROM entries WHERE path = 'resume_locks/one.lock' AND type = 'file'") == 1


def test_repair_mends_more_than_it_names(own: Pair):
    """--max-report is for the reader."""
    for number in range(7):
        (own.files / "notes" / f"{number}.txt").write_text("x")
    if own.target is own.files:
        found = own.says("--max-report", "3", status=3)
        assert len(found["differences"]) == 3
        assert found["classes"] == {"extra": 7, "metadata": 1}
        assert "  and 5 more; --max-report names more" in own.talks("--max-report", "3").out
        assert own.talks("--max-report", "3", "--repair", "--delete-extra").status == 0
    else:
        assert own.says("--max-report", "3", status=3)["classes"] == {"metadata": 1, "missing": 7}
        assert own.talks("--max-report", "3", "--repair").status == 0
    assert own.says(status=0)["classes"] == {}


# Quarantine


def _with_a_refused_record(person: Person, database: Database, tmp_path: Path) -> Pair:
    """A copy in which the server has refused the columns of one."""
    _build(tmp_path / "tree")
    person.moves(tmp_path / "tree", database.url)
    database.run("ALTER TABLE events ADD CONSTRAINT no_evil CHECK (id <> 'evil')")
    with (tmp_path / "tree" / UNEVEN).open("a") as file:
        file.write('{"id":"evil"}\n')
    person.moves(tmp_path / "tree", database.url, status=4)
    return Pair(person, database, tmp_path / "tree", tmp_path / "tree", database.url)


def test_a_record_in_quarantine_is_no_difference_but_4(person: Person, database: Database, tmp_path: Path):
    """Its bytes are kept; the columns of one row are missing, and everybody knows why."""
    pair = _with_a_refused_record(person, database, tmp_path)

    found = pair.says(status=4)
    assert [(each["path"], each["class"]) for each in found["differences"]] == [(UNEVEN, "quarantined")]
    assert [step["command"] for step in found["next_steps"]] == [f"crossfade quarantine {found['migration']} list"]
    assert "equal, but for what is in quarantine: crossfade quarantine " in pair.talks().out

    (tmp_path / "tree" / SESSION).chmod(0o600)
    assert pair.says(status=3)["classes"] == {"quarantined": 1, "metadata": 1}


def test_what_is_ignored_is_no_difference_and_counted_apart(person: Person, database: Database, tmp_path: Path):
    """Somebody looked at it, and said so: a record whose columns the server refused, then an entry that no directory takes."""
    pair = _with_a_refused_record(person, database, tmp_path)
    assert pair.says(status=4)["ignored"] == 0
    _ignored_by_all(pair, 1)

    database.run(rf"UPDATE entries SET path = '../one', key = '\x2e2e006f6e65' WHERE path = '{SESSION}'")
    person.moves(database.url, tmp_path / "restored", status=4)
    _ignored_by_all(Pair(person, database, tmp_path / "restored", database.url, tmp_path / "restored"), 2)


def _ignored_by_all(pair: Pair, count: int) -> None:
    """Its items are ignored: the pair is equal, and both ``validate`` and a copy that is proven anew count the entries apart."""
    migration = pair.says(status=4)["migration"]
    assert pair.person.types("quarantine", migration, "ignore", "--store", pair.database.url).status == 0
    found = pair.says(status=0)
    assert (found["state"], found["ignored"], found["classes"], found["differences"]) == ("equal", count, {}, [])
    talk = pair.talks().out
    assert f"  ignored in quarantine: {'1 entry' if count == 1 else f'{count} entries'}\n" in talk
    assert "crossfade quarantine" not in talk
    certified = pair.person.moves(pair.source, pair.target, "--certificate", pair.person.home / "made.json", "--json")
    assert (said(certified)["validation"]["ignored"], said(certified)["validation"]["state"]) == (count, "equal")


def test_an_entry_in_quarantine_is_no_difference_but_4(person: Person, database: Database, tmp_path: Path):
    """A path that would leave the root is not restored; ``quarantine show`` has its bytes."""
    _build(tmp_path / "tree")
    person.moves(tmp_path / "tree", database.url)
    database.run(rf"UPDATE entries SET path = '../one', key = '\x2e2e006f6e65' WHERE path = '{SESSION}'")
    person.moves(database.url, tmp_path / "restored", status=4)
    pair = Pair(person, database, tmp_path / "restored", database.url, tmp_path / "restored")

    found = pair.says(status=4)
    assert [(each["path"], each["class"]) for each in found["differences"]] == [("../one", "quarantined")]
    assert not (tmp_path / "one").exists()
    shown = person.types("quarantine", found["migration"], "show", database.one("SELECT item_id FROM quarantine"))
    assert shown.out == '{"session_id":"one","status":"Running"}'


# How much, and how far


def _many(root: Path, count: int) -> None:
    (root / "sessions").mkdir(parents=True)
    (root / "notes").mkdir()
    for number in range(count):
        (root / "sessions" / f"{number:05}.json").write_text(f'{{"session_id":"{number}"}}')
        (root / "notes" / f"{number:05}.txt").write_text(str(number))


def test_a_sample_is_the_same_for_the_same_seed(person: Person, database: Database, tmp_path: Path):
    """The seed is printed; what is in the sample is found, what is not is not looked at, and metadata always is."""
    _many(tmp_path / "tree", 200)
    person.moves(tmp_path / "tree", database.url)
    pair = Pair(person, database, tmp_path / "tree", tmp_path / "tree", database.url)

    run = pair.talks("--sample-percentage", "10", "--seed", "7")
    assert "(content of a 10 % sample, seed 7)" in run.out
    one, other = (pair.says("--sample-percentage", "10", "--seed", seed, status=0) for seed in ("7", "8"))
    assert one["sample"] == {"percentage": 10.0, "seed": 7}
    assert 20 <= one["compared"] <= 70
    again = pair.says("--sample-percentage", "10", "--seed", "7", status=0)
    assert _lasting(one) == _lasting(again)
    assert one["source_root"] != other["source_root"]

    extent = Extent(10.0, 7)
    inside, outside = (
        next(n for n in range(1, 200) if extent.takes(b"notes/%05d.txt" % n) is there) for there in (True, False)
    )
    _overwrite(tmp_path / "tree" / "notes" / f"{outside:05}.txt")
    assert pair.says("--sample-percentage", "10", "--seed", "7", status=0)["differences"] == []
    assert pair.finds(f"notes/{outside:05}.txt")["class"] == "content"
    _overwrite(tmp_path / "tree" / "notes" / f"{inside:05}.txt")
    assert pair.finds(f"notes/{inside:05}.txt", "--sample-percentage", "10", "--seed", "7")["class"] == "content"


def test_a_sample_bounds_the_content_and_nothing_else(person: Person, database: Database, tmp_path: Path):
    """The size of what is not in it is compared all the same; by default each sample is another, and says which."""
    _many(tmp_path / "tree", 40)
    person.moves(tmp_path / "tree", database.url)
    pair = Pair(person, database, tmp_path / "tree", tmp_path / "tree", database.url)
    seeds = {pair.says("--sample-percentage", "10", status=0)["sample"]["seed"] for _ in range(3)}
    assert len(seeds) > 1

    extent = Extent(10.0, 7)
    outside = next(n for n in range(1, 40) if not extent.takes(b"notes/%05d.txt" % n))
    path = tmp_path / "tree" / "notes" / f"{outside:05}.txt"
    status = path.stat()
    path.write_bytes(b"longer than it was")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    found = pair.finds(f"notes/{outside:05}.txt", "--sample-percentage", "10", "--seed", "7")
    assert (found["class"], found["detail"]) == ("content", f"18 bytes, here {status.st_size}")


def test_what_belongs_to_no_entry_is_found_beside_any_sample(person: Person, database: Database, tmp_path: Path):
    """Records without an entry, and a path in words that is another: there is no path by which a sample could leave them out."""
    _many(tmp_path / "tree", 40)
    person.moves(tmp_path / "tree", database.url)
    pair = Pair(person, database, tmp_path / "tree", tmp_path / "tree", database.url)
    sample = ("--sample-percentage", "99", "--seed", "7")
    database.run("""INSERT INTO sessions (store_id, entry_id, pos, body) VALUES (1, 999999, 0, '{"id":"nobody"}')""")
    assert pair.says(*sample, status=3)["classes"] == {"extra": 1}

    database.run("DELETE FROM sessions WHERE entry_id = 999999", "UPDATE entries SET path = 'e' WHERE path = 'notes'")
    assert pair.says(*sample, status=3)["classes"] == {"metadata": 1}
    assert pair.talks(*sample, "--repair").status == 0


@pytest.mark.parametrize("is_inside", [True, False])
def test_a_sample_is_taken_of_both_sides(person: Person, database: Database, tmp_path: Path, is_inside: bool):
    """A row that SQL planted in an entry is found where the entry is in the sample, whichever side has more."""
    _many(tmp_path / "tree", 40)
    person.moves(tmp_path / "tree", database.url)
    extent = Extent(10.0, 7)
    number = next(n for n in range(1, 40) if extent.takes(b"sessions/%05d.json" % n) is is_inside)
    path = f"sessions/{number:05}.json"
    database.run(f"INSERT INTO sessions (store_id, entry_id, pos, body) VALUES (1, {_id(path)}, 99, '{{}}')")
    for source, target in ((tmp_path / "tree", database.url), (database.url, tmp_path / "tree")):
        words = ("validate", source, target, "--jobs", "1", "--json", "--sample-percentage", "10", "--seed", "7")
        found = said(person.types(*words))
        assert [each["path"] for each in found["differences"]] == ([path] if is_inside else [])


def _overwrite(path: Path) -> None:
    """Other bytes, the same size and time."""
    status = path.stat()
    path.write_bytes(b"#" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_an_interrupted_validation_goes_on_where_it_stopped(person: Person, database: Database, tmp_path: Path):
    """What was found before counts; the roots are those of a validation in one piece. Other options begin anew."""
    _many(tmp_path / "tree", 600)
    person.moves(tmp_path / "tree", database.url)
    pair = Pair(person, database, tmp_path / "tree", tmp_path / "tree", database.url)
    _overwrite(tmp_path / "tree" / "notes" / "00003.txt")
    whole = pair.says(status=3)

    _interrupt(tmp_path / "tree", database.url)
    assert pair.says("--max-report", "5", status=3)["resumed"] is False
    found = pair.says(status=3)
    assert found["resumed"] is True
    assert _lasting(found) == _lasting(whole) | {"resumed": True}

    assert pair.says(status=3)["resumed"] is False
    _interrupt(tmp_path / "tree", database.url)
    assert "went on where an interrupted validation stopped" in pair.talks().out
    _interrupt(tmp_path / "tree", database.url)
    person.moves(tmp_path / "tree", database.url)
    assert pair.says(status=0)["resumed"] is False


def _interrupt(source: Path, url: str) -> None:
    """As Ctrl-C does, after the first batch."""
    stop = threading.Event()
    with sides(parse(str(source)), parse(url), "") as pair, pytest.raises(Interrupted):
        compare_sides(pair, Options(Extent(), jobs=1), watch=lambda _: stop.set(), stop=stop)


# Stores that never met


def test_stores_that_never_met_are_compared_all_the_same(person: Person, database: Database, tmp_path: Path):
    """It says so; and nothing is written down about the pair."""
    _build(tmp_path / "tree")
    person.moves(tmp_path / "tree", database.url)
    shutil.copytree(tmp_path / "tree", tmp_path / "twin", symlinks=True)
    pair = Pair(person, database, tmp_path / "twin", tmp_path / "twin", database.url)

    run = pair.talks()
    assert run.status == 0, run
    assert "no migration of " in run.err
    back = Pair(person, database, tmp_path / "twin", database.url, tmp_path / "twin")
    assert back.says(status=0)["migration"] is None
    (tmp_path / "twin" / SESSION).write_text("{}")
    assert pair.finds(SESSION)["class"] == "content"
    assert database.one("SELECT count(*) FROM migrations") == 1


def test_empty_against_full(person: Person, database: Database, tmp_path: Path):
    """All of it is missing, or too much; never equal."""
    _build(tmp_path / "tree")
    person.moves(tmp_path / "tree", database.url)
    (tmp_path / "void").mkdir()
    full = person.types("validate", tmp_path / "void", database.url, "--jobs", "1", "--json")
    assert full.status == 3, full
    assert said(full)["classes"]["extra"] == 14
    away = person.types("validate", database.url, tmp_path / "void", "--jobs", "1", "--json")
    assert away.status == 3, away
    assert said(away)["classes"]["missing"] == 14

    void = f"{database.url}&store=void"
    person.moves(tmp_path / "void", void, "--allow-empty")
    nothing = person.types("validate", tmp_path / "tree", void, "--jobs", "1", "--json")
    assert nothing.status == 3, nothing
    assert said(nothing)["classes"]["missing"] == 14
    both = person.types("validate", tmp_path / "void", void, "--jobs", "1")
    assert both.status == 0, both
