"""Promise 9 where things go wrong: a server that quotes the row, verbs that fail, processes that die. The canaries sing nowhere."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from crossfade.testing import prodigy
from support.cluster import Cluster
from support.life import LATE, Life
from support.person import Person
from support.running import Run, Terminal, finish
from support.servers import Database

RECORD, REFUSED = "canary-gold-finch", "canary-green-finch"
BIRDS = (RECORD, REFUSED)


@pytest.fixture
def source(tiny: Path) -> Path:
    """A document, a line and a promoted column that nobody is to see."""
    (tiny / "sessions" / "bird.json").write_text(json.dumps({"id": RECORD, "status": RECORD, "text": RECORD}))
    with _log(tiny).open("a") as log:
        log.write(json.dumps({"id": RECORD, "job_id": RECORD}) + "\n")
    return tiny


def _log(source: Path) -> Path:
    return next(source.glob("events/**/*.jsonl"))


def silent(text: str, *more: str) -> None:
    """No canary in *text*, plain or as Python would quote it."""
    for bird in (*BIRDS, *more):
        assert bird not in text, text[max(text.find(bird) - 300, 0) :][:700]


def said(run: Run) -> str:
    """Both streams; no Python traceback is among them."""
    assert "Traceback" not in run.err, run
    return run.out + run.err


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """All that any library logs, with everything that it attaches: what a program that embeds us would keep."""
    lines: list[str] = []
    handler = logging.Handler(0)
    handler.emit = lambda record: lines.append(repr(vars(record)) + record.getMessage())  # type: ignore[method-assign]
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(0)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


QUOTING = """
CREATE OR REPLACE FUNCTION {schema}.sing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.body::text NOT LIKE '%refuse-me%' THEN RETURN NEW; END IF;
    RAISE WARNING 'here comes %', NEW.body;
    RAISE EXCEPTION 'no room for %', NEW.body USING ERRCODE = '{code}', DETAIL = NEW.body, HINT = NEW.body,
        TABLE = NEW.body->>'note', CONSTRAINT = NEW.body->>'note', COLUMN = NEW.body->>'note', SCHEMA = NEW.body->>'note';
END $$
"""
HELD, PASSING, FINAL = (
    ("P0001", "22P02", "23514", "54000"),
    ("40001", "53100", "57P01"),
    ("42501", "25006", "28000", "57014", "XX000"),
)
CODES = dict.fromkeys(HELD, 4) | dict.fromkeys((*PASSING, *FINAL), 2)
"""What a run ends with, for each SQLSTATE under which a row may be refused."""


def test_an_error_that_quotes_the_row_is_quoted_by_nobody(
    person: Person, source: Path, database: Database, logged: list[str]
):
    """A careless trigger puts the record into every field that an error has, under every code there is."""
    person.environment["CROSSFADE_PATIENCE_SECONDS"] = "0.2"
    person.moves(source, database.url)
    schema = database.location.schema
    database.run(QUOTING.format(schema=schema, code="P0001"))
    database.run("CREATE TRIGGER sing BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION sing()")
    ends, heard = {}, []
    for number, code in enumerate(CODES):
        database.run(QUOTING.format(schema=schema, code=code))
        with _log(source).open("a") as log:
            log.write(json.dumps({"job_id": "refuse-me", "note": REFUSED}) + "\n")
        run = person.types("start", source, database.url, "--once", *(("--json",) if number % 2 else ()))
        ends[code] = run.status
        heard.append(said(run))
    for verb in (("status",), ("validate",), ("quarantine", "list"), ("quarantine", "replay")):
        head, tail = verb[:1], verb[1:]
        heard += [said(person.types(*head, source, database.url, *tail, *more)) for more in ((), ("--json",))]

    silent("\n".join(heard))
    silent("\n".join(logged))
    silent(_control_state(database))
    assert ends == CODES


def _control_state(database: Database) -> str:
    """Every table but those that are there to hold content."""
    kinds = {name for (name,) in database.all("SELECT name FROM kinds")} | {"chunks"}
    found = database.all("SELECT tablename::text FROM pg_tables WHERE schemaname = %s", database.location.schema)
    tables = {name for (name,) in found}
    assert {"journal", "migrations", "quarantine", "leases", "positions", "stores", "validations"} < tables
    return "".join(str(database.all(f"SELECT t::text FROM {name} t")) for name in sorted(tables - kinds))


def test_differences_and_conflicts_are_named_and_not_shown(
    person: Person, source: Path, database: Database, logged: list[str]
):
    """What differs is said by its path and place: validate, what it mends, and a way back where somebody wrote since."""
    back, certificate = source.parent / "back", source.parent / "certificate.json"
    person.moves(source, database.url, "--certificate", certificate)
    person.moves(database.url, back)
    (source / "sessions" / "bird.json").write_text(json.dumps({"id": REFUSED, "status": REFUSED}))
    (back / "sessions" / "bird.json").write_text(json.dumps({"id": REFUSED}))
    (back / "stranger.json").write_text(json.dumps({"id": REFUSED}))
    database.run(f"""UPDATE events SET job_id = 'other' WHERE body->>'id' = '{RECORD}'""")
    pair, way_back = (source, database.url), (database.url, back)
    verbs = [
        ("validate", *pair),
        ("validate", *pair, "--certificate", certificate),
        ("validate", *way_back),
        ("validate", *pair, "--repair", "--dry-run"),
        ("start", *way_back, "--once"),
        ("start", *way_back, "--once", "--merge"),
        ("validate", *pair, "--repair"),
        ("list", "--store", database.url),
        ("quarantine", *pair, "show", "99"),
        ("start", *pair, "--once", "--only", "nothing-of-this-name"),
        ("plan", *way_back),
    ]
    ends, heard = [], []
    for words in verbs:
        for more in ((), ("--json",)):
            run = person.types(*words, *more)
            ends.append(run.status)
            heard.append(said(run))

    silent("\n".join(heard) + certificate.read_text())
    silent("\n".join(logged))
    silent(_control_state(database))
    assert {0, 1, 3, 7} <= set(ends)


def test_what_follows_a_copy_says_no_word_of_a_record(person: Person, source: Path, database: Database, logged: list[str]):
    """Following, pausing, a hand-over there and back, drift, a restore, an audit: by all that is said, logged and written down."""
    life = Life(person, source, f"{database.url}&store=tiny")

    def put(text: str) -> None:
        with database.connect(origin="") as connection:
            connection.execute(f"SELECT {database.location.schema}.put(%s, %s)", [LATE, text])

    life.live(put, late=json.dumps({"id": REFUSED, "status": REFUSED}), rogue=json.dumps({"id": REFUSED}))
    heard = "\n".join(run.out + run.err for run in life.heard)
    silent(heard + (source.parent / "life.json").read_text())
    silent("\n".join(logged))
    silent(_control_state(database))
    silent("".join(path.read_text() for path in person.home.rglob("*") if path.is_file()))
    assert "Traceback" not in heard


@contextmanager
def _watching(cluster: Cluster) -> Iterator[dict[str, set[str]]]:
    """The arguments of every process, and what the server says of every session, many times a second."""
    seen: dict[str, set[str]] = {"arguments": set(), "sessions": set()}
    over = threading.Event()

    def watch() -> None:
        with cluster.connect() as connection:
            while not over.wait(0.02):
                for path in Path("/proc").glob("[0-9]*/cmdline"):
                    with suppress(OSError):
                        seen["arguments"].add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                sessions = connection.execute(
                    "SELECT application_name, query FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                )
                seen["sessions"] |= {f"{name}: {query}" for name, query in sessions.fetchall()}

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def test_neither_processes_nor_sessions_show_a_record_or_a_password(person: Person, source: Path, cluster: Cluster):
    """Arguments and titles of ours and of the server's processes; names and statements of our sessions."""
    prodigy.write_logs(str(source / "more"), events=20_000, logs=4)  # worth processes of their own
    for number in range(40):
        (source / "sessions" / f"{number}.json").write_text(json.dumps({"id": f"{RECORD}-{number}", "status": RECORD}))
    url, environment = cluster.url("watched"), {"PGPASSWORD": cluster.password}
    with _watching(cluster) as seen:
        for words in (("start", source, url, "--once"), ("start", url, source.parent / "back", "--once")):
            run = person.apart(*words, "--workers", "2", **environment)
            assert run.status == 0, run

    assert any("multiprocessing.spawn" in line for line in seen["arguments"])
    assert any(line.startswith("postgres: crossfade") for line in seen["arguments"])
    assert any(line.startswith("crossfade ") and "COPY" in line for line in seen["sessions"])
    silent("\n".join(seen["arguments"] | seen["sessions"]), cluster.password, quote(cluster.password, safe=""))


