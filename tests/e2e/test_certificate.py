"""Certificates: what they say, who can check them, and what is noticed. The judge imports nothing of crossfade."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from crossfade.model.certificates import canonical, sealed
from crossfade.model.roots import Waypoints
from crossfade.store.backends.embedded.programs import majors
from crossfade.store.backends.postgres.server import Server
from crossfade.store.location import conninfo, parse
from crossfade.testing import hazards, prodigy
from crossfade.testing.planting import Planter
from support.person import Person, refused, said
from support.powerless import obey_permissions
from support.running import ROOT, Run, Terminal, finish
from support.servers import Database

SCRIPT = ROOT / "scripts/verify_certificate.py"
LOG = "events/prodigy/long/events-20251116_101500.jsonl"


def verify(certificate: Path, subject: Path, **limits: Any) -> Run:
    """The judge, in an interpreter that sees neither the environment nor installed packages."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), str(certificate), str(subject)],
        capture_output=True,
        check=False,
        text=True,
        **limits,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Run(done.returncode, done.stdout, done.stderr, 0.0)


def dump(database: Database, file: Path, *options: str) -> Path:
    """What ``pg_dump`` makes of the database's schema."""
    program = majors()[max(majors())] / "pg_dump"
    arguments = [str(program), "-d", database.server.conninfo, "-n", database.location.schema, "-f", str(file), *options]
    subprocess.run(arguments, check=True, env={**os.environ, "PGPASSWORD": database.server.secret})
    return file


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """All kinds, a log of several segments, what is not moved."""
    root = tmp_path / "tree"
    prodigy.build(str(root), events=200)
    tree = Planter(str(root))
    tree.file(LOG.encode(), prodigy.event_lines(5_000, 7, 520, job="long"))
    packed = b"\x1f\x8b" + b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(50_000))
    tree.file(b"events/prodigy/packed/events-20251116_101500.jsonl", packed)
    tree.link(b"latest", b"sessions")
    tree.settle()
    return root


def _moved(person: Person, source: object, target: object, certificate: Path, *options: object) -> dict[str, Any]:
    person.moves(source, target, "--certificate", certificate, *options)
    return dict(json.loads(certificate.read_text()))


def test_a_certificate_is_true_of_all_that_it_speaks_of(person: Person, database: Database, tree: Path, tmp_path: Path):
    """Of the source, of a dump of the database, and of what comes back; and a validation writes the same."""
    value = _moved(person, tree, database.url, tmp_path / "made.json")
    back = _moved(person, database.url, tmp_path / "restored", tmp_path / "back.json")
    person.types("validate", tree, database.url, "--certificate", tmp_path / "seen.json")
    seen = json.loads((tmp_path / "seen.json").read_text())
    dumped = dump(database, tmp_path / "dump.sql")

    assert value["roots"]["source"] == value["roots"]["target"] == back["roots"]["source"] == back["roots"]["target"]
    assert {**seen, "made_at": "", "digest": ""} == {**value, "made_at": "", "digest": ""}
    for certificate, subjects in {
        "made.json": (tree, dumped, tmp_path / "restored"),
        "seen.json": (tree, dumped, tmp_path / "restored"),
        "back.json": (dumped, tmp_path / "restored"),  # the tree has what was not moved
    }.items():
        for subject in subjects:
            run = verify(tmp_path / certificate, subject)
            assert run.status == 0, run
            assert value["roots"]["target"] in run.out


