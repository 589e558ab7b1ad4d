"""A layout's rules as plain regular expressions: for whoever asks which paths are moved, and has nothing of crossfade.

docs/reference/certificate.md says how they are applied. ``tests/model/test_portable.py`` holds them against ``Layout.place``.
"""

from __future__ import annotations

import re
from typing import Any

from crossfade.model import patterns
from crossfade.model.layout_rules import Rule
from crossfade.model.layouts import Layout


def portable(layout: Layout) -> list[dict[str, Any]]:
    """The rules in their order, each with ``fate``, ``kind``, ``form`` and the expression ``files`` that whole paths match.

    A rule that keeps out has also ``trees``, for directories that it takes with all that is below them, and ``unless``, for
    those of them below which an earlier rule may take something after all; both None where it takes no whole directories.
    """
    kept: list[str] = []
    kept_or_transient: list[str] = []
    found = []
    for rule in layout.rules:
        blockers = [] if rule.fate == "keep" else kept_or_transient if rule.fate == "exclude" else kept
        found.append(_portable(layout, rule, blockers))
        claims = [patterns.leads(f"{place}/{pattern}".lstrip("/")) for place in layout.under for pattern in rule.match]
        kept += claims if rule.fate == "keep" else []
        kept_or_transient += claims if rule.fate != "exclude" else []
    return found


def _portable(layout: Layout, rule: Rule, blockers: list[str]) -> dict[str, Any]:
    start = _start(layout.under)
    trees = [pattern for pattern in rule.match if rule.fate != "keep" and patterns.is_tree(pattern)]
    files = [patterns.files(pattern, capture=False) for pattern in rule.match]
    kept = [patterns.files(pattern, capture=False) for pattern in rule.keep]
    kept_below = [patterns.leads(pattern) for pattern in rule.keep]
    return {
        "fate": rule.fate,
        "kind": rule.kind,
        "form": layout.kind(rule.kind).form if rule.kind else "blob",
        "files": start + _none_of(kept) + _any_of(files),
        "trees": start + _none_of(kept_below) + _any_of(map(patterns.trees, trees)) if trees else None,
        "unless": _any_of(blockers) if trees else None,
    }


def _start(under: tuple[str, ...]) -> str:
    """The head of a path up to a place that patterns are relative to; whichever of several, all are tried."""
    heads = [
        re.sub(r"^\(\?>(\(\?:\.\*/\)\?)\)", r"\1", patterns.files(place, capture=False)) + "/" if place else ""
        for place in under
    ]
    return f"(?:{'|'.join(heads)})"


def _any_of(expressions: Any) -> str:
    return f"(?:{'|'.join(expressions) or '(?!)'})"


def _none_of(expressions: list[str]) -> str:
    every = "|".join(rf"{expression}\Z" for expression in expressions)
    return f"(?!{every})" if every else ""
