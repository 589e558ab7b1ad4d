"""Hazards beside the bytes: modes, times, links, empty directories, and what stays out of the moved set."""

from __future__ import annotations

import errno
import os

from crossfade.testing.planting import Planter

SECOND = 10**9
YEAR_2100 = 4_102_444_800 * SECOND

MODES = (0o600, 0o400, 0o644, 0o755, 0o777, 0o444, 0o4755, 0o2755, 0o1644)

DIRECTORY_MODES = (0o700, 0o777, 0o1777, 0o2755, 0o555, 0o500)
"""Read-only ones hold a file: its writer must not lock itself out."""

TIMES = {
    b"zero": 0,
    b"one-nanosecond": 1,
    b"before-1970": -1,
    b"long-before-1970": -1_000_000_000 * SECOND + 123_456_789,
    b"just-before-a-second": 1_763_288_134 * SECOND + 999_999_999,
    b"whole-second": 1_763_288_134 * SECOND,
    b"past-2038": (1 << 31) * SECOND + 7,
    b"year-2100": YEAR_2100 + 123_456_789,
    b"float-loses-it": 1_763_288_134_123_456_789,
}

EMPTY = (
    b"state/session-empty/mapreduce",
    b"dlq/session-empty/mapreduce-20251116_101500",
    b"events/session-empty/job/nested/deeper",
    b"logs/repo",
    b"orphaned_worktrees/\xff",
)

LINKS = {
    b"relative": b"../config.yml",
    b"absolute": b"/etc/hostname",
    b"dangling": b"nowhere/at all",
    b"to-a-directory": b"../sessions",
    b"to-the-parent": b"..",
    b"to-itself": b"to-itself",
    b"cycle-one": b"cycle-two",
    b"cycle-two": b"cycle-one",
    b"leaves-the-root": b"../../../../../../etc",
    b"not-utf8": b"\xff\xfe/caf\xe9",
    b"newline": b"a\nb",
    b"backslash": b"a\\b",
    b"slashes": b".//sessions///",
    b"long": b"x" * 1_023,
    b"session.json": b"../sessions/session-1.json",
}

LONGEST = b"templates-of-links/longest", b"y/" * 2_000
"""A text that xfs cannot hold (1,023 bytes) and others can (4,095)."""

TRANSIENT = {
    b"resume_locks/x.lock": b'{\n  "job_id": "session-abc123",\n  "process_id": 12345,\n  "hostname": "build-01"\n}',
    b"locks/key.lock": b"6f1c2a34-8f0e-4a53-9d0b-0e6f5a1b2c3d",
    b"state/session-1/checkpoints/workflow-1.checkpoint.tmp": b'{\n  "workflow_id": "workfl',
    b"state.json.tmp.123": b"{",
}

WORKTREE = {
    b"worktrees/repo/session-1/.git": b"gitdir: /home/u/repo/.git/worktrees/session-1\n",
    b"worktrees/repo/session-1/src/main.rs": b"fn main() {}\n",
    b"worktrees/repo/session-1/.prodigy/sessions/session-1.json": b"{}",
}


def plant(tree: Planter) -> None:
    """Plant all of it."""
    _modes(tree)
    _times(tree)
    _links(tree)
    for path in EMPTY:
        tree.directory(path)
    _left_out(tree)


def _modes(tree: Planter) -> None:
    # Only root can read what nobody may; for everybody else that is "unreadable", which has its own tests.
    for mode in (*MODES, 0) if os.geteuid() == 0 else MODES:
        tree.file(b"sessions/mode-%04o.json" % mode, b'{"id": "mode"}', mode=mode)
        tree.file(b"events/modes/%04o/events-20251116_101500.jsonl" % mode, b'{"id":"mode"}\n', mode=mode)
    for mode in DIRECTORY_MODES:
        tree.directory(b"state/modes-%04o" % mode, mode=mode)
        tree.file(b"state/modes-%04o/checkpoints/x.checkpoint.json" % mode, b"{}", mode=0o400)
        tree.directory(b"state/modes-%04o/checkpoints" % mode, mode=mode)


def _times(tree: Planter) -> None:
    for name, time in TIMES.items():
        tree.file(b"sessions/time-%s.json" % name, b'{"id": "time"}', mtime_ns=time)
        tree.file(b"events/times/%s/events-20251116_101500.jsonl" % name, b"", mtime_ns=time)
        tree.directory(b"events/times/%s" % name, mtime_ns=time)
        tree.link(b"templates-of-links/time-%s" % name, b"anywhere", mtime_ns=time)


def _links(tree: Planter) -> None:
    for name, text in LINKS.items():
        tree.link(b"templates-of-links/" + name, text)
    tree.link(b"sessions/linked.json", b"session-1.json")
    tree.link(b"sessions/linked-directory", b"session-1")
    tree.link(b"events/linked", b"framing")
    try:
        tree.link(*LONGEST)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        tree.link(LONGEST[0], LONGEST[1][:1_023])


def _left_out(tree: Planter) -> None:
    for path in (b"resume_locks", b"locks", b"worktrees/repo/.metadata"):
        tree.directory(path)
    tree.file(b"worktrees/repo/.metadata/session-1.json", b'{"session_id": "session-1", "status": "in_progress"}')
    tree.file(b"worktrees/repo/.gitignore", b".metadata/\n")
    for path, body in (TRANSIENT | WORKTREE).items():
        tree.file(path, body, moved=False)
    tree.link(b"worktrees/repo/.metadata/current", b"session-1.json")