def test_what_a_certificate_says(person: Person, database: Database, tree: Path, tmp_path: Path):
    """Which sides, which rules, how much of what; no secret, and digests over what is not listed."""
    value = _moved(person, tree, database.url, tmp_path / "made.json")

    assert (value["format"], value["format_version"], value["verdict"]) == ("crossfade certificate", 1, "equal")
    assert value["source"] == {"url": f"file://{tree}", "form": "files", "schema": None}
    assert value["target"]["schema"] == database.location.schema
    assert value["layout"]["name"] == "prodigy"
    assert len(value["layout"]["fingerprint"]) == 64
    kinds = {kind["kind"]: kind for kind in value["kinds"]}
    assert kinds["events"]["records"] == database.one("SELECT count(*) FROM events")
    assert sum(kind["bytes"] for kind in kinds.values()) == database.one("SELECT sum(size) FROM entries")
    files = sum(kind["entries"] for kind in kinds.values())
    assert files + value["directories"] + value["links"] == value["entries"] == len(value["waypoints"])
    assert value["exclusions"]["count"] == len(value["exclusions"]["named"]) >= 3
    named = hashlib.sha256()
    for item in value["exclusions"]["named"]:
        named.update("\0".join((item["path"], item["fate"], item["rule"], "")).encode())
    assert value["exclusions"]["digest"] == named.hexdigest()
    assert {item["fate"] for item in value["exclusions"]["named"]} == {"exclude", "transient"}
    assert (value["quarantine"], value["unreadable"], value["classes"]) == ([], [], {})
    assert (tmp_path / "made.json").stat().st_mode & 0o7777 == 0o644
    assert sealed(value) == value
    assert canonical({"b": 1, "a": "é"}) == b'{"a":"\\u00e9","b":1}'


def test_every_hazard_is_certified(person: Person, database: Database, tmp_path: Path):
    """Names that are no UTF-8, a line of 100 MB, bytes that are no JSON: in the tree and in a dump, in little memory."""
    hazards.build(str(tmp_path / "tree"), large=False)
    for name, size in (("100-mb-line", 10**8), ("torn-at-the-limit", hazards.LIMIT)):
        path = tmp_path / "tree" / os.fsdecode(hazards.log(name))
        path.parent.mkdir(parents=True)
        path.write_bytes(b"{}\n" + b"x" * size)
    _moved(person, tmp_path / "tree", database.url, tmp_path / "made.json")
    dumped = dump(database, tmp_path / "dump.sql")

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))

    for subject in (tmp_path / "tree", dumped):
        run = verify(tmp_path / "made.json", subject, preexec_fn=little)
        assert run.status == 0, run


def _write(path: Path, at: int, data: bytes) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _keeping_time(path: Path, deed: Callable[[], object]) -> None:
    status = path.stat()
    deed()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


SESSIONS = "sessions"
DEEDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped byte": (lambda root: _write(root / LOG, 2_000_000, b"\0"), f"{LOG}: its content, mode, time or link text"),
    "another time": (lambda root: os.utime(root / "latest", ns=(0, 7), follow_symlinks=False), "latest: its content, mode"),
    "another mode": (lambda root: (root / SESSIONS).chmod(0o700), f"{SESSIONS}: its content, mode"),
    "a file that is gone": (lambda root: _keeping_time((root / LOG).parent, (root / LOG).unlink), f"{LOG} is missing"),
    "a file too many": (lambda root: _keeping_time(root, (root / "zzz").touch), "zzz is not in the certificate"),
    "a file too many before": (lambda root: _keeping_time(root, (root / "AAA").touch), "AAA is not in the certificate"),
}


@pytest.mark.parametrize("what", DEEDS)
def test_the_first_path_of_a_tree_that_differs_is_named(
    what: str, person: Person, database: Database, tree: Path, tmp_path: Path
):
    """Exit 3."""
    _moved(person, tree, database.url, tmp_path / "made.json")
    deed, says = DEEDS[what]
    deed(tree)
    run = verify(tmp_path / "made.json", tree)

    assert run.status == 3, run
    assert run.out.startswith(f"differs: {says}")


BY_SQL = {
    "UPDATE events SET body = replace(body::text, 'e', 'f')::json WHERE pos = 0 AND entry_id = {id}": (
        f"{LOG}: its records do not have the digest that the database has for them"
    ),
    "DELETE FROM events WHERE pos = 0 AND entry_id = {id}": f"{LOG}: a record is missing, or stands twice, at offset 0",
    "INSERT INTO sessions (store_id, entry_id, pos, raw) VALUES (1, 999999, 0, 'x')": (
        "(the root): records in sessions belong to no file (entry 999999)"
    ),
    "UPDATE entries SET size = size + 1 WHERE entry_id = {id}": f"{LOG}: its records end at",
    "UPDATE entries SET mode = 0 WHERE entry_id = {id}": f"{LOG}: its content, mode, time or link text",
    "DELETE FROM entries WHERE path = 'latest'": "latest is missing",
}


