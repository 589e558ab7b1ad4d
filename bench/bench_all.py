"""Every benchmark, one after the other, and what they found in its place in bench/README.md.

One that fails does not keep the others from running; it has no figures then, and the whole ends with 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import bench_report
from bench.running import say, workplace

README = Path(__file__).with_name("README.md")
MODULES = {"copy": "bench.bench_copy", "memory": "bench.bench_memory", "profile": "bench.bench_profile"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run them, write the report, keep the JSON where that was asked for."""
    parser = argparse.ArgumentParser("scripts/bench all", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="memory on a tenth of the sizes; the ratios are as ever")
    parser.add_argument("--into", type=Path, default=README, metavar="FILE.md", help="where the report goes")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep what each of them printed")
    options = parser.parse_args(arguments)
    words = {"copy": ["--json"], "memory": ["--json", *(["--quick"] if options.quick else [])], "profile": []}
    with workplace() as place:
        folder = options.keep or place
        folder.mkdir(parents=True, exist_ok=True)
        ended_well = {name: _run(name, words[name], folder / name) for name in MODULES}
        report = [str(folder / name) for name in ("copy", "memory") if ended_well[name]]
        report += ["--profile", str(folder / "profile")] if ended_well["profile"] else []
        if report:
            bench_report.main([*report, "--into", str(options.into)])
    if not all(ended_well.values()):
        raise SystemExit(f"failed: {', '.join(name for name, well in ended_well.items() if not well)}")


def _run(name: str, words: list[str], out: Path) -> bool:
    """One benchmark in a process of its own; what it prints goes to *out*. True where it ended well."""
    say(f"{name}: begins")
    began = time.monotonic()
    with out.open("wb") as file:
        status = subprocess.run([sys.executable, "-m", MODULES[name], *words], check=False, stdout=file).returncode
    say(f"{name}: ended with {status} after {(time.monotonic() - began) / 60:.1f} minutes")
    return status == 0


if __name__ == "__main__":
    main()
