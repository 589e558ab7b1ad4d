"""A layout says what each path of an application is: ordered rules, the first match wins (docs/reference/layouts.md).

patterns       one pattern, as regular expressions
layout_text    where things stand in the file, so that errors name the line
layout_kinds   one [[kind]] table
layout_rules   the whole file
layout_match   all rules as one expression, which is asked once for every path
layouts        what the rest of the house sees
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources

from crossfade.errors import LayoutInvalid, OptionInvalid
from crossfade.model.kinds import Kind, Placement
from crossfade.model.layout_kinds import RESERVED_COLUMNS, RESERVED_KINDS
from crossfade.model.layout_match import Matcher
from crossfade.model.layout_rules import Rule, read
from crossfade.model.layout_text import TEXT_MAX

__all__ = ["RESERVED_COLUMNS", "RESERVED_KINDS", "Layout", "builtin", "load", "parse"]


@dataclass(frozen=True)
class Layout:
    """What each path is. Equal rules have an equal ``fingerprint``, whatever their comments and white space.

    Travels between processes as its text, and is compiled where it arrives.
    """

    name: str
    kinds: tuple[Kind, ...]
    rules: tuple[Rule, ...] = field(repr=False)
    under: tuple[str, ...]
    fingerprint: str
    source: str
    toml: str = field(repr=False)

    def place(self, path: bytes, *, directory: bool = False) -> Placement:
        """The kind of *path* and what its rule captured, or the rule that keeps it out. Never raises."""
        if directory:
            return self.prunes(path) or self._matcher.rest
        return self._matcher.place(path)

    def rule(self, path: bytes, *, directory: bool = False) -> Placement:
        """As ``place``, without what its rule captured: an inventory asks for every path, and needs no more."""
        return self.place(path, directory=True) if directory else self._matcher.rule(path)

    def prunes(self, directory: bytes) -> Placement | None:
        """Set if nothing at or below *directory* can be in the moved set, so that a walk need not descend."""
        return self._matcher.prunes(directory) if directory else None

    def kind(self, name: str) -> Kind:
        """The kind of that name. Raises OptionInvalid, which lists those that there are."""
        try:
            return self._by_name[name]
        except KeyError:
            known = ", ".join(sorted(self._by_name))
            hint = f"crossfade layouts show {self.name}" if self.name in builtin() else "name one of these"
            raise OptionInvalid(f"layout '{self.name}' has no kind '{name}'; it has {known}", hint=hint) from None

    def text(self) -> str:
        """The TOML that the layout was made of. Stored beside the data, so that another host needs no file."""
        return self.toml

    @cached_property
    def _by_name(self) -> dict[str, Kind]:
        return {kind.name: kind for kind in self.kinds}

    @cached_property
    def _matcher(self) -> Matcher:
        return Matcher(self.under, self.rules, self._by_name)

    def __reduce__(self) -> tuple[object, ...]:
        return (_parse, (self.toml, self.source))


def parse(text: str, *, source: str) -> Layout:
    """Make a layout. Raises LayoutInvalid, naming *source* and the line of the rule that cannot work."""
    rules = read(text, source=source)
    return Layout(rules.name, rules.kinds, rules.rules, rules.under, rules.fingerprint(), source, text)


def _parse(text: str, source: str) -> Layout:
    return parse(text, source=source)


def load(name: str) -> Layout:
    """A built-in layout by its name, else the one in the file *name*. Raises LayoutInvalid."""
    if name in builtin():
        text = (resources.files("crossfade.model") / "layouts" / f"{name}.toml").read_text("utf-8")
        return parse(text, source=f"{name}.toml")
    try:
        with open(name, encoding="utf-8") as file:
            return parse(file.read(TEXT_MAX + 1), source=name)
    except OSError as error:
        known = ", ".join(builtin())
        sentence = f"'{name}' is no built-in layout ({known}), and no file that can be read ({error.strerror})"
        raise LayoutInvalid(sentence, hint="crossfade layouts") from error
    except UnicodeDecodeError as error:
        raise LayoutInvalid(
            f"{name}: not UTF-8 at byte {error.start}, as TOML has to be", hint=shlex.join(["file", name])
        ) from error


def builtin() -> list[str]:
    """The names of the layouts that come with crossfade."""
    found = (resources.files("crossfade.model") / "layouts").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in found if file.name.endswith(".toml"))
