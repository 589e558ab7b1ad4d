"""A person at the keyboard, in this process: quick, for what needs no process of its own. For what does, see ``running``."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import typer.main

from crossfade.console import main
from support.running import Run, Terminal

_COMMAND = typer.main.get_command(main.app)
"""Made once: an application that is called makes all its verbs anew."""

_ERROR = re.compile(r"^error\[(CF\d{3})\]: (.+)\n  try: (.+)\n?\Z", re.MULTILINE)


@dataclass
class Person:
    """Somebody with a registry of their own. What ``environment`` says is added to the process's."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def types(self, *words: object, **environment: str) -> Run:
        """``crossfade WORDS``, with one worker where nothing else is said: it lives in this process."""
        arguments = [str(word) for word in words]
        if arguments[:1] in (["start"], ["plan"]) and "--workers" not in arguments:
            arguments += ["--workers", "1"]
        began = time.monotonic()
        with self._streams() as (out, err), mock.patch.dict(os.environ, self._environment(environment)):
            with mock.patch.object(sys, "argv", ["crossfade", *arguments]), mock.patch.object(main, "app", _COMMAND):
                status = main._run()
            seconds = time.monotonic() - began
            sys.stdout.flush()
            sys.stderr.flush()
            return Run(status, _text(out), _text(err), seconds)

    def asks(self, *words: object, **environment: str) -> Any:
        """What ``crossfade WORDS --json`` says."""
        return said(self.types(*words, "--json", **environment))

    def apart(self, *words: object, **environment: str) -> Run:
        """The same in a process of its own."""
        return Terminal(self.home, self._environment({})).run(*words, **environment)

    def moves(self, source: object, target: object, *options: object, status: int = 0) -> Run:
        """``crossfade start SOURCE TARGET --once``, which ends with *status*."""
        run = self.types("start", source, target, "--once", *options)
        assert status == run.status, run
        return run

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        return {"XDG_STATE_HOME": str(self.home), "CROSSFADE_PATIENCE_SECONDS": "1", **self.environment, **more}

    @contextmanager
    def _streams(self) -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
        out, err = io.BytesIO(), io.BytesIO()
        with (
            mock.patch.object(sys, "stdout", io.TextIOWrapper(out)),
            mock.patch.object(sys, "stderr", io.TextIOWrapper(err)),
        ):
            yield out, err


def typed(terminal: Terminal, *words: object, **environment: str) -> Run:
    """The same as ``terminal.run``, in this process: for what needs none of its own."""
    return Person(terminal.home, terminal.environment).types(*words, **environment)


def _text(stream: io.BytesIO) -> str:
    return stream.getvalue().decode(errors="surrogateescape")


def said(run: Run) -> Any:
    """The JSON on stdout."""
    try:
        return json.loads(run.out)
    except ValueError:
        raise AssertionError(f"no JSON: {run}") from None


def bad(run: Run) -> list[str]:
    """What ``doctor`` calls broken, but for the servers that tests of another process leave behind for a moment."""
    return [line for line in run.out.splitlines() if line.startswith("BAD") and "a server nobody uses" not in line]


def refused(run: Run, code: str, status: int) -> tuple[str, str]:
    """That *run* ended with one coded error and a way on, and without a traceback: its sentence and what to try."""
    found = _ERROR.findall(run.err)
    assert status == run.status, run
    assert [code] == [each for each, _, _ in found], run
    assert "Traceback" not in run.err, run
    assert 'File "' not in run.err, run
    assert not run.out, run
    ((_, sentence, hint),) = found
    assert not sentence.endswith("."), sentence
    return sentence, hint


def words_of(command: str) -> list[str]:
    """What stands behind ``crossfade`` in a *command* that was printed, as a shell takes it: without the comment at its end."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    first, *words = lexer
    assert first == "crossfade", command
    assert not any(set(word) <= set(lexer.punctuation_chars) for word in words), f"a shell would cut it: {command}"
    return words


def commands_run(person: Person, steps: list[dict[str, str]]) -> None:
    """Each step that has an end is a command that ends well, typed as it stands."""
    assert steps
    for step in steps:
        if step["why"] == "follow the source from now on":
            continue
        assert set(step) == {"command", "why"}
        run = person.types(*words_of(step["command"]))
        assert run.status == 0, f"{step['command']}\n{run}"
