"""What PostgreSQL holds after a copy, asked by plain SQL; and what happens to a page that something goes wrong with."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from crossfade.errors import Fenced
from crossfade.migrate.engine import Engine
from crossfade.migrate.plan import Limits, Manner
from crossfade.migrate.prepare import Request, prepared
from crossfade.migrate.tally import Result
from crossfade.model import layouts
from crossfade.model.changes import Page, Remove
from crossfade.model.entries import SEGMENT
from crossfade.observe import failpoints
from crossfade.store.backends.postgres import store as module
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.store import PostgresStore
from crossfade.store.layers.retrying import Patience, Retrying
from crossfade.store.location import parse
from crossfade.testing import hazards, prodigy
from crossfade.testing.contract import Bench, lines, puts
from support.servers import NAMES, Database
from support.stores import MIGRATION, claimed

SAMPLES = Path(__file__).parents[1] / "data" / "prodigy"
COMPARER = Path(__file__).parents[2] / "scripts" / "compare_trees.py"
PRODIGY = layouts.load("prodigy")


def move(source: str | Path, target: str | Path, **manner: object) -> Result:
    """``start --once``, in this process."""
    request = Request(parse(str(source)), parse(str(target)), manner=Manner(workers=1, **manner))  # type: ignore[arg-type]
    with prepared(request) as run:
        return Engine(run, watch=lambda progress: None, stop=threading.Event()).once()


def comparison(one: Path, other: Path) -> str:
    """The word of the comparer, which imports nothing of crossfade; without what the layout leaves behind."""
    left_out = [f"--exclude={pattern}" for pattern in hazards.LEFT_OUT]
    return subprocess.run(
        [sys.executable, COMPARER, *left_out, one, other], capture_output=True, text=True, check=False
    ).stdout


# Promoted columns


@pytest.fixture
def samples(database: Database) -> Database:
    """The real files of Prodigy, in a database."""
    files = [path for path in SAMPLES.rglob("*") if path.is_file()]
    assert len(files) > 30, "tests/data/prodigy is not complete"
    move(SAMPLES, database.url)
    return database


RENAMED = {"InProgress": "Running", "Interrupted": "Paused"}
"""The first generation's words, as Prodigy itself translates them."""


def documents(pattern: str) -> list[dict]:
    """The sample documents themselves, read by the standard library."""
    found = [json.loads(path.read_text()) for path in sorted(SAMPLES.glob(pattern))]
    assert found, pattern
    return found


def test_columns_of_real_checkpoints_are_filled(samples):
    """Every one of them, from the bytes: what an operator would ask for."""
    expected = {
        (d["workflow_id"], d["execution_state"]["status"], d["execution_state"]["current_step_index"], d["version"])
        for d in documents("local/.prodigy/checkpoints/*.json") + documents("local/merge-*.json")
    }
    rows = samples.all("SELECT workflow_id, status, step_index, version FROM checkpoints")

    assert set(rows) == expected
    assert len(rows) == len(list(SAMPLES.rglob("*.checkpoint.json")))
    assert samples.one("SELECT count(*) FROM checkpoints WHERE created_at IS NULL OR body IS NULL") == 0
    assert samples.one("SELECT count(*) FROM checkpoints WHERE (id IS NULL) <> (worktree_name IS NOT NULL)") == 0


def test_columns_of_real_job_states_are_filled(samples):
    """The last three versions of a job; DISTINCT ON finds the newest."""
    expected = sorted(
        (d["job_id"], d["checkpoint_version"], d["total_items"], d["successful_count"], d["is_complete"])
        for d in documents("jobs/*/checkpoint-v*.json")
    )
    columns = "job_id, version, total_items, successful_count, is_complete"

    assert samples.all(f"SELECT {columns} FROM job_states ORDER BY 1, 2") == expected
    assert samples.all(f"SELECT DISTINCT ON (job_id) {columns} FROM job_states ORDER BY job_id, version DESC") == [
        expected[-1]
    ]
    assert samples.one("SELECT count(*) FROM job_states WHERE started_at IS NULL OR updated_at IS NULL") == 0


