"""Render the JSON lines of benchmarks as Markdown, and put it where the figures stand in a file, if one is named."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.report import rendered

BEGIN, END = "<!-- figures begin: scripts/bench report --into bench/README.md FILE.json... -->", "<!-- figures end -->"
PROFILE = "<!-- profile begin: scripts/bench report --into bench/README.md --profile FILE.md -->", "<!-- profile end -->"


def main(arguments: Sequence[str] | None = None) -> None:
    """The last line of each file counts: what ``scripts/bench … --json`` ends with."""
    parser = argparse.ArgumentParser("scripts/bench report", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.json", help="what a benchmark printed")
    parser.add_argument("--profile", type=Path, metavar="FILE.md", help="what scripts/bench profile printed")
    parser.add_argument("--into", type=Path, metavar="FILE.md", help="write it between the marks of this file")
    options = parser.parse_args(arguments)
    parts = [((BEGIN, END), "\n\n".join(rendered(measured(file)) for file in options.files))] if options.files else []
    parts += [(PROFILE, options.profile.read_text().strip())] if options.profile else []
    for marks, text in parts:
        if options.into is None:
            print(text)
        else:
            options.into.write_text(placed(options.into.read_text(), text, marks))


def measured(file: Path) -> dict[str, Any]:
    """The figures in the last line of *file*; one of a benchmark that failed has none."""
    try:
        figures: dict[str, Any] = json.loads(file.read_text().strip().rpartition("\n")[2])
    except (OSError, ValueError):
        raise SystemExit(f"{file} is not there, or does not end with the JSON of a benchmark") from None
    return figures


def placed(page: str, figures: str, marks: tuple[str, str] = (BEGIN, END)) -> str:
    """*page* with *figures* between its *marks*."""
    before, begin, rest = page.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not (begin and end):
        raise SystemExit(f"there is no place for figures: the marks are\n{marks[0]}\n{marks[1]}")
    return f"{before}{begin}\n\n{figures}\n\n{end}{after}"


if __name__ == "__main__":
    main()