@pytest.mark.parametrize("statement", BY_SQL)
def test_the_first_path_of_a_dump_that_differs_is_named(
    statement: str, person: Person, database: Database, tree: Path, tmp_path: Path
):
    """From the records in it, not from what the database believes."""
    _moved(person, tree, database.url, tmp_path / "made.json")
    database.run(statement.format(id=f"(SELECT entry_id FROM entries WHERE path = '{LOG}')"))
    run = verify(tmp_path / "made.json", dump(database, tmp_path / "dump.sql"))

    assert run.status == 3, run
    assert run.out.startswith(f"differs: {BY_SQL[statement]}")


def test_rows_may_stand_in_any_order(person: Person, database: Database, tree: Path, tmp_path: Path):
    """A dump has them as the heap has them; and other stores and schemas may be in it."""
    person.moves(tree, f"{database.url}&store=another")
    _moved(person, tree / "sessions", database.url, tmp_path / "made.json", "--store-name", "mine", "--layout", "generic")
    person.types("validate", tree, f"{database.url}&store=another", "--certificate", tmp_path / "another.json")
    database.run("UPDATE events SET id = id WHERE pos % 3 = 0", "UPDATE entries SET kind = kind WHERE entry_id % 2 = 0")
    dumped = dump(database, tmp_path / "dump.sql", "-n", "public")

    for name in ("made.json", "another.json"):
        run = verify(tmp_path / name, dumped)
        assert run.status == 0, run


def _damaged(text: bytes) -> dict[str, tuple[bytes, str]]:
    rows = next(re.finditer(rb"COPY \S+\.events \(", text)).start()
    middle = text.index(b"\n", rows + 20_000)
    return {
        "cut off in a row": (text[: middle - 5], "was cut off in the rows of events"),
        "cut off between rows": (text[: middle + 1], "was cut off in the rows of events"),
        "cut off between tables": (text[: text.index(b"\\.\n", rows) + 3], "was cut off: it does not end as a dump does"),
        "empty": (b"", "was cut off"),
        "of another format": (b"PGDMP" + text, "is not plain text"),
        "compressed": (b"\x1f\x8b" + text, "is not plain text"),
        "in another encoding": (text.replace(b"'UTF8'", b"'LATIN1'"), "is not in UTF-8"),
        "something else": (b"PostgreSQL database dump complete", "holds no store 'tree' of crossfade's, but: none"),
        "with a row of another shape": (text[: middle + 1] + b"nonsense\n" + text[middle + 1 :], "is not what it should be"),
    }


def test_a_dump_that_cannot_be_used_is_refused(person: Person, database: Database, tree: Path, tmp_path: Path):
    """Exit 2, and why: nothing is said of what it cannot know."""
    _moved(person, tree, database.url, tmp_path / "made.json")
    text = dump(database, tmp_path / "dump.sql").read_bytes()
    for what, (damaged, says) in _damaged(text).items():
        (tmp_path / "damaged.sql").write_bytes(damaged)
        run = verify(tmp_path / "made.json", tmp_path / "damaged.sql")
        assert (what, run.status, run.out) == (what, 2, ""), run
        assert says in run.err, what
    inserts = dump(database, tmp_path / "inserts.sql", "--inserts")
    assert verify(tmp_path / "made.json", inserts).status == 2


def test_an_edited_certificate_is_noticed(person: Person, database: Database, tree: Path, tmp_path: Path):
    """Exit 2, whatever was edited; one with a digest made anew for it is believed, and found to be untrue."""
    value = _moved(person, tree, database.url, tmp_path / "made.json")
    for key, part in [("verdict", "quarantined"), ("entries", 1), ("crossfade", "9"), ("made_at", ""), ("unreadable", [{}])]:
        (tmp_path / "edited.json").write_text(json.dumps({**value, key: part}))
        run = verify(tmp_path / "edited.json", tree)
        assert (run.status, run.out) == (2, ""), run
        assert "edited" in run.err
    roots = {"source": "0" * 64, "target": "0" * 64}
    (tmp_path / "edited.json").write_text(json.dumps(sealed({**value, "roots": roots, "waypoints": []})))
    run = verify(tmp_path / "edited.json", tree)
    assert run.status == 3, run
    assert run.out == "differs: a path behind (the root)\n"


