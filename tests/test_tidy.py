"""The rules of the house, as a test: what a review would say again and again, said once."""

from __future__ import annotations

import ast
import inspect
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from crossfade.console.main import app
from crossfade.errors import CrossfadeError, every_code
from crossfade.observe.failpoints import FAILPOINTS
from crossfade.store.layers.marking import Marking
from crossfade.store.layers.retrying import Retrying
from crossfade.store.port import Store
from soak.scenarios import SCENARIOS

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "crossfade"
MODULES = sorted(SOURCE.rglob("*.py"))
LAYERS = (Marking, Retrying)
FILE_LINES, FUNCTION_LINES = 400, 50
OPTION_LISTS = SOURCE / "console" / "main.py"  # a verb's signature is its list of options


def _named(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def _verbs() -> Iterator[tuple[str, Any]]:
    """Every verb with its command, those of a group by both their names."""
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        yield name, command
        for below, inner in getattr(command, "commands", {}).items():
            yield f"{name} {below}", inner


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize(("verb", "command"), list(_verbs()), ids=[name for name, _ in _verbs()])
def test_every_verb_and_option_is_in_the_reference(verb: str, command: Any):
    """docs/reference/commands.md is complete, and --help says something about each."""
    text = (ROOT / "docs/reference/commands.md").read_text()
    options = [name for option in command.params for name in option.opts if name.startswith("--") and name != "--help"]

    sections = {part.partition("\n")[0]: part for part in text.split("\n## ")}
    section = sections[verb.split(maxsplit=1)[0]] + (sections["plan"] if verb == "start" else "")  # "and those of plan"
    assert verb.rsplit(maxsplit=1)[-1] in section
    assert [option for option in options if not re.search(rf"{option}\b", section)] == []
    assert [option.name for option in command.params if not getattr(option, "help", None)] == []
    assert command.help


def test_the_reference_invents_nothing():
    """No verb and no option is documented that does not exist."""
    text = (ROOT / "docs/reference/commands.md").read_text()
    verbs = {name for name, _ in _verbs()}
    options = {name for _, command in _verbs() for option in command.params for name in option.opts} | {"--help"}

    assert [verb for verb in re.findall(r"^## ([a-z]+)$", text, re.MULTILINE) if verb not in verbs] == []
    assert sorted(set(re.findall(r"`(--[a-z-]+)", text)) - options) == []


@pytest.mark.parametrize("code", every_code())
def test_every_code_is_in_the_reference(code: str):
    """docs/reference/errors.md has each, by its name, with the exit status that it really has."""
    text = (ROOT / "docs/reference/errors.md").read_text()
    error = every_code()[code]
    (section,) = [part for part in text.split("\n## ") if f"\n### {code} {error.__name__}\n" in part]
    assert section.startswith(f"Exit {error.exit}")


def test_the_error_tree_is_drawn_as_it_is():
    """The drawing at the top of errors.py is the first thing that a reader sees."""
    drawn = re.findall(r"[├└]── (\w+) +(CF\d{3})", inspect.getmodule(CrossfadeError).__doc__ or "")
    assert {code: name for name, code in drawn} == {code: error.__name__ for code, error in every_code().items()}
    for error in every_code().values():
        assert error.meaning
        assert error.meaning.endswith(".")


def test_every_failpoint_and_scenario_is_in_the_crash_matrix():
    """The page is made by a program, which somebody has to run: scripts/soak crashes --into docs/crash-matrix.md.

    Whoever passes a place was killed there, and nothing was lost, and nothing was twice.
    """
    page = (ROOT / "docs/crash-matrix.md").read_text().splitlines()
    (head,) = [line for line in page if line.startswith("| killed at |")]
    rows = [line.removesuffix(" |").split(" | ") for line in page if line.startswith("| `")]

    assert head == "| killed at | " + " | ".join(scenario.title for scenario in SCENARIOS) + " |"
    assert rows == [
        [f"| `{name}`, {side}: {what}", *("0/0" if name in scenario.places else "" for scenario in SCENARIOS)]
        for name, what in FAILPOINTS.items()
        for side in ("before", "after")
    ]


def test_every_statement_in_sql_is_used():
    """One that nobody reads is one that nobody keeps right."""
    code = "".join(path.read_text() for path in MODULES)
    numbered = re.compile(r"\d{4}\.sql")
    unused = [path for path in SOURCE.rglob("*.sql") if not numbered.fullmatch(path.name) and f'"{path.stem}"' not in code]

    assert _named(unused) == []


def test_every_statement_in_sql_says_what_it_is_for():
    """A comment on top."""
    assert _named([path for path in SOURCE.rglob("*.sql") if not path.read_text().startswith("--")]) == []


def test_no_file_is_long():
    """A file that passes 400 lines is asking a question."""
    assert _named([path for path in MODULES if len(path.read_text().splitlines()) > FILE_LINES]) == []


def test_no_function_is_long():
    """One that does not fit on a screen does two things."""
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in MODULES
        for node in _functions(path)
        if (node.end_lineno or 0) - node.body[0].lineno + 1 > FUNCTION_LINES
        or ((node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES and path != OPTION_LISTS)
    ]

    assert long == []


def test_every_module_says_what_it_is_for():
    """First of all."""
    silent = [path for path in MODULES if path.stat().st_size and ast.get_docstring(ast.parse(path.read_bytes())) is None]
    assert _named(silent) == []


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_forwards_every_member_of_the_port(layer: type):
    """A store around a store is a store: what the port has, it has, with the same parameters."""
    members = [name for name in vars(Store) if not name.startswith("_") and callable(getattr(Store, name))]
    assert members
    for name in members:
        assert inspect.signature(getattr(Store, name)) == inspect.signature(getattr(layer, name)), name
    source = inspect.getsource(layer.__init__)
    assert [name for name in inspect.get_annotations(Store) if f"self.{name} = store.{name}" not in source] == []


def test_every_layer_is_known_here():
    """A new one is to be tested, too."""
    found = {path.stem for path in (SOURCE / "store" / "layers").glob("*.py")} - {"__init__"}
    assert found == {layer.__module__.rpartition(".")[2] for layer in LAYERS}


def test_nothing_is_left_for_later_in_the_code():
    """What is to be done stands in an issue."""
    later = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")  # and here, of course
    left = [path for path in (*MODULES, *SOURCE.rglob("*.sql"), *SOURCE.rglob("*.toml")) if later.search(path.read_text())]
    assert _named(left) == []


def test_every_test_file_has_a_name_of_its_own():
    """Without packages, two of one name cannot both be imported."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_scripts_can_be_started():
    """As they stand in the documentation: no interpreter in front."""
    scripts = [path for path in (*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run") if path.is_file()]
    assert scripts
    assert _named([path for path in scripts if not os.access(path, os.X_OK)]) == []
    assert _named([path for path in scripts if not path.read_text().startswith("#!")]) == []


def test_links_in_the_documentation_lead_somewhere():
    """Files that it points to exist."""
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in (*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"))
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]

    assert broken == []
