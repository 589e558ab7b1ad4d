"""``start --once`` ends with a full validation: whatever was done under the copy, by triggers, SQL or by hand, is found by itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossfade.errors import ContentDiffers, SourceMoved
from crossfade.migrate.engine import Engine
from crossfade.migrate.follow.live import Live
from crossfade.migrate.plan import Manner
from crossfade.migrate.prepare import Request, prepared
from crossfade.migrate.tally import Result
from crossfade.migrate.validate import ending
from crossfade.migrate.validate.measure import Comparer
from crossfade.migrate.validate.verdict import Verdict
from crossfade.observe.progress import Progress
from crossfade.store.location import parse
from support.person import Person, refused, said
from support.running import Terminal
from support.servers import Database

LOG = "events/repo/job-1/events-20251116_101500.jsonl"
OTHER = "events/repo/job-2/events-20251116_101500.jsonl"
SESSION = "sessions/one.json"
LINE, LINES = 4096, 625
SEGMENT = 1 << 20


def _line(number: int) -> str:
    head = f'{{"id":"{number:06}","timestamp":"2025-11-16T10:15:00Z","event":{{"event_type":"agent_started"}},"pad":"'
    return head + "x" * (LINE - len(head) - 3) + '"}\n'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A log of three segments, a short one, a document, something else, a directory."""
    root = tmp_path / "tree"
    for name in (LOG, OTHER, SESSION):
        (root / name).parent.mkdir(parents=True)
    (root / LOG).write_text("".join(map(_line, range(LINES))))
    (root / OTHER).write_text('{"id":"a"}\n{"id":"b","event":{"event_type":"rare"}}\n')
    (root / SESSION).write_text('{"session_id":"one","status":"Running"}')
    (root / "notes.txt").write_text("some")
    (root / "empty").mkdir()
    return root


@pytest.fixture
def prepared_database(person: Person, database: Database, tmp_path: Path) -> Database:
    """With all tables, so that they can get triggers before the first record comes."""
    (tmp_path / "void").mkdir()
    person.moves(tmp_path / "void", f"{database.url}&store=void", "--allow-empty")
    return database


def _trigger(database: Database, table: str, body: str, when: str = "BEFORE") -> None:
    """Something in the database that alters what comes in; ``NEW`` is a row."""
    database.run(
        f"CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$",
        f"CREATE TRIGGER meddle {when} INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION meddle()",
    )


AT = SEGMENT + 7 * LINE
_HERE = f"IF NEW.pos = {AT} THEN"

PLANTED: dict[str, tuple[str, str, tuple[str, str, int | None]]] = {
    "a wrong column": ("events", f"{_HERE} NEW.event_type := 'agent_failed'; END IF;", ("column", LOG, AT)),
    "a column that is gone": ("events", f"{_HERE} NEW.occurred_at := NULL; END IF;", ("column", LOG, AT)),
    "another time": ("events", f"{_HERE} NEW.occurred_at := NEW.occurred_at + interval '1us'; END IF;", ("column", LOG, AT)),
    "a wrong reason": ("events", f"{_HERE} NEW.reason := 'nul'; END IF;", ("column", LOG, AT)),
    "bytes for JSON": (
        "events",
        f"{_HERE} NEW.raw := convert_to(NEW.body::text, 'UTF8'); NEW.body := NULL; END IF;",
        ("column", LOG, AT),
    ),
    "a flipped byte": (
        "events",
        f"{_HERE} NEW.body := replace(NEW.body::text, 'xxx\"', 'xxy\"')::json; END IF;",
        ("content", LOG, SEGMENT),
    ),
    "a record that is dropped": ("events", f"{_HERE} RETURN NULL; END IF;", ("content", LOG, SEGMENT)),
    "a record that is moved": ("events", f"{_HERE} NEW.pos := NEW.pos + 1; END IF;", ("column", LOG, AT)),
    "a byte that is another record's": (
        "events",
        f"""{_HERE} NEW.body := rtrim(NEW.body::text, E'\\n')::json; END IF;
            IF NEW.pos = {AT + LINE} THEN NEW.body := (E'\\n' || NEW.body::text)::json; END IF;""",
        ("column", LOG, AT + LINE),
    ),
    "a document that is dropped": ("sessions", "RETURN NULL;", ("content", SESSION, 0)),
    "a wrong column of a document": ("sessions", "NEW.status := 'Completed';", ("column", SESSION, 0)),
    "another mode": ("entries", f"IF NEW.path = '{SESSION}' THEN NEW.mode := 384; END IF;", ("metadata", SESSION, None)),
    "another time of a file": (
        "entries",
        "IF NEW.path = 'notes.txt' THEN NEW.mtime_ns := NEW.mtime_ns + 1; END IF;",
        ("metadata", "notes.txt", None),
    ),
    "another mode of a directory": (
        "entries",
        "IF NEW.path = 'empty' THEN NEW.mode := 448; END IF;",
        ("metadata", "empty", None),
    ),
}


