"""Cut over and roll back, again and again, while two processes write; both sides are compared after each round.

They are compared by who shares no code with crossfade, as long as the tree is small, and by rows counted against lines. Hold is
the longest write that any writer saw in a round, from the rest before it until the rest after it. No write may fail, none may
be lost, none may come twice. With ``--kill`` the runner is killed at random in the middle of hand-overs. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.content import expect
from bench.running import crossfade, machine, say, workplace
from bench.server import Bench, bench
from crossfade.testing import prodigy
from soak import judging
from soak.following import Following
from soak.table import printed

NAMES = ("one", "two")
_SCHEMA = "rounds"
_WRITTEN = b"events/soak/"
_SETTLES_SECONDS = 60.0
_BETWEEN_SECONDS = 1.0
_AFTER_SECONDS = 0.5
"""How long writers go on after a hand-over, at least, so that what it makes slow is seen."""

_MANY_ROUNDS = 10
_MOST_ROUNDS = 100
_LONGEST_MS = 250.0
"""So long a writer may have to wait, in each of many rounds, and in nearly each of most."""

_SMALL_BYTES = 100 << 20
"""A tree up to this size is compared after each round; a larger one at the end."""


@dataclass
class Hold:
    """What it cost, in milliseconds: each hand-over as the runner says, and each round as the writers saw it."""

    said: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)

    @property
    def slowest_round(self) -> int | None:
        """The one in which a writer saw the longest write, counted from 1; None where there was none."""
        return self.seen.index(max(self.seen)) + 1 if self.seen else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Go round, judge, print."""
    options = options_of(arguments)
    with workplace() as place, bench(place) as server:
        figures = {"soak": "rounds", "machine": machine(place), "seed": options.seed} | gone_round(server, options)
    if not options.json:
        print(printed(figures))
    print(json.dumps(figures))
    if why := too_long(figures, options):
        raise SystemExit(why)


