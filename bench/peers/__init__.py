"""Others who load a file of JSON lines into PostgreSQL, beside crossfade: how long they take, and what of it arrives.

Same file, same server, same run, a checkpoint before each. What cannot be had here is said to be so; nothing is guessed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.peers.fates import HAZARDS, fate, written
from bench.peers.lines import judged
from bench.peers.programs import PEERS, Loaded, Peer, Tools, install, load, rows
from bench.running import say, warm
from bench.server import Bench
from crossfade.testing import prodigy


def measure(server: Bench, events: int, venv: str) -> dict[str, Any]:
    """Every peer by name: its version, its time and rate, its content, what became of hazards; or why it is not here."""
    tools = Tools(server, Path(venv) if venv else server.place / "peers", server.place / "peers_scratch")
    file = server.place / "events.jsonl"
    with file.open("wb") as target:
        target.writelines(prodigy.event_lines(events, 95, hazard_every=0))
    return {peer.name: _measured(tools, peer, file, events) for peer in PEERS}


def _measured(tools: Tools, peer: Peer, file: Path, events: int) -> dict[str, Any]:
    why = install(tools, peer)
    if why:
        say(f"peer {peer.name}: not available here: {why}")
        return {"not_available": why}
    known = {"version": peer.version(tools), "leaves_out": list(peer.leaves_out)}
    tools.server.checkpoint()
    warm(file)
    loaded = load(tools, peer, file)
    say(f"peer {peer.name} {known['version']}: {loaded.seconds:.1f} s, exit {loaded.status}")
    if loaded.status != 0:  # then the fate of hazards would say nothing about them
        return known | {"failed": loaded.said}
    figures = _figures(tools, peer, file, events, loaded)
    return known | figures | {"hazards": {name: _fate(tools, peer, name) for name in HAZARDS}}


def _figures(tools: Tools, peer: Peer, file: Path, events: int, loaded: Loaded) -> dict[str, Any]:
    """Time and content of a load that ended well."""
    content = judged(file, lambda: rows(tools, peer))
    time = {"seconds": round(loaded.seconds, 3), "lines_per_second": round(events / loaded.seconds)}
    return {**time, **loaded.more, **content}


def _fate(tools: Tools, peer: Peer, name: str) -> str:
    """What becomes of one hazardous line among plain ones."""
    hazard, file = HAZARDS[name], tools.scratch / "hazard.jsonl"
    lines = written(file, hazard)
    loaded = load(tools, peer, file)
    there = list(rows(tools, peer))
    return fate(hazard, lines, failed=loaded.status != 0, there=there)
