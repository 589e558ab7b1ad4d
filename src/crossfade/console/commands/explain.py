"""``crossfade explain CODE``: more than fits in a line."""

from __future__ import annotations

import textwrap

from crossfade.console.talk import show, show_json
from crossfade.errors import CodeUnknown, every_code
from crossfade.migrate.values import SCHEMA_VERSION

_RETRY = {
    "never": "Trying again without a change will not help.",
    "later": "Trying again later may help.",
    "exhausted": "It was tried again until the deadline; trying later may help.",
}


def explain(code: str, *, as_json: bool) -> int:
    """Print what *code* means; without one, list them all."""
    codes = every_code()
    if code and code.upper() not in codes:
        raise CodeUnknown(f"there is no code {code!r}", hint="crossfade explain   # lists them all")
    chosen = {code.upper(): codes[code.upper()]} if code else codes
    if as_json:
        listed = [
            {"code": c, "name": e.__name__, "exit": e.exit, "retry": e.retry, "meaning": e.meaning}
            for c, e in chosen.items()
        ]
        show_json({"schema_version": SCHEMA_VERSION, "codes": listed})
    elif code:
        error = codes[code.upper()]
        show(f"{error.code}  {error.__name__}, exit {error.exit}\n")
        show(textwrap.fill(f"{error.meaning} {_RETRY[error.retry]}", 90))
    else:
        for name, error in codes.items():
            show(f"{name}  exit {error.exit}  {error.__name__:<18} {textwrap.shorten(error.meaning, 76, placeholder=' …')}")
    return 0
