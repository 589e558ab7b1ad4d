"""Promise 9: passwords and record contents never reach a log, an error, a status or the audit trail. The canaries sing nowhere."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from crossfade.migrate.validate.validation import _Validation
from crossfade.store.backends.embedded import EmbeddedServer
from crossfade.store.backends.postgres.server import Server
from crossfade.store.location import parse
from crossfade.testing import prodigy
from support.cluster import Cluster
from support.person import Person, refused
from support.running import Run, finish
from support.servers import Database

CANARIES = {
    "a record": "canary-gold-finch",
    "a refused record": "canary-green-finch",
    "a malformed record": "canary-bull-finch",
    "a long text in a document": "canary-haw-finch",
}


REFUSED = json.dumps({"job_id": "refuse-me", "note": CANARIES["a refused record"]}) + "\n"


@pytest.fixture
def source(tiny: Path) -> Path:
    """Records with canaries: sound, refused, malformed, promoted and not."""
    document = {"id": CANARIES["a record"], "status": CANARIES["a record"], "text": CANARIES["a long text in a document"]}
    (tiny / "sessions" / "bird.json").write_text(json.dumps(document))
    (tiny / "sessions" / "broken.json").write_text(f'{{"id": "{CANARIES["a malformed record"]}')
    with next(tiny.glob("events/**/*.jsonl")).open("a") as log:
        log.write(REFUSED)
        log.write(f'{{"note": "{CANARIES["a malformed record"]} \n')
    return tiny


def silent(text: str, *more: str) -> None:
    """No canary in *text*."""
    for bird in (*CANARIES.values(), *more):
        assert bird not in text, text[max(text.find(bird) - 300, 0) :][:700]


def test_records_and_passwords_are_in_no_output(person: Person, source: Path, cluster: Cluster, tmp_path: Path):
    """The verbs of a copy, plain and as JSON, on both streams; with a password in the URL and a table that refuses a record."""
    url = cluster.url("aviary").replace("crossfade@", f"crossfade:{quote(cluster.password, safe='')}@")
    secrets = (cluster.password, "canary%20p", "p%40ss")
    heard = [person.types("plan", source, url)]
    assert heard[0].status == 0, heard[0]
    with cluster.connect() as connection:
        _refuse(person, source, url, connection, heard)
        heard += [person.types(*words) for words in _every_verb(source, url, tmp_path / "restored")]
        heard += [person.types(*words, "--json") for words in _every_verb(source, url, tmp_path / "restored")]
        heard += [person.types(*words) for words in _mistakes(url)]
        silent("\n".join(run.out + run.err for run in heard), *secrets)

        for table in ("journal", "migrations", "quarantine", "leases", "positions", "stores"):
            silent(str(connection.execute(f"SELECT t::text FROM aviary.{table} t").fetchall()), *secrets)
    registry = "".join(path.read_text() for path in person.home.rglob("*") if path.is_file())
    assert "aviary" in registry
    silent(registry, *secrets)
    shown = person.types("quarantine", source, url, "list")
    assert shown.status == 4, shown


def test_what_a_validation_remembers_is_where_the_records_are_and_goes_when_it_ends(
    person: Person, source: Path, database: Database, monkeypatch: pytest.MonkeyPatch
):
    """The least and greatest values of columns, while it is interrupted; SECURITY.md says so. They are shown to nobody."""
    person.moves(source, database.url)
    heed = _Validation._heed
    with monkeypatch.context() as patched:
        patched.setattr(_Validation, "_heed", lambda self, found: (signal.raise_signal(signal.SIGINT), heed(self, found)))
        heard = [person.types("validate", source, database.url)]
    assert heard[0].status == 6, heard[0]
    assert b64encode(CANARIES["a record"].encode()).decode() in str(database.all("SELECT state FROM validations"))

    heard += [person.types(*words) for words in (("status", source, database.url), ("validate", source, database.url))]
    assert heard[-1].status == 0, heard[-1]
    assert database.all("SELECT state FROM validations") == []
    silent("\n".join(run.out + run.err for run in heard))


def _refuse(person: Person, source: Path, url: str, connection: psycopg.Connection, heard: list[Run]) -> None:
    heard.append(person.types("start", source, url, "--once"))
    assert heard[-1].status == 0, heard[-1]
    connection.execute("ALTER TABLE aviary.events ADD CONSTRAINT picky CHECK (job_id <> 'refuse-me') NOT VALID")
    log = next(source.glob("events/**/*.jsonl"))
    log.write_text(log.read_text() + REFUSED)
    heard.append(person.types("start", source, url, "--once"))
    assert heard[-1].status == 4, heard[-1]


def _every_verb(source: Path, url: str, restored: Path) -> list[tuple[object, ...]]:
    return [
        ("start", source, url, "--once"),
        ("status", source, url),
        ("list", "--store", url),
        ("quarantine", source, url, "list"),
        ("quarantine", source, url, "replay"),
        ("doctor", "--store", url),
        ("schema", url),
        ("plan", url, restored),
        ("start", url, restored, "--once"),
        ("validate", source, url),
        ("audit", source, url),
        ("drift", source, url, "list"),
        ("cutover", source, url, "--dry-run"),
        ("restore", url, restored, "--if-empty"),
    ]


def _mistakes(url: str) -> list[tuple[object, ...]]:
    """What people mistype; the error quotes what was typed."""
    return [
        ("start", url, url, url),
        ("status", url),
        ("status", url, url),
        ("explain", url),
        ("schema", url + "_none"),
        ("layouts", "show", url),
        ("layouts", "test", url),
        ("start", url, "--store-name", url),
        ("start", "/nowhere", url, "--layout", url),
        ("start", "/nowhere", f"--layout={url}", url),
        ("start", "/nowhere", url, "--once", "--only", url),
        ("start", "/nowhere", url, "--once", "--batch-bytes", url),
        ("start", "/nowhere", url, "--once", "--workers", url),
        ("start", "/nowhere", url, "--once", f"--rate-limit={url}"),
        ("start", "/nowhere", url, "--onc"),
        ("start", "/nowhere", url),
        ("quarantine", url),
        ("demo", url, "--events", url),
        (url,),
    ]


ODD = {
    "a scheme in capitals": "Postgresql://ada:{0}@127.0.0.1:1/db",
    "another library's": "jdbc:postgresql://127.0.0.1:1/db?user=ada&password={0}",
    "one slash": "postgresql:/ada:{0}@127.0.0.1:1/db",
    "no slash": "postgresql:ada:{0}@127.0.0.1:1/db",
    "a space before it": " postgresql://ada:{0}@127.0.0.1:1/db",
    "no scheme of ours": "cockroach-db://ada:{0}@127.0.0.1:1/db",
    "a backslash": "postgresql://ada:{0}\\b@127.0.0.1:1/db",
    "quotes": "postgresql://ada:{0}'\"\\@127.0.0.1:1/db",
    "a connection string": "host=127.0.0.1 port=1 user=ada password={0}",
    "a word of one": "password={0}",
}


@pytest.mark.parametrize("odd", ODD)
def test_a_url_that_is_written_oddly_is_no_directory(
    person: Person, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str
):
    """It is refused, or taken for what it is; nothing is made of its name, and nothing is shown or written down of its password."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    url = ODD[odd].format("hunter2")
    verbs: list[tuple[object, ...]] = [
        ("status", "--store", url),
        ("status", f"--store={url}"),
        ("status", tiny, url),
        ("list", "--store", url),
        ("plan", tiny, url),
        ("start", tiny, url, "--once"),
        ("start", f"embedded://{tmp_path}/pg", url, "--once"),
        ("start", url, tiny, "--once"),
        ("schema", url),
        ("demo", url),
    ]
    heard = [person.types(*words) for words in (*verbs, *_mistakes(url))]
    heard += [person.types("doctor", CROSSFADE_STORE=url)]

    assert all(run.status in (1, 2) for run in heard), heard
    silent("\n".join(run.out + run.err for run in heard), "hunter2")
    assert list((tmp_path / "here").iterdir()) == []
    assert not (tmp_path / "pg").exists()
    silent("".join(path.read_text() for path in person.home.rglob("*") if path.is_file()), "hunter2")