def test_columns_of_a_real_session_are_filled(samples):
    """Of the first releases, whose words are translated, and whose time is truncated to microseconds."""
    (session,) = documents("legacy/state.json")
    columns = "id, status, iterations_completed, files_changed, started_at AT TIME ZONE 'UTC', completed_at"
    ((*values, started, completed),) = samples.all(f"SELECT {columns} FROM sessions")

    assert values == [session["session_id"], session["status"], session["iterations_completed"], session["files_changed"]]
    assert started.isoformat() + "Z" == session["started_at"]
    assert completed is None
    assert samples.all("SELECT status, count(*) FROM sessions GROUP BY 1") == [("Completed", 1)]


def test_what_is_no_record_is_kept_beside_them(samples):
    """Real gzip under a log's name, templates, a backup of a broken file: bytes, unread."""
    gzipped = len(list(SAMPLES.rglob("*.jsonl.gz")))

    assert samples.all("SELECT reason, count(*) FROM events GROUP BY 1") == [("compressed", gzipped)]
    assert samples.one("SELECT count(*) FROM other WHERE body IS NOT NULL") == 0
    assert samples.one("SELECT count(*) FROM entries WHERE type = 'file'") == len(
        [p for p in SAMPLES.rglob("*") if p.is_file()]
    )


def test_sessions_are_counted_by_status_as_the_files_say(database, tmp_path):
    """The question that everybody asks first."""
    prodigy.build(str(tmp_path / "p"), events=200)
    move(tmp_path / "p", database.url)
    expected: dict[str, int] = {}
    for path in (tmp_path / "p" / "sessions").glob("*.json"):
        content = json.loads(path.read_bytes())
        status = RENAMED.get(content.get("status", content.get("state")), content.get("status", content.get("state")))
        if status is not None:
            expected[status] = expected.get(status, 0) + 1
        else:
            assert path.name.startswith(("session", "workflow")), path

    assert sum(expected.values()) > 5
    assert dict(database.all("SELECT status, count(*) FROM sessions GROUP BY 1")) == expected
    nothing = "reason IS NULL AND event_type IS NULL AND occurred_at IS NULL"
    assert database.one(f"SELECT count(*) FROM events WHERE {nothing}") == 0


# Hazards


@pytest.fixture(scope="module")
def hazardous(tmp_path_factory) -> Path:
    """The hazard store without its large files."""
    root = tmp_path_factory.mktemp("hazards") / "one"
    hazards.build(str(root), large=False)
    return root


def test_the_hazard_store_comes_back(database, hazardous, tmp_path):
    """Everything that ever broke such a program, byte for byte."""
    move(hazardous, database.url)
    move(database.url, tmp_path / "two")

    assert comparison(hazardous, tmp_path / "two").startswith("identical: ")


@pytest.mark.parametrize("database", NAMES, indirect=True)
def test_no_query_of_the_hazard_store_raises(database, hazardous):
    """``body->>'x'`` over every row of every table, on every major; and what was counted is what is there."""
    result = move(hazardous, database.url)
    kinds = [kind.name for kind in PRODIGY.kinds]
    for kind in kinds:
        database.all(f"SELECT count(body->>'x'), count(body->'event'->>'type'), max(json_typeof(body)) FROM {kind}")

    assert {kind["kind"] for kind in result.report["kinds"] if kind.get("raw")} >= {"events", "sessions"}
    for kind in kinds:
        assert database.one(f"SELECT count(*) FROM {kind} WHERE num_nonnulls(body, raw) <> 1 AND reason <> 'long'") == 0
    rows = sum(int(str(database.one(f"SELECT count(*) FROM {kind}"))) for kind in kinds)
    assert database.one("SELECT sum(records) FROM entries") == rows
    assert database.one("SELECT sum(raws) FROM entries") == sum(
        int(str(database.one(f"SELECT count(*) FROM {kind} WHERE reason IS NOT NULL"))) for kind in kinds
    )


