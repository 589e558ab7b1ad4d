"""A ``~/.prodigy`` as people have it: for ``crossfade demo``, for tests, and for benchmarks.

``build`` makes all kinds of both generations, mostly the second. ``write_logs`` and ``write_sessions`` make many of one
kind. Everything is the same for the same arguments. For what is there to be afraid of, see ``hazards``.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from itertools import islice
from random import Random

from crossfade.testing import prodigy_documents as shapes
from crossfade.testing import prodigy_first
from crossfade.testing.planting import EPOCH_NS, LEFT_OUT, Planter
from crossfade.testing.prodigy_events import WORDS, event_lines, stamp

__all__ = ["LEFT_OUT", "build", "event_lines", "write_logs", "write_sessions"]

REPOS = ("prodigy", "debtmap", "webapp")
BURST = 1_000
"""Prodigy writes its events in bursts of this many."""


def build(root: bytes | str, *, events: int = 50_000, seed: int = 95) -> None:
    """A whole tree with *events* events in the logs of the second generation, and other files in proportion."""
    tree, random = Planter(root), Random(seed)  # noqa: S311 - the same on every run is what we want
    many = max(12, events // 500)
    _logs(tree, events=events, logs=max(3, events // 4_000), seed=seed, bytes_each=520)
    _sessions(tree, count=many, seed=seed)
    for path, body in (*prodigy_first.documents(random, 3), *prodigy_first.events(random, 20)):
        tree.file(path, body)
    _idle_logs(tree, random, many // 4)
    _checkpoints(tree, random, many // 2)
    _jobs(tree, random, max(2, many // 20))
    _worktrees(tree, random, many // 4)
    _claude_logs(tree, random, many // 4)
    _leftovers(tree, seed)
    tree.settle()


def write_logs(
    root: bytes | str, *, events: int, logs: int, seed: int = 95, bytes_each: int = 520, hazard_every: int = 1_000
) -> list[bytes]:
    """*logs* event logs that hold *events* lines together; returns their paths and those of their directories."""
    tree = Planter(root)
    _logs(tree, events=events, logs=logs, seed=seed, bytes_each=bytes_each, hazard_every=hazard_every)
    return tree.settle()


def write_sessions(root: bytes | str, *, count: int, seed: int = 95) -> list[bytes]:
    """*count* session documents of about 1.3 kB; returns their paths and that of their directory."""
    tree = Planter(root)
    _sessions(tree, count=count, seed=seed)
    return tree.settle()


def _logs(tree: Planter, *, events: int, logs: int, seed: int, bytes_each: int, hazard_every: int = 1_000) -> None:
    for number, share in enumerate(shares(events, logs)):
        name = stamp(EPOCH_NS + number * 61 * 10**9)[:19].replace("-", "").replace(":", "").replace("T", "_")
        job = f"mapreduce-{name}"
        path = f"events/{REPOS[number % len(REPOS)]}/{job}/events-{name}.jsonl".encode()
        tree.file(path, event_lines(share, seed, bytes_each, job=job, hazard_every=hazard_every))


def shares(events: int, logs: int) -> Iterator[int]:
    """Whole bursts for every log, as evenly as can be, and what is left for the last."""
    each = events // logs
    each -= each % BURST if each >= BURST else 0
    yield from [each] * (logs - 1)
    yield events - each * (logs - 1)


def _sessions(tree: Planter, *, count: int, seed: int) -> None:
    random = Random(f"sessions {seed}")  # noqa: S311 - as above
    patterns = [shapes.pretty(shapes.session(random, mapreduce=number % 6 == 5)) for number in range(32)]
    for number in range(count):
        start = EPOCH_NS + number * 10**9 + random.randrange(10**9)  # one a second: names of milliseconds are unique
        end = start + random.randrange(3_600 * 10**9)
        name = f"workflow-{start // 10**6}" if number % 3 else f"session-{shapes.uuid(random)}"
        tree.file(f"sessions/{name}.json".encode(), shapes.filled(patterns[number % 32], name, start, end), mtime_ns=end)


def _idle_logs(tree: Planter, random: Random, count: int) -> None:
    # The normal case: a run that logged fewer events than one burst leaves a log of no bytes.
    for _ in range(count):
        session = f"session-{shapes.uuid(random)}"
        tree.file(f"events/{random.choice(REPOS)}/{session}/events-20251116_101500.jsonl".encode(), b"")
        tree.directory(f"state/{session}/mapreduce".encode())
        tree.directory(f"dlq/{session}/mapreduce-20251116_101500".encode())


def _checkpoints(tree: Planter, random: Random, count: int) -> None:
    for number in range(count):
        at = EPOCH_NS // 10**6 + number * 60_000
        body = shapes.pretty(shapes.checkpoint(random, f"workflow-{at}", old=number % 5 == 0))
        tree.file(f"state/workflow-{at - 7}/checkpoints/workflow-{at}.checkpoint.json".encode(), body)
    tree.file(b"state/prodigy/checkpoints/workflow-1763288100001.checkpoint.tmp", b'{\n  "work', moved=False)


def _jobs(tree: Planter, random: Random, count: int) -> None:
    for number in range(count):
        session, job = f"session-{shapes.uuid(random)}", f"mapreduce-20251116_1015{number:02d}"
        repo = REPOS[number % len(REPOS)]
        _dead_letters(tree, random, f"dlq/{session}/{job}/mapreduce/dlq/{job}", job)
        _job_state(tree, random, f"state/{repo}/mapreduce/jobs/mapreduce-{EPOCH_NS // 10**6 + number}")
        mapping = {"session_id": session, "job_id": job, "workflow_name": "fix-debt"}
        body = shapes.pretty(mapping | {"created_at": shapes.moment(random)})
        for name in (session, job):
            tree.file(f"state/{repo}/mappings/{name}.json".encode(), body)


def _dead_letters(tree: Planter, random: Random, base: str, job: str) -> None:
    items = [f"item_{number}" for number in random.sample(range(100), 8)]
    for item in items:
        tree.file(f"{base}/items/{item}.json".encode(), shapes.pretty(shapes.dlq_item(random, item)))
    tree.file(f"{base}/index.json".encode(), shapes.pretty(shapes.dlq_index(random, job, items)))


def _job_state(tree: Planter, random: Random, base: str) -> None:
    body = b""
    for version in (9, 10, 11):
        body = shapes.pretty(shapes.job_state(random, base.rpartition("/")[2], version))
        tree.file(f"{base}/checkpoint-v{version}.json".encode(), body)
    head = {"path": f"{shapes.HOME}/{base}/checkpoint-v11.json", "version": 11, "created_at": shapes.moment(random)}
    tree.file(f"{base}/metadata.json".encode(), shapes.pretty(head | {"size_bytes": len(body)}))


def _worktrees(tree: Planter, random: Random, count: int) -> None:
    names = [f"session-{shapes.uuid(random)}" for _ in range(count)]
    for number, name in enumerate(names):
        base = f"worktrees/{REPOS[number % len(REPOS)]}/.metadata"
        tree.file(f"{base}/{name}.json".encode(), shapes.pretty(shapes.worktree(random, name)))
    cleaned = "\n".join(
        f"[2025-11-16 10:15:00 UTC] Cleaned up merged worktree session: {name} (branch: prodigy-{name})" for name in names
    )
    tree.file(b"worktrees/prodigy/.metadata/cleanup.log", cleaned.encode())
    tree.file(b"worktrees/prodigy/.gitignore", b".metadata/\n")
    for path, body in ((b".git", b"gitdir: /home/u/prodigy\n"), (b"Cargo.toml", b"[package]\n"), (b"src/lib.rs", b"")):
        tree.file(f"worktrees/prodigy/{names[0]}/".encode() + path, body, moved=False)


def _claude_logs(tree: Planter, random: Random, count: int) -> None:
    for number in range(count):
        turn = b'{"type":"assistant","message":{"role":"assistant","content":[{"type":"text","text":"%s"}]}}'
        said = [turn % (WORDS.encode() * random.randrange(1, 12)) for _ in range(random.randrange(5, 60))]
        start = b'{"type":"system","subtype":"init","session_id":"%s"}' % shapes.uuid(random).encode()
        if number % 8 == 0:
            said.insert(2, b"npm warn deprecated: this is not JSON")
        path = f"logs/claude-streaming/20251116_10{number % 60:02d}00-{shapes.uuid(random)}.jsonl"
        tree.file(path.encode(), b"\n".join([start, *said, b'{"type":"result","total_cost_usd":0.30000000000000004}']))


def _leftovers(tree: Planter, seed: int) -> None:
    old = b"".join(islice(event_lines(500, seed, job="rotated"), 500))
    tree.file(b"events/prodigy/rotated/events-20251116_101500.20251116_111500.jsonl.gz", old)  # a lie: it is plain
    tree.file(b"events/archive/events_archive_20251116_101500.jsonl.gz", gzip.compress(old, mtime=0))
    tree.file(b"config.yml", b"claude_api_key: null\nlog_level: info\n", mode=0o600)
    tree.file(b"templates/implement.yml", b"commands:\n- claude: /prodigy-implement-spec $ARG\n")
    tree.file(b"templates/implement.meta.json", b'{\n  "description": null,\n  "version": "1.0.0",\n  "tags": []\n}')
    tree.directory(b"resume_locks")
    lock = {"job_id": "session-abc123", "process_id": 12345, "hostname": "build-01"}
    tree.file(b"resume_locks/session-abc123.lock", shapes.pretty(lock), moved=False)
    for path in (b"logs/prodigy", b"orphaned_worktrees/prodigy"):
        tree.directory(path)
