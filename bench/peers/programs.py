"""The peers' programs: how they are had, and how each loads one file of JSON lines in the way that keeps most of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bench.server import Bench

_HERE = Path(__file__).parent
_PINS = _HERE.parent / "peers.txt"
_SECONDS_MAX = 3600
_NULL = b"(NULL)"  # is no line of any file
_INTO_CSV = r"WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')"  # no byte of JSON is either, so a line is one field


@dataclass(frozen=True)
class Tools:
    """What a peer is run with: the server, the virtual environment of all peers, a directory for what they leave."""

    server: Bench
    venv: Path
    scratch: Path

    @property
    def python(self) -> str:
        """The interpreter of the peers."""
        return str(self.venv / "bin" / "python")

    @property
    def there(self) -> dict[str, str]:
        """Where the server is, in the four words that every peer knows."""
        every = conninfo_to_dict(self.server.conninfo)
        return {name: str(every[name]) for name in ("host", "port", "user", "dbname")}

    def installed(self, pattern: str) -> str:
        """The one file of the environment that matches."""
        (found,) = self.venv.glob(f"lib/python*/site-packages/{pattern}")
        return str(found)


@dataclass(frozen=True)
class Loaded:
    """How a load ended, how long the whole command took, what it said at last, and what else it knows of itself."""

    status: int
    seconds: float
    said: str
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """One way to load. *query* gives each row's text as bytes; *command* may prepare things, which is not timed."""

    name: str
    packages: tuple[str, ...]
    version: Callable[[Tools], str]
    command: Callable[[Tools, Path], list[str]]
    query: str
    leaves_out: tuple[str, ...]


def install(tools: Tools, peer: Peer) -> str:
    """Have the packages of *peer*, at the pinned versions; why not, where that fails."""
    if not peer.packages:
        return ""
    try:
        if not os.path.exists(tools.python):
            subprocess.run([sys.executable, "-m", "venv", str(tools.venv)], check=True, capture_output=True)
        pip = [tools.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
        subprocess.run([*pip, "-c", str(_PINS), *peer.packages], check=True, capture_output=True, timeout=_SECONDS_MAX)
    except (subprocess.SubprocessError, OSError) as error:
        said = (getattr(error, "stderr", None) or b"").decode(errors="replace")
        return f"pip install {' '.join(peer.packages)}: {_last_line(said) or type(error).__name__}"
    return ""


def load(tools: Tools, peer: Peer, file: Path) -> Loaded:
    """Load *file* into a schema ``peers`` that is made anew. A command that hangs counts as one that failed."""
    shutil.rmtree(tools.scratch / "home", ignore_errors=True)
    (tools.scratch / "home").mkdir(parents=True)
    tools.server.drop("peers")
    command = peer.command(tools, file)
    began = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_SECONDS_MAX, env=_environment(tools))
    except subprocess.TimeoutExpired:
        return Loaded(-1, _SECONDS_MAX, f"still running after {_SECONDS_MAX} s")
    seconds = time.monotonic() - began
    said = _last_line(done.stderr.decode(errors="replace") or done.stdout.decode(errors="replace"))
    more = _steps(done.stdout) if peer.name == "crossfade" and done.returncode == 0 else {}
    return Loaded(done.returncode, seconds, said.replace(str(tools.server.place), "…"), more)


def rows(tools: Tools, peer: Peer) -> Iterator[bytes]:
    """The text of each row that *peer* left; none where it left no table."""
    ((there,),) = tools.server.run(
        f"SELECT count(*) FROM pg_tables WHERE schemaname = 'peers' AND tablename = '{_TABLE[peer.name]}'"
    )
    if there:
        yield from (_NULL if text is None else bytes(text) for (text,) in tools.server.rows(peer.query))  # type: ignore[call-overload]


def _environment(tools: Tools) -> dict[str, str]:
    """A home of their own, no telemetry, and the connection for the one that reads it from here."""
    home, there = str(tools.scratch / "home"), tools.there
    url = f"postgresql://{there['user']}@/{there['dbname']}?host={quote(there['host'])}&port={there['port']}&sslmode=disable"
    ours = {"HOME": home, "XDG_STATE_HOME": home, "SLING_HOME_DIR": home, "DLT_DATA_DIR": home, "BENCH": url}
    quiet = {"SLING_DISABLE_TELEMETRY": "TRUE", "RUNTIME__DLTHUB_TELEMETRY": "false", "NO_COLOR": "1"}
    return {**os.environ, **ours, **quiet}


