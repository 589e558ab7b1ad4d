"""From the text of a layout to its rules, in the order of the file. Refuses what cannot work, with the line of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

from crossfade.model.kinds import Kind
from crossfade.model.layout_kinds import OTHER, kind_of
from crossfade.model.layout_text import Table, tables

Fate = Literal["keep", "exclude", "transient"]

_KEYS = {
    "": {"name", "describes", "under", "kind", "transient", "exclude"},
    "kind": {"name", "form", "match", "promote", "index", "describes"},
    "transient": {"match"},
    "exclude": {"match", "keep"},
}
_FATES: dict[str, Fate] = {"kind": "keep", "exclude": "exclude", "transient": "transient"}


@dataclass(frozen=True)
class Rule:
    """One table of the file. ``match`` claims paths for ``kind``, or keeps them out, except for those in ``keep``."""

    fate: Fate
    kind: str
    match: tuple[str, ...]
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rules:
    """Everything that a layout says. ``under`` are the directories that its patterns are relative to."""

    name: str
    under: tuple[str, ...]
    rules: tuple[Rule, ...]
    kinds: tuple[Kind, ...]

    def fingerprint(self) -> str:
        """SHA-256 over what the rules do. Comments, white space, descriptions and the layout's name do not count."""
        kinds = [asdict(kind) | {"describes": ""} for kind in self.kinds]
        content = [self.under, [asdict(rule) for rule in self.rules], kinds]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read(text: str, *, source: str) -> Rules:
    """Read a layout. Raises LayoutInvalid naming *source* and the line."""
    head, *bodies = tables(text, source=source)
    for table in (head, *bodies):
        table.only(table.values, _KEYS[table.header])
    stem = source.rpartition("/")[2].removesuffix(".toml")
    head.text_or("describes", "")
    return Rules(head.text_or("name", stem), _under(head), tuple(map(_rule, bodies)), _kinds(bodies))


def _under(head: Table) -> tuple[str, ...]:
    places = head.texts("under") if "under" in head.values else ("",)
    for place in filter(None, places):
        if head.captures(place) or place.endswith("**"):
            head.fail(f"'under' place '{place}' has to end in a name, and to capture nothing", place)
    return places


def _kinds(bodies: list[Table]) -> tuple[Kind, ...]:
    kinds: dict[str, Kind] = {}
    for table in bodies:
        if table.header == "kind":
            kind = kind_of(table, kinds)
            kinds[kind.name] = kind
    kinds.setdefault(OTHER.name, OTHER)
    return tuple(kinds.values())


def _rule(table: Table) -> Rule:
    if table.header == "kind":
        return Rule("keep", table.text_or("name", ""), table.texts("match") if "match" in table.values else ())
    keep = table.texts("keep") if "keep" in table.values else ()
    for pattern in (*table.texts("match"), *keep):
        if names := table.captures(pattern):
            table.fail(f"pattern '{pattern}' captures {{{names[0]}}}, which only a kind can use; write *", pattern)
    return Rule(_FATES[table.header], "", table.texts("match"), keep)
