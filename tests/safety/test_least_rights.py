"""A role that owns a schema and nothing else does all there is to do; and a DBA who makes the schema needs only the script."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from support.cluster import Cluster
from support.life import LATE, Life
from support.person import Person, bad, refused
from support.running import Run, compare

PASSWORD = "canary of a lowly role"
DATABASE = "locked"
REFUSED = '{"id": "refuse-me"}\n'


@pytest.fixture(scope="module")
def locked(cluster: Cluster) -> Cluster:
    """A database where PUBLIC may do nothing: not connect, not make a temporary table, not look into ``public``."""
    with cluster.connect() as connection:
        connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
        connection.execute(f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC")
        for role in ("lowly", "served", "reader"):
            _make(connection, role)
        _make(connection, "dba")
        connection.execute(f"GRANT CREATE ON DATABASE {DATABASE} TO dba")
        connection.execute("GRANT served TO dba")  # what ALTER TABLE … OWNER TO wants of whoever is no superuser
    with connected(cluster) as connection:
        connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        connection.execute("CREATE SCHEMA owned AUTHORIZATION lowly")
    return cluster


def _make(connection: psycopg.Connection, role: str) -> None:
    powers = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS"
    connection.execute(f"CREATE ROLE {role} LOGIN {powers} PASSWORD '{PASSWORD}'")
    connection.execute(f"GRANT CONNECT ON DATABASE {DATABASE} TO {role}")


@contextmanager
def connected(cluster: Cluster, user: str = "crossfade") -> Iterator[psycopg.Connection]:
    """Into the locked database, as *user*."""
    password = cluster.password if user == "crossfade" else PASSWORD
    with psycopg.connect(
        host="127.0.0.1", port=cluster.port, user=user, password=password, dbname=DATABASE, autocommit=True
    ) as connection:
        yield connection


def url(cluster: Cluster, role: str, schema: str) -> str:
    """Where *schema* is, for *role*."""
    return f"postgresql://{role}@127.0.0.1:{cluster.port}/{DATABASE}?schema={schema}"


def fine(run: Run, status: int = 0) -> Run:
    """As it should be, and no word of a right that is missing."""
    assert run.status == status, run
    assert "CF204" not in run.err
    assert PASSWORD not in run.out + run.err
    return run


def everything(person: Person, place: str, source: Path, connection: psycopg.Connection, schema: str) -> None:
    """Every verb of a copy that touches a database, there and back, with a record in quarantine on the way."""
    planned = fine(person.types("plan", source, place))
    assert "may not create a schema to try in" in planned.out
    fine(person.types("start", source, place, "--once"))
    fine(person.types("start", source, place, "--once"))
    fine(person.types("start", place, source.parent / "back", "--once"))
    compare(source, source.parent / "back")

    (source / "sessions" / "one.json").chmod(0o600)
    fine(person.types("validate", source, place), 3)
    fine(person.types("validate", source, place, "--repair"))
    fine(person.types("validate", source, place, "--certificate", source.parent / "certificate.json"))
    fine(person.types("audit", source, place, "--verify"))
    connection.execute(f"ALTER TABLE {schema}.events ADD CONSTRAINT picky CHECK (body->>'id' <> 'refuse-me') NOT VALID")
    log = next(source.glob("events/**/*.jsonl"))
    log.write_text(log.read_text() + REFUSED)
    fine(person.types("start", source, place, "--once"), 4)
    (item,) = person.asks("quarantine", source, place, "list")["items"]
    assert fine(person.types("quarantine", source, place, "show", item["item"])).out == REFUSED
    connection.execute(f"ALTER TABLE {schema}.events DROP CONSTRAINT picky")
    fine(person.types("quarantine", source, place, "replay"))
    fine(person.types("quarantine", source, place, "ignore"))

    fine(person.types("status", source, place))
    fine(person.types("list", "--store", place))
    fine(person.types("schema", place))
    looked = person.types("doctor", "--store", place)
    assert not bad(fine(looked, looked.status))


def test_a_role_that_owns_the_schema_and_nothing_else(person: Person, locked: Cluster, tiny: Path):
    """No superuser, no right to make a database, a role or a temporary table, a member of nothing."""
    person.environment["PGPASSWORD"] = PASSWORD
    with connected(locked, "lowly") as connection:
        ((powers,),) = connection.execute(
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls OR EXISTS ("
            " SELECT FROM pg_auth_members WHERE member = pg_roles.oid) FROM pg_roles WHERE rolname = current_user"
        ).fetchall()
        assert not powers
        everything(person, url(locked, "lowly", "owned"), tiny, connection, "owned")


@pytest.mark.parametrize("dba", ["crossfade", "dba"])
def test_a_schema_that_a_dba_made_with_the_script(person: Person, locked: Cluster, tiny: Path, dba: str):
    """A superuser, or one who may create in the database and is a member of the role; the role itself owns no schema."""
    schema = f"made_by_{dba}"
    script = fine(person.types("schema", "--sql", "--schema", schema, "--role", "served")).out
    with connected(locked, dba) as connection, connection.transaction():
        connection.execute(script.encode())  # as psql -1 -f does: the text as it is
    person.environment["PGPASSWORD"] = PASSWORD
    with connected(locked, "served") as connection:
        everything(person, url(locked, "served", schema), tiny, connection, schema)
        owner = "SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = %s"
        assert connection.execute(owner, [schema]).fetchall() == [(dba,)]
        assert connection.execute(OWNERS, [schema]).fetchall() == [("served",)]
    with connected(locked, "lowly") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(f"SELECT 1 FROM {schema}.entries")


@pytest.mark.parametrize("role", ["lowly", "served"])
def test_such_a_role_follows_hands_over_and_restores(person: Person, locked: Cluster, tiny: Path, role: str):
    """The feed and its triggers, the guards, a hand-over there and back, drift, a restore, an audit: nothing more is needed."""
    schema = "owned" if role == "lowly" else "handed"
    if role == "served":
        script = fine(person.types("schema", "--sql", "--schema", schema, "--role", role)).out
        with connected(locked) as connection, connection.transaction():
            connection.execute(script.encode())
    person.environment["PGPASSWORD"] = PASSWORD
    place = url(locked, role, schema) + "&store=lived"
    life = Life(person, tiny, place)

    def put(text: str) -> None:
        with connected(locked, role) as connection:
            connection.execute(f"SELECT {schema}.put('lived', %s, %s)", [LATE, text])

    life.live(put, late='{"id": "late", "status": "Running"}', rogue='{"id": "rogue"}')
    for run in life.heard:
        fine(run, run.status)


OWNERS = """
SELECT DISTINCT pg_get_userbyid(owner)::text FROM (
    SELECT relowner, relnamespace FROM pg_class UNION ALL SELECT proowner, pronamespace FROM pg_proc
) AS made (owner, namespace) WHERE namespace = %s::regnamespace
"""
"""Whose the tables, indexes and functions of a schema are: some of these run with their owner's rights."""


