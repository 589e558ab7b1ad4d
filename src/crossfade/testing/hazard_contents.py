"""Hazards of whole files: how bytes are cut into lines and documents, and who wrote them.

Tables of path and bytes, one a theme. ``hazards.build`` plants them as they are.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator

from crossfade.testing.hazard_values import STAMPS, UNTYPED, VALUES

Table = dict[bytes, bytes]

MIB = 1 << 20

LINE = b'{"id":"6f1c2a34-8f0e-4a53-9d0b-0e6f5a1b2c3d","timestamp":"2025-09-18T03:50:34.123456789Z","event":%s}\n'
FIRST = (
    b'{"id":"%s","timestamp":"2025-09-18T07:36:52.123456789Z","job_id":"job-1","event_type":"agent_completed",'
    b'"data":{"duration_ms":1250,"success":true},"correlation_id":null,"agent_id":"agent-1"}\n'
)
DLQ_ADDED = (
    b'{"event_type":"d_l_q_item_added","job_id":"j","item_id":"item_1","error_signature":"Timeout","failure_count":3}'
)
TEXT = "line of text, café ☕ 😀".encode()


def framed() -> dict[str, bytes]:
    """Logs whose lines are the hazard. Each is planted as an event log and as a Claude log."""
    good = LINE % DLQ_ADDED
    return {
        "zero-bytes": b"",
        "one-newline": b"\n",
        "thousand-newlines": b"\n" * 1_000,
        "blank-lines": good + b"\n\n" + good + b"\n",
        "whitespace-lines": b" \n" + good + b"\t \r\n" + b"  ",
        "crlf": good.replace(b"\n", b"\r\n") * 3,
        "crlf-mixed": good.replace(b"\n", b"\r\n") + good,
        "carriage-returns": good.replace(b"\n", b"\r") * 3,
        "carriage-return-torn": good + good[:-1] + b"\r",
        "other-line-ends": b"\x0b\n\x0c\n\x1c\n" + "\u2028\n\u0085".encode() + good,
        "byte-order-mark": b"\xef\xbb\xbf" + good * 2,
        "byte-order-mark-each": (b"\xef\xbb\xbf" + good) * 2,
        "torn": good + good[:-40],
        "torn-whole-value": good + good[:-1],
        "torn-in-a-character": good + b'{"content":"' + TEXT[:-1],
        "torn-in-an-escape": good + rb'{"content":"\ud83d\u',
        "torn-first": good[:17],
        "torn-in-the-middle": good + good[:60] + good * 2,
        "nul-bytes-at-the-end": good + b"\0" * 4_096,
        "nul-bytes-in-the-middle": good + b"\0" * 513 + b"\n" + good,
        "only-nul-bytes": b"\0" * 8_192,
        "plain-text": b"thread 'main' panicked at src/lib.rs:7\nnote: run with `RUST_BACKTRACE=1`\n" + TEXT,
        "text-and-json": b"Compiling prodigy v0.4.4\n" + good + b"warning: unused\n" + good[:-1],
        "not-utf8": good + b"\xff\xfe\x00\n" + good,
        "scalars": b'1\n"two"\nnull\ntrue\n[5]\n',
        "same-line-often": good * 50,
        "same-id-other-bytes": good + good.replace(b"item_1", b"item_2"),
    }


def edges() -> dict[str, bytes]:
    """Logs with something at the edge of the stretches that share a digest."""
    line = LINE % DLQ_ADDED
    full = line * (MIB // len(line))
    filler = b'{"pad":"' + b"." * (MIB - len(full) - 11) + b'"}\n'
    exact = full + filler
    wide = b'{"pad":"' + "€".encode() * (MIB // 3) + b'"}\n'
    return {
        "exactly-1-mib": exact,
        "1-mib-and-1": exact + b"\n",
        "1-mib-less-1": exact[:-1],
        "starts-on-the-edge": exact + line,
        "newline-over-the-edge": exact[:-2] + b" }\n" + line,
        "character-over-the-edge": wide + line,
        "exactly-2-mib": exact * 2,
        "one-line-of-3-mib": b'{"pad":"' + b"." * (3 * MIB - 11) + b'"}\n' + line,
        "empty-lines-over-the-edge": exact.replace(b"...", b"", 1) + b"\n" * 6 + line,
    }


def logs() -> Iterator[tuple[bytes, bytes]]:
    """The framed logs, in both places where Prodigy has logs, and the edges in one."""
    for name, body in framed().items():
        yield b"events/framing/%s/events-20251116_101500.jsonl" % name.encode(), body
        yield b"logs/claude-streaming/20251116_101500-%s.jsonl" % name.encode(), body
    for name, body in edges().items():
        yield b"events/edges/%s/events-20251116_101500.jsonl" % name.encode(), body


def values() -> Iterator[tuple[bytes, bytes]]:
    """Every hazardous value in a document, and in a line of a log of each generation."""
    for name, value in VALUES.items():
        yield b"sessions/value-%s.json" % name.encode(), document(b"value-" + name.encode(), value)
    claude = b'{"event_type":"claude_message","agent_id":"agent-default","content":%s}'
    lines = [LINE % (claude % value) for value in VALUES.values()]
    yield b"events/values/all/events-20251116_101500.jsonl", b"".join(lines)
    yield b"events/values/event_20250918_073652_123456789.jsonl", b"".join(FIRST % value for value in VALUES.values())
    yield b"logs/claude-streaming/20251116_101600-values.jsonl", b"\n".join(VALUES.values())


def document(name: bytes, value: bytes) -> bytes:
    """A session whose metadata holds *value*."""
    return (
        b'{\n  "id": "%s",\n  "session_type": "Workflow",\n  "status": "Completed",\n'
        b'  "started_at": "2025-11-16T10:15:00.000000001Z",\n  "metadata": {\n    "value": %s\n  }\n}'
    ) % (name, value)


def documents() -> Iterator[tuple[bytes, bytes]]:
    """Documents that are torn, doubled, empty, or no JSON."""
    whole = document(b"whole", b"1")
    bodies = {
        b"empty": b"",
        b"placeholder": b"{}",
        b"newline-only": b"\n",
        b"spaces-only": b"   ",
        b"cut": whole[: len(whole) // 2],
        b"cut-last-byte": whole[:-1],
        b"garbage-tail": whole + whole[-30:],
        b"twice": whole * 2,
        b"final-newline": whole + b"\n",
        b"many-final-newlines": whole + b"\r\n\n\n",
        b"space-before": b"\n\t " + whole,
        b"crlf": whole.replace(b"\n", b"\r\n"),
        b"compact": whole.replace(b"\n", b"").replace(b" ", b""),
        b"byte-order-mark": b"\xef\xbb\xbf" + whole,
        b"utf-16": b"\xff\xfe" + whole.decode().encode("utf-16-le"),
        b"nul-tail": whole + b"\0" * 100,
        b"scalar-null": b"null",
        b"scalar-number": b"1",
        b"scalar-text": b'"x"',
        b"array": b"[]",
        b"plain-text": TEXT,
        b"binary": bytes(range(256)) * 16,
    }
    for name, body in bodies.items():
        yield b"sessions/document-%s.json" % name, body
        yield b"state/session-1/checkpoints/%s.checkpoint.json" % name, body


def fields() -> Iterator[tuple[bytes, bytes]]:
    """Promoted fields of every type but the expected one, and every spelling of a time."""
    event = b'{"event_type":%s,"job_id":%s,"agent_id":%s,"item_id":%s,"version":%s}'
    line = b'{"id":%s,"timestamp":%s,"correlation_id":%s,"event":' + event + b"}\n"
    first = b'{"id":%s,"timestamp":%s,"job_id":%s,"event_type":%s,"data":%s,"correlation_id":%s,"agent_id":%s}\n'
    strange = [b'{"timestamp":"2024-01-01T00:00:00Z","event":"test"}\n', b'{"event":null}\n', b'{"event":[1]}\n', b"{}\n"]
    lines = [line % ((value,) * 8) for value in UNTYPED] + [first % ((value,) * 7) for value in UNTYPED] + strange
    yield b"events/fields/untyped/events-20251116_101500.jsonl", b"".join(lines)
    stamped = [LINE.replace(b"2025-09-18T03:50:34.123456789Z", stamp.encode()) % DLQ_ADDED for stamp in STAMPS]
    yield b"events/fields/stamps/events-20251116_101500.jsonl", b"".join(stamped)
    session = b'{"id":%s,"session_type":%s,"status":%s,"started_at":%s,"updated_at":%s,"workflow_data":%s}'
    item = b'{"item_id":%s,"job_id":%s,"first_attempt":%s,"failure_count":%s,"reprocess_eligible":%s}'
    point = b'{"workflow_id":%s,"execution_state":{"status":%s},"timestamp":%s,"version":%s,"workflow_name":%s}'
    for number, value in enumerate(UNTYPED):
        yield b"sessions/untyped-%d.json" % number, session % ((value,) * 6)
        yield b"dlq/repo/job-1/mapreduce/dlq/job-1/items/untyped-%d.json" % number, item % ((value,) * 5)
        yield b"state/session-2/checkpoints/untyped-%d.checkpoint.json" % number, point % ((value,) * 5)
        yield b"workflows/untyped-%d.json" % number, b'{"id":%s,"name":%s,"version":%s}' % ((value,) * 3)


def leftovers() -> Iterator[tuple[bytes, bytes]]:
    """What real trees hold beside records: indexes, mappings, compressed archives, databases, backups, and what editors and systems leave."""
    index = b'{\n  "item_count": 1,\n  "item_ids": [\n    "item_1"\n  ],\n  "job_id": "job-1"\n}'
    mapping = b'{\n  "session_id": "session-1",\n  "job_id": "job-1",\n  "workflow_name": "fix"\n}'
    opaque = b"".join(LINE % DLQ_ADDED for _ in range(300))
    gzipped = b"\x1f\x8b\x08\x00\0\0\0\0\x00\xff" + gzip.compress(opaque, mtime=0)[10:]  # as flate2 writes it
    log = b"[2025-11-16 10:15:00 UTC] Cleaned up merged worktree session: session-1 (branch: prodigy-session-1)"
    yield b"dlq/repo/job-1/mapreduce/dlq/job-1/index.json", index + b'job_id": "job-1"\n}'
    yield b"events/repo/job-1/index.json", b'{"total_events": 3, "file_offsets": []}'
    yield b"state/repo/mappings/session-1.json", mapping
    yield b"state/repo/mappings/job-1.json", mapping
    yield b"events/repo/job-1/events-20251116_101500.20251116_111500.jsonl.gz", opaque
    yield b"events/repo/job-1/events-20251116_111500.jsonl.bak", opaque[:700]
    yield b"events/archive/events_archive_20251116_101500.jsonl.gz", gzipped
    yield b"events/archive/events_archive_20251116_101501.jsonl.gz", gzipped[:-9]
    yield b"events/archive/events_archive_20251116_101502.jsonl.gz", b""
    yield b"state/repo/cp-1.checkpoint.lz4", b"\x10\x00\x00\x00\xf0\x01" + b"x" * 17
    yield b"worktrees/repo/.metadata/cleanup.log", log + b"\n" + log
    yield b"state.json.corrupted.1754042058078199000", b'{"session_id": "cook-1754041948",\n "sta'
    yield b"analytics.db", b"SQLite format 3\0" + bytes(range(256)) * 32
    yield b"analytics.db-wal", b"\x37\x7f\x06\x82" + bytes(4_096)
    yield b"config.yml", b"# mine\nclaude_api_key: null\n"
    yield b".DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(100)
    yield b"templates/x.yml", b"commands:\n- claude: /x\n"


TABLES = (logs, values, documents, fields, leftovers)
"""Every theme; together they are all of this file."""