def test_a_pair_that_no_migration_is_of_is_named_without_its_password(person: Person, tiny: Path, database: Database):
    """One with a backslash is quoted otherwise than it was typed."""
    person.moves(tiny, database.url)
    url = f"{database.url}&password=hunter2\\b'\""
    heard = [person.types("status", tiny / "other", url), person.types("pause", tiny / "other", url)]

    for run in heard:
        sentence, _ = refused(run, "CF104", 1)
        assert sentence.startswith(f"no migration of file://{tiny}/other to {database.location.url}; there are: ")
    silent("\n".join(run.out + run.err for run in heard), "hunter2")


def test_a_password_in_a_url_is_used_and_warned_about(person: Person, tiny: Path, cluster: Cluster):
    """By both words, and by an id whose database is named with it: no URL that was written down has it."""
    url = cluster.url("by_url").replace("crossfade@", f"crossfade:{quote(cluster.password, safe='')}@")
    heard = [person.moves(tiny, url)]
    migration = person.asks("status", "--store", url)["migration"]
    for words in ((tiny, url), (migration, "--store", url), (migration, "--store", f"{url}&store=tiny")):
        heard.append(person.types("validate", *words))
        assert heard[-1].status == 0, heard[-1]

    assert "warning: a password in a URL can be seen by others" in heard[1].err
    silent("\n".join(run.out + run.err for run in heard), cluster.password, "canary%20p", "p%40ss")


