"""``kill -9`` of a follower at any moment, fifty times over, while a program writes: nothing is lost, nothing is twice.

The program is that of the soak: it appends in torn pieces, rewrites in place, renames, rotates, truncates and deletes. The seed
is in the output, ``CROSSFADE_TEST_SEED`` gives it again; what the machine does between the kills cannot be had again.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random, SystemRandom
from types import TracebackType

import pytest

from soak.program import Program, Tally
from support.following import following
from support.running import Terminal, compare, finish, kill_group, once_each
from support.servers import NAMES, Database, Servers

KILLS = 25
"""In each of two trees, whose followers quarrel over the processors."""

_RATE = 60
_FOLLOWS_SECONDS = 0.7
_STARTS_SECONDS = 1.5
"""How long it may live on, once it follows; and how long a start may last that is killed wherever it is."""


class Writing(threading.Thread):
    """A program at work below *root*, but when it is told to rest. ``count`` is how much it has done."""

    def __init__(self, root: Path, tally: Path, seed: int) -> None:
        super().__init__(daemon=True)
        self._tally = Tally(tally)
        self._program = Program(root, seed, self._tally, dies=False)
        self._over = threading.Event()

    def __enter__(self) -> Writing:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.rest()

    @property
    def count(self) -> int:
        return self._tally.count

    def run(self) -> None:
        while not self._over.is_set():
            now = time.monotonic()
            self._program.work(now + 0.5, _RATE, now - self.count / _RATE)  # no haste to make up for a slow moment

    def rest(self) -> None:
        """Finish what is torn, and write no more."""
        self._over.set()
        self.join(60)


@pytest.mark.timeout(900)
def test_fifty_kills_while_following_lose_nothing_and_repeat_nothing(servers: Servers, tmp_path: Path):
    """Both sides are the same to the byte at the end, rows counted by SQL; three in five kills hit a runner that follows."""
    seed = int(os.environ.get("CROSSFADE_TEST_SEED", SystemRandom().randrange(10**6)))
    print(f"seed {seed}")
    with ThreadPoolExecutor(2) as executor:
        lanes = [executor.submit(_beset, servers, tmp_path / f"lane{lane}", f"{seed} {lane}") for lane in (1, 2)]
        followed, written = map(sum, zip(*[lane.result() for lane in lanes], strict=True))
    print(f"{2 * KILLS} kills, {followed} of them while following; the programs did {written} operations")

    assert followed >= 15
    assert written > 1_000


def _beset(servers: Servers, folder: Path, seed: str) -> tuple[int, int]:
    """One tree, one follower, twenty-five kills: how many met it while it followed, and how much the program did."""
    chance, terminal, root = Random(seed), Terminal(folder / "state"), folder / "live"
    for name in ("sessions", "events", "made"):
        (root / name).mkdir(parents=True)
    with servers.database(NAMES[0]) as database:
        with Writing(root, folder / "tally", chance.randrange(10**6)) as writing:
            followed = sum(_kill(terminal, root, database, chance) for _ in range(KILLS))
            last = following(terminal, root, database)
        last.terminate()
        done = finish(last)
        assert done.status == 0, done
        _judge(terminal, root, database, folder / "back")
    return followed, writing.count


def _kill(terminal: Terminal, root: Path, database: Database, chance: Random) -> bool:
    """Start it, kill it; most of them while they follow, which is what is told, the others wherever a start may be."""
    follows = chance.random() < 0.6
    process = (
        following(terminal, root, database) if follows else terminal.popen("start", root, database.url, "--cpu-max", "100")
    )
    time.sleep(chance.random() * (_FOLLOWS_SECONDS if follows else _STARTS_SECONDS))
    assert process.poll() is None, finish(process)
    kill_group(process)
    process.communicate()
    return follows


def _judge(terminal: Terminal, root: Path, database: Database, back: Path) -> None:
    with database.connect() as connection:
        assert once_each(connection, database.location.schema, root) > 100
    restored = terminal.run("start", "--once", database.url, back)
    assert restored.status == 0, restored
    compare(root, back)
