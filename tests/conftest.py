"""What every test may ask for. Servers are real; one that is missing fails the test that wants it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes start: each would compile the whole program anew
sys.dont_write_bytecode = False

pytest.register_assert_rewrite("crossfade.testing.contract")

from support import servers as support_servers  # noqa: E402 - after the assertions above are to be explained
from support.servers import Database, Servers  # noqa: E402

settings.register_profile(
    "crossfade", deadline=None, database=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("crossfade")


LONGEST = (
    "test_handover_databases.py",
    "test_writing_by_sql.py",
    "test_validate.py",
    "test_handover_faults.py",
    "test_failpoints.py",
    "test_random_kills.py",
    "test_soak.py",
    "test_memory.py",
    "test_exactly_once_engine.py",
    "test_handover.py",
    "test_certificate.py",
    "test_decision_unheard.py",
    "test_start_validates.py",
    "test_output.py",
    "test_sidecar.py",
    "test_audit.py",
    "test_interrupts.py",
    "test_journey.py",
    "test_validate_alive.py",
    "test_takeover.py",
    "test_following_kills.py",
    "test_handover_asked.py",
    "test_embedded.py",
    "test_wire.py",
    "test_follow.py",
    "test_bench_runs.py",
    "test_validate_memory.py",
)
"""Files of tests that take longest; the one that is begun last should be short, or all wait for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Every server of ``support.servers.NAMES``, started when first used, gone at the end."""
    running = Servers()
    yield running
    running.close()


@pytest.fixture
def database(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Database]:
    """A fresh database. On another server: ``parametrize("database", NAMES, indirect=True)``."""
    with servers.database(getattr(request, "param", support_servers.NAMES[0])) as made:
        yield made


@pytest.fixture
def shared_database(request: pytest.FixtureRequest, servers: Servers) -> Database:
    """A database that holds trees of other tests too."""
    return servers.shared(getattr(request, "param", support_servers.NAMES[0]))


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A temporary directory with a name short enough for a socket below it."""
    path = Path(tempfile.mkdtemp(prefix="cf-", dir="/tmp"))
    yield path
    shutil.rmtree(path)