def test_a_password_is_in_no_argument_of_any_process(person: Person, store: Path, cluster: Cluster, tmp_path: Path):
    """Whoever may run ``ps`` may read them. One that the person typed stands where they typed it, and nowhere else."""
    prodigy.write_logs(str(store / "more"), events=30_000, logs=4)  # worth processes of their own
    environment = {"PGPASSWORD": cluster.password}
    with _watching_arguments() as seen:
        for words in (
            ("start", store, cluster.url("arguments"), "--once", "--workers", "2"),
            ("start", cluster.url("arguments"), tmp_path / "restored", "--once", "--workers", "2"),
        ):
            run = person.apart(*words, **environment)
            assert run.status == 0, run

    assert any("arguments" in line for line in seen)
    assert any("multiprocessing.spawn" in line for line in seen)
    silent("\n".join(seen), cluster.password)


@contextmanager
def _watching_arguments() -> Iterator[set[str]]:
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def test_the_log_of_an_embedded_server_quotes_no_record(person: Person, source: Path, short_dir: Path):
    """A server writes the row that it refuses into its log, unless it is told not to."""
    with EmbeddedServer(short_dir / "pg") as found:
        person.moves(source, f"embedded://{short_dir}/pg")
        with psycopg.connect(found, autocommit=True) as connection:
            connection.execute("ALTER TABLE crossfade.events ADD CONSTRAINT picky CHECK (job_id <> 'refuse-me') NOT VALID")
        log = next(source.glob("events/**/*.jsonl"))
        log.write_text(log.read_text() + REFUSED)
        assert person.types("start", source, f"embedded://{short_dir}/pg", "--once").status == 4
    logs = [path for path in (short_dir / "pg").rglob("*") if path.is_file() and "log" in path.name]

    assert logs
    silent("".join(path.read_text(errors="replace") for path in logs))


def test_nothing_that_is_printed_or_thrown_carries_a_password():
    """Locations and servers travel through tracebacks, logs and other processes' arguments."""
    place = parse("postgresql://user:geheim@host/db?password=geheim2&schema=x")
    server = Server("postgresql://user@host/db", place.url, place.secret)

    for text in (repr(place), str(place), place.url, repr(server), str(server)):
        assert "geheim" not in text


def test_a_crash_shows_a_traceback_without_contents(person: Person, source: Path, database: Database):
    """What nobody foresaw still must not quote: the process is broken from within, where a record is in hand."""
    breaking = (
        "import sys, crossfade.store.backends.postgres.page as page\n"
        "def broken(self, connection, drafts, *rest, **more):\n"
        "    raise RuntimeError(f'never seen {[put.block.data for draft in drafts for put in draft.puts]}')\n"
        "page.Sender.send = broken\n"
        "from crossfade.console.main import run\n"
        f"sys.argv = ['crossfade', 'start', {str(source)!r}, {database.url!r}, '--once', '--workers', '1']\n"
        "run()\n"
    )

    process = subprocess.Popen([sys.executable, "-c", breaking], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    run = finish(process)

    assert run.status == 2, run
    assert "error[CF213]: something unforeseen happened: RuntimeError at " in run.err
    assert " in broken" in run.err
    silent(run.out + run.err, "never seen", "Running")
