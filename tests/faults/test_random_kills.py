"""``kill -9`` of everybody at any moment, fifty times over one copy, and no second pass over what was finished.

The seed is fixed, so that the moments are; what the machine does between them is not, which is the point.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from crossfade.testing import prodigy
from crossfade.testing.planting import Planter
from support.cluster import Cluster
from support.proxy import Proxy
from support.running import Terminal, compare, finish, in_group, kill_group, once_each, wait_for
from support.servers import NAMES, Servers

MB = 10**6


def build(root: Path, megabytes: int, longest: int) -> Path:
    """Logs of two megabytes each, and one of *longest*."""
    prodigy.write_logs(str(root), events=(megabytes - longest) * 1900, logs=(megabytes - longest) // 2)
    tree = Planter(str(root))
    tree.file(b"events/z/long/events-20251116_101500.jsonl", prodigy.event_lines(longest * 1900, 7, 520, job="long"))
    tree.settle()
    prodigy.write_sessions(str(root), count=500)
    return root


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("kills") / "prodigy", 40, 14)


def kill_again_and_again(terminal: Terminal, command: tuple[object, ...], kills: int, random: Random, folder: Path) -> None:
    """Give *command*, kill its process group at a random moment, and so on; at the end let it finish."""
    for number in range(kills):
        with (folder / f"said{number}").open("wb") as said:
            process = terminal.popen(*command, "--rate-limit", "2MB", stdout=said, stderr=said)
            if random.random() < 0.8:  # most of them in the midst of the work, the others wherever a start may be
                wait_for("the copying", lambda said=folder / f"said{number}": "copying" in said.read_text())
            time.sleep(random.random())
            assert process.poll() is None, f"finished before kill {number + 1}: {(folder / f'said{number}').read_text()}"
            kill_group(process)
        text = (folder / f"said{number}").read_text()
        assert "error[" not in text, text
        wait_for("the end of all", lambda group=process.pid: not in_group(group))
    done = terminal.run(*command)
    assert done.status == 0, done


def there_and_back(store: Path, servers: Servers, folder: Path, lane: int) -> int:
    """One copy under 25 kills and one restore under six; how many runs came far enough to claim the migration."""
    folder.mkdir()
    terminal, target = Terminal(folder / "state"), folder / "restored"
    with servers.database(NAMES[0]) as database:
        command = ("start", store, database.url, "--once", "--workers", 2, "--batch-bytes", "256KiB")
        kill_again_and_again(terminal, command, 25, Random(lane), folder)
        with database.connect() as connection:
            assert once_each(connection, database.location.schema, store) > 40 * 1900 - 10
        claims = int(str(database.one("SELECT count(*) FROM journal WHERE event = 'claimed'")))
        command = ("start", database.url, target, "--once", "--workers", 2, "--batch-bytes", "256KiB")
        kill_again_and_again(terminal, command, 6, Random(-lane), folder)
    compare(store, target)
    assert [path.name for path in folder.glob("restored*")] == ["restored"], "something of ours was left behind"
    return claims


@pytest.mark.timeout(900)
def test_fifty_kills_lose_nothing_and_repeat_nothing(store: Path, servers: Servers, tmp_path: Path):
    """Two copies at a time, which quarrel over the processors; every kill hits a runner and both its workers, wherever they are.

    And twelve on the way back.
    """
    with ThreadPoolExecutor(2) as executor:
        lanes = [executor.submit(there_and_back, store, servers, tmp_path / f"lane{lane}", lane) for lane in (1, 2)]
        claims = [lane.result() for lane in lanes]
    print(f"{sum(claims)} of 52 runs came far enough to claim a migration")

    assert sum(claims) > 35, "most kills came too early to be worth something"


# No second pass


class Meter:
    """How many bytes a command and its workers have read, by the kernel's own counters (``rchar`` of ``/proc/PID/io``).

    The kernel adds a child's count to its parent's once that child was waited for, so only the living are added up.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._read = 0

    def look(self) -> int:
        count = 0
        for pid in in_group(self._process.pid):
            with suppress(OSError):
                line = Path(f"/proc/{pid}/io").read_bytes().split(b"\n", 1)[0]
                count += int(line.split()[1])
        self._read = max(self._read, count)
        return self._read

    def until(self, is_there: Callable[[], bool]) -> int:
        """Look every few milliseconds until *is_there*, or until it is over."""
        while self._process.poll() is None and not is_there():
            self.look()
            time.sleep(0.01)
        return self.look()

    def until_killed(self, count: int) -> int:
        """Kill the group when it has read *count* bytes; stopped first, so that nothing is read unseen."""
        while self._process.poll() is None and self.look() < count:
            time.sleep(0.01)
        assert self._process.poll() is None, "finished before the kill"
        os.killpg(self._process.pid, signal.SIGSTOP)
        time.sleep(0.05)
        read = self.look()
        kill_group(self._process)
        return read


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """About 100 megabytes, near half of them in one log; and how many bytes exactly: two pages in hand are a 24th of it."""
    root = build(tmp_path_factory.mktemp("large") / "prodigy", 104, 46)
    return root, _size(root)