def test_a_reader_may_read_and_nothing_else(person: Person, locked: Cluster, tiny: Path):
    """What the guide grants to others lets them call no function that writes, whoever these run as."""
    person.environment["PGPASSWORD"] = PASSWORD
    place = url(locked, "lowly", "owned") + "&store=read"
    fine(person.types("start", tiny, place, "--once"))
    with connected(locked, "lowly") as connection:
        connection.execute("GRANT USAGE ON SCHEMA owned TO reader")
        connection.execute("GRANT SELECT ON owned.sessions, owned.events, owned.entries TO reader")
        functions = connection.execute(
            "SELECT p.proname::text, pg_get_function_identity_arguments(p.oid) FROM pg_proc p"
            " WHERE p.pronamespace = 'owned'::regnamespace AND p.prosecdef AND has_function_privilege('reader', p.oid, 'EXECUTE')"
        ).fetchall()
    with connected(locked, "reader") as connection:
        assert connection.execute("SELECT count(*) > 0 FROM owned.sessions").fetchall() == [(True,)]
        for statement in WRITING:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
    assert functions == []


WRITING = [
    "SELECT owned.put('read', 'sessions/one.json', '{}'::text)",
    "SELECT owned.append('read', 'sessions/one.json', '{}'::text)",
    "SELECT owned.remove('read', 'sessions/one.json')",
    "SELECT owned.move('read', 'sessions/one.json', 'sessions/two.json')",
    "SELECT owned.make_store('mine')",
    "INSERT INTO owned.sessions (store_id, entry_id, pos) VALUES (1, 1, 1)",
    "UPDATE owned.entries SET mode = 511",
    "DELETE FROM owned.events",
    "TRUNCATE owned.events",
    "SELECT * FROM owned.chunks",
    "CREATE TABLE owned.mine ()",
]


def test_a_kind_and_a_column_that_come_later(person: Person, locked: Cluster, tiny: Path):
    """The role may add what a layout that grew wants, in a schema that is not its own."""
    script = person.types("schema", "--sql", "--schema", "growing", "--role", "served").out
    with connected(locked) as connection, connection.transaction():
        connection.execute(script.encode())
    person.environment["PGPASSWORD"] = PASSWORD
    layout = tiny.parent / "grown.toml"
    more = '{ column = "colour", from = ["/colour"] }'
    layout.write_text(
        f'[[kind]]\nname = "sessions"\nform = "document"\nmatch = ["sessions/*.json"]\npromote = [{more}]\n'
        '[[kind]]\nname = "diaries"\nform = "log"\nmatch = ["events/**/*.jsonl"]\nindex = []\n'
    )
    fine(person.types("start", tiny, url(locked, "served", "growing"), "--once", "--layout", layout))

    with connected(locked, "served") as connection:
        assert connection.execute("SELECT count(*), count(colour) FROM growing.sessions").fetchall() == [(1, 0)]
        assert connection.execute("SELECT count(*) FROM growing.diaries").fetchall() == [(2,)]


