"""Certificates as values: canonical JSON, and the digest that shows whether one was edited (docs/reference/certificate.md)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

FORMAT = "crossfade certificate"
FORMAT_VERSION = 1
NAMED = 1000
"""Exclusions that a certificate names, at most; it counts them all."""


def canonical(value: Any) -> bytes:
    """*value* as JSON: keys sorted, no white space, ASCII only. It holds no fractions, so that there is one way to write it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """*value* with the digest over all the rest of it."""
    rest = {key: part for key, part in value.items() if key != "digest"}
    return {**rest, "digest": hashlib.sha256(canonical(rest)).hexdigest()}


class Exclusions:
    """What is not moved, in the order of a walk: how many, the first by name, and one digest over all."""

    def __init__(self) -> None:
        self.count = 0
        self.named: list[dict[str, str]] = []
        self._digest = hashlib.sha256()

    def add(self, path: bytes, fate: str, rule: str, text: str) -> None:
        """One more: *path*, what became of it, the rule that says so; *text* is the path for people."""
        self.count += 1
        self._digest.update(b"%b\0%b\0%b\0" % (path, fate.encode(), rule.encode()))
        if len(self.named) < NAMED:
            self.named.append({"path": text, "fate": fate, "rule": rule})

    def values(self) -> dict[str, Any]:
        """As a certificate has it."""
        return {"count": self.count, "digest": self._digest.hexdigest(), "named": self.named}
