"""The lock file: one version of each package, told by its hashes, and each there for a reason that somebody wrote down."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
ENTRY = re.compile(
    r"^(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?: ; [^\\]+)?(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)$",
    re.MULTILINE,
)


def locked() -> dict[str, str]:
    """Name and version of every entry that is well formed."""
    return {found["name"]: found["version"] for found in ENTRY.finditer((ROOT / "requirements.lock").read_text())}


def wanted() -> list[Requirement]:
    """What pyproject.toml and requirements.in ask for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    texts = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    texts += [text for extra in project["project"]["optional-dependencies"].values() for text in extra]
    texts += [line for line in (ROOT / "requirements.in").read_text().splitlines() if line and not line.startswith("#")]
    return [Requirement(text) for text in texts]


def brought_by(requirements: list[Requirement]) -> set[str]:
    """Their names, and those of all that they need in turn, on any platform."""
    found: set[str] = set()
    pending = [(canonicalize_name(one.name), frozenset(one.extras)) for one in requirements]
    while pending:
        name, extras = pending.pop()
        found.add(name)
        try:
            needs = [Requirement(text) for text in metadata.requires(name) or ()]
        except metadata.PackageNotFoundError:  # of another platform
            continue
        asked = [need for need in needs if canonicalize_name(need.name) not in found and _is_asked_for(need, extras)]
        pending += [(canonicalize_name(need.name), frozenset(need.extras)) for need in asked]
    return found


def _is_asked_for(need: Requirement, extras: frozenset[str]) -> bool:
    conditions = re.findall(r"extra == [\"']([^\"']+)[\"']", str(need.marker or ""))
    return not conditions or not extras.isdisjoint(conditions)


def test_every_line_belongs_to_a_version_with_its_hashes():
    """What has no hash would be installed whatever it is; a URL or a directory has none."""
    text = (ROOT / "requirements.lock").read_text()

    assert len(locked()) > 30
    assert ENTRY.sub("", text).split() == []


def test_nothing_is_locked_that_nobody_asked_for():
    """A package that slipped in has no reason, and one that went out of use has none any more."""
    assert set(locked()) - brought_by(wanted()) == set()
    assert {canonicalize_name(one.name) for one in wanted()} - set(locked()) == set()


def test_every_dependency_says_why_it_is_there():
    """Beside its name, and in CONTRIBUTING.md for whoever wonders."""
    lines = re.findall(
        r'^    "([a-z-]+)(?:\[\w+\])?[=<>][^"]*",? *(#.*)?$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    text = (ROOT / "CONTRIBUTING.md").read_text()

    assert [name for name, reason in lines if len(reason) < len("# why")] == []
    assert {name for name, _ in lines} | {"hatchling", "editables"} == {canonicalize_name(one.name) for one in wanted()}
    assert [name for name in {canonicalize_name(one.name) for one in wanted()} if f"`{name}" not in text] == []


def test_setup_installs_nothing_else():
    """By hash, from the lock file, and the package itself without looking for more."""
    lines = [line for line in (ROOT / "scripts/setup").read_text().splitlines() if "pip install" in line]

    assert lines
    assert all("--require-hashes -r requirements.lock" in line or "--no-deps" in line for line in lines)
