"""The place of one scenario: a tree, a database, a follower, a program that writes; and what is true of them at any time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.content import expect, expect_same_trees
from bench.running import crossfade
from bench.server import Bench
from soak import judging
from soak.activity import Activity, BySql, ByWriter, OnFiles
from soak.following import Following
from soak.scenarios import Scenario

_IN_STEP_SECONDS = 120.0
_DIES_SECONDS = 60.0
_VERB_SECONDS = 120.0
_SELDOM = "feed.cursor"
"""Passed once in a while, and not within the moment that a hand-over takes."""


class Stage:
    """*scenario*, set up in the schema *name* of *server*."""

    def __init__(self, server: Bench, scenario: Scenario, name: str) -> None:
        self._server = server
        self._scenario = scenario
        self._schema = name
        self._url = server.url(name)
        self._place = server.place / name
        self._armed = self._place / "armed"
        self.files = self._planted = self._place / "files"
        self.activity: Activity | None = None

    def set_up(self) -> None:
        """A small tree on the side where the state comes from. The files of what is to be restored have vanished since."""
        plant(self.files)
        if self._scenario.source == "files":
            return
        self._copied()
        if self._scenario.verb == "restore":
            self._planted = self.files.rename(self._place / "kept")
            self.files.mkdir()
            return
        for verb in ("cutover", "finish"):
            self.ask(verb)
        self.files = self._place / "other"

    def _copied(self) -> dict[str, Any]:
        """What a copy of the files reports, gone through to its end."""
        return crossfade(self._server.place, "start", self.files, self._url, "--once", "--json").report

    def follower(self) -> Following:
        """Whoever follows, not started yet."""
        ends = (self.files, self._url) if self._scenario.source == "files" else (self._url, self.files)
        return Following(self._server, self._schema, *ends, "--cpu-max", 100)

    def failpoint(self, place: str) -> dict[str, str]:
        """The environment of a process that is to die at *place*, once that is armed."""
        self._armed.unlink(missing_ok=True)
        return {"CROSSFADE_FAILPOINT": place, "CROSSFADE_FAILPOINT_ARMED": str(self._armed)}

    def command(self) -> tuple[object, ...]:
        """What copies it once."""
        if self._scenario.verb == "restore":
            return ("restore", self._url, self.files, "--json", "--workers", 1)
        ends = (self.files, self._url) if self._scenario.source == "files" else (self._url, self.files)
        return ("start", *ends, "--once", "--json", "--batch-records", 40, "--workers", 1)

    def ask(self, verb: str) -> None:
        """Have the authority handed over, by whoever runs, or by the command itself."""
        self._finished(verb, self.asked(verb))

    def asked(self, verb: str) -> subprocess.Popen[bytes]:
        """The same, under way."""
        words = [verb, self._migration(), "--store", self._url, "--timeout", "60"]
        words += [] if verb == "finish" else ["--writers-stopped", "--hold-max", "5"]
        environment = {**os.environ, "XDG_STATE_HOME": str(self._server.place / "state")}
        with (self._place / "asked.said").open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "crossfade", *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def _migration(self) -> str:
        """Its id: whoever compares makes others in the same schema."""
        rows = self._server.run(
            f"SELECT migration_id FROM {self._schema}.migrations ORDER BY phase IN ('following', 'cut-over') DESC"
        )
        return str(rows[0][0])

    def _finished(self, verb: str, process: subprocess.Popen[bytes]) -> None:
        if process.wait(_VERB_SECONDS):
            raise SystemExit(f"{verb} ended with {process.returncode}\n{(self._place / 'asked.said').read_text()[-3000:]}")

    def write(self) -> Activity:
        """Start the program, which rests at first."""
        means = {
            "files": lambda: OnFiles(self.files),
            "sql": lambda: BySql(self._server.conninfo, self._schema),
            "writer": lambda: ByWriter(self.files, self._url),
        }
        self.activity = Activity("program", means[self._scenario.writes])
        self.activity.start()
        return self.activity

    @property
    def authority(self) -> str:
        """Which side decides."""
        ((found,),) = self._server.run(f"SELECT authority FROM {self._schema}.routes")
        return "database" if found == "here" else "files"

    def die(self, follower: Following, place: str) -> bool:
        """Ask for what is to be done, arm the failpoint at *place*, and wait until it strikes; False where it was not reached.

        Where it is seldom passed, nothing is asked for: a hand-over may be over by the next time, and nobody passes it any more.
        """
        begun = self._hand_overs()
        asked = self.asked(self._scenario.verb) if self._scenario.verb and not place.startswith(_SELDOM) else None
        if asked is not None:
            follower.wait("a hand-over", lambda: self._hand_overs() > begun, _VERB_SECONDS)
        self._armed.touch()
        has_died = follower.dies(_DIES_SECONDS)
        if asked is not None:
            asked.kill()
            asked.wait()
        if not has_died:
            follower.kill()
        return has_died

    def _hand_overs(self) -> int:
        rows = self._server.run(f"SELECT count(*) FROM {self._schema}.journal WHERE event = 'hand-over begun'")
        return int(str(rows[0][0]))

    # What is true

    def settle(self, follower: Following) -> None:
        """Wait until both sides hold the same number of records, and nothing is behind."""

        def in_step() -> bool:
            lag = follower.progress().get("lag") or {"entries": 1}
            return not lag["entries"] and not self._difference()

        try:
            follower.wait("both sides in step", in_step, _IN_STEP_SECONDS)
        except SystemExit as error:
            raise SystemExit(f"{error}\n{self._difference()}") from None

    def _difference(self) -> str:
        return judging.first_difference(judging.lines_in(self.files), judging.rows_in(self._server, self._schema))

    def lost_and_twice(self) -> tuple[int, int]:
        """How many acknowledged events are not there, and how many are there more than once, counted by SQL."""
        acknowledged = set(self.activity.acknowledged) if self.activity is not None else {str(n) for n in range(_EVENTS)}
        rows = self._server.run(f"SELECT id, count(*) FROM {self._schema}.events GROUP BY id")
        counts = {str(identity): int(str(count)) for identity, count in rows}
        return len(acknowledged - counts.keys()), sum(count > 1 for count in counts.values())

    def compare(self) -> None:
        """What comes out of the database is what the files are, by the independent comparer; and where they came out of it while
        nobody wrote, they are what was planted.
        """
        if self._scenario.source == "database" and not self._scenario.follows:
            expect_same_trees(self._scenario.title, self._planted, self.files)
        if self._scenario.verb == "restore":
            self._go_on()
        back = self._place / f"back-{time.monotonic_ns()}"
        crossfade(self._server.place, "start", self._url, back, "--once", "--json")
        expect_same_trees(self._scenario.title, self.files, back)
        shutil.rmtree(back)

    def _go_on(self) -> None:
        """The copy whose files were brought back goes on: it is the same migration, and no record is brought again."""
        expect(f"{self._scenario.title}: records brought again", self._copied()["brought"]["records"], 0)
        migrations = self._server.run(f"SELECT migration_id FROM {self._schema}.migrations")
        expect(f"{self._scenario.title}: migrations", len(migrations), 1)

    def tear_down(self) -> None:
        """Away with it."""
        if self.activity is not None:
            self.activity.stop()
        self._server.drop(self._schema)
        with suppress(FileNotFoundError):
            shutil.rmtree(self._place)


_EVENTS = 240


def plant(root: Path) -> None:
    """Documents, logs, a link, an empty directory."""
    for log in range(4):
        path = root / f"events/repo/job-{log}/events-1.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(f'{{"id":"{number}"}}\n' for number in range(log, _EVENTS, 4)))
    (root / "sessions").mkdir()
    for number in range(60):
        (root / f"sessions/s{number}.json").write_text(f'{{"id":"s{number}","status":"Running"}}')
    (root / "latest").symlink_to("sessions/s1.json")
    (root / "empty").mkdir()
