"""Verdicts in words: what was compared, what differs, and where first."""

from __future__ import annotations

from typing import Any

from crossfade.console.talk import counted, lasting, sized, table
from crossfade.migrate.report import validated
from crossfade.migrate.validate.differences import Difference
from crossfade.migrate.validate.verdict import Verdict, spoken
from crossfade.model.paths import text_of
from crossfade.store.location import Location

_SHOWN = 20


def spoken_path(path: bytes) -> str:
    """A path for people; the root has no name of its own."""
    return text_of(path) or "(the root)"


def different(verdict: Verdict) -> list[str]:
    """A line for each difference that is to be named, and one for the rest."""
    lines = [_line(difference) for difference in verdict.named]
    if verdict.count > len(verdict.named):
        lines.append(f"  and {verdict.count - len(verdict.named)} more; --max-report names more")
    return lines


def _line(difference: Difference) -> str:
    value = spoken(difference)
    where = "" if difference.offset is None else f", segment {difference.segment}, offset {difference.offset}"
    what = value["path"] or (f"kind {difference.kind}" if difference.kind else "(the root)")
    return f"  {difference.klass:<11} {what}: {difference.detail}{where}"


def proven(verdict: Verdict) -> list[str]:
    """What a copy that ended well was proven by."""
    first, *more = rests_on(validated(verdict))
    return [f"proven: {first}", *more, *_unasked(verdict)]


def rests_on(found: dict[str, Any]) -> list[str]:
    """What a proof rests on, from the report that it stands in."""
    entries, questions = counted(found["compared"], "entry", "entries"), counted(found["questions"], "question")
    return [
        f"{entries} compared, both roots are {found['source_root'][:16]}",
        f"  {sized(found['bytes'])} by digest, the columns of {counted(found['records'], 'record')}, {questions} asked of both sides",
        *_left_out(found.get("left_out", {})),
        *_ignored(found.get("ignored", 0)),
    ]


def _left_out(counts: dict[str, int]) -> list[str]:
    """What the source has and a migration does not move, as ``plan`` names it."""
    names = {"exclude": "excluded", "transient": "transient", "special": "no file, directory or link"}
    parts = [f"{count:,} {names[fate]}" for fate, count in counts.items()]
    return [f"  not moved: {', '.join(parts)}"] if parts else []


def _ignored(count: int) -> list[str]:
    """How much is no difference because somebody said so."""
    return [f"  ignored in quarantine: {counted(count, 'entry', 'entries')}"] if count else []


def _unasked(verdict: Verdict) -> list[str]:
    """A line for each reason for which the answers of some kinds tell nothing."""
    kinds: dict[str, list[str]] = {}
    for kind, reason in verdict.unasked.items():
        kinds.setdefault(reason, []).append(kind)
    return [f"  not asked, {reason}: {', '.join(names)}" for reason, names in kinds.items()]


Sides = tuple[Location, Location]
"""The two that are compared, the one with the authority first."""


def next_steps(verdict: Verdict, mending: dict[str, str]) -> list[dict[str, str]]:
    """What to type next, and why. *mending* is what mends the two where they differ, or what has to come first."""
    if verdict.exit == 3:
        return [mending]
    if verdict.count:
        return [{"command": f"crossfade quarantine {verdict.migration} list", "why": "see what could not be placed"}]
    return []


def judged(verdict: Verdict, sides: Sides, steps: list[dict[str, str]]) -> str:
    """The whole of it, as ``validate`` shows it, with the next *steps*."""
    findings, extent = verdict.findings, verdict.options.extent
    part = "" if extent.is_whole else f" (content of a {extent.percentage:g} % sample, seed {extent.seed})"
    lines = ["went on where an interrupted validation stopped"] if verdict.resumed else []
    lines += [
        *_counts(verdict),
        f"{counted(findings.entries, 'entry', 'entries')}, {sized(findings.size)} compared in {lasting(verdict.seconds)}{part}",
        *different(verdict),
    ]
    lines += [f"  left out, could not be read: {text_of(path)}: {why}" for path, why in findings.unreadable[:_SHOWN]]
    lines += [f"  and {more:,} more that could not be read"] if (more := findings.unread_count - _SHOWN) > 0 else []
    lines += [f"  on its way: {spoken_path(path)}" for path in verdict.moving[:_SHOWN]]
    return "\n".join(
        [
            *lines,
            *_left_out(findings.left_out),
            *_ignored(findings.ignored),
            *_unasked(verdict),
            *_ending(verdict, sides, steps),
        ]
    )


def _counts(verdict: Verdict) -> list[str]:
    """What was compared, kind by kind."""
    rows = [(k["kind"], f"{k['entries']:,}", f"{k['records']:,}", sized(k["bytes"])) for k in verdict.kinds]
    return [table(("kind", "entries", "records", "bytes"), rows)] if rows else []


def _roots(verdict: Verdict) -> str:
    found = verdict.findings
    return f"roots: source {found.source_root.hex()[:16]}, target {found.target_root.hex()[:16]}"


def _ending(verdict: Verdict, sides: Sides, steps: list[dict[str, str]]) -> list[str]:
    if verdict.exit == 3:
        return [_roots(verdict), *(f"different: {step['command']}   # {step['why']}" for step in steps)]
    if verdict.exit == 0:
        return [f"equal: {sides[0]} and {sides[1]}; root {verdict.findings.source_root.hex()[:16]}"]
    lines = [_roots(verdict)]
    if verdict.findings.unreadable:
        lines.append("equal, but for what could not be read")
    lines += [f"equal, but for what is in quarantine: {step['command']}" for step in steps]
    return lines