# Rows that a server refuses


@pytest.fixture
def bench(database: Database) -> Iterator[Bench]:
    """A store of three kinds, without a row."""
    made = Bench(claimed(database).open)
    yield made
    made.store.close()


def refusing(database: Database, table: str, code: str, marker: str, *, only_json: bool = False) -> None:
    """Have *table* raise *code* for rows that hold *marker*."""
    found = f"NEW.body::text LIKE '%{marker}%'" + ("" if only_json else f" OR position('{marker}'::bytea IN NEW.raw) > 0")
    schema = database.location.schema
    database.run(
        f"CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF {found} THEN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$",
        f"CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {schema}.refuse()",
    )


BAD = b'{"n":-1,"bad":"MARK \\u00e9"}\n'


def with_bad(bench: Bench, count: int = 500) -> bytes:
    """A log with refused lines: first, in the middle, last; beside a document that is fine."""
    some = lines(count * 300)
    data = BAD + some + BAD + lines(5000, 9000) + BAD
    applied = bench.apply(*puts(bench.entry(b"log.jsonl"), data), *puts(bench.entry(b"doc.json"), b'{"title":"t"}'))

    assert [refusal.size for refusal in applied.refusals] in ([], [len(BAD)] * 3)
    return data


def test_a_row_that_a_constraint_refuses_goes_to_quarantine_with_its_bytes(bench, database):
    """Its neighbours are applied; its bytes come back, and it is said once, where and why."""
    database.run("ALTER TABLE lines ADD CONSTRAINT no_negatives CHECK (number >= 0)")
    data = with_bad(bench)
    count = data.count(b"\n") - 3

    assert bench.files() == {b"doc.json": b'{"title":"t"}', b"log.jsonl": data}
    assert database.one("SELECT count(*) FROM lines") == count
    assert bench.there(b"log.jsonl").records == count
    assert database.all("SELECT convert_from(data, 'UTF8') FROM chunks") == [(BAD.decode(),)] * 3
    assert database.all("SELECT path, kind, code, state, count(*), min(pos) FROM quarantine GROUP BY 1, 2, 3, 4") == [
        ("log.jsonl", "lines", "23514", "held", 3, 0)
    ]


@pytest.mark.parametrize("code", ["P0001", "23505", "44000", "54000"])
def test_a_row_that_a_trigger_refuses_goes_to_quarantine(bench, database, code):
    """Whatever the reason: the run goes on."""
    refusing(database, "lines", code, "MARK")
    data = with_bad(bench, 3)

    assert bench.content(b"log.jsonl") == data
    assert database.all("SELECT code, count(*) FROM quarantine GROUP BY 1") == [(code, 3)]


def test_a_row_whose_syntax_a_server_refuses_becomes_raw(bench, database):
    """Class 22 is about what the row says: as bytes it can be kept in its table, where it is counted."""
    refusing(database, "lines", "22P02", "MARK", only_json=True)
    data = with_bad(bench)

    assert bench.content(b"log.jsonl") == data
    assert database.all("SELECT reason, count(*) FROM lines WHERE raw IS NOT NULL GROUP BY 1") == [("server 22P02", 3)]
    assert database.one("SELECT count(*) FROM quarantine") == 0
    assert (bench.there(b"log.jsonl").raws, bench.there(b"log.jsonl").records) == (3, data.count(b"\n"))


def test_a_refused_row_in_a_later_page_does_not_lose_the_earlier_ones(bench, database):
    """A page that is taken apart is written twice; what is known of an entry under way must survive the first try."""
    refusing(database, "lines", "P0001", "MARK")
    data = lines(2 * SEGMENT) + BAD + lines(SEGMENT, 9000)
    for put in puts(bench.entry(b"log.jsonl"), data):
        bench.apply(put)

    assert bench.files() == {b"log.jsonl": data}
    assert database.one("SELECT count(DISTINCT entry_id) FROM lines") == 1
    assert database.one("SELECT count(*) FROM quarantine") == 1


