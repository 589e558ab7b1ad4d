"""Hazardous lines as Prodigy really has them, and what may become of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.peers.lines import bare, value_of

HAZARDS: dict[str, bytes] = {
    "nothing hazardous": b'{"id":"h","event":{"text":"plain, too"}}\n',
    "two members of one name": b'{"id":"h","event":{"kind":"a","kind":"b"}}\n',
    "\\u0000": b'{"id":"h","event":{"text":"cut \\u0000 off"}}\n',
    "a lone surrogate": b'{"id":"h","event":{"text":"\\ud83d"}}\n',
    "1e400": b'{"id":"h","event":{"share":1e400}}\n',
    "an integer of 30 digits": b'{"id":"h","event":{"count":123456789012345678901234567890}}\n',
    "-0.0": b'{"id":"h","event":{"share":-0.0}}\n',
    "nanoseconds": b'{"id":"h","timestamp":"2025-11-16T10:15:00.023478997Z","event":{}}\n',
    "spaces, order of members": b'{ "id" : "h",  "event":{"z":1, "a":2.50} }\n',
    "a line that ends with \\r\\n": b'{"id":"h","event":{"text":"dos"}}\r\n',
    "an empty line": b"\n",
    "a line that is no JSON": b"thread 'tokio-runtime-worker' panicked at src/main.rs:7\n",
    "invalid UTF-8": b'{"id":"h","event":{"text":"caf\xe9"}}\n',
    "a torn last line": b'{"id":"h","event":{"text":"and the',
}
"""By name. Each stands among plain lines; the torn one last. The first says whether the others mean anything."""

_PLAIN = [b'{"id":"plain-%d","event":{"text":"plain"}}\n' % number for number in range(6)]


def written(file: Path, hazard: bytes) -> list[bytes]:
    """Write *hazard* among plain lines into *file*; all the lines."""
    at = 3 if hazard.endswith(b"\n") else len(_PLAIN)
    lines = [*_PLAIN[:at], hazard, *_PLAIN[at:]]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join(lines))
    return lines


def fate(hazard: bytes, lines: Sequence[bytes], *, failed: bool, there: Sequence[bytes]) -> str:
    """What became of *hazard*, one of *lines*, in a load that left the rows *there*, and *failed* or not."""
    if failed and there:
        return f"stops with an error; {len(there)} of {len(lines)} lines are in the table"
    if failed:
        return "refuses the whole file"
    texts = [bare(row) for row in there]
    lost = sum(1 for line in lines if line != hazard and not _stands(line, texts))
    return _kept(hazard, texts, len(lines) - lost) + (f"; {lost} plain lines with it" if lost else "")


def _kept(hazard: bytes, texts: Sequence[bytes], wanted: int) -> str:
    if bare(hazard) in texts:
        return "kept byte for byte"
    if _stands(hazard, texts):
        return "kept as a value, other text"
    return "dropped, exit 0" if len(texts) < wanted else "changed, exit 0"


def _stands(line: bytes, texts: Sequence[bytes]) -> bool:
    value = value_of(line, pairs=True)
    return bare(line) in texts or (value is not None and value in [value_of(text, pairs=True) for text in texts])