def too_long(figures: dict[str, Any], options: argparse.Namespace) -> str:
    """What is to be said where writers waited longer than they may: in each of ten rounds, in nearly each of a hundred.

    A few rounds only show that they work; who kills, waits.
    """
    of = "max" if options.rounds < _MOST_ROUNDS else "p99"
    if options.rounds < _MANY_ROUNDS or options.kill or (longest := figures["longest_write_ms"][of]) <= _LONGEST_MS:
        return ""
    return (
        f"a writer waited {longest} ms ({of}; the longest in round {figures['slowest_round']}), {_LONGEST_MS:.0f} are wanted"
    )


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser("scripts/soak rounds", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--rounds", type=int, default=10, help="a round is a cut-over and a roll back; 200 is a soak")
    parser.add_argument("--kill", type=float, default=0.0, help="kill the runner in this share of the hand-overs")
    parser.add_argument("--events", type=int, default=20_000, help="how many are there before")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    return parser.parse_args(arguments)


def gone_round(server: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of all rounds; ends with what is wrong, where something is."""
    say(f"seed {options.seed}")
    root, chance, hold, compared = server.place / "live", random.Random(options.seed), Hold(), 0
    prodigy.build(str(root), events=options.events)
    crossfade(server.place, "start", root, server.url(_SCHEMA), "--once", "--json")
    with Following(server, _SCHEMA, root, server.url(_SCHEMA), "--cpu-max", "100") as following:
        following.arrive()
        ((migration,),) = server.run(f"SELECT migration_id FROM {_SCHEMA}.migrations")  # whoever compares makes another one
        with _writers(server, root) as place:
            for number in range(1, options.rounds + 1):
                began = time.monotonic()
                for verb in ("cutover", "rollback"):
                    _hand_over(server, following, (verb, str(migration)), hold, chance, options.kill)
                with _resting(place):
                    hold.seen.append(_longest(place, began) * 1000)
                    compared += _check_round(server, root, following, number)
        writes = sum(int((place / f"{name}.done").read_text()) for name in NAMES)
        _settle(server, root, following)
        following.stop()
        kills = following.kills
    _judge(server, root, writes)
    return {
        "rounds": options.rounds,
        "writes": writes,
        "failed_writes": 0,
        "lost": 0,
        "twice": 0,
        "runner_kills": kills,
        "hold_ms": _spread(hold.said),
        "longest_write_ms": _spread(hold.seen),
        "slowest_round": hold.slowest_round,
        "rounds_compared": compared,
        "sides": "identical after each round",
    }


def _spread(values: list[float]) -> dict[str, float]:
    """The middle, nearly the worst, and the worst of *values*, and how many there are; nothing of none."""
    ordered = sorted(values)
    if not ordered:
        return {}
    return {
        "median": round(statistics.median(ordered), 1),
        "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 1),
        "max": round(ordered[-1], 1),
        "count": len(ordered),
    }


# Writers


@contextmanager
def _writers(server: Bench, root: Path) -> Iterator[Path]:
    """Two processes that write, until the end of this; a failed write is the end of everything."""
    place = server.place / "pens"
    place.mkdir()
    command = [sys.executable, "-m", "soak.pen", str(root), server.url(_SCHEMA)]
    pens = [subprocess.Popen([*command, name, str(place)]) for name in NAMES]
    try:
        yield place
        (place / "over").touch()
        for pen in pens:
            expect("a writer's exit", pen.wait(_SETTLES_SECONDS), 0)
    finally:
        for pen in pens:
            pen.kill()
            pen.wait()


@contextmanager
def _resting(place: Path) -> Iterator[None]:
    """Nobody writes in here."""
    (place / "rest").touch()
    until = time.monotonic() + _SETTLES_SECONDS
    while not all((place / f"{name}.rests").exists() for name in NAMES):
        if time.monotonic() > until:
            raise SystemExit("a writer does not come to rest: its write hangs, or has failed")
        time.sleep(0.01)
    yield
    (place / "rest").unlink()


def _longest(place: Path, since: float) -> float:
    """The longest write that returned since then, in seconds. Asked while nobody writes: none is written down before it returns."""
    rows = [line.split() for name in NAMES for line in (place / f"{name}.slow").read_text().splitlines()]
    times = [(float(row[0]), float(row[1])) for row in rows if len(row) == 2]
    return max((took for began, took in times if began + took >= since), default=0.0)


# Hand-overs


def _hand_over(
    server: Bench, following: Following, words: tuple[str, str], hold: Hold, chance: random.Random, kill: float
) -> None:
    """Have the authority change hands; with some chance the runner dies meanwhile, and the verb is given again."""
    verb = words[0]
    time.sleep(_BETWEEN_SECONDS * (0.5 + chance.random()))
    asked = _asked(server, words)
    if chance.random() < kill:
        time.sleep(chance.random() * 4)
        following.kill()
        asked.kill()
        asked.communicate()
        following.arrive()
        if _is_handed(server, verb):
            return
        asked = _asked(server, words)
    out, err = asked.communicate(timeout=120)
    expect(f"{verb}\n{err[-2000:]}{following.said()}", asked.returncode, 0)
    time.sleep(_AFTER_SECONDS)
    hold.said.append(float(json.loads(out)["hold_ms"]))


def _asked(server: Bench, words: tuple[str, str]) -> subprocess.Popen[str]:
    options = ("--store", server.url(_SCHEMA), "--writers-stopped", "--timeout", "60", "--json")
    environment = {**os.environ, "XDG_STATE_HOME": str(server.place / "state")}
    return subprocess.Popen(
        [sys.executable, "-m", "crossfade", *words, *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _is_handed(server: Bench, verb: str) -> bool:
    authority = server.run(f"SELECT authority FROM {_SCHEMA}.routes")[0][0]
    return authority == ("here" if verb == "cutover" else "elsewhere")


# Judging


def _check_round(server: Bench, root: Path, following: Following, number: int) -> bool:
    """While nobody writes: rows and lines are as many, crossfade's own validation finds no difference, nor does the comparer.

    True where that one was asked: it looks at small trees.
    """
    _settle(server, root, following)
    verdict = crossfade(server.place, "validate", root, server.url(_SCHEMA), "--json").report
    expect(f"the state after round {number}", verdict["state"], "equal")
    is_small = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) <= _SMALL_BYTES
    if is_small:
        _compare(server, root, f"after round {number}")
    return is_small


def _settle(server: Bench, root: Path, following: Following) -> None:
    def in_step() -> bool:
        lag = following.progress().get("lag") or {"entries": 1}
        lines = judging.lines_in(root / "events/soak")
        rows = {
            path[len(_WRITTEN) :]: n for path, n in judging.rows_in(server, _SCHEMA).items() if path.startswith(_WRITTEN)
        }
        return not lag["entries"] and lines == rows

    following.wait("both sides in step", in_step, _SETTLES_SECONDS)


def _judge(server: Bench, root: Path, writes: int) -> None:
    """Every event once, counted by SQL and in the files; and the trees are the same."""
    query = f"SELECT count(*), count(DISTINCT id) FROM {_SCHEMA}.events WHERE id ~ '^(one|two)-[0-9]+$'"
    expect("events in the database, and different ones", server.run(query)[0], (writes, writes))
    lines = [line for name in NAMES for line in (root / f"events/soak/{name}/events-1.jsonl").read_bytes().splitlines()]
    expect("events in the files, and different ones", (len(lines), len(set(lines))), (writes, writes))
    _compare(server, root, "at the end")


def _compare(server: Bench, root: Path, when: str) -> None:
    """A restore, or what it brings up to date of the one before, compared by who shares no code with crossfade."""
    crossfade(server.place, "start", server.url(_SCHEMA), server.place / "restored", "--once", "--json")
    comparer = Path(__file__).parents[1] / "scripts/compare_trees.py"
    excludes = [word for pattern in prodigy.LEFT_OUT for word in ("--exclude", pattern)]
    done = subprocess.run(
        [sys.executable, str(comparer), str(root), str(server.place / "restored"), *excludes],
        capture_output=True,
        check=False,
        text=True,
    )
    expect(f"a restore {when}\n{done.stdout[-2000:]}{done.stderr[-2000:]}", done.returncode, 0)


if __name__ == "__main__":
    main()
