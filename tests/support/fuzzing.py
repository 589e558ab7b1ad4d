"""One fuzz target under atheris, for scripts/fuzz: ``python -m support.fuzzing TARGET``, with libFuzzer's options behind it."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["crossfade", "support"]):
    from support.targets import TARGETS


def main() -> None:
    """Run until a property breaks, or libFuzzer's time is over."""
    name, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
