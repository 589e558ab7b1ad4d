"""Ctrl-C, kill, closed pipes: what a person, a supervisor or a shell does to a run, at a real terminal.

Once: the page in hand is finished, and the exact command that resumes is printed. Twice: at once, and still safe.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from support.running import (
    CROSSFADE,
    ROOT,
    Run,
    Terminal,
    build_long_store,
    finish,
    in_group,
    kill_group,
    once_each,
    wait_for,
)
from support.servers import Database


class Screen:
    """A command on a pseudo terminal of its own, as a login shell would start it."""

    def __init__(self, terminal: Terminal, *arguments: object) -> None:
        self.master, slave = os.openpty()
        self.text = b""
        self.process = terminal.popen(
            *arguments,
            environment={"TERM": "xterm-256color", "COLUMNS": "200"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def see(self, pattern: bytes, seconds: float = 30) -> re.Match[bytes]:
        """Look at the screen until *pattern* is on it."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < deadline, f"{pattern!r} never came:\n{self.text.decode(errors='replace')[-3000:]}"
            self._look(0.1)
        return found

    def end(self, seconds: float = 40) -> Run:
        """Look until the command has ended."""
        began = time.monotonic()
        while self.process.poll() is None:
            if time.monotonic() > began + seconds:
                kill_group(self.process)
                raise AssertionError(f"still running after {seconds} s:\n{self.text.decode(errors='replace')[-3000:]}")
            self._look(0.05)
        while self._look(0.05):
            pass
        os.close(self.master)
        return Run(self.process.returncode, self.text.decode(errors="replace"), "", time.monotonic() - began)

    def _look(self, seconds: float) -> bool:
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        with suppress(OSError):
            data = os.read(self.master, 1 << 16)
            self.text += data
            return bool(data)
        return False


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """Somebody with a registry of their own, and time."""
    return Terminal(tmp_path / "state")


@pytest.fixture(scope="module")
def long_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built once, never changed."""
    return build_long_store(tmp_path_factory.mktemp("long") / "prodigy")


@pytest.fixture
def command(database: Database, long_store: Path) -> tuple[object, ...]:
    """A copy that takes about three seconds."""
    return ("start", long_store, database.url, "--once", "--rate-limit", "4MB", "--batch-bytes", "256KiB")


@pytest.fixture
def judge(database: Database, long_store: Path, terminal: Terminal, command: tuple[object, ...]) -> Iterator[None]:
    """After each test the same command, given again, has finished the work: every byte there once."""
    yield
    again = terminal.run(*command[:4])
    assert again.status == 0, again
    with database.connect() as connection:
        assert once_each(connection, database.location.schema, long_store) > 20_000


def copied(database: Database) -> int:
    """How many events are there."""
    if database.one("SELECT to_regclass(%s)", f"{database.location.schema}.events") is None:
        return 0
    return int(str(database.one("SELECT count(*) FROM events")))


def workers(process: subprocess.Popen[bytes]) -> list[int]:
    """The runner's worker processes."""
    found = []
    for pid in in_group(process.pid):
        with suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def advice(text: str) -> str:
    """The command that was advised."""
    (line,) = re.findall(r"^\s+try: (.*?)\r?$", text, re.MULTILINE)
    return str(line)