@pytest.mark.parametrize("what", PLANTED)
def test_whatever_the_database_makes_of_it_is_found(what: str, person: Person, prepared_database: Database, tree: Path):
    """Exit 3, the path, and the very record; said to people and to programs; and every time that it is asked."""
    table, body, (klass, path, offset) = PLANTED[what]
    _trigger(prepared_database, table, body)
    run = person.types("start", tree, prepared_database.url, "--once", "--store-name", "tree", "--json")

    assert run.status == 3, run
    assert "error[CF301]" in run.err
    assert "--repair" in run.err
    value = said(run)
    found = next(each for each in value["validation"]["differences"] if each["path"] == path)
    assert (found["class"], found["offset"]) == (klass, offset)
    assert (value["state"], value["validation"]["holds"], value["validation"]["state"]) == ("different", False, "different")

    again = person.types("start", tree, prepared_database.url, "--once", "--store-name", "tree")
    assert again.status == 3, again
    assert any(line.split()[:2] == [klass, f"{path}:"] for line in again.out.splitlines())
    status = person.asks("status", "--store", prepared_database.url, *([value["migration"]]))
    assert status["state"] == "different"


def test_what_was_found_can_be_mended(person: Person, prepared_database: Database, tree: Path):
    """By the command that it names; the next start is content."""
    _trigger(prepared_database, "events", PLANTED["a wrong column"][1])
    first = person.types("start", tree, prepared_database.url, "--once", "--store-name", "tree")
    assert first.status == 3, first
    prepared_database.run("DROP TRIGGER meddle ON events")
    assert person.types("validate", tree, prepared_database.url, "--store-name", "tree", "--repair").status == 0
    run = person.moves(tree, prepared_database.url, "--store-name", "tree")
    assert "proven: " in run.out


def test_rows_that_nobody_sent_are_found(person: Person, prepared_database: Database, tree: Path):
    """They would be counted by everybody's queries."""
    _trigger(
        prepared_database,
        "events",
        f"""IF NEW.pos = 0 THEN INSERT INTO "{prepared_database.location.schema}".sessions (store_id, entry_id, pos, body)
           VALUES (NEW.store_id, NEW.entry_id + 1000000, 0, '{{"id":"x"}}'); END IF;""",
        "AFTER",
    )
    run = person.types("start", tree, prepared_database.url, "--once", "--store-name", "tree", "--json")

    assert run.status == 3, run
    found = {(each["class"], each["kind"]) for each in said(run)["validation"]["differences"]}
    assert ("extra", "sessions") in found


def test_a_run_that_ends_well_says_what_it_compared(person: Person, database: Database, tree: Path):
    """Nothing was read twice: the source was read when it was copied."""
    run = person.types("start", tree, database.url, "--once", "--json")

    assert run.status == 0, run
    found = said(run)["validation"]
    assert found["holds"] is True
    assert (found["compared"], found["files"], found["records"]) == (11, 4, LINES + 2 + 1 + 1)
    assert found["bytes"] == sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
    assert found["questions"] > 40
    assert found["read"] == []
    assert found["differences"] == []
    validated = said(person.types("validate", tree, database.url, "--json"))
    assert validated["source_root"] == found["source_root"] == found["target_root"]
    assert validated["questions"] == found["questions"]


