"""Promise 2: one writer to a tree, however its database is spelled."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossfade.store.backends.postgres.leases import _started


@pytest.fixture
def living() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is there, for a lease to name."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_another_spelling_of_the_target_is_no_way_past_a_runner(person, tiny: Path, database, living) -> None:
    """Two runners with a lease each would both fill the tree, and before its indexes exist nothing else would notice."""
    assert person.types("start", tiny, database.url, "--once").status == 0
    lease = f"pid = {living.pid}, started = '{_started(living.pid)}', expires_at = clock_timestamp() + interval '60 s'"
    database.run(f"UPDATE leases SET {lease}")
    other = database.url + ("&" if "?" in database.url else "?") + "connect_timeout=9"

    refused = person.types("start", tiny, other, "--once")
    database.run("UPDATE leases SET expires_at = 'epoch'")

    assert refused.status == 5, refused
    assert f"process {living.pid} " in refused.err
    assert person.types("start", tiny, other, "--once").status == 0
