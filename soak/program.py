"""A program that keeps its state in files as Prodigy does, and knows nothing of crossfade: the standard library alone.

    program.py ROOT --seed N --rate 2000 --seconds 60 --tally FILE

It appends in torn pieces and in bursts, rewrites documents in place and by rename, renames, rotates, drops lines by retention,
truncates, deletes, exchanges what stands at a path, and now and then dies by ``kill -9`` in the middle of a write. Whoever
starts it again lets it go on: how many operations were done stands in FILE, which is outside of ROOT.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

LOGS = 24
LONG = 4
"""So many of them are only ever appended to, so that some grow over several segments."""

DOCUMENTS = 400
STILL = 3_000
"""Files that nobody touches: a tree is more than what is written to at the moment."""

_TOLD_EVERY = 50


class Tally:
    """How many operations were done, in a file that outlives whoever counts."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self.count = int.from_bytes(os.pread(self._file, 8, 0), "little")

    def add(self) -> None:
        self.count += 1
        if self.count % _TOLD_EVERY == 0:
            self.tell()

    def tell(self) -> None:
        os.pwrite(self._file, self.count.to_bytes(8, "little"), 0)


class Program:
    """Its operations. Everything that it needs to go on after a death is on disk."""

    def __init__(self, root: Path, seed: int, tally: Tally, *, dies: bool) -> None:
        self._root = root
        self._random = random.Random(f"{seed} {tally.count}")
        self._tally = tally
        self._torn: dict[Path, bytes] = {}
        acts = {act: weight for act, weight in self._acts().items() if dies or act != self._die}
        self._choices = list(acts), list(acts.values())

    def _acts(self) -> dict[Callable[[], None], int]:
        """What it does, and how often in 10,000."""
        return {
            self._append: 6_900,
            self._burst: 250,
            self._document: 1_500,
            self._shorter: 100,
            self._checkpoint: 800,
            self._new: 200,
            self._mode: 50,
            self._touch: 50,
            self._rotate: 15,
            self._retain: 15,
            self._truncate: 10,
            self._cut: 10,
            self._remove: 20,
            self._rename: 20,
            self._remove_log: 5,
            self._directory: 8,
            self._exchange: 6,
            self._migrate: 1,
            self._die: 2,
        }

    def work(self, until: float, rate: float, began: float) -> None:
        """As many operations a second as *rate* since *began*, all lives counted: what a death cost is caught up with.

        Slower where the machine is. Times are ``time.monotonic()``, which is one clock for all processes.
        """
        while (now := time.monotonic()) < until:
            if self._tally.count >= (now - began) * rate:
                time.sleep(0.002)
                continue
            self._random.choices(*self._choices)[0]()
            self._tally.add()
        for log in list(self._torn):
            self._finish(log)
        self._tally.tell()

    # Logs

    def _log(self, *, long: bool = True) -> Path:
        number = self._random.randrange(LOGS if long else LOGS - LONG)
        return self._root / f"events/repo-{number % 3}/job-{number % 5}/events-{number:02}.jsonl"

    def _line(self) -> bytes:
        number, chance = self._tally.count, self._random.random()
        if chance < 0.01:
            return self._random.choice([b"\n", b"not json\n", b'{"a":"\\u0000"}\n', b'{"a":-0.0}\r\n', b"\xff\xfe\n"])
        pad = "x" * self._random.randrange(600)
        return b'{"id":"%d","timestamp":"2026-11-23T00:00:00Z","event":{"event_type":"x"},"pad":"%s"}\n' % (
            number,
            pad.encode(),
        )

    def _append(self) -> None:
        log, line = self._log(), self._line()
        self._finish(log)
        at = self._random.randrange(len(line))
        with _opened(log, "ab") as file:
            if self._random.random() < 0.1:  # the rest comes with one of the next operations on this log
                file.write(line[:at])
                self._torn[log] = line[at:]
                return
            for piece in (line[:at], line[at:]) if self._random.random() < 0.5 else (line,):
                file.write(piece)

    def _finish(self, log: Path) -> None:
        if rest := self._torn.pop(log, b""):
            with _opened(log, "ab") as file:
                file.write(rest)

    def _burst(self) -> None:
        log = self._log()
        self._finish(log)
        with _opened(log, "ab") as file:
            file.write(b"".join(self._line() for _ in range(20)))

    def _rotate(self) -> None:
        """As Prodigy does: two renames, to a name with the second in it; two in one second replace each other."""
        log = self._log(long=False)
        backup = log.with_name(log.name + ".bak")
        with suppress(FileNotFoundError):
            log.rename(backup)
            backup.rename(log.with_name(f"{log.stem}.{time.strftime('%Y%m%d_%H%M%S')}.jsonl.gz"))

    def _retain(self) -> None:
        """The older half goes, and so do lines that are blank or no JSON; the survivors get the log's name by a rename."""
        log = self._log(long=False)
        with suppress(FileNotFoundError):
            lines = log.read_bytes().splitlines(keepends=True)
            new = log.with_suffix(".tmp")
            new.write_bytes(b"".join(line for line in lines[len(lines) // 2 :] if _is_json(line)))
            new.rename(log)

    def _truncate(self) -> None:
        with suppress(FileNotFoundError):
            os.truncate(self._log(long=False), 0)

    def _cut(self) -> None:
        log = self._log(long=False)
        with suppress(FileNotFoundError):
            os.truncate(log, self._random.randrange(log.stat().st_size + 1))

    def _remove_log(self) -> None:
        self._log(long=False).unlink(missing_ok=True)

    # Documents

    def _path(self) -> Path:
        return self._root / f"sessions/session-{self._random.randrange(DOCUMENTS):04}.json"

    def _text(self) -> bytes:
        pad = "y" * self._random.randrange(3_000)
        return json.dumps({"id": f"s{self._tally.count}", "status": "Running", "pad": pad}).encode()

    def _document(self) -> None:
        """In place: for a moment it is empty, then a prefix."""
        text = self._text()
        at = self._random.randrange(len(text))
        with _opened(self._path(), "wb") as file:
            file.write(text[:at])
            file.write(text[at:])

    def _shorter(self) -> None:
        """Two writers at once: what the longer one wrote stands behind what the shorter one did."""
        with suppress(FileNotFoundError), self._path().open("r+b", 0) as file:
            file.write(b'{"id":"overlapped"}')

    def _checkpoint(self) -> None:
        path = (
            self._root
            / f"state/session-{self._random.randrange(40)}/checkpoints/cp-{self._random.randrange(10)}.checkpoint.json"
        )
        new = path.with_name(path.name.replace(".json", ".tmp"))
        with _opened(new, "wb") as file:
            file.write(self._text())
        new.rename(path)

    def _new(self) -> None:
        """A session, and what hangs on it: with a name that is no UTF-8 now and then."""
        name = b"new-%d\xff.json" if self._tally.count % 7 == 0 else b"new-%d.json"
        path = os.path.join(os.fsencode(self._root), b"sessions", name % self._tally.count)
        with open(path, "wb", 0) as file:
            file.write(self._text())

    def _remove(self) -> None:
        self._path().unlink(missing_ok=True)

    def _rename(self) -> None:
        with suppress(FileNotFoundError):
            self._path().rename(self._path())

    def _mode(self) -> None:
        with suppress(FileNotFoundError):
            self._path().chmod(self._random.choice([0o600, 0o644, 0o400]))

    def _touch(self) -> None:
        with suppress(FileNotFoundError):
            os.utime(self._path(), ns=(0, self._random.randrange(1, 2 * 10**18)))

    # Directories and links

    def _directory(self) -> None:
        """Made, filled, renamed as a whole; older ones go as a whole."""
        made = self._root / f"made/{self._tally.count}"
        (made / "deep").mkdir(parents=True)
        (made / "deep" / "file").write_bytes(self._text())
        (made / "deep" / "link").symlink_to("file")
        (made / "empty").touch()
        moved = made.with_name(f"moved-{self._random.randrange(30)}")
        shutil.rmtree(moved, ignore_errors=True)
        made.rename(moved)

    def _exchange(self) -> None:
        """A file, a link, a directory, at one path."""
        path = self._root / f"made/either-{self._random.randrange(10)}"
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            path.rmdir()
        path.parent.mkdir(exist_ok=True)
        self._random.choice([path.touch, path.mkdir, lambda: path.symlink_to("nowhere")])()

    def _migrate(self) -> None:
        """As every ``prodigy`` command may: a directory gets another name, and what had that name goes."""
        local, done = self._root / "project/.prodigy", self._root / "project/.prodigy_migrated"
        shutil.rmtree(done, ignore_errors=True)
        with suppress(FileNotFoundError):
            local.rename(done)
        (local / "sessions").mkdir(parents=True)
        (local / "session_state.json").write_bytes(self._text())

    def _die(self) -> None:
        """``kill -9`` in the middle of a document or a line."""
        self._tally.add()
        self._tally.tell()
        path, mode, text = (
            (self._path(), "wb", self._text()) if self._random.random() < 0.5 else (self._log(), "ab", self._line())
        )
        with _opened(path, mode) as file:
            file.write(text[: self._random.randrange(len(text))])
            os.kill(os.getpid(), signal.SIGKILL)


def _opened(path: Path, mode: str) -> IO[bytes]:
    """A raw file, which writes what it is given at once."""
    try:
        return open(path, mode, 0)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, mode, 0)
    except PermissionError:  # made read-only a moment ago, and this is not root
        path.chmod(0o600)
        return open(path, mode, 0)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def plant(root: Path) -> None:
    """What is there before anything happens."""
    for name in ("sessions", "events", "state", "made", "project"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for number in range(STILL):
        directory = root / f"dlq/repo/job-{number % 50}/mapreduce/dlq/job-{number % 50}/items"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"item-{number}.json").write_text(json.dumps({"item_id": f"item-{number}", "failure_count": 1}))


def main() -> None:
    """Work for some seconds, then say how many operations that were, all lives counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rate", type=float, default=2_000, help="operations a second")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument(
        "--began", type=float, default=time.monotonic(), help="when its first life began, by CLOCK_MONOTONIC"
    )
    parser.add_argument("--tally", type=Path, required=True)
    parser.add_argument("--never-die", action="store_true", help="do not kill yourself in the middle of a write")
    options = parser.parse_args()
    tally = Tally(options.tally)
    writer = Program(options.root, options.seed, tally, dies=not options.never_die)
    writer.work(options.began + options.seconds, options.rate, options.began)
    print(tally.count)


if __name__ == "__main__":
    main()