def _interfered(
    source: object, target: object, step: str, deed: Callable[[], object], *, name: str = "", workers: int = 1
) -> Result:
    """``start --once`` in this process, and *deed* as soon as *step* begins."""
    done: list[object] = []

    def watch(progress: Progress) -> None:
        if progress.step == step and not done:
            done.append(deed() or True)

    request = Request(parse(str(source)), parse(str(target)), store_name=name, manner=Manner(workers=workers))
    with prepared(request) as run:
        engine = Engine(run, watch=watch, stop=threading.Event())
        try:
            return engine.once()
        except ContentDiffers:
            assert engine.different is not None
            return engine.different
        finally:
            assert done


def _found(result: Result) -> dict[tuple[str, str], Any]:
    return {(each["class"], each["path"]): each for each in result.report["validation"]["differences"]}


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_done_by_sql_before_the_end_is_found(database: Database, tree: Path, workers: int):
    """Records, columns and entries alike."""

    def deed() -> None:
        database.run(
            f"UPDATE events SET event_type = 'x' WHERE pos = {AT}",
            "DELETE FROM sessions",
            "UPDATE entries SET digest = sha256('') WHERE path = 'notes.txt'",
            "UPDATE entries SET mode = 448 WHERE path = 'empty'",
        )

    found = _found(_interfered(tree, database.url, "building indexes", deed, workers=workers))
    assert found[("column", LOG)]["offset"] == AT
    assert ("content", SESSION) in found
    assert ("content", "notes.txt") in found
    assert ("metadata", "empty") in found


_BOOKS = """UPDATE entries e SET digest = sha256(segments.whole), size = segments.size FROM (
    SELECT entry_id, string_agg(digest, ''::bytea ORDER BY number) AS whole, sum(size) AS size FROM (
        SELECT entry_id, pos / 1048576 AS number, sum(octet_length(data)) AS size,
               sha256(string_agg(data, ''::bytea ORDER BY pos)) AS digest
        FROM (SELECT entry_id, pos, coalesce(raw, convert_to(body::text, 'UTF8')) AS data FROM {kind}) AS record
        GROUP BY entry_id, number) AS segment
    GROUP BY entry_id) AS segments
    WHERE segments.entry_id = e.entry_id AND e.kind = '{kind}'"""


@pytest.mark.parametrize(
    ("kind", "wrong", "path"),
    [
        ("events", f"UPDATE events SET body = replace(body::text, 'xxx\"', 'xxy\"')::json WHERE pos = {AT}", LOG),
        ("other", "UPDATE other SET raw = 'more'", "notes.txt"),
    ],
)
def test_content_is_compared_with_what_passed_by_and_not_with_the_books(
    database: Database, tree: Path, kind: str, wrong: str, path: str
):
    """Whoever changes a record may change what its entry says of it as well; the source said something else."""
    found = _interfered(tree, database.url, "building indexes", lambda: database.run(wrong, _BOOKS.replace("{kind}", kind)))

    value = found.report["validation"]
    assert ("content", path) in _found(found)
    assert value["read"] == [kind]
    assert value["source_root"] != value["target_root"]


def test_a_file_that_changes_while_a_kind_is_read_after_all_is_named(
    database: Database, tree: Path, monkeypatch: pytest.MonkeyPatch
):
    """Exit 6 there, too: what differs in the target is found by the same command, once the source holds still."""
    compare, passed = ending._Ending._compare, list[frozenset[str]]()

    def append(self: Any, workers: Any, seen: dict[str, Any]) -> Any:
        passed.append(frozenset(seen))
        if len(passed) == 2:
            with (tree / OTHER).open("a") as log:
                log.write("{}\n")
        return compare(self, workers, seen)

    monkeypatch.setattr(ending._Ending, "_compare", append)
    spoil = f"UPDATE events SET event_type = 'x' WHERE pos = {AT}"
    with pytest.raises(SourceMoved, match="job-2"):
        _interfered(tree, database.url, "building indexes", lambda: database.run(spoil))
    assert passed[0] - passed[1] == {"events"}