def test_what_is_no_certificate_is_refused(person: Person, database: Database, tree: Path, tmp_path: Path):
    """Another version, another file, none, a directory, half of one; and a subject that is not there."""
    value = _moved(person, tree, database.url, tmp_path / "made.json")
    text = (tmp_path / "made.json").read_text()
    for content in (
        json.dumps(sealed({**value, "format_version": 2})),
        json.dumps(sealed({**value, "format": "another"})),
        json.dumps(sealed({"format": "crossfade certificate", "format_version": 1})),
        text[: len(text) // 2],
        "[]",
        "",
        "\0\xff",
    ):
        (tmp_path / "other.json").write_text(content)
        assert verify(tmp_path / "other.json", tree).status == 2
    assert verify(tmp_path / "none.json", tree).status == 2
    assert verify(tmp_path, tree).status == 2
    assert verify(tmp_path / "made.json", tmp_path / "nowhere").status == 2


SHAPES: dict[str, Any] = {
    "waypoints": [[[1, 5, "aa"]], [5], [[1, "\\xzz", "aa"]], [["x", "", ""]], {}, None],
    "segment_bytes": [0, -5, "1", 1.5, None],
    "record_bytes_max": [0, -5, "1", 1.5, None],
    "moved": [None, [], {}, {"include_transient": 1, "kinds": 5}],
    "layout": [
        None,
        {"rules": 5},
        {"rules": [5]},
        {"rules": [{}]},
        {"rules": [{"files": 5, "trees": None, "unless": None}]},
    ],
    "quarantine": [None, [5], [{"path": 5, "pos": None}]],
    "unreadable": [None, [5], [{"path": None}]],
    "roots": [None, 5, []],
    "entries": [None, "1", -1],
    "made_at": ["\ud800"],
    "verdict": [None, [], "\ud800"],
    "format_version": [None, "\ud800"],
    "source": [None],
    "target": [None, 5, {"schema": 5}],
    "store": [None, [], "\ud800"],
}


def test_a_certificate_of_another_shape_is_answered_in_words(person: Person, database: Database, tree: Path, tmp_path: Path):
    """Whoever edits one can make its digest anew: never a traceback, nor a verdict by way of one."""
    value = _moved(person, tree, database.url, tmp_path / "made.json")
    dumped, made = dump(database, tmp_path / "dump.sql"), tmp_path / "edited.json"
    for key, parts in SHAPES.items():
        for part in parts:
            made.write_text(json.dumps(sealed({**value, key: part})))
            for subject in (tree, dumped) if key in ("waypoints", "segment_bytes", "target", "store") else (tree,):
                run = verify(made, subject)
                assert "Traceback" not in run.err, (key, part, run)
                assert run.status in ((0,) if key in ("made_at", "source", "target", "store") else ()) + (2, 3), (
                    key,
                    part,
                    run,
                )
    for key in value.keys() - {"digest"}:
        made.write_text(json.dumps(sealed({name: part for name, part in value.items() if name != key})))
        run = verify(made, tree)
        assert "Traceback" not in run.err, (key, run)


def test_the_certificate_of_another_store_is_not_this_ones(person: Person, database: Database, tree: Path, tmp_path: Path):
    """Of a tree: it differs. Of a dump that has no such store: nothing can be said."""
    _moved(person, tree, database.url, tmp_path / "made.json")
    shutil.copytree(tree, tmp_path / "other", symlinks=True)
    (tmp_path / "other" / "new").touch()
    _moved(person, tmp_path / "other", database.url, tmp_path / "other.json")

    assert verify(tmp_path / "other.json", tree).status == 3
    assert verify(tmp_path / "made.json", tmp_path / "other").status == 3
    dumped = dump(database, tmp_path / "dump.sql")
    assert [verify(tmp_path / name, dumped).status for name in ("made.json", "other.json")] == [0, 0]
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "x.json").write_text("{}")
    _moved(
        person, tmp_path / "third", f"embedded://{tmp_path}/pg?schema={database.location.schema}", tmp_path / "third.json"
    )
    run = verify(tmp_path / "third.json", dumped)
    assert run.status == 2, run
    assert "holds no store 'third' of crossfade's, but: other, tree" in run.err