@pytest.mark.parametrize("place", ["postgres.page:before@1", "postgres.page:after@1"])
def test_a_killed_run_leaves_no_word(terminal: Terminal, source: Path, cluster: Cluster, place: str):
    """Nothing on either stream, nothing in the registry, nothing beside the source."""
    url = cluster.url(f"killed_{place[14]}").replace("crossfade@", f"crossfade:{quote(cluster.password, safe='')}@")
    before = sorted(source.parent.iterdir())
    run = terminal.run("start", source, url, "--once", "--workers", "1", CROSSFADE_FAILPOINT=place)
    files = [path for path in terminal.home.rglob("*") if path.is_file()]

    assert run.status == -9, run
    silent(run.out + run.err + "".join(path.read_text() for path in files), cluster.password, "canary%20p")
    assert set(source.parent.iterdir()) - set(before) <= {terminal.home}


BREAKING = """
import crossfade.store.backends.postgres.encode as encode
def broken(self, *given, **named):
    raise ValueError(f"never seen the like of {given!r}")
encode.Encoder.encode = broken
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_what_nobody_foresaw_is_told_without_its_message(
    terminal: Terminal, source: Path, cluster: Cluster, tmp_path: Path, workers: int
):
    """A mistake in this process or in a worker, whose message quotes the block in hand: the place is told, in one coded error."""
    prodigy.write_logs(str(source / "more"), events=20_000, logs=4)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sitecustomize.py").write_text(BREAKING)
    words = ("start", source, cluster.url(f"unforeseen_{workers}"), "--once", "--workers", workers)
    run = terminal.run(*words, PYTHONPATH=_path(tmp_path / "broken"), PGPASSWORD=cluster.password)

    assert run.status == 2, run
    assert "error[CF213]: something unforeseen happened: ValueError at " in run.err
    assert "sitecustomize.py:4 in broken" in run.err
    silent(run.out + run.err, cluster.password, "never seen")


def _path(first: Path) -> str:
    return os.pathsep.join([str(first), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_a_thread_that_breaks_is_told_without_its_message(tmp_path: Path):
    """The interpreter would print it as it is."""
    text = (
        "import threading; from crossfade.console import unforeseen; unforeseen.watch_threads()\n"
        f"def work(): raise KeyError('{RECORD}')\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()\n"
    )
    run = finish(subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE))

    assert "KeyError at -c:2 in work" in run.err or "KeyError at <string>:2 in work" in run.err, run
    silent(run.out + run.err)