def test_a_file_that_changes_before_the_end_is_named(database: Database, tree: Path):
    """Exit 6, not 3: the source moved, and the same command brings it over."""
    with pytest.raises(SourceMoved, match=r"sessions/one\.json"):
        _interfered(tree, database.url, "building indexes", lambda: (tree / SESSION).write_text("{}"))
    with pytest.raises(SourceMoved, match=r"2 of the source's entries.*new"):  # with its directory
        _interfered(tree, database.url, "building indexes", lambda: (tree / "new").write_text("{}"))


def _overtaken(monkeypatch: pytest.MonkeyPatch, tree: Path, database: Database, *meddling: str) -> Verdict:
    """The proof of a copy that is followed, in which a log grew before the proof, and *meddling* was done in the target."""
    judged: list[Verdict] = []
    monkeypatch.setattr(Engine, "is_followed", True)
    monkeypatch.setattr(Engine, "_judge", lambda _self, verdict, _final: judged.append(verdict))

    def deed() -> None:
        with (tree / OTHER).open("a") as log:
            log.write('{"id":"c"}\n')
        database.run(*meddling)

    _interfered(tree, database.url, "building indexes", deed)
    (verdict,) = judged
    assert (verdict.findings.moved, verdict.findings.moved_count) == ([OTHER.encode()], 1)
    return verdict


def test_what_passed_by_is_proven_though_some_of_it_moved_on(
    monkeypatch: pytest.MonkeyPatch, database: Database, tree: Path
):
    """And without reading it again: what a program appends to its logs meanwhile is all the rule."""
    verdict = _overtaken(monkeypatch, tree, database)
    assert (verdict.exit, verdict.named, verdict.read, verdict.unasked) == (0, [], (), {})
    assert verdict.questions > 0


@pytest.mark.parametrize(
    ("wrong", "klass", "path"),
    [
        (f"UPDATE events SET event_type = 'x' WHERE pos = {AT}", "column", LOG),
        ("UPDATE events SET body = '{}' WHERE event_type = 'rare'", "content", OTHER),
    ],
)
def test_a_kind_of_which_some_moved_on_is_not_taken_for_proven(
    monkeypatch: pytest.MonkeyPatch, database: Database, tree: Path, wrong: str, klass: str, path: str
):
    """Neither what stayed as it was, nor what an entry had before it moved."""
    verdict = _overtaken(monkeypatch, tree, database, wrong)
    assert verdict.exit == 3
    assert (klass, path.encode()) in {(found.klass, found.path) for found in verdict.named}


def _followed(tree: Path, database: Database, *meddling: str) -> ContentDiffers | None:
    """What ends ``start``, which follows, in whose copy a log grew before the proof, and *meddling* was done in the target."""
    stop, done = threading.Event(), list[bool]()

    def watch(progress: Progress) -> None:
        if progress.step == "building indexes" and not done:
            done.append(True)
            with (tree / OTHER).open("a") as log:
                log.write('{"id":"c"}\n')
            database.run(*meddling)
        if progress.step == "following":
            stop.set()

    with prepared(Request(parse(str(tree)), parse(database.url), manner=Manner(workers=1))) as run:
        try:
            Live(run, watch=watch, stop=stop, grace_seconds=0.0).follow()
        except ContentDiffers as differs:
            return differs
    return None


def test_a_copy_that_is_followed_is_proven_though_a_log_grew(database: Database, tree: Path):
    assert _followed(tree, database) is None
    assert database.one("SELECT proved_at FROM migrations") is not None


def test_a_copy_that_is_followed_is_not_taken_for_one_because_something_else_moved(database: Database, tree: Path):
    """It ends with the difference, as it would if nothing had moved."""
    differs = _followed(tree, database, f"UPDATE events SET event_type = 'x' WHERE pos = {AT}")
    assert differs is not None
    assert LOG in differs.sentence
    assert database.all("SELECT phase, proved_at FROM migrations") == [("different", None)]


def _edit(path: Path, at: int, data: bytes) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


