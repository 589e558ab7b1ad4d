"""What the environment, or a role's own settings, say of sessions: it neither misleads crossfade nor breaks it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.person import Person, refused
from support.running import compare
from support.servers import Database


@pytest.fixture
def worldly(tiny: Path) -> Path:
    """Names and values that need UTF-8, and a timestamp that is promoted."""
    document = '{"id": "größe", "status": "€", "started_at": "2025-01-02T03:04:05.678901Z"}'
    (tiny / "sessions" / "größe.json").write_text(document)
    return tiny


ENVIRONMENTS = {
    "an encoding, and a way to write dates": {"PGCLIENTENCODING": "LATIN1", "PGDATESTYLE": "German", "PGTZ": "Asia/Tokyo"},
    "options": {"PGOPTIONS": "-c bytea_output=escape -c DateStyle=SQL -c standard_conforming_strings=off -c lock_timeout=1"},
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_there_and_back_whatever_the_environment_says(person: Person, cluster: Cluster, worldly: Path, name: str):
    """libpq reads these variables for every program; ours depends on none of what they change."""
    person.environment |= {"PGPASSWORD": cluster.password, **ENVIRONMENTS[name]}
    url = cluster.url(f"env_{list(ENVIRONMENTS).index(name)}")
    person.moves(worldly, url)
    person.moves(url, worldly.parent / "back")

    compare(worldly, worldly.parent / "back")
    for words in (("validate", worldly, url), ("status", worldly, url), ("schema", url)):
        run = person.types(*words)
        assert run.status == 0, run
        assert "Traceback" not in run.err


MISFITS = {
    "default_transaction_isolation": ("repeatable read", "read committed"),
    "synchronous_commit": ("off", "on"),
    "statement_timeout": ("300ms", "0"),
    "transaction_timeout": ("300ms", "0"),
    "idle_session_timeout": ("300ms", "0"),
    "idle_in_transaction_session_timeout": ("300ms", "1min"),
}
"""What a database may say of its sessions; what is true of ours."""


@pytest.fixture
def misfit(cluster: Cluster) -> Iterator[Database]:
    """A database that says of its sessions what would break ours."""
    with cluster.connect() as connection:
        connection.execute("CREATE DATABASE misfit ENCODING 'UTF8' TEMPLATE template0")
        for name, (value, _) in MISFITS.items():
            connection.execute(f"ALTER DATABASE misfit SET {name} = '{value}'")
        yield cluster.database("moved", name="misfit")
        connection.execute("DROP DATABASE misfit WITH (FORCE)")


def test_a_session_is_what_it_needs_to_be_whatever_the_database_says(misfit: Database):
    """What is heard to be committed is kept, what waits for a lock sees what came before, and nothing is ended for its length."""
    with misfit.server.connect("test") as session:
        session.execute("SELECT pg_sleep(0.5)")
        found = {name: session.execute(f"SHOW {name}").fetchone() for name in MISFITS}
        session.rollback()
        time.sleep(0.5)
        session.execute("SELECT")

    assert found == {name: (value,) for name, (_, value) in MISFITS.items()}


@pytest.mark.parametrize("value", ["local", "remote_write"])
def test_a_commit_that_outlasts_a_crash_of_the_server_is_left_as_it_is(misfit: Database, cluster: Cluster, value: str):
    with cluster.connect() as connection:
        connection.execute(f"ALTER DATABASE misfit SET synchronous_commit = '{value}'")
    with misfit.server.connect("test") as session:
        assert session.execute("SHOW synchronous_commit").fetchone() == (value,)


def test_there_and_back_whatever_the_database_says(person: Person, cluster: Cluster, misfit: Database, tiny: Path):
    person.environment["PGPASSWORD"] = cluster.password
    person.moves(tiny, misfit.url)
    person.moves(misfit.url, tiny.parent / "back")

    compare(tiny, tiny.parent / "back")


def test_an_embedded_server_is_reached_whatever_the_environment_says_of_others(
    person: Person, cluster: Cluster, short_dir: Path, tiny: Path
):
    """Above all no other one is: an address from the environment would send the data to whoever listens there."""
    of_others = {"PGHOSTADDR": "127.0.0.1", "PGPORT": str(cluster.port), "PGPASSWORD": cluster.password}
    of_tls = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "system", "PGREQUIREAUTH": "scram-sha-256"}
    person.environment |= {**of_others, **of_tls, "PGCHANNELBINDING": "require", "PGTARGETSESSIONATTRS": "standby"}
    person.environment |= {"PGOPTIONS": "-c default_transaction_read_only=on", "PGREQUIREPEER": "somebody"}
    before = _schemas(cluster)
    person.moves(tiny, f"embedded://{short_dir}/pg?schema=not_elsewhere")

    assert _schemas(cluster) == before
    assert os.path.exists(short_dir / "pg" / "data" / "PG_VERSION")


def _schemas(cluster: Cluster) -> set[str]:
    with cluster.connect() as connection:
        return {str(name) for (name,) in connection.execute("SELECT nspname FROM pg_namespace").fetchall()}


def test_a_service_that_is_not_there(person: Person, cluster: Cluster, short_dir: Path, tiny: Path):
    """It is the environment that is wrong; nobody waits for a server."""
    person.environment["PGSERVICE"] = "absent"
    run = person.types("start", tiny, cluster.url("service"), "--once")
    sentence, _ = refused(run, "CF101", 1)

    assert sentence.endswith(": service")
    refused(person.types("start", tiny, f"embedded://{short_dir}/pg", "--once"), "CF209", 2)
