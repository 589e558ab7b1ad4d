"""What can be wrong with what one is given: each thing has a code, a sentence, a way on, and changes nothing on either side."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from crossfade.store.backends.embedded import EmbeddedServer
from support import snapshots
from support.cluster import Cluster
from support.person import Person, refused
from support.powerless import obey_permissions
from support.running import CROSSFADE, Run, Terminal, finish
from support.servers import Database

MARK = "s3cr3t-r3c0rd-c0nt3nt"


@pytest.fixture
def source(tiny: Path) -> Path:
    """A tree whose records nobody is to see."""
    (tiny / "sessions" / "secret.json").write_text(f'{{"id": "{MARK}", "status": "{MARK}"}}')
    return tiny


@pytest.fixture
def begun(person: Person, source: Path, database: Database) -> Database:
    """A database that holds *source* already."""
    person.moves(source, database.url)
    return database


def check(run: Run, code: str, status: int = 2, *, not_to_be_seen: str = MARK) -> tuple[str, str]:
    """One coded error, and no secret."""
    run.err = run.err[max(run.err.find("error["), 0) :]
    assert MARK not in run.err
    assert not_to_be_seen not in run.err
    return refused(run, code, status)


@pytest.mark.parametrize("verb", ["start --once", "plan", "back", "status", "schema", "doctor"])
def test_a_server_that_does_not_answer(person: Person, source: Path, tmp_path: Path, verb: str):
    """Every verb says who does not answer, without the password that stood in the URL."""
    url = "postgresql://somebody:geheim@127.0.0.1:1/nowhere"
    words = {
        "start --once": ("start", source, url, "--once"),
        "plan": ("plan", source, url),
        "back": ("start", url, tmp_path / "restored", "--once"),
        "status": ("status", "--store", url),
        "schema": ("schema", url),
        "doctor": ("doctor", "--store", url),
    }[verb]
    before = snapshots.of_tree(source)
    run = person.types(*words)

    assert "geheim" not in run.out + run.err
    if verb == "doctor":
        assert run.status == 2
        assert "CF203: postgresql://somebody@127.0.0.1:1/nowhere does not answer" in run.out
    else:
        sentence, hint = check(run, "CF203")
        assert "postgresql://somebody@127.0.0.1:1/nowhere does not answer" in sentence
        assert "start the server or check the address" in hint
    assert before == snapshots.of_tree(source)
    assert not (tmp_path / "restored").exists()


@pytest.mark.parametrize("password", ["wrong-geheim", ""])
def test_a_wrong_password_or_none(person: Person, source: Path, cluster: Cluster, password: str):
    """Not tried again and again, and told apart from a server that is away."""
    for words in (("start", source, cluster.url("denied"), "--once"), ("plan", source, cluster.url("denied"))):
        run = person.types(*words, PGPASSWORD=password)
        sentence, hint = check(run, "CF204", not_to_be_seen=password or MARK)
        assert "refused the login" in sentence
        assert "PGPASSWORD" in hint
        assert run.seconds < 5
    with cluster.connect() as connection:
        assert "schema denied" not in snapshots.of_database(connection)


def test_a_password_in_the_url_works_and_is_warned_about(person: Person, source: Path, cluster: Cluster):
    """It can be seen by others; but it is what people have at hand."""
    url = cluster.url("in_the_url").replace("crossfade@", f"crossfade:{quote(cluster.password, safe='')}@")
    run = person.moves(source, url)

    assert "warning: a password in a URL can be seen by others" in run.err
    assert cluster.password not in run.out + run.err


def test_a_database_that_does_not_exist(person: Person, source: Path, cluster: Cluster):
    """Named as such, with the command that makes one."""
    url = cluster.url("x").replace("/postgres?", "/absent?")
    sentence, hint = check(person.types("start", source, url, "--once", PGPASSWORD=cluster.password), "CF203")

    assert "there is no such database" in sentence
    assert hint.startswith("createdb --encoding=UTF8")


def test_a_database_that_takes_no_writes(person: Person, source: Path, begun: Database):
    """A standby, or default_transaction_read_only: into it, out of it, and planning for it."""
    option = "&options=" + quote("-c default_transaction_read_only=on")
    with begun.connect() as connection:
        before = snapshots.of_database(connection), snapshots.of_tree(source)
        for words in (
            ("start", source, f"{begun.url}{option}", "--once", "--store-name", "other"),
            ("start", source, f"{begun.url}_new{option}", "--once"),
            ("plan", source, f"{begun.url}_new{option}"),
            ("start", f"{begun.url}{option}", source.parent / "restored", "--once"),
        ):
            sentence, hint = check(person.types(*words), "CF206")
            assert "is read-only" in sentence
            assert "connect to the primary" in hint
        assert before == (snapshots.of_database(connection), snapshots.of_tree(source))


@pytest.mark.parametrize("target", ["locked", "locked/below"])
def test_a_directory_that_may_not_be_written(
    terminal: Terminal, source: Path, cluster: Cluster, tmp_path: Path, target: str
):
    """Or whose parent may not; also for root, as far as it obeys."""
    terminal.environment["PGPASSWORD"] = cluster.password
    url = cluster.url("locked_" + str(len(target)))
    assert terminal.run("start", source, url, "--once", "--workers", "1").status == 0
    (tmp_path / "locked").mkdir(mode=0o555)
    words = ("start", url, tmp_path / target, "--once", "--workers", "1")
    _, hint = check(finish(terminal.popen(*words, preexec_fn=obey_permissions)), "CF206")

    assert "may write" in hint
    assert not list((tmp_path / "locked").iterdir())


@pytest.mark.parametrize(("name", "says"), [("absent", "does not exist"), ("a-file", "is a file, not a directory")])
def test_a_source_that_is_no_directory(person: Person, database: Database, tmp_path: Path, name: str, says: str):
    """Nothing is made in the database for it, nor a server for an embedded one."""
    (tmp_path / "a-file").write_text(MARK)
    for words in (
        ("start", tmp_path / name, database.url, "--once"),
        ("plan", tmp_path / name, database.url),
        ("start", tmp_path / name, f"embedded://{tmp_path}-pg", "--once"),
    ):
        sentence, _ = check(person.types(*words), "CF201")
        assert says in sentence
    assert database.one("SELECT to_regclass('stores')") is None
    assert not Path(f"{tmp_path}-pg").exists()


def test_a_database_source_without_a_store(person: Person, source: Path, begun: Database, tmp_path: Path):
    """No schema of ours, no store of that name, or several to choose from: three sentences."""
    person.moves(source, begun.url, "--store-name", "second")
    for url, options, says in (
        (f"{begun.url}_nope", (), "holds no crossfade schema"),
        (begun.url, ("--store-name", "third"), "holds no store of that name: second, tiny"),
        (begun.url, (), "holds several stores: second, tiny"),
        (f"embedded://{tmp_path}/no-pg", (), "does not exist"),
    ):
        sentence, _ = check(person.types("start", url, tmp_path / "restored", "--once", *options), "CF201")
        assert says in sentence
    assert not (tmp_path / "restored").exists()
    assert not (tmp_path / "no-pg").exists()


def test_a_target_that_holds_the_data_of_another_store(person: Person, source: Path, begun: Database, tmp_path: Path):
    """Refused before a row is written."""
    other = tmp_path / "elsewhere" / "tiny"
    shutil.copytree(source, other, symlinks=True)
    with begun.connect() as connection:
        before = snapshots.of_database(connection), snapshots.of_tree(other)
        check(person.types("start", other, begun.url, "--once"), "CF702", 7)
        assert before == (snapshots.of_database(connection), snapshots.of_tree(other))


def test_a_directory_that_belongs_to_a_stranger(person: Person, begun: Database, tmp_path: Path):
    """Three of its paths are named; none is touched, and nothing is put beside them."""
    target = tmp_path / "home"
    (target / "deep").mkdir(parents=True)
    for name in ("diary.txt", "deep/letter.txt"):
        (target / name).write_text(MARK)
    before = snapshots.of_tree(tmp_path / "home"), begun.all("SELECT count(*) FROM entries")
    sentence, _ = check(person.types("start", begun.url, target, "--once"), "CF703", 7)

    assert "deep, deep/letter.txt, diary.txt" in sentence
    assert before == (snapshots.of_tree(tmp_path / "home"), begun.all("SELECT count(*) FROM entries"))
    assert list(tmp_path.glob("home.*")) == []


def test_a_target_that_is_a_file(person: Person, begun: Database, tmp_path: Path):
    """A file stays a file."""
    (tmp_path / "a-file").write_text("mine")
    for target in ("a-file", "a-file/below"):
        check(person.types("start", begun.url, tmp_path / target, "--once"), "CF703", 7)
    assert (tmp_path / "a-file").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('[[kind]]\nname = "x"\nform = "tree"\nmatch = ["*"]\n', 3, "form 'tree'"),
        ('[[kind]]\nname = "x"\nform = "log"\nmatch = ["a/{b"]\n', 4, "{b"),
        ('[[kind]]\nname = "stores"\nform = "log"\nmatch = ["*"]\n', 2, "stores"),
        ('describes = "x"\n\n[[exclude]]\nmatch = ["{a}/b"]\n', 4, "captures {a}"),
        ('describes = "x"\nmatch = [\n', 3, "invalid value"),
        ("unknown = 1\n", 1, "unknown"),
    ],
)
def test_a_layout_with_a_bad_rule(person: Person, source: Path, tmp_path: Path, text: str, line: int, says: str):
    """The file, the line, and what is wrong there."""
    layout = tmp_path / "bad.toml"
    layout.write_text(text)
    for words in (
        ("start", source, f"embedded://{tmp_path}-pg", "--once", "--layout", layout),
        ("plan", source, f"embedded://{tmp_path}-pg", "--layout", layout),
        ("layouts", "test", source, "--layout", layout),
        ("schema", "--sql", "--layout", layout),
    ):
        sentence, _ = check(person.types(*words), "CF102", 1)
        assert f"bad.toml:{line}: " in sentence
        assert says in sentence
    assert not Path(f"{tmp_path}-pg").exists()


def test_a_disk_that_fills_up(terminal: Terminal, source: Path, cluster: Cluster, tmp_path: Path):
    """Waited for until patience ends; then it is said, nothing is lost, and with more space the same command goes on."""
    (source / "large.bin").write_bytes(bytes(3 << 20))
    terminal.environment |= {"PGPASSWORD": cluster.password, "CROSSFADE_PATIENCE_SECONDS": "1"}
    url = cluster.url("disk_full")
    assert terminal.run("start", source, url, "--once", "--workers", "1").status == 0
    (tmp_path / "small").mkdir()
    start = shlex.join([*CROSSFADE, "start", url, f"{tmp_path}/small/restored", "--once", "--workers", "1"])
    script = f"""
        mount -t tmpfs -o size=1m none {tmp_path}/small || exit 99
        {start} >{tmp_path}/first.out 2>{tmp_path}/first.err; echo $? >{tmp_path}/first.rc
        ls -A {tmp_path}/small/restored >{tmp_path}/names
        mount -o remount,size=16m {tmp_path}/small
        {start} && {sys.executable} scripts/compare_trees.py {source} {tmp_path}/small/restored
    """
    unshare = ["unshare", "--mount", "--map-root-user", "sh", "-c", script]
    process = subprocess.Popen(unshare, env=_environment(terminal), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    second = finish(process)
    first = Run(int((tmp_path / "first.rc").read_text()), "", (tmp_path / "first.err").read_text(), 0)
    sentence, hint = check(first, "CF207")

    assert "no space" in sentence
    assert "free some space" in hint
    assert "large.bin" not in (tmp_path / "names").read_text().split()
    assert second.status == 0, second
    assert "identical" in second.out


def _environment(terminal: Terminal) -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "XDG_STATE_HOME": str(terminal.home), **terminal.environment}


def test_a_schema_of_a_newer_release(person: Person, source: Path, begun: Database, tmp_path: Path):
    """Not guessed at, in either direction, by any verb."""
    begun.run("INSERT INTO schema_versions (version, applied_by) VALUES (99, 'the future')")
    with begun.connect() as connection:
        before = snapshots.of_database(connection)
        for words in (
            ("start", source, begun.url, "--once"),
            ("plan", source, begun.url),
            ("start", begun.url, tmp_path / "restored", "--once"),
            ("status", "--store", begun.url),
            ("schema", begun.url),
        ):
            sentence, hint = check(person.types(*words), "CF205")
            assert "has version 99; this release knows 1" in sentence
            assert "upgrade crossfade" in hint
        assert before == snapshots.of_database(connection)
    assert not (tmp_path / "restored").exists()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_is_not_utf8(person: Person, source: Path, cluster: Cluster, encoding: str):
    """It could not hold every name; said before anything is made in it."""
    with cluster.connect() as connection:
        connection.execute(
            f"CREATE DATABASE in_{encoding} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
    url = cluster.url("x").replace("/postgres?", f"/in_{encoding.lower()}?")
    for words in (("start", source, url, "--once"), ("plan", source, url)):
        sentence, hint = check(person.types(*words, PGPASSWORD=cluster.password), "CF205")
        assert f"has the encoding {encoding}" in sentence
        assert hint.endswith("createdb --encoding=UTF8 --template=template0 NAME")
    with psycopg.connect(
        host="127.0.0.1", port=cluster.port, user="crossfade", password=cluster.password, dbname=f"in_{encoding.lower()}"
    ) as there:
        assert "schema x" not in snapshots.of_database(there)


def test_a_role_that_may_make_nothing(person: Person, source: Path, cluster: Cluster):
    """It is told what a DBA can do for it, and not that the server is broken."""
    with cluster.connect() as connection:
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    url = cluster.url("guests").replace("crossfade@", "guest@")
    _, hint = check(
        person.types("start", source, url, "--once", PGPASSWORD="guest"), "CF204", not_to_be_seen=cluster.password
    )
    assert hint.startswith("crossfade schema --sql")

    planned = person.types("plan", source, url, PGPASSWORD="guest")
    assert planned.status == 0, planned
    assert "this role may not create a schema to try in" in planned.out


def test_an_embedded_directory_inside_the_source(person: Person, source: Path):
    """It would be copied into itself."""
    before = snapshots.of_tree(source)
    for words in (("start", source, f"embedded://{source}/pg", "--once"), ("plan", source, f"embedded://{source}/pg")):
        check(person.types(*words), "CF706", 7)
    assert before == snapshots.of_tree(source)


def test_an_embedded_directory_of_another_major(person: Person, source: Path, short_dir: Path):
    """One whose programs are here is run by them; one whose programs are not is refused, and left alone."""
    with EmbeddedServer(short_dir / "pg", major=16):
        pass
    person.moves(source, f"embedded://{short_dir}/pg")
    version = next(short_dir.glob("pg/**/PG_VERSION"))
    assert version.read_text().strip() == "16"

    version.write_text("13\n")
    sentence, _ = check(person.types("start", source, f"embedded://{short_dir}/pg", "--once"), "CF209")
    assert "13" in sentence


def test_an_embedded_directory_that_is_something_else(person: Person, source: Path, short_dir: Path):
    """A directory with files of a stranger does not become a database."""
    (short_dir / "home").mkdir()
    (short_dir / "home" / "diary.txt").write_text(MARK)
    before = snapshots.of_tree(short_dir / "home")
    run = person.types("start", source, f"embedded://{short_dir}/home", "--once")

    check(run, "CF209")
    assert before == snapshots.of_tree(short_dir / "home")


def test_a_record_that_the_server_refuses_is_not_quoted(person: Person, source: Path, begun: Database):
    """A server's own message shows the row; ours has the table, the constraint and the SQLSTATE."""
    begun.run("ALTER TABLE sessions ADD CONSTRAINT picky CHECK (body->>'id' <> 'x') NOT VALID")
    (source / "sessions" / "x.json").write_text(f'{{"id": "x", "status": "{MARK}"}}')
    run = person.types("start", source, begun.url, "--once", "--fail-fast")

    check(run, "CF208")
    begun.run("DROP TABLE segments")
    (source / "sessions" / "x.json").write_text(f'{{"id": "y", "status": "{MARK}"}}')
    sentence, _ = check(person.types("start", source, begun.url, "--once"), "CF210")
    assert "SQLSTATE 42P01" in sentence