def test_ctrl_c_finishes_the_page_and_prints_the_command_that_resumes(
    judge, command, terminal: Terminal, database: Database
):
    """And that command, typed as it stands, finishes the work."""
    screen = Screen(terminal, *command)
    wait_for("the first events", lambda: copied(database))
    screen.press(b"\x03")
    done = screen.end()

    assert done.status == 6, done
    assert "finishing the page in hand" in done.out
    assert "error[CF601]" in done.out
    assert "Traceback" not in done.out
    some = copied(database)
    assert 0 < some < 20_000
    environment = {
        **os.environ,
        "XDG_STATE_HOME": str(terminal.home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    line = advice(done.out)
    assert shlex.split(line)[1:] == [str(argument) for argument in command]
    again = subprocess.run(line, shell=True, env=environment, check=False, capture_output=True, timeout=60)
    assert again.returncode == 0, again.stderr


def test_ctrl_c_twice_ends_at_once(judge, command, terminal: Terminal, database: Database):
    """Within a second, with nobody left behind, and with the terminal as it was."""
    screen = Screen(terminal, *command, "--batch-bytes", "8MiB", "--rate-limit", "500kB")
    wait_for("the first rows", lambda: database.one("SELECT to_regclass(%s)", f"{database.location.schema}.leases"))
    wait_for("workers", lambda: len(workers(screen.process)) == 2)
    screen.see(b"copying")
    screen.press(b"\x03")
    screen.see(b"once more to stop at once")
    screen.press(b"\x03")
    done = screen.end()

    assert done.status == 6, done
    assert done.seconds < 6  # the page in hand would take sixteen
    assert "stopped at once" in done.out
    assert advice(done.out).startswith("crossfade start ")
    assert "Traceback" not in done.out
    assert done.out.rfind("\x1b[?25h") > done.out.rfind("\x1b[?25l"), "the cursor stays hidden"
    assert wait_for("an empty process group", lambda: not in_group(screen.process.pid), 10)


@pytest.mark.parametrize("seconds", [0.3, 0.7, 1.1, 1.5])
def test_ctrl_c_at_the_very_beginning_is_no_accident(judge, command, terminal: Terminal, seconds: float):
    """While modules load, while the lease is taken, while workers are born: exit 6, and no traceback of anybody."""
    screen = Screen(terminal, *command)
    time.sleep(seconds)
    screen.press(b"\x03")
    done = screen.end()

    assert done.status == 6, done
    assert "Traceback" not in done.out
    assert advice(done.out)


_INTERRUPTED_WITHIN_A_TEXT = """
import signal, sys
import crossfade.console.main
from crossfade.__main__ import main

def run():
    try:
        exec("press()", {"press": lambda: signal.raise_signal(signal.SIGINT)})
    except KeyboardInterrupt:
        sys.exit(6)

crossfade.console.main.run = run
main()
"""


def test_ctrl_c_while_a_module_makes_a_dataclass_is_exit_6(tmp_path: Path):
    """As one did that came while a verb loaded its last modules: Python ended by the signal after all was said."""
    (tmp_path / "interrupted.py").write_text(_INTERRUPTED_WITHIN_A_TEXT)
    assert subprocess.run([sys.executable, "-m", "interrupted"], cwd=tmp_path, check=False).returncode == 6


def test_sigterm_is_a_ctrl_c(judge, command, terminal: Terminal, database: Database):
    """As a supervisor sends it, to the runner alone."""
    process = terminal.popen(*command)
    wait_for("the first events", lambda: copied(database))
    process.terminate()
    done = finish(process)

    assert done.status == 6, done
    assert "error[CF601]" in done.err
    assert advice(done.err)
    wait_for("the last of its helpers to end", lambda: not in_group(process.pid), seconds=20)


@pytest.mark.parametrize(
    "pipe",
    ["({} --json; echo $? >{}) | head -c 1", "({} 2>&1; echo $? >{}) | head -1", "({} --json 2>&1; echo $? >{}) | true"],
)
def test_a_closed_pipe_ends_quietly(judge, command, terminal: Terminal, pipe: str, tmp_path: Path):
    """No traceback; whoever asks for the status learns whether the work was done."""
    noise, said = tmp_path / "noise", tmp_path / "status"
    script = pipe.format(shlex.join([*CROSSFADE, *map(str, command)]), said)
    environment = {**os.environ, "XDG_STATE_HOME": str(terminal.home)}
    with noise.open("wb") as file:
        subprocess.run(["bash", "-c", script], env=environment, stderr=file, check=False, timeout=60, cwd=ROOT)

    assert b"Traceback" not in noise.read_bytes()
    assert b"Exception" not in noise.read_bytes()
    assert said.read_text().strip() == ("6" if "2>&1" in pipe else "0")


def test_a_terminal_sees_bars_and_a_log_sees_lines(judge, command, terminal: Terminal, database: Database):
    """Bars move; a log gets a plain line every few seconds, each saying how far it is."""
    screen = Screen(terminal, *command, "--rate-limit", "1.8MB")
    began = time.monotonic()
    plain = terminal.popen(
        "start", command[1], f"{database.url}&store=other", "--once", "--rate-limit", "1.8MB", "--batch-bytes", "256KiB"
    )
    bars, lines = screen.end(), finish(plain)
    seconds = time.monotonic() - began
    with database.connect() as connection:  # the judge wants one store
        for (kind,) in connection.execute("SELECT name FROM kinds").fetchall():
            connection.execute(f"DELETE FROM {kind} WHERE store_id = (SELECT store_id FROM stores WHERE name = 'other')")
        connection.execute("DELETE FROM chunks WHERE store_id = (SELECT store_id FROM stores WHERE name = 'other')")
        connection.execute("DELETE FROM entries WHERE store_id = (SELECT store_id FROM stores WHERE name = 'other')")

    assert bars.status == 0, bars
    assert "━" in bars.out
    assert "\x1b[" in bars.out
    assert lines.status == 0, lines
    assert "\x1b" not in lines.err + lines.out
    moving = [line for line in lines.err.splitlines() if line.startswith("copying; ")]
    assert 2 <= len(moving) <= 2 + 2 * seconds, lines.err
    assert len(set(moving)) == len(moving)


# kill -9 of single processes


def test_workers_do_not_outlive_their_runner(judge, command, terminal: Terminal, database: Database):
    """And whoever comes next need not wait for the lease of the dead."""
    process = terminal.popen(*command)
    wait_for("the first events", lambda: copied(database))
    assert len(workers(process)) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for("no worker", lambda: not workers(process), 10)
    expires = database.one("SELECT max(expires_at) FROM leases")

    again = terminal.run(*command[:4])
    assert again.status == 0, again
    claimed = database.one("SELECT max(at) FROM journal WHERE event = 'claimed'")
    assert claimed < expires, "waited for the lease of the dead"  # type: ignore[operator]


def test_a_worker_that_is_killed_ends_the_run_with_a_word(judge, command, terminal: Terminal, database: Database):
    """The out-of-memory killer takes one: exit 2, and what to do."""
    process = terminal.popen(*command)
    wait_for("the first events", lambda: copied(database))
    os.kill(workers(process)[0], signal.SIGKILL)
    done = finish(process, 30)

    assert done.status == 2, done
    assert "error[CF211]" in done.err
    assert advice(done.err)
    assert "Traceback" not in done.err
    wait_for("nobody", lambda: not in_group(process.pid), 20)


def test_a_second_runner_is_told_who_is_the_first(judge, command, terminal: Terminal, database: Database):
    """One at a time, and the first goes on undisturbed."""
    process = terminal.popen(*command, "--rate-limit", "1MB")
    wait_for("the first events", lambda: copied(database))
    second = terminal.run(*command)
    first = finish(process)

    assert second.status == 5, second
    assert "error[CF501]" in second.err
    assert f"process {process.pid} " in second.err
    assert first.status == 0, first


def test_a_runner_that_was_asleep_finds_its_next_page_refused(judge, command, terminal: Terminal, database: Database):
    """A machine that was suspended: its lease ran out, another took over; what it still wants to write is not applied."""
    process = terminal.popen(*command)
    wait_for("the first events", lambda: copied(database))
    os.killpg(process.pid, signal.SIGSTOP)  # most likely in the middle of a page, whose locks it keeps
    database.run("UPDATE leases SET expires_at = 'epoch'")
    second = terminal.run(*command[:4])
    assert second.status == 0, second

    os.killpg(process.pid, signal.SIGCONT)
    first = finish(process)
    assert first.status == 7, first
    assert "error[CF705]" in first.err


def test_ctrl_c_before_the_verb_listens_is_one_like_any_other(person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The library that reads the command line has an answer of its own to it, 130; ours is 6, and what to type."""
    from crossfade.console.commands import start

    def interrupted(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(start, "start_once", interrupted)
    done = person.types("start", tmp_path, "memory:", "--once")

    assert done.status == 6, done
    assert "error[CF601]" in done.err
    assert advice(done.err)