def test_a_certificate_of_stores_that_differ_certifies_nothing(
    person: Person, database: Database, tree: Path, tmp_path: Path
):
    """It is written all the same, and says so."""
    person.moves(tree, database.url)
    database.run("DELETE FROM sessions")
    run = person.types("validate", tree, database.url, "--certificate", tmp_path / "made.json")
    assert run.status == 3, run
    value = json.loads((tmp_path / "made.json").read_text())
    assert value["verdict"] == "different"
    assert value["classes"]["content"] > 1
    assert value["roots"]["source"] != value["roots"]["target"]
    checked = verify(tmp_path / "made.json", tree)
    assert checked.status == 2, checked
    assert "certifies nothing: its verdict is 'different'" in checked.err


def test_a_copy_that_differs_certifies_nothing_either(person: Person, database: Database, tree: Path, tmp_path: Path):
    """``start --once``, too, writes what it found."""
    person.moves(tree, database.url)
    database.run("DELETE FROM sessions")
    (tree / "new").touch()
    run = person.types("start", tree, database.url, "--once", "--certificate", tmp_path / "made.json")
    assert run.status == 3, run
    assert json.loads((tmp_path / "made.json").read_text())["verdict"] == "different"


def test_what_is_in_quarantine_is_listed(person: Person, database: Database, tree: Path, tmp_path: Path):
    """By its path, its place and its code. What could not be placed is in neither root, and in neither tree."""
    person.moves(tree, database.url)
    path = database.one("SELECT min(path) FROM entries WHERE kind = 'sessions'")
    database.run(rf"UPDATE entries SET path = '../one', key = '\x2e2e006f6e65' WHERE path = '{path}'")
    run = person.types("start", database.url, tmp_path / "restored", "--once", "--certificate", tmp_path / "back.json")
    assert run.status == 4, run
    value = json.loads((tmp_path / "back.json").read_text())

    assert value["verdict"] == "quarantined"
    (item,) = value["quarantine"]
    assert (item["path"], item["pos"], item["code"]) == ("../one", None, "escapes-root")
    assert "session_id" not in (tmp_path / "back.json").read_text()
    for subject in (tmp_path / "restored", dump(database, tmp_path / "dump.sql")):
        checked = verify(tmp_path / "back.json", subject)
        assert checked.status == 0, checked


def test_what_could_not_be_read_is_in_no_root(person: Person, terminal: Terminal, cluster: Any, tree: Path, tmp_path: Path):
    """A directory, with what an earlier copy brought of it: both verbs say the same, and others can check it."""
    place = parse(cluster.url("unseen"))
    database = Database(place.url, place, Server(conninfo(place), place.url, cluster.password))
    for account in (person, terminal):
        account.environment["PGPASSWORD"] = cluster.password
    person.moves(tree, database.url)
    hidden = tree / "sessions"
    mode = hidden.stat().st_mode
    hidden.chmod(0)
    values = []
    for verb in (("validate",), ("start", "--once")):
        words = (*verb, tree, database.url, "--skip-unreadable", "--certificate", tmp_path / "made.json")
        run = finish(terminal.popen(*words, preexec_fn=obey_permissions))
        assert run.status == 4, run
        values.append(json.loads((tmp_path / "made.json").read_text()))
        hidden.chmod(mode)
        for subject in (tree, dump(database, tmp_path / "dump.sql")):
            checked = verify(tmp_path / "made.json", subject)
            assert checked.status == 0, checked
        hidden.chmod(0)
    hidden.chmod(mode)
    one, other = values
    assert one["verdict"] == other["verdict"] == "unreadable"
    assert [item["path"] for item in one["unreadable"]] == ["sessions"]
    assert (one["roots"], one["entries"]) == (other["roots"], other["entries"])


