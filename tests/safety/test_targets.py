"""The fuzz targets, a few hundred times each with Hypothesis; ``scripts/fuzz`` runs the same ones for as long as you like."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import targets

ROOT = Path(__file__).parents[2]

bits = st.sampled_from(
    [b"\n", b"\r\n", b"{", b"}", b'"', b"\\u0000", b"\\ud800", b'{"id": 1}\n', b"x" * 41, b"\0", b"\xff\xff", b"/", b"..", b"/../", b"\\x41",
     b"\xc3\xa9", b"[[kind]]\n", b'name = "a"\n', b'form = "log"\n', b'match = ["*"]\n', b"@", b"?", b"&", b"%", b"//", b":", b"password=", b"#", b"["]
)  # fmt: skip
anything = st.binary(max_size=120) | st.tuples(
    st.binary(min_size=4, max_size=4), st.lists(bits | st.binary(max_size=3), max_size=30)
).map(lambda found: found[0] + b"".join(found[1]))


@pytest.mark.parametrize("name", targets.TARGETS)
def test_it_holds_for_any_bytes(name: str):
    """What a target asserts, it asserts for whatever comes."""

    @settings(max_examples=250)
    @given(anything)
    def holds(data: bytes) -> None:
        targets.TARGETS[name](data)

    holds()


def test_the_script_says_what_it_takes():
    """Without a number of seconds, it installs nothing and runs nothing."""
    for words in ((), ("soon",), ("5", "nothing")):
        run = subprocess.run(
            [ROOT / "scripts/fuzz", *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PIP_NO_INDEX": "1"},
        )
        assert run.returncode == 1, run
        assert "usage: scripts/fuzz SECONDS" in run.stderr
        for name in targets.TARGETS:
            assert name in run.stderr