DONE_TO_FILES: dict[str, tuple[Callable[[Path], object], tuple[str, str]]] = {
    "a flipped byte": (lambda root: _edit(root / LOG, SEGMENT + 100, b"!"), ("content", LOG)),
    "a missing line": (lambda root: os.truncate(root / LOG, LINE * (LINES - 1)), ("content", LOG)),
    "another mode": (lambda root: (root / SESSION).chmod(0o600), ("metadata", SESSION)),
    "another time": (lambda root: os.utime(root / SESSION, ns=(0, 5)), ("metadata", SESSION)),
    "a file that is gone": (lambda root: (root / SESSION).unlink(), ("missing", SESSION)),
    "a stranger": (lambda root: (root / "stranger").write_text("x"), ("extra", "stranger")),
    "a directory instead": (lambda root: ((root / SESSION).unlink(), (root / SESSION).mkdir()), ("content", SESSION)),
}


@pytest.mark.parametrize("what", DONE_TO_FILES)
def test_what_is_done_to_restored_files_is_found(what: str, person: Person, database: Database, tree: Path, tmp_path: Path):
    """The database is the source, and did not move: that is a difference."""
    person.moves(tree, database.url)
    deed, wanted = DONE_TO_FILES[what]
    target = tmp_path / "restored"

    assert wanted in _found(_interfered(database.url, target, "validating", lambda: deed(target)))


def test_the_source_may_change_under_a_restore(person: Person, database: Database, tree: Path, tmp_path: Path):
    """Exit 6: what it changed to comes over with the same command."""
    person.moves(tree, database.url)
    (tree / SESSION).write_text('{"session_id":"one","status":"Completed"}')
    with pytest.raises(SourceMoved, match=r"sessions/one\.json"):
        _interfered(database.url, tmp_path / "restored", "validating", lambda: person.moves(tree, database.url))
    person.moves(database.url, tmp_path / "restored")
    assert "Completed" in (tmp_path / "restored" / SESSION).read_text()


def moves(terminal: Terminal, tree: Path, database: Database) -> None:
    """From another process: what compares is no place for another command."""
    done = terminal.run("start", tree, database.url, "--once")
    assert done.status == 0, done