def test_of_two_schemas_in_one_dump_the_targets_counts(person: Person, database: Database, tree: Path, tmp_path: Path):
    """Both number their trees and entries from 1."""
    there = database.url.replace("schema=", "schema=o")
    person.moves(tree / "sessions", f"{there}&store=first")  # so that the numbers are not the same
    person.moves(tree, database.url)
    _moved(person, database.url, there, tmp_path / "made.json")
    schema = database.location.schema
    try:
        both = dump(database, tmp_path / "both.sql", "-n", f"o{schema}")
        assert verify(tmp_path / "made.json", both).status == 0
        assert verify(tmp_path / "made.json", dump(database, tmp_path / "source.sql")).status == 0
        database.run(f"""UPDATE o{schema}.sessions SET body = '{{"id":"x"}}' WHERE store_id = 2""")
        both = dump(database, tmp_path / "both.sql", "-n", f"o{schema}")
        assert verify(tmp_path / "made.json", both).status == 3
    finally:
        database.run(f"DROP SCHEMA o{schema} CASCADE")


def test_kinds_that_were_not_moved_are_not_compared(person: Person, database: Database, tree: Path, tmp_path: Path):
    """``--only``."""
    value = _moved(person, tree, database.url, tmp_path / "made.json", "--only", "sessions")
    assert value["moved"]["kinds"] == ["sessions"]
    _write(tree / LOG, 0, b"!")
    for subject in (tree, dump(database, tmp_path / "dump.sql")):
        run = verify(tmp_path / "made.json", subject)
        assert run.status == 0, run


def test_transient_files_are_there_where_they_were_taken_along(
    person: Person, database: Database, tree: Path, tmp_path: Path
):
    """Whole directories of them, too."""
    rules = (
        '[[transient]]\nmatch = ["tmp/**", "**/*.lock"]\n[[kind]]\nname = "docs"\nform = "document"\nmatch = ["**/*.json"]\n'
    )
    (tmp_path / "own.toml").write_text(rules)
    (tree / "tmp" / "deep").mkdir(parents=True)
    (tree / "tmp" / "deep" / "x").write_text("x")
    options = ("--layout", tmp_path / "own.toml")
    without = _moved(person, tree, f"{database.url}&store=without", tmp_path / "without.json", *options)
    along = _moved(person, tree, f"{database.url}&store=along", tmp_path / "along.json", *options, "--include-transient")

    assert along["entries"] >= without["entries"] + 3
    assert [verify(tmp_path / name, tree).status for name in ("without.json", "along.json")] == [0, 0]
    (tree / "tmp" / "deep" / "x").write_text("y")
    assert [verify(tmp_path / name, tree).status for name in ("without.json", "along.json")] == [0, 3]


def test_what_is_already_there_is_compared_for_a_certificate(person: Person, database: Database, tree: Path, tmp_path: Path):
    """Nobody signs what was seen another day."""
    person.moves(tree, database.url)
    assert "already there" in person.moves(tree, database.url).out
    assert "already there" not in person.moves(tree, database.url, "--certificate", tmp_path / "made.json").out
    assert verify(tmp_path / "made.json", tree).status == 0
    database.run("UPDATE sessions SET status = 'x'")
    run = person.types("start", tree, database.url, "--once", "--certificate", tmp_path / "again.json")
    assert run.status == 3, run


def test_a_large_tree_is_narrowed_down(tmp_path: Path):
    """Not every entry is remembered: the two paths are named between which the first difference lies."""
    points = Waypoints([], limit=8)
    for number in range(1, 101):
        points.pass_by(number, b"%03d" % number, b"%064d" % number)
    assert [number for number, _, _ in points.points] == [16, 32, 48, 64, 80, 96]
    again = Waypoints(list(points.points), limit=8)
    for number in range(101, 130):
        again.pass_by(number, b"%03d" % number, b"%064d" % number)
    assert [number for number, _, _ in again.points] == [16, 32, 48, 64, 80, 96, 112, 128]


