"""The benchmarks' arithmetic and words: what a figure says must follow from what was measured, and nothing is made up."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bench import bench_all, bench_report
from bench.bench_memory import lack_of_room, summary
from bench.blame import charged
from bench.cases import all_cases
from bench.content import of_records, of_tree
from bench.figures import ratios, slope, spread
from bench.goals import GOALS
from bench.peers.fates import HAZARDS, fate, written
from bench.peers.lines import judged, value_of
from bench.report import rendered
from bench.running import commit_of, machine

ROOT = Path(__file__).parents[2]
README = ROOT / "bench" / "README.md"
ABOUT = {"machine": {"processor": "2 x some"}, "settings": {"fsync": "on"}}


def test_ratios_are_of_figures_of_the_same_run():
    """A slow minute meets both sides, so it must not make a ratio."""
    times = {
        "clean": [{"total": total, "validation": total} for total in (10.0, 100.0, 14.0)],
        "psql": [{"total": total} for total in (10.0, 50.0, 10.0)],
        "psql_parallel": [{"total": total} for total in (5.0, 50.0, 7.0)],
        "hazards": [{"total": total} for total in (11.0, 120.0, 14.0)],
    }
    figures = ratios(times)

    assert (figures["copy_index_ratio"], figures["copy_index_ratio_range"]) == (1.4, [1.0, 2.0])
    assert figures["copy_index_ratio_parallel"] == 2.0
    assert figures["with_validation_ratio"] == 2.8
    assert figures["hazard_ratio"] == 1.1


def test_a_spread_is_a_median_and_a_range():
    """Whole numbers where no digits are wanted."""
    assert spread("x", [3.0, 1.26, 2.0]) == {"x": 2.0, "x_range": [1.26, 3.0]}
    assert spread("y", [3.4, 1.6], digits=0) == {"y": 2, "y_range": [2, 3]}
    assert slope((1.0, 100.0), (5.0, 108.0)) == 2.0


def test_a_figure_says_which_code_it_is_of(tmp_path: Path):
    """By its commit, and that it was changed since; a tree that was unpacked knows of none."""
    (tmp_path / "code.py").write_text("1\n")
    assert commit_of(tmp_path) == {}

    git = ("git", "-C", str(tmp_path), "-c", "user.name=someone", "-c", "user.email=someone@example.org")
    for words in (("init", "--quiet"), ("add", "code.py"), ("commit", "--quiet", "--no-gpg-sign", "-m", "The first.")):
        subprocess.run([*git, *words], check=True, capture_output=True)
    name = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    found = commit_of(tmp_path)["commit"]
    assert (name.startswith(found), len(found) >= 4) == (True, True)

    (tmp_path / "code.py").write_text("2\n")
    assert commit_of(tmp_path) == {"commit": f"{found}+"}
    assert machine(tmp_path).items() >= commit_of(ROOT).items()


def _case(size: float, files: float, copy: float, restore: float) -> dict:
    peaks = {"copy": {"peak_mb": copy}, "validate": {"peak_mb": copy - 5}, "restore": {"peak_mb": restore}}
    return {"bytes": size, "files": files, **peaks}


def test_the_peak_is_the_highest_of_all_and_the_terabyte_follows_from_the_slope():
    """By bytes, and by number of files; less than nothing is noise."""
    found = summary(
        {
            "events_few": _case(0.5e9, 40, 140, 150),
            "events_many": _case(5e9, 40, 149, 141),
            "files_few": _case(1e8, 1e5, 150, 150),
            "files_many": _case(1e9, 1e6, 240, 150),
        }
    )

    assert found["peak_memory_mb"] == 240
    assert found["slopes"]["copy_events"]["slope"] == 2.0
    assert found["slopes"]["copy_events"]["terabyte_mb"] == 149 + 2 * 995
    assert found["slopes"]["restore_events"]["slope"] == -2.0
    assert found["slopes"]["restore_events"]["terabyte_mb"] == 141
    assert found["slopes"]["validate_events"]["terabyte_mb"] == 144 + 2 * 995
    assert found["slopes"]["copy_files"]["terabyte_is"] == "1,000 million files"
    assert found["slopes"]["copy_files"]["terabyte_mb"] == 240 + 100 * 999


def test_a_case_that_was_not_run_has_no_figure():
    """And makes the whole incomplete."""
    found = summary({"events_few": _case(1, 1, 9, 8), "events_many": {"not_run": "needs more disk"}})
    text = rendered(
        {"bench": "memory", "quick": False, **ABOUT, **found, "cases": {"events_many": {"not_run": "needs more disk"}}}
    )

    assert (found["complete"], found["slopes"]) == (False, {})
    assert "not run: needs more disk" in text


def test_lack_of_room_is_told_before_anything_is_written():
    """Bytes and files; a file system that knows no limit of files says 0."""
    case = next(case for case in all_cases() if case.name == "files_many")

    assert case.files == 1_000_000
    assert lack_of_room(case, case.room_bytes, 0) == ""
    assert "GB are free" in lack_of_room(case, case.room_bytes - 1, 10**9)
    assert "1000 are free" in lack_of_room(case, case.room_bytes, 1000)


def test_content_knows_no_order_but_every_byte(tmp_path: Path):
    """Lines with their endings; other files as they are."""
    (tmp_path / "a.jsonl").write_bytes(b"1\n2\n")
    (tmp_path / "b.json").write_bytes(b"{}\n")

    assert of_tree(tmp_path) == of_records([b"{}\n", b"2\n", b"1\n"])
    assert of_tree(tmp_path) != of_records([b"{}\n", b"2\n", b"1"])
    assert of_tree(tmp_path) != of_records([b"{}\n", b"2\n"])


@pytest.mark.parametrize(
    ("rows", "content", "lost"),
    [
        ([b'{"b":2.50,"id":2}', b'{"id":1,"at":"x"}'], "bytes", None),
        ([b'{"id": 2, "b": 2.5}', b'{"at":"x","id":1}'], "values", 0),
        ([b'{"id":1,"at":"y"}', b'{"b":2.50,"id":2}'], "different", 1),
        ([b'{"b":2.50,"id":2}'], "different", 1),
        ([b'{"b":2.50,"id":2}', b'{"id":1,"at":"x"}', b'{"id":1,"at":"x"}'], "different", 0),
    ],
)
def test_lines_are_judged_by_bytes_then_by_values(tmp_path: Path, rows: list[bytes], content: str, lost: int | None):
    """A row too many is a difference, too."""
    (tmp_path / "f").write_bytes(b'{"id":1,"at":"x"}\n{"b":2.50,"id":2}\n')
    found = judged(tmp_path / "f", lambda: rows)

    assert (found["content"], found.get("lines_lost")) == (content, lost)
    assert found.get("members", {}) == ({"at": 1} if rows[0].endswith(b'"y"}') else {})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b"1e400", b"1" + b"0" * 400, True),
        (b"1.50", b"1.5", True),
        (b"-0.0", b"0.0", False),
        (b"123456789012345678901234567890", b"123456789012345680000000000000", False),
        (b'{"a":1,"a":2}', b'{"a":2}', False),
        (b'{"a":1,"b":2}', b'{"b":2,"a":1}', True),
        (b"0000", b"0000x", True),  # neither is JSON
    ],
)
def test_values_are_exact(one: bytes, other: bytes, same: bool):
    """Numbers by their decimal value, members that stand there twice as they are."""
    assert (value_of(one, pairs=True) == value_of(other, pairs=True)) is same


@pytest.mark.parametrize(
    ("there", "failed", "said"),
    [
        (lambda lines: lines, False, "kept byte for byte"),
        (lambda lines: [line.rstrip(b"\n") for line in lines], False, "kept byte for byte"),
        (lambda lines: [*lines[:3], b'{"event": {"share": 0.0}, "id": "h"}', *lines[4:]], False, "changed, exit 0"),
        (
            lambda lines: [*lines[:3], b'{"event": {"share": -0.0}, "id": "h"}', *lines[4:]],
            False,
            "kept as a value, other text",
        ),
        (lambda lines: [*lines[:3], *lines[4:]], False, "dropped, exit 0"),
        (lambda lines: lines[:3], False, "dropped, exit 0; 3 plain lines with it"),
        (lambda _: [], True, "refuses the whole file"),
        (lambda lines: lines[:2], True, "stops with an error; 2 of 7 lines are in the table"),
    ],
)
def test_the_fate_of_a_hazardous_line(tmp_path: Path, there, failed: bool, said: str):
    """Exit 0 with a line missing is another thing than a refusal."""
    hazard = HAZARDS["-0.0"]
    lines = written(tmp_path / "f", hazard)

    assert (tmp_path / "f").read_bytes() == b"".join(lines)
    assert lines[3] == hazard
    assert fate(hazard, lines, failed=failed, there=there(lines)) == said


def test_time_of_foreign_code_is_charged_to_whoever_called_it():
    """Through foreign callers, by their shares; nothing is lost, and what goes in circles stays."""
    ours, other, wait, poll, idle = (("src", 1, name) for name in ("ours", "other", "wait", "poll", "idle"))
    stats = {
        ours: (1, 1, 1.0, 9.0, {}),
        other: (1, 1, 2.0, 3.0, {ours: (1, 1, 2.0, 3.0)}),
        wait: (4, 4, 2.0, 6.0, {ours: (3, 3, 1.5, 4.5), other: (1, 1, 0.5, 1.5), wait: (1, 1, 0.1, 0.1)}),
        poll: (4, 4, 4.0, 4.0, {wait: (4, 4, 4.0, 4.0)}),
        idle: (1, 1, 5.0, 5.0, {idle: (1, 1, 5.0, 5.0)}),
    }
    found = charged(stats, lambda function: function in (ours, other))

    assert sum(found.values()) == pytest.approx(14.0)
    assert found[ours] == pytest.approx(1.0 + 1.5 + 3.0)
    assert found[other] == pytest.approx(2.0 + 0.5 + 1.0)
    assert found[idle] == pytest.approx(5.0)


PEERS = {
    "psql \\copy": {
        "version": "18",
        "seconds": 1.0,
        "lines_per_second": 100_000,
        "content": "different",
        "lines": 9,
        "rows": 8,
        "lines_lost": 2,
        "members": {"at": 2},
        "leaves_out": ["resume"],
        "hazards": {"1e400": "refuses the whole file"},
    },
    "sling": {"not_available": "pip said no"},
    "dlt": {"version": "1", "failed": "it said something", "hazards": {"1e400": "changed, exit 0"}},
}


def test_the_report_says_what_was_met_and_what_was_not():
    """A peer that could not be had has a reason, and no number."""
    figures = {"bench": "copy", **ABOUT, "copy_index_ratio": 1.2, "copy_index_ratio_range": [1.1, 1.3], "peers": PEERS}
    lines = {line.split("|")[1].strip(): line for line in rendered(figures).splitlines() if line.startswith("|")}

    assert lines["`copy_index_ratio`"].endswith("| 1.2 (1.1 to 1.3) | ≤ 1.05 | **no** |")
    assert lines["sling"] == "| sling |  |  |  | not available here: pip said no |  |"
    assert lines["dlt"] == "| dlt | 1 |  |  | failed: it said something |  |"
    assert "**no**: 2 of 9 lines (`at`)" in lines["psql \\copy"]
    assert lines["1e400"] == "| 1e400 | refuses the whole file | changed, exit 0 |"


def test_a_report_is_put_between_its_marks(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """And nowhere else; the last line of a file is what counts."""
    page, file = tmp_path / "page.md", tmp_path / "run.json"
    file.write_text("talk\n" + json.dumps({"bench": "copy", **ABOUT, "hazard_ratio": 1.1}) + "\n")
    page.write_text(f"before\n{bench_report.BEGIN}\nold\n{bench_report.END}\nafter\n")

    bench_report.main([str(file), "--into", str(page)])
    bench_report.main([str(file)])

    assert page.read_text().startswith(f"before\n{bench_report.BEGIN}\n\n* **copy**")
    assert page.read_text().endswith(f"| yes |\n\n{bench_report.END}\nafter\n")
    assert "old" not in page.read_text()
    assert "`hazard_ratio`" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no place for figures"):
        bench_report.placed("no marks", "x")


def test_all_of_them_go_into_one_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One that fails has no figures, keeps no other from having its own, and is named at the end."""
    page, made = tmp_path / "page.md", tmp_path / "programs"
    page.write_text("\n".join([*(bench_report.BEGIN, "old", bench_report.END), *bench_report.PROFILE, ""]))
    made.mkdir()
    said = json.dumps({"bench": "copy", **ABOUT, "hazard_ratio": 1.1})
    for name, program in (("copy", f"print({said!r})"), ("memory", "raise SystemExit(3)"), ("profile", "print('### copy')")):
        (made / f"{name}_stand_in.py").write_text(program)
    monkeypatch.setattr(bench_all, "MODULES", {name: f"{name}_stand_in" for name in bench_all.MODULES})
    monkeypatch.setenv("PYTHONPATH", str(made))

    with pytest.raises(SystemExit, match="failed: memory"):
        bench_all.main(["--into", str(page), "--keep", str(tmp_path / "kept")])

    text = page.read_text()
    assert text.index("`hazard_ratio`") < text.index(bench_report.END) < text.index("### copy")
    assert "old" not in text
    assert (tmp_path / "kept" / "copy").read_text() == f"{said}\n"


@pytest.mark.parametrize("text", ["", "it failed\n"])
def test_a_benchmark_that_failed_is_not_reported(tmp_path: Path, text: str):
    """There is nothing to say."""
    (tmp_path / "run.json").write_text(text)

    with pytest.raises(SystemExit, match="does not end with the JSON"):
        bench_report.main([str(tmp_path / "run.json")])


def test_every_goal_is_explained_and_has_its_place():
    """bench/README.md names each figure, and has the marks between which they are put."""
    text = README.read_text()

    assert [goal.name for goal in GOALS if f"`{goal.name}`" not in text] == []
    assert bench_report.placed(text, "x")
    assert bench_report.placed(text, "x", bench_report.PROFILE)
