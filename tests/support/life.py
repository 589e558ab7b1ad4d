"""What comes behind the copy of a migration, verb by verb: followed, paused, handed over and back, lost and restored."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.person import Person
from support.running import Run, Terminal, finish, kill_group, wait_for

HEAD = re.compile(r"^journal head [0-9a-f]{64}$", re.MULTILINE)
"""What every verb ends with."""

LATE, ROGUE = "sessions/late.json", "sessions/one.json"
"""Written by a program once the database decides; written by somebody who should not, in the files."""


class Life:
    """A migration of *source* into *place*, lived by *person*, whose runner is in a process of its own. ``heard`` is all that was said."""

    def __init__(self, person: Person, source: Path, place: str) -> None:
        self._person = person
        self._source = source
        self._place = place
        self._id = ""
        self.heard: list[Run] = []

    def live(self, put: Callable[[str], object], *, late: str, rogue: str) -> None:
        """All of it. *put* writes the text *late* at ``LATE`` as a program does by SQL; *rogue* is what somebody else writes."""
        with self._following() as runner:
            self._says("throttle", "--cpu-max", "90")
            self._says("pause")
            self._says("status", "--wait-for", "paused", "--timeout", "30s")
            self._says("resume")
            self._says("status", "--wait-for", "ready", "--timeout", "60s")
            self._prove()
            self._says("cutover", "--writers-stopped", "--hold-max", "5", "--timeout", "60s")
            put(late)
            wait_for("what the program wrote", lambda: _text(self._source / LATE) == late, 60)
            self._drift(rogue)
            self._says("rollback", "--writers-stopped", "--hold-max", "5", "--timeout", "60s")
            runner.send_signal(signal.SIGTERM)
            self.heard.append(finish(runner, 60))
            assert self.heard[-1].status == 0, self.heard[-1]
            assert HEAD.search(self.heard[-1].err), self.heard[-1]
        shutil.rmtree(self._source)
        self._source.mkdir()
        self._types("restore", self._place, self._source, "--if-empty")
        self._prove()
        assert _text(self._source / LATE) == late

    @contextmanager
    def _following(self) -> Iterator[subprocess.Popen[bytes]]:
        runner = Terminal(self._person.home, self._person.environment).popen(
            "start", self._source, self._place, "--cpu-max", "100"
        )
        try:
            wait_for("its state", self._knows_its_id, 60)
            self._says("status", "--wait-for", "ready", "--timeout", "60s")
            yield runner
        finally:
            kill_group(runner)

    def _knows_its_id(self) -> bool:
        run = self._person.types("status", self._source, self._place, "--json")
        self._id = json.loads(run.out)["migration"] if run.status == 0 else ""
        return bool(self._id)

    def _prove(self) -> None:
        certificate = self._source.parent / "life.json"
        self._says("validate", "--jobs", "1", "--certificate", certificate)
        self._says("validate", "--jobs", "1", "--json")
        for more in ((), ("--json",), ("--verify",)):
            self._says("audit", *more)

    def _drift(self, rogue: str) -> None:
        (self._source / ROGUE).write_text(rogue)
        wait_for("drift", lambda: self._says("drift", "list", status=None).status == 3, 60)
        items = json.loads(self._says("drift", "list", "--json", status=3).out)["items"]
        number = next(item["item"] for item in items if item["path"] == ROGUE)
        self._says("drift", "show", number)
        self._says("drift", "show", number, "--json")
        self._says("drift", "ignore", number)

    def _says(self, verb: str, *words: object, status: int | None = 0) -> Run:
        """A verb about this migration, named by its id."""
        return self._types(verb, self._id, *words, "--store", self._place, status=status)

    def _types(self, *words: object, status: int | None = 0) -> Run:
        run = self._person.types(*words)
        self.heard.append(run)
        assert status in (None, run.status), (words, run)
        assert HEAD.search(run.err), (words, run)
        return run


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