def test_a_difference_in_a_large_tree_is_narrowed_down(
    person: Person, database: Database, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """From what is remembered of it."""
    monkeypatch.setattr("crossfade.model.roots.Waypoints.__init__.__defaults__", (8,))
    value = _moved(person, tree, database.url, tmp_path / "made.json")
    assert len(value["waypoints"]) < 9 < value["entries"]
    _write(tree / LOG, 0, b"!")
    run = verify(tmp_path / "made.json", tree)

    assert run.status == 3, run
    found = re.fullmatch(r"differs: a path behind (.+), about as far as (.+)\n", run.out)
    assert found, run.out
    one, other = (Path(tree / path).relative_to(tree).as_posix().replace("/", "\0") for path in found.groups())
    assert one < LOG.replace("/", "\0") <= other


# Where it is written


@pytest.mark.parametrize("verb", ["start", "validate"])
def test_a_place_where_none_can_be_written_is_refused_at_once(
    verb: str, person: Person, database: Database, tree: Path, tmp_path: Path
):
    """Before anything is copied or compared; never inside of what is certified, never over a directory."""
    once = ["--once"] if verb == "start" else []
    person.moves(tree, database.url)
    for place in (tmp_path, tmp_path / "nowhere" / "made.json", tree / "made.json", tree / "sessions" / "made.json"):
        refused(person.types(verb, tree, database.url, *once, "--certificate", place), "CF103", 1)
    (tmp_path / "restored").mkdir()
    inside = tmp_path / "restored" / "made.json"
    refused(person.types(verb, database.url, tmp_path / "restored", *once, "--certificate", inside), "CF103", 1)
    assert not inside.exists()
    run = person.types("validate", tree, database.url, "--certificate", tmp_path / "c.json", "--sample-percentage", "5")
    refused(run, "CF103", 1)
    refused(person.types("start", tree, database.url, "--certificate", tmp_path / "c.json"), "CF103", 1)
    assert not (tmp_path / "c.json").exists()


def test_one_that_cannot_be_written_leaves_what_was_there(
    terminal: Terminal, database: Database, tree: Path, tmp_path: Path
):
    """A directory that takes no files: CF206. The copy is done, and stands."""
    assert terminal.run("start", tree, database.url, "--once").status == 0
    place = tmp_path / "kept"
    place.mkdir()
    (place / "made.json").write_text("old")
    place.chmod(0o500)
    process = terminal.popen(
        "validate", tree, database.url, "--certificate", place / "made.json", preexec_fn=obey_permissions
    )
    out, err = process.communicate(timeout=60)
    place.chmod(0o700)

    assert process.returncode == 2, err
    assert b"error[CF206]: cannot write the certificate" in err
    assert not out
    assert [path.name for path in place.iterdir()] == ["made.json"]
    assert (place / "made.json").read_text() == "old"


def test_one_that_is_there_is_replaced_as_a_whole(person: Person, database: Database, tree: Path, tmp_path: Path):
    """With the mode that it should have; by a link, what it points to."""
    (tmp_path / "real.json").write_text("x" * 100_000)
    (tmp_path / "real.json").chmod(0o600)
    (tmp_path / "made.json").symlink_to("real.json")
    value = _moved(person, tree, database.url, tmp_path / "made.json")

    assert value["verdict"] == "equal"
    assert (tmp_path / "made.json").is_symlink()
    assert (tmp_path / "real.json").stat().st_mode & 0o7777 == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.json", "real.json", "state", "tree"]


def test_no_secret_gets_into_it(person: Person, tree: Path, tmp_path: Path, cluster: Any):
    """Neither the password nor the content of a record."""
    url = f"postgresql://crossfade:{quote(cluster.password, safe='')}@127.0.0.1:{cluster.port}/postgres?schema=certified"
    (tree / "sessions" / "canary.json").write_text('{"session_id":"the canary sings"}')
    value = _moved(person, tree, url, tmp_path / "made.json")

    text = (tmp_path / "made.json").read_text()
    assert value["target"]["url"].startswith("postgresql://crossfade@127.0.0.1:")
    assert cluster.password not in text
    assert quote(cluster.password, safe="") not in text
    assert "the canary sings" not in text
    assert said(person.types("validate", tree, url, "--json"))["state"] == "equal"