def test_the_source_may_change_while_its_figures_are_asked_for(
    person: Person, terminal: Terminal, database: Database, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It was listed before: what is found then is no difference."""
    person.moves(tree, database.url)
    compare, changed = Comparer.compare, list[bool]()

    def change(self: Comparer, pairs: Any) -> Any:
        if not changed:
            changed.append(True)
            (tree / SESSION).write_text('{"session_id":"one","status":"Completed"}')
            moves(terminal, tree, database)
        return compare(self, pairs)

    monkeypatch.setattr(Comparer, "compare", change)
    with pytest.raises(SourceMoved, match=r"1 of the source's entries .*sessions/one\.json"):
        _interfered(database.url, tmp_path / "restored", "validating", lambda: None)


@pytest.mark.parametrize("step", ["validating", "comparing"])
def test_a_log_of_the_source_may_grow_under_a_restore(
    person: Person,
    terminal: Terminal,
    database: Database,
    tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
):
    """Before it is listed for the proof, and afterwards: it moved, and nothing differs."""
    person.moves(tree, database.url)

    def grow() -> None:
        if (tree / OTHER).stat().st_size < 100:
            with (tree / OTHER).open("a") as log:
                log.write('{"id":"c","event":{"event_type":"late"}}\n')
            moves(terminal, tree, database)

    if step == "comparing":
        compare = Comparer.compare
        monkeypatch.setattr(Comparer, "compare", lambda self, pairs: grow() or compare(self, pairs))
    with pytest.raises(SourceMoved, match=r"1 of the source's entries .*job-2"):
        _interfered(database.url, tmp_path / "restored", "validating", grow if step == "validating" else lambda: None)


def test_the_source_may_change_while_it_is_asked_questions(
    person: Person, database: Database, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Then its answers are another time's, and say nothing."""
    person.moves(tree, database.url)
    ask = ending.compare_answers

    def change(*arguments: Any) -> Any:
        monkeypatch.setattr(ending, "compare_answers", ask)
        (tree / SESSION).write_text('{"session_id":"one","status":"Completed"}')
        person.moves(tree, database.url)
        return ask(*arguments)

    monkeypatch.setattr(ending, "compare_answers", change)
    result = _interfered(database.url, tmp_path / "restored", "validating", lambda: None)
    assert result.verdict is not None
    assert (result.verdict.exit, result.verdict.unasked) == (0, {"sessions": "something came over meanwhile"})


def test_columns_of_the_database_are_checked_on_the_way_back(person: Person, database: Database, tree: Path, tmp_path: Path):
    """What validation compares, the end of every copy compares: the restored bytes say what the columns should be."""
    person.moves(tree, database.url)
    database.run(f"UPDATE events SET event_type = 'x' WHERE pos = {AT}")
    run = person.types("start", database.url, tmp_path / "restored", "--once", "--json")

    assert run.status == 3, run
    (found,) = [each for each in said(run)["validation"]["differences"] if each["class"] == "column"]
    assert (found["path"], found["offset"]) == (LOG, AT)
    assert (tmp_path / "restored" / LOG).read_bytes() == (tree / LOG).read_bytes()


def test_a_run_that_was_resumed_reads_what_it_did_not_see(terminal: Terminal, database: Database, tree: Path):
    """What passed by in the run before is not known any more, and may have changed since."""
    killed = terminal.run(
        *("start", tree, database.url, "--once", "--workers", "1", "--batch-bytes", "400KiB"),
        CROSSFADE_FAILPOINT="postgres.page:after@5",
    )
    assert killed.status < 0, killed
    assert database.one("SELECT min(number) FROM segments") == 0
    database.run(f"UPDATE events SET event_type = 'x' WHERE pos = {7 * LINE}")
    run = terminal.run("start", tree, database.url, "--once", "--json")

    assert run.status == 3, run
    found = said(run)["validation"]
    assert "events" in found["read"]
    assert [(each["class"], each["offset"]) for each in found["differences"]] == [("column", 7 * LINE), ("query", None)]


def test_a_run_that_adds_to_what_is_there_compares_all_of_it(person: Person, database: Database, tree: Path):
    """Old rows that were changed by SQL since are found with the next thing that comes over."""
    person.moves(tree, database.url)
    database.run("UPDATE sessions SET status = 'x'")
    (tree / "sessions" / "two.json").write_text('{"session_id":"two","status":"Running"}')
    run = person.types("start", tree, database.url, "--once", "--json")

    assert run.status == 3, run
    found = {(each["class"], each["path"]) for each in said(run)["validation"]["differences"]}
    assert ("column", SESSION) in found
    assert database.all("SELECT phase, proved_at FROM migrations") == [("different", None)]  # what was proven once is not


def test_a_record_in_quarantine_is_no_difference(person: Person, prepared_database: Database, tree: Path):
    """Exit 4, and the rest of its kind is compared all the same."""
    prepared_database.run("ALTER TABLE events ADD CONSTRAINT none_rare CHECK (event_type <> 'rare')")
    arguments = ("start", tree, prepared_database.url, "--once", "--store-name", "tree", "--json")
    run = person.types(*arguments)

    assert run.status == 4, run
    found = said(run)["validation"]
    assert (found["holds"], found["state"], found["classes"]) == (True, "quarantined", {"quarantined": 1})

    prepared_database.run(f"UPDATE events SET event_type = 'x' WHERE pos = {AT}")
    (tree / "sessions" / "two.json").write_text("{}")
    run = person.types(*arguments)
    assert run.status == 3, run
    assert said(run)["validation"]["classes"] == {"quarantined": 1, "column": 1}


def test_a_record_whose_columns_a_server_refused_has_none(person: Person, prepared_database: Database, tree: Path):
    """That is no difference, and said, since questions about its kind prove nothing; whatever stands there after all is one."""
    refuse = "IF NEW.event_type = 'rare' THEN RAISE EXCEPTION 'no' USING ERRCODE = '22P02'; END IF;"
    _trigger(prepared_database, "events", refuse)
    run = person.moves(tree, prepared_database.url, "--store-name", "tree")
    assert "not asked, the server refused columns of some records: events" in run.out
    prepared_database.run("DROP TRIGGER meddle ON events")
    words = ("validate", tree, prepared_database.url, "--store-name", "tree", "--json")
    found = said(person.types(*words))
    assert (found["state"], found["unasked"]) == ("equal", ["events"])
    assert prepared_database.one("SELECT count(*) FROM events WHERE reason = 'server 22P02'") == 1

    prepared_database.run("UPDATE events SET id = 'x' WHERE reason = 'server 22P02'")
    assert [(each["class"], each["offset"]) for each in said(person.types(*words))["differences"]] == [("column", 11)]


def test_from_one_database_into_another(person: Person, database: Database, shared_database: Database, tree: Path):
    """The same proof, and nothing is read twice either."""
    person.moves(tree, database.url)
    first = person.types("start", database.url, f"{shared_database.url}&store=second", "--once", "--json")
    assert first.status == 0, first
    assert said(first)["validation"]["read"] == []
    _trigger(shared_database, "events", "NEW.repo := 'elsewhere';")
    try:
        second = person.types("start", database.url, f"{shared_database.url}&store=third", "--once")
    finally:
        shared_database.run("DROP TRIGGER meddle ON events", "DROP FUNCTION meddle")
    assert second.status == 3, second
    assert f"column      {LOG}: promoted columns, segment 0, offset 0" in second.out


def test_between_databases_what_is_done_to_the_target_is_no_move_of_the_source(
    person: Person, database: Database, shared_database: Database, tree: Path
):
    """The source has no marks, and says itself what it changed."""
    person.moves(tree, database.url)
    target = f"{shared_database.url}&store=other"
    of_other = "store_id = (SELECT store_id FROM stores WHERE name = 'other')"

    def meddle() -> None:
        shared_database.run(f"UPDATE entries SET mode = 384 WHERE path = '{SESSION}' AND {of_other}")

    assert ("metadata", SESSION) in _found(_interfered(database.url, target, "building indexes", meddle))


def test_between_databases_the_source_may_change_before_the_end(
    person: Person, database: Database, shared_database: Database, tree: Path
):
    person.moves(tree, database.url)
    (tree / SESSION).write_text('{"session_id":"one","status":"Completed"}')
    with (tree / OTHER).open("a") as log:
        log.write('{"id":"c"}\n')
    with pytest.raises(SourceMoved, match=r"[2-5] of the source's entries.*job-2"):
        _interfered(
            database.url,
            f"{shared_database.url}&store=changing",
            "building indexes",
            lambda: person.moves(tree, database.url),
        )


def test_a_pair_of_databases_is_validated_and_mended_by_words_and_by_id(
    person: Person, database: Database, shared_database: Database, tree: Path
):
    """Whatever their trees are called: the command that is proposed does it."""
    target = f"{shared_database.url}&store=other_name"
    person.moves(tree, database.url)
    person.moves(database.url, target)
    migration = person.asks("status", database.url, target)["migration"]
    for words in ((database.url, target), (migration, "--store", target)):
        assert said(person.types("validate", *words, "--json"))["state"] == "equal"
        shared_database.run(
            "UPDATE sessions SET status = 'x' WHERE store_id = (SELECT store_id FROM stores WHERE name = 'other_name')"
        )
        assert person.types("validate", *words).status == 3
        run = person.types("validate", *words, "--repair")
        assert run.status == 0, run
        assert "1 path mended" in run.err
    refused(person.types("validate", target, database.url, "--repair"), "CF708", 7)
    assert database.all("SELECT name FROM stores") == [("tree",)]


def test_strangers_that_may_stay_are_none_of_its_business(person: Person, database: Database, tree: Path, tmp_path: Path):
    """``--merge``."""
    person.moves(tree, database.url)
    (tmp_path / "restored").mkdir()
    (tmp_path / "restored" / "stranger").write_text("x")
    run = person.moves(database.url, tmp_path / "restored", "--merge")
    assert "proven: " in run.out


def test_progress_of_the_validation_is_told(person: Person, database: Database, tree: Path):
    """As that of the copy is."""
    run = person.moves(tree, database.url)
    assert "validating; 0 B of " in run.err
    refused(person.types("start", tree, database.url, "--once", "--certificate", tree.parent), "CF103", 1)