def test_a_page_that_hangs_is_ended_without_a_superuser(person: Person, locked: Cluster, tiny: Path):
    """A runner that was stopped in the middle of a page holds its lock; the same role may end its own session."""
    person.environment["PGPASSWORD"] = PASSWORD
    place = url(locked, "lowly", "owned") + "&store=hanging"
    fine(person.types("start", tiny, place, "--once"))
    migration = person.asks("status", tiny, place)["migration"]
    with connected(locked, "lowly") as stuck, stuck.transaction():
        stuck.execute("SELECT pg_advisory_xact_lock_shared(hashtext('crossfade lease'), hashtext(%s))", [migration])
        run = fine(person.types("start", tiny, place, "--once"))
        assert run.seconds < 10
        with pytest.raises(psycopg.OperationalError):
            stuck.execute("SELECT 1")


def test_a_role_that_is_not_let_in_is_told_so(person: Person, locked: Cluster, tiny: Path):
    """No right to connect is no server that is away: nothing is waited for."""
    with locked.connect() as connection:
        connection.execute(f"CREATE ROLE outsider LOGIN PASSWORD '{PASSWORD}'")
        connection.execute("CREATE ROLE sleeper NOLOGIN")
    for role in ("outsider", "sleeper", "nobody-at-all"):
        run = person.types("start", tiny, url(locked, quote(role), "owned"), "--once", PGPASSWORD=PASSWORD)
        assert run.status == 2, run
        assert "error[CF204]" in run.err
        assert run.seconds < 5


@pytest.fixture
def halves(person: Person, locked: Cluster, tiny: Path) -> tuple[str, str]:
    """Two schemas with a migration each, both in the user's list: one of the role's own, and one that was taken away from it."""
    person.environment["PGPASSWORD"] = PASSWORD
    with connected(locked) as connection:
        for schema in ("kept", "taken"):
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
            connection.execute(f"CREATE SCHEMA {schema} AUTHORIZATION lowly")
        places = url(locked, "lowly", "kept"), url(locked, "lowly", "taken")
        for place in places:
            person.moves(tiny, place)
        connection.execute("ALTER SCHEMA taken OWNER TO dba")
        connection.execute("REVOKE ALL ON SCHEMA taken FROM PUBLIC, lowly")
    return places


def test_a_database_that_may_not_be_looked_into_is_passed_over(person: Person, halves: tuple[str, str]):
    """What the others hold is shown all the same, and which one it was is said."""
    kept, taken = halves
    listed = person.types("list")
    assert (listed.status, listed.out.count(kept), listed.out.count(taken)) == (0, 1, 0), listed
    assert [line for line in listed.err.splitlines() if line.startswith(f"passed over: {taken} does not allow")]
    shown = person.types("status")
    assert (shown.status, kept in shown.out, f"passed over: {taken} does not allow" in shown.err) == (0, True, True), shown


def test_the_doctor_names_a_database_that_may_not_be_looked_into(person: Person, halves: tuple[str, str]):
    """And looks at the others."""
    kept, taken = halves
    looked = person.types("doctor")
    assert looked.status == 2, looked
    assert any(line.startswith(f"ok    {kept}: ") for line in looked.out.splitlines())
    assert [line.startswith(f"BAD   {taken}: CF204: {taken} does not allow") for line in bad(looked)] == [True]


def test_a_database_that_was_named_and_may_not_be_looked_into_is_an_error(person: Person, halves: tuple[str, str]):
    """It names the database."""
    for verb in ("list", "status"):
        for run in (person.types(verb, "--store", halves[1]), person.types(verb, CROSSFADE_STORE=halves[1])):
            sentence, _ = refused(run, "CF204", 2)
            assert sentence.startswith(f"{halves[1]} does not allow")


def test_the_doctor_names_a_source_that_may_not_be_looked_into(person: Person, locked: Cluster, tiny: Path):
    """Of two databases: what a hand-over may have left there is not known, and that is said of the right one."""
    person.environment["PGPASSWORD"] = PASSWORD
    source, target = url(locked, "lowly", "one"), url(locked, "lowly", "two")
    with connected(locked) as connection:
        for schema in ("one", "two"):
            connection.execute(f"CREATE SCHEMA {schema} AUTHORIZATION lowly")
        for pair in ((tiny, source), (source, target)):
            person.moves(*pair)
        for verb in ("cutover", "finish"):
            fine(person.types(verb, tiny, source, *(["--writers-stopped"] if verb == "cutover" else [])))
        fine(person.types("cutover", source, target))
        connection.execute("ALTER SCHEMA one OWNER TO dba")
        connection.execute("REVOKE ALL ON SCHEMA one FROM PUBLIC, lowly")
    looked = person.types("doctor", "--store", target)
    assert looked.status == 2, looked
    assert f"ok    {target}: " in looked.out
    assert f": {source} cannot be looked into: {source} does not allow" in looked.out
