"""What the environment, or a role's own settings, say of sessions: it neither misleads crossfade nor breaks it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.person import Person, refused
from support.running import compare


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