def _last_line(said: str) -> str:
    """The last line that says something, without colours, addresses or length."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", said).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    return re.sub(r"\w+://\S+", "…", errors[-1])[:200] if errors else ""


def _steps(out: bytes) -> dict[str, Any]:
    return {"steps": json.loads(out)["steps"]}


def _crossfade(tools: Tools, file: Path) -> list[str]:
    tree = tools.scratch / "tree"
    log = tree / "events" / "repo" / "job" / "events-20251116_101500.jsonl"
    shutil.rmtree(tree, ignore_errors=True)
    log.parent.mkdir(parents=True)
    os.link(file, log)
    return [sys.executable, "-m", "crossfade", "start", str(tree), tools.server.url("peers"), "--once", "--json"]


def _psql(tools: Tools, file: Path) -> list[str]:
    tools.server.run("CREATE SCHEMA peers", "CREATE TABLE peers.lines (body json)")
    return tools.server.psql_command(f"\\copy peers.lines FROM '{file}' {_INTO_CSV}")


def _psql_version(tools: Tools) -> str:
    return subprocess.run(
        [tools.server.psql_program(), "--version"], check=True, capture_output=True, text=True
    ).stdout.split()[-1]


def _dlt(tools: Tools, file: Path) -> list[str]:
    there = tools.there
    return [tools.python, "-I", str(_HERE / "dlt_load.py"), there["host"], there["user"], there["dbname"], str(file)]


def _duckdb(tools: Tools, file: Path) -> list[str]:
    extension = tools.installed("duckdb_extension_postgres_scanner/extensions/*/postgres_scanner.duckdb_extension")
    return [tools.python, "-I", str(_HERE / "duckdb_load.py"), extension, make_conninfo(**tools.there), str(file)]


def _sling(tools: Tools, file: Path) -> list[str]:
    program = tools.installed("sling_linux_*/bin/sling-linux-*")
    source = ["--src-stream", f"file://{file}", "--src-options", '{"format": "jsonlines", "flatten": false}']
    return [program, "run", *source, "--tgt-conn", "BENCH", "--tgt-object", "peers.lines", "--mode", "full-refresh"]


def _pinned(package: str) -> Callable[[Tools], str]:
    def version(tools: Tools) -> str:
        (found,) = metadata.distributions(name=package, path=[tools.installed("pip").removesuffix("/pip")])
        return found.version

    return version


PEERS = (
    Peer(
        "crossfade",
        (),
        lambda _: metadata.version("crossfade"),
        _crossfade,
        "SELECT coalesce(raw, convert_to(body::text, 'UTF8')) FROM peers.events",
        (),
    ),
    Peer(
        "psql \\copy",
        (),
        _psql_version,
        _psql,
        "SELECT convert_to(body::text, 'UTF8') FROM peers.lines",
        ("resume", "marks", "promoted columns", "indexes", "validation", "the way back", "line endings"),
    ),
    Peer(
        "DuckDB",
        ("duckdb", "duckdb-extension-postgres-scanner"),
        _pinned("duckdb"),
        _duckdb,
        "SELECT convert_to(body::text, 'UTF8') FROM peers.lines",
        ("resume", "marks", "promoted columns", "indexes", "validation", "the way back", "line endings"),
    ),
    Peer(
        "sling",
        ("sling-linux-amd64",),
        _pinned("sling-linux-amd64"),
        _sling,
        "SELECT convert_to(data::text, 'UTF8') FROM peers.lines",
        ("resume within a file", "marks", "promoted columns", "indexes", "validation", "the text: jsonb", "line endings"),
    ),
    Peer(
        "dlt",
        ("dlt[postgres]",),
        _pinned("dlt"),
        _dlt,
        "SELECT convert_to((SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(to_jsonb(line))"
        " WHERE value <> 'null' AND key NOT LIKE '\\_dlt\\_%')::text, 'UTF8') FROM peers.lines AS line",
        (
            "resume within a file",
            "marks within a file",
            "indexes but its own",
            "validation",
            "the text: columns and jsonb",
            "line endings",
        ),
    ),
)
_TABLE = {peer.name: "events" if peer.name == "crossfade" else "lines" for peer in PEERS}