def test_a_refused_row_leaves_quarantine_when_it_is_no_longer_there(bench, database):
    """Its tail was written again, or its entry replaced or removed: nothing is held that does not exist."""
    refusing(database, "lines", "P0001", "MARK")
    head = lines(2 * SEGMENT)
    bench.put(b"log.jsonl", head + BAD)
    there = bench.there(b"log.jsonl")
    assert database.one("SELECT count(*) FROM quarantine") == 1

    bench.reopen()
    bench.apply(*puts(there, head + BAD.replace(b"MARK", b"mark"), bench.store.segments(there)[:2]))
    assert bench.content(b"log.jsonl") == head + BAD.replace(b"MARK", b"mark")
    assert database.one("SELECT count(*) FROM quarantine") == 0

    bench.put(b"log.jsonl", head + BAD)
    bench.put(b"log.jsonl", head)
    assert database.one("SELECT count(*) FROM quarantine") == 0

    bench.put(b"log.jsonl", BAD)
    bench.apply(Remove(bench.there(b"log.jsonl")))
    assert database.one("SELECT count(*) FROM quarantine") == 0
    assert database.one("SELECT count(*) FROM chunks") == 0


def test_what_is_in_quarantine_comes_back_to_files(database, tmp_path):
    """Nothing is dropped: the way back has the bytes that no table would take."""
    prodigy.build(str(tmp_path / "one"), events=300)
    (tmp_path / "one" / "sessions").mkdir(exist_ok=True)
    log = next(path for path in (tmp_path / "one" / "events").rglob("*.jsonl") if path.stat().st_size > 5000)
    log.write_bytes(log.read_bytes() + b'{"timestamp":"2025-01-01T00:00:00Z","event":"MARK"}\n')
    ledger = Ledger(database.server, database.location.schema)
    ledger.ensure(PRODIGY.kinds)
    ledger.close()
    refusing(database, "events", "P0001", "MARK")
    move(tmp_path / "one", database.url)
    move(database.url, tmp_path / "two")

    assert database.one("SELECT count(*) FROM quarantine") == 1
    assert database.one("SELECT count(*) FROM events WHERE event_type = 'MARK'") == 0
    restored = tmp_path / "two" / log.relative_to(tmp_path / "one")
    assert restored.read_bytes() == log.read_bytes()


# Nothing of the old


def test_a_new_generation_leaves_no_row_of_the_old(bench, database):
    """``count(*)`` is the truth."""
    for size in (3 * SEGMENT, 2000, 2 * SEGMENT):
        bench.put(b"log.jsonl", lines(size))
        bench.put(b"doc.json", b"{}")

        assert database.one("SELECT count(*) FROM lines") == lines(size).count(b"\n")
        assert database.one("SELECT count(*) FROM notes") == 1
        assert bench.there(b"log.jsonl").records == lines(size).count(b"\n")
    bench.apply(Remove(bench.there(b"log.jsonl")), Remove(bench.there(b"doc.json")))
    for table in ("lines", "notes", "chunks", "segments"):
        assert database.one(f"SELECT count(*) FROM {table}") == 0
    assert database.all("SELECT path, type FROM entries ORDER BY 1") == [("doc.json", "gone"), ("log.jsonl", "gone")]