@pytest.mark.timeout(900)
def test_a_copy_that_was_killed_reads_no_byte_twice(
    large: tuple[Path, int], cluster: Cluster, terminal: Terminal, tmp_path: Path
):
    """To the database: what both runs read to copy is at most a tenth more than the store, and so it is on the way back.

    What starting costs (modules, three times) is known from a small store and an undisturbed run. The proof comes after, has
    processes of its own, and reads the files of a copy that was cut short once: what passed by before the kill, nobody alive
    has seen. On the way back what counts is what comes through the wire; files are read there only to be proven.
    """
    store, size = large
    assert size > 90 * MB
    terminal.environment["PGPASSWORD"] = cluster.password
    with Proxy(cluster.port) as proxy:
        url = cluster.url("large", proxy.port)
        command = ("start", store, url, "--once", "--batch-bytes", "2MiB")
        little = build(tmp_path / "little", 10, 8)
        starting = _metered(terminal, tmp_path, "start", little, cluster.url("little"), "--once")[0] - _size(little)
        assert 0 < starting < 40 * MB
        first = Meter(_silently(terminal, *command)).until_killed(size // 2)
        second, both = _metered(terminal, tmp_path, *command)
        ratio, proof = (first + second - 2 * starting) / size, (both - second - starting) / size
        print(f"read to copy: {ratio:.3f} of the store; to prove: {proof:.3f}; starting costs {starting / MB:.1f} MB")

        begun = proxy.returned_bytes
        command = ("start", url, tmp_path / "restored", "--once", "--batch-bytes", "2MiB")
        process = _silently(terminal, *command)
        while proxy.returned_bytes - begun < size // 2:
            assert process.poll() is None, "finished before the kill"
            time.sleep(0.01)
        kill_group(process)
        done = terminal.run(*command)
        assert done.status == 0, done
        back = (proxy.returned_bytes - begun) / size
        print(f"read from the database: {back:.3f} of the store")
        with cluster.connect() as connection:
            assert once_each(connection, "large", store) > 90 * 1900
            connection.execute("DROP SCHEMA large CASCADE; DROP SCHEMA little CASCADE")

    compare(store, tmp_path / "restored")
    assert 0.98 < ratio <= 1.1
    assert proof <= 1.1
    assert back <= 1.1


def _silently(terminal: Terminal, *command: object) -> subprocess.Popen[bytes]:
    return terminal.popen(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _metered(terminal: Terminal, folder: Path, *command: object) -> tuple[int, int]:
    """What an undisturbed run reads until all is copied, and until the end."""
    with (folder / "said").open("wb") as said:
        process = terminal.popen(*command, stderr=said)
        meter = Meter(process)
        copied = meter.until(lambda: "building indexes" in (folder / "said").read_text())
        both = meter.until(lambda: False)
    done = finish(process)
    assert done.status == 0, (folder / "said").read_text()
    return copied, both


def _size(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
