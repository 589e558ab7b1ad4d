"""The JSON of a benchmark as Markdown. What was not measured has no figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.cases import WAYS
from bench.goals import GOALS

Figures = dict[str, Any]


def rendered(figures: Figures) -> str:
    """All that there is to say about one benchmark's *figures*."""
    parts = [_about(figures), _goals(figures)]
    parts += [_incremental(figures)] if "incremental_seconds" in figures else []
    parts += [_seconds(figures)] if "seconds" in figures else []
    parts += [_peers(figures["peers"]), _hazards(figures["peers"])] if "peers" in figures else []
    parts += [_memory(figures)] if figures["bench"] == "memory" else []
    return "\n\n".join(part for part in parts if part)


def _about(figures: Figures) -> str:
    machine = ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in figures["machine"].items())
    settings = ", ".join(f"`{name}` {value}" for name, value in figures["settings"].items())
    sizes = ", ".join(
        f"{figures[name]:,} {name}" for name in ("runs", "events", "logs", "bytes_an_event", "documents") if name in figures
    )
    return "\n".join(f"* {line}" for line in (f"**{figures['bench']}** {sizes}".strip(), machine, f"server: {settings}"))


def _goals(figures: Figures) -> str:
    rows = [
        (
            f"`{goal.name}`",
            goal.meaning,
            _spread(figures, goal.name),
            goal.spoken(),
            "yes" if goal.met(figures[goal.name]) else "**no**",
        )
        for goal in GOALS
        if figures.get(goal.name) is not None
    ]
    return table(("figure", "what it is", "median (range)", "goal", "met"), rows) if rows else ""


def _spread(figures: Figures, name: str) -> str:
    low, high = figures.get(f"{name}_range", (None, None))
    return f"{figures[name]:,}" if low is None else f"{figures[name]:,} ({low:,} to {high:,})"


def _incremental(figures: Figures) -> str:
    spread = _spread(figures, "incremental_seconds")
    return f"`incremental_seconds`: {spread} s for {figures['unchanged']:,} unchanged files, from the command's start to its end."


def _seconds(figures: Figures) -> str:
    steps = sorted({step for times in figures["seconds"].values() for step in times}, key=_STEPS.index)
    rows = [(way, *(_number(times.get(step)) for step in steps)) for way, times in figures["seconds"].items()]
    return table(("median seconds", *(step.replace("_", " ") for step in steps)), rows)


_STEPS = ("copy", "index", "total", "validation", "wall", "restore_copy", "restore_wall")
_CONTENT = {"bytes": "yes, byte for byte", "values": "as values, not as text", "different": "**no**"}


def _peers(peers: dict[str, Figures]) -> str:
    rows = [
        (name, peer.get("version", ""), *_of_peer(peer), "; ".join(peer.get("leaves_out", ())))
        for name, peer in peers.items()
    ]
    return table(("peer", "version", "seconds", "lines a second", "content came through", "leaves out"), rows)


def _of_peer(peer: Figures) -> tuple[str, str, str]:
    for why in ("not_available", "failed"):
        if why in peer:
            return "", "", f"{'not available here' if why == 'not_available' else 'failed'}: {peer[why]}"
    content = _CONTENT[peer["content"]]
    if peer["content"] == "different":
        members = ", ".join(f"`{name}`" for name in peer["members"])
        content += f": {peer['lines_lost']:,} of {peer['lines']:,} lines" + (f" ({members})" if members else "")
    return _number(peer["seconds"]), f"{peer['lines_per_second']:,}", content


def _hazards(peers: dict[str, Figures]) -> str:
    there = {name: peer["hazards"] for name, peer in peers.items() if "hazards" in peer}
    names: Iterable[str] = next(iter(there.values()), {})
    rows = [(hazard, *(fates[hazard] for fates in there.values())) for hazard in names]
    return table(("one such line among six plain ones", *there), rows) if rows else ""


def _memory(figures: Figures) -> str:
    rows = []
    for name, case in figures["cases"].items():
        if "not_run" in case:
            rows.append((name, *[""] * 7, f"not run: {case['not_run']}"))
            continue
        for way in (way for way in WAYS if way in case):
            peak = case[way]
            by_role = (f"{peak['at_peak'].get(role, 0):,.0f}" for role in ("runner", "workers", "other"))
            size = f"{case['files']:,} files, {case['bytes'] / 1e9:,.2f} GB"
            rows.append((name, way, size, f"{peak['peak_mb']:,}", *by_role, f"{peak['anonymous_mb']:,}", _quarters(peak)))
    head = ("case", "way", "size", "peak MB", "runner", "workers", "other", "anonymous", "by quarter of the time")
    quick = ["Shortened with `--quick`: these slopes are warm-up and noise for the most part."] if figures["quick"] else []
    return "\n\n".join([table(head, rows), *_slopes(figures["slopes"]), *quick])


def _quarters(peak: Figures) -> str:
    return ", ".join(f"{value:,.0f}" for value in peak["quarters_mb"])


def _slopes(slopes: dict[str, Figures]) -> Iterable[str]:
    for name, found in slopes.items():
        yield (
            f"`{name}`: {found['slope']:+,} MB per {found['per']}; "
            f"a terabyte of them ({found['terabyte_is']}) would take {found['terabyte_mb']:,} MB by that."
        )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
