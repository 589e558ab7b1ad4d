"""A decompression bomb stays closed: what is compressed is moved as the bytes that it is."""

from __future__ import annotations

import gzip
import re
import struct
import subprocess
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.memory import peak_pss_mb
from support.running import ROOT, Terminal, compare

GIBIBYTE = 1 << 30


def _gzip() -> bytes:
    """Some 6 MB that would be 6 GiB: a member of 64 MiB of zeros, a hundred times."""
    return gzip.compress(bytes(64 << 20), 9) * 100


def _zstd() -> bytes:
    """Some 400 kB that would be 12 GiB: a frame of blocks that each say 'this byte, 128 KiB of it'."""
    block = struct.pack("<I", (128 << 10) << 3 | 1 << 1)[:3] + b"\0"
    return b"\x28\xb5\x2f\xfd" + b"\x00\x58" + block * (12 * GIBIBYTE // (128 << 10)) + struct.pack("<I", 1)[:3]


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By their own names, and by those of records, so that nobody goes by the name."""
    root = tmp_path_factory.mktemp("bombs") / "tree"
    names = {
        "events/repo/job/events-20251116_101500.jsonl.gz": _gzip(),
        "events/repo/job/events-20251116_101501.jsonl": _gzip(),
        "events/archive/old.jsonl.zst": _zstd(),
        "sessions/one.json": _zstd(),
    }
    for name, data in names.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def test_a_bomb_moves_as_bytes(terminal: Terminal, cluster: Cluster, bombs: Path, tmp_path: Path):
    """There, proven, and back, in little memory, with as many bytes in the database as in the files."""
    terminal.environment["PGPASSWORD"] = cluster.password
    url, back = cluster.url("bombs"), tmp_path / "back"
    for words in (
        ("plan", bombs, url),
        ("start", bombs, url, "--once"),
        ("start", url, back, "--once"),
        ("validate", bombs, url),
    ):
        process = terminal.popen(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peak = peak_pss_mb(process)
        assert (process.returncode, peak < 200) == (0, True), (words, peak)
    compare(bombs, back)

    files = [path for path in bombs.rglob("*") if path.is_file()]
    with cluster.connect() as connection:
        entries = connection.execute("SELECT count(*), sum(size) FROM bombs.entries WHERE type = 'file' AND form = 'blob'")
        assert entries.fetchall() == [(len(files), sum(path.stat().st_size for path in files))]
        sent = connection.execute("SELECT pg_database_size(current_database())").fetchall()[0][0]
    assert sent < GIBIBYTE


def test_nothing_that_runs_can_decompress():
    """No module imports what could, but for those that make hazards to test with."""
    openers = re.compile(
        r"^\s*(?:import|from) (?:gzip|zlib|bz2|lzma|zipfile|tarfile|zstandard|lz4|compression)\b", re.MULTILINE
    )
    found = [path for path in (ROOT / "src").rglob("*.py") if openers.search(path.read_text())]

    assert {path.parent.name for path in found} <= {"testing"}
