"""Where things stand in a layout's text, so that an error can name the line.

``tomllib`` tells lines for syntax errors only. So tables are found by their ``[[kind]]`` headers, in a copy of the text
whose strings and comments are blanked out, and a bad value by its literal within its table.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import Any, NoReturn

from crossfade.errors import LayoutInvalid
from crossfade.model.patterns import PatternError, captures_of

HINT = "crossfade layouts show prodigy   # a layout that works"

TEXT_MAX = 1 << 18
"""Characters that a layout may have; those that come along have a tenth of it."""

_LINE_MAX = 1000
"""A list may be broken into lines; a key of a thousand parts is no key."""

_QUIET = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'{3}.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*''',
    re.DOTALL,
)
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*(kind|transient|exclude)[ \t]*\]\]", re.MULTILINE)
_SYNTAX = re.compile(r"(?P<sentence>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)", re.DOTALL)


@dataclass(frozen=True)
class Table:
    """One table of the file: its values, and the stretch of text that it was read from."""

    source: str
    text: str
    start: int
    end: int
    header: str
    values: dict[str, Any]

    def fail(self, sentence: str, *marks: object, last: bool = False) -> NoReturn:
        """Raise LayoutInvalid at the first of *marks* (a value, or a key) that is found; else at the table's header.

        *last* points at the last occurrence: the one that repeats an earlier one.
        """
        spots = [spot for mark in marks for spot in self._spots(str(mark))[-1 if last else 0 :][:1]]
        line = self.text.count("\n", 0, spots[0] if spots else self.start) + 1
        raise LayoutInvalid(f"{self.source}:{line}: {sentence}", hint=HINT)

    def _spots(self, mark: str) -> list[int]:
        """Offsets where *mark* stands as a string; else as a key; else, for the head, as the name of a table."""
        quoted = "|".join(re.escape(quote + mark + quote) for quote in "\"'")
        key = rf"(?m:^|[{{,])[ \t]*{re.escape(mark)}[ \t]*="
        table = rf"^[ \t]*\[+[ \t]*{re.escape(mark)}\b"
        found = self._ends(quoted, self.end) or self._ends(key, self.end)
        return found or ([] if self.header else self._ends(f"(?m:{table})", len(self.text)))

    def _ends(self, expression: str, end: int) -> list[int]:
        """The last characters, not the first: a match may begin with the line break in front of it."""
        return [match.end() - 1 for match in re.compile(expression).finditer(self.text, self.start, end)]

    def only(self, values: dict[str, Any], known: set[str]) -> None:
        """Refuse keys that nothing would read."""
        for key in values:
            if key not in known:
                where = f"[[{self.header}]]" if self.header else "a layout"
                self.fail(f"unknown key '{key}' in {where}; known are {', '.join(sorted(known))}", key)

    def text_or(self, key: str, default: str) -> str:
        """The text at *key*, if it is there."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or "\0" in value or (key in self.values and not value):
            self.fail(f"'{key}' must be a text", key)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """The list of texts at *key*, which must be there, without repetition."""
        values = self.values.get(key)
        if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
            self.fail(f"'{key}' must be there, a list of texts with at least one", key)
        if len(set(values)) < len(values):
            twice = next(value for value in values if values.count(value) > 1)
            self.fail(f"'{twice}' is in '{key}' twice", twice, last=True)
        return tuple(values)

    def captures(self, pattern: str) -> tuple[str, ...]:
        """What *pattern* captures."""
        try:
            return captures_of(pattern)
        except PatternError as error:
            self.fail(f"pattern '{pattern}' {error}", pattern)


def tables(text: str, *, source: str) -> list[Table]:
    """The head of the file, then its rule tables, all in the order of the file. Raises LayoutInvalid."""
    values = _load(text, source)
    headers = list(_HEADER.finditer(_QUIET.sub(_blank, text)))
    head_end, *ends = [*(header.start() for header in headers), len(text)]
    head = Table(source, text, 0, head_end, "", values)
    numbers = dict.fromkeys(("kind", "transient", "exclude"), 0)
    found = [head]
    for header, end in zip(headers, ends, strict=True):
        name = header[1]
        found.append(Table(source, text, header.start(), end, name, values[name][numbers[name]]))
        numbers[name] += 1
    for name, count in numbers.items():
        if values.get(name, []) != [table.values for table in found if table.header == name]:
            head.fail(f"'{name}' is not written as [[{name}]] tables ({count} found); the order of the file decides", name)
    return found


def _load(text: str, source: str) -> dict[str, Any]:
    _refuse_large(text, source)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _SYNTAX.fullmatch(str(error))
        sentence = match["sentence"] if match else str(error)
        line = match["line"] if match and match["line"] else text.count("\n") + 1
        raise LayoutInvalid(f"{source}:{line}: {sentence[:1].lower()}{sentence[1:]}", hint=HINT) from error
    except (RecursionError, ValueError) as error:  # brackets within brackets; a number of thousands of digits
        raise LayoutInvalid(f"{source}: nested too deeply, or with too long a number", hint=HINT) from error


def _refuse_large(text: str, source: str) -> None:
    """What costs the reader of TOML more time than anybody has: a key of many parts takes the square of their number."""
    if len(text) > TEXT_MAX:
        raise LayoutInvalid(f"{source}: longer than {TEXT_MAX:,} characters", hint=HINT)
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > _LINE_MAX:
            raise LayoutInvalid(f"{source}:{number}: a line longer than {_LINE_MAX:,} characters", hint=HINT)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])