def test_a_page_that_fails_leaves_nothing_at_all(bench, database):
    """The table of its second kind is gone: not one row of its first, no entry, no position."""
    bench.put(b"old.json", b"{}")
    before = database.all("SELECT page FROM positions")
    database.run("ALTER TABLE notes RENAME TO elsewhere")
    with pytest.raises(psycopg.errors.UndefinedTable):
        bench.apply(*puts(bench.entry(b"log.jsonl"), lines(2000)), *puts(bench.entry(b"new.json"), b"{}"))

    assert database.one("SELECT count(*) FROM lines") == 0
    assert database.all("SELECT path FROM entries") == [("old.json",)]
    assert database.all("SELECT page FROM positions") == before
    database.run("ALTER TABLE elsewhere RENAME TO notes")
    bench.apply(*puts(bench.entry(b"log.jsonl"), lines(2000)), *puts(bench.entry(b"new.json"), b"{}"))
    assert bench.paths() == [b"log.jsonl", b"new.json", b"old.json"]


# Fences, and commits that nobody heard


def test_a_page_of_a_replaced_runner_is_refused(database):
    """A process that was stopped for an hour and continued must not write a word."""
    old = Bench(claimed(database).open)
    old.put(b"doc.json", b"1")
    new = Bench(claimed(database).open)
    with pytest.raises(Fenced):
        old.put(b"doc.json", b"2")
    new.put(b"doc.json", b"3")
    with pytest.raises(Fenced):
        old.apply()

    assert database.all("SELECT convert_from(coalesce(raw, convert_to(body::text, 'UTF8')), 'UTF8') FROM notes") == [("3",)]
    old.store.close()
    new.store.close()


@contextmanager
def at_commit(act, times: int = 1) -> Iterator[None]:
    """Do *act* where a page is written and its transaction not yet committed."""
    left = times

    @contextmanager
    def durable(name: str) -> Iterator[None]:
        nonlocal left
        with failpoints.durable(name):
            if left:
                left -= 1
                act()
            yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "durable", durable)
        yield


def kill_backends(database: Database) -> None:
    """As an administrator does."""
    database.all(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        f" WHERE application_name = 'crossfade {MIGRATION} worker' AND pid <> pg_backend_pid()"
    )


@pytest.fixture
def patient(database: Database) -> Iterator[tuple[Bench, list[BaseException]]]:
    """A store that tries again, and what it was told on the way."""
    told: list[BaseException] = []
    opener = claimed(database).open
    made = Bench(lambda: Retrying(opener(), Patience(20, 0.2), told.append))
    yield made, told
    made.store.close()


@pytest.mark.parametrize("page", [0, 1, 3])
def test_a_backend_that_dies_before_its_commit_costs_nothing(patient, database, page):
    """The page is applied again, once, to the entry that it goes on with."""
    bench, told = patient
    data = lines(3 * SEGMENT)
    for number, put in enumerate(puts(bench.entry(b"log.jsonl"), data)):
        with at_commit(lambda: kill_backends(database), times=1 if number == page else 0):
            bench.apply(put)

    assert len(told) == 1
    assert bench.files() == {b"log.jsonl": data}
    assert database.one("SELECT count(*) FROM lines") == data.count(b"\n")
    assert database.one("SELECT count(DISTINCT entry_id) FROM lines") == 1


class Deaf:
    """A connection that commits, and is cut before the answer arrives."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str):
        return getattr(self._connection, name)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._connection.transaction():
            yield
        self._connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")


@pytest.mark.parametrize("page", [0, 1, 3])
def test_a_commit_that_nobody_heard_is_asked_for_and_not_repeated(patient, database, page):
    """Committed, and the answer lost: not a row twice, and the next page finds its entry."""
    bench, told = patient
    store: PostgresStore = bench.store._store
    data = lines(3 * SEGMENT)
    for number, put in enumerate(puts(bench.entry(b"log.jsonl"), data)):
        if number == page:
            store._connection = Deaf(store._open())  # type: ignore[assignment]
        applied = bench.apply(put)
        assert [entry.path for entry in applied.entries] == [b"log.jsonl"]
        assert applied.records == put.block.data.count(b"\n")

    assert len(told) == 1
    assert bench.files() == {b"log.jsonl": data}
    assert database.one("SELECT count(*) FROM lines") == data.count(b"\n")
    assert database.one("SELECT sum(records) FROM entries") == data.count(b"\n")


def test_a_commit_that_never_happened_is_not_taken_for_one(patient, database):
    """The name of the page before must not answer for this one."""
    bench, told = patient
    bench.put(b"a.json", b"{}")
    with at_commit(lambda: kill_backends(database), times=3):
        bench.put(b"b.json", b"{}")

    assert len(told) == 3
    assert database.one("SELECT count(*) FROM notes") == 2


def test_a_worker_resumes_nothing_that_another_worker_did(database):
    """Positions are kept by worker; each asks for its own page."""
    recipe = claimed(database)
    stores = [recipe.open(0), recipe.open(1)]
    pages = [Page(tuple(puts(Bench(lambda s=s: s).entry(b"%d.json" % n), b"{}"))) for n, s in enumerate(stores)]  # type: ignore[misc]
    for store, page in zip(stores, pages, strict=True):
        store.apply(page)

    assert database.all("SELECT worker, page FROM positions ORDER BY 1") == [(n, page.name) for n, page in enumerate(pages)]
    for store in stores:
        store.close()


# Plans


@pytest.fixture(scope="module")
def seeded(servers, tmp_path_factory) -> Iterator[Database]:
    """50,000 events in many jobs, loaded and indexed as the engine does it."""
    root = tmp_path_factory.mktemp("seeded")
    for job in range(50):
        folder = root / "events" / "repo" / f"job-{job}"
        folder.mkdir(parents=True)
        (folder / "events-20251116_101500.jsonl").write_bytes(
            b"".join(
                b'{"id":"%d-%d","timestamp":"2025-%02d-%02dT%02d:%02d:00Z","correlation_id":"c-%d-%d",'
                b'"event":{"event_type":"type_%d","job_id":"job-%d"}}\n'
                % (job, n, n % 12 + 1, n % 28 + 1, n % 24, job, job, n // 4, n % 500, job)
                for n in range(1000)
            )
        )
    with servers.database(NAMES[0]) as database:
        move(root, database.url, limits=Limits(page_bytes=64 << 20))
        yield database


@pytest.mark.parametrize(
    ("column", "condition"),
    [
        ("job_id", "job_id = 'job-7'"),
        ("event_type", "event_type = 'type_3'"),
        ("correlation_id", "correlation_id = 'c-3-77'"),
        ("occurred_at", "occurred_at >= '2025-11-16Z' AND occurred_at < '2025-11-17Z'"),
    ],
)
def test_a_lookup_uses_its_index(seeded, column, condition):
    """The index that we promise is the index that is used, with the server's own settings."""
    plan = "\n".join(line for (line,) in seeded.all(f"EXPLAIN SELECT body FROM events WHERE {condition}"))

    assert seeded.one("SELECT count(*) FROM events") == 50_000
    assert f"events_by_{column}" in plan, plan


def test_reading_an_entry_uses_the_index_of_places(seeded):
    """A restore would be quadratic in the number of entries."""
    row = seeded.one("SELECT min(entry_id) FROM events")
    store = seeded.one("SELECT min(store_id) FROM stores")
    query = f"EXPLAIN SELECT body FROM events WHERE store_id = {store} AND entry_id = {row} ORDER BY pos"
    plan = "\n".join(line for (line,) in seeded.all(query))

    assert "events_by_place" in plan, plan


def test_every_index_of_the_layout_is_there_and_valid(seeded):
    """Whatever was left out of the first load was built at its end."""
    kinds = [kind for kind in PRODIGY.kinds if kind.indexes]
    expected = {"_".join((kind.name, "by", *index))[:60] for kind in kinds for index in kind.indexes}
    query = (
        "SELECT relname FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indisvalid AND relnamespace = %s::regnamespace"
    )
    found = {name for (name,) in seeded.all(query, seeded.location.schema)}

    assert expected <= found
    assert seeded.one("SELECT bool_and(indexed) FROM kinds")
