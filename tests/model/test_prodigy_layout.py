"""Prodigy's layout: every file that Prodigy is known to write, and the real files that Prodigy wrote."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from crossfade.model.cut import form_of
from crossfade.model.layouts import Layout, load
from crossfade.model.records import Reader, split_lines, suspicious

DATA = Path(__file__).parents[1] / "data" / "prodigy"
SESSION = "session-6feea3fd-8b9a-4891-9326-45ddd35fbd70"

EVERY_FILE: list[tuple[str, str, dict[str, str]]] = [
    # 1: generation 1
    (f"sessions/{SESSION}.json", "sessions", {"id": SESSION}),
    ("sessions/a.json.json", "sessions", {"id": "a.json"}),
    ("sessions/id/with/slashes.json", "sessions", {"id": "slashes"}),
    ("checkpoints/cp-0007.json", "checkpoints", {"id": "cp-0007"}),
    ("events/job-1/event_20250918_073652_123456789.jsonl", "events", {"job_id": "job-1"}),
    ("events_archive/job-1/event_20250918_073652_123456789.jsonl", "events", {"job_id": "job-1"}),
    ("dlq/mapreduce-1757600000000/item_3.json", "dlq", {"job_id": "mapreduce-1757600000000", "item_id": "item_3"}),
    ("dlq/mapreduce-1757600000000/src/lib.rs.json", "dlq", {"job_id": "mapreduce-1757600000000", "item_id": "lib.rs"}),
    ("workflows/wf-implement.json", "workflows", {"id": "wf-implement"}),
    ("locks/a-key.lock", "transient", {}),
    ("locks/a/key.lock", "transient", {}),
    (".health_check", "transient", {}),
    # 2: generation 2
    ("sessions/workflow-1758167434332.json", "sessions", {"id": "workflow-1758167434332"}),
    (f"sessions/{SESSION}/checkpoint.json", "checkpoints", {"session_id": SESSION}),
    ("events/repo/job/events-20250918_035034.jsonl", "events", {"repo": "repo", "job_id": "job"}),
    ("events/repo/job/events-20250918_035034.20250919_000000.jsonl.gz", "events", {"repo": "repo", "job_id": "job"}),
    ("events/repo/job/events-20250918_035034.jsonl.bak", "other", {}),
    ("events/repo/job/index.json", "other", {}),
    ("events/archive/events_archive_20250906_075919.jsonl.gz", "events", {}),
    ("events/archive/events_archive_20250906_075919.jsonl", "events", {}),
    ("dlq/repo/job/mapreduce/dlq/job/items/item_1.json", "dlq", {"repo": "repo", "job_id": "job", "item_id": "item_1"}),
    ("dlq/repo/job/mapreduce/dlq/job/items/src/a b.rs.json", "dlq", {"repo": "repo", "job_id": "job", "item_id": "a b.rs"}),
    ("dlq/repo/job/mapreduce/dlq/job/items/index.json", "dlq", {"repo": "repo", "job_id": "job", "item_id": "index"}),
    ("dlq/repo/job/mapreduce/dlq/job/index.json", "other", {}),
    ("state/repo/mapreduce/dlq/job/items/item_1.json", "dlq", {"repo": "repo", "job_id": "job", "item_id": "item_1"}),
    ("state/repo/mapreduce/dlq/job/index.json", "other", {}),
    (
        f"state/{SESSION}/checkpoints/workflow-17.checkpoint.json",
        "checkpoints",
        {"session_id": SESSION, "id": "workflow-17"},
    ),
    ("state/repo/checkpoints/merge-workflow-wt.checkpoint.json", "checkpoints", {"repo": "repo", "worktree_name": "wt"}),
    ("state/repo/mapreduce/jobs/mapreduce-17/checkpoint-v9.json", "job_states", {"repo": "repo", "job_id": "mapreduce-17"}),
    ("state/repo/mapreduce/jobs/mapreduce-17/metadata.json", "other", {}),
    ("state/repo/mapreduce/jobs/mapreduce-17/events/events.jsonl", "events", {"repo": "repo", "job_id": "mapreduce-17"}),
    (
        "state/repo/job/mapreduce/checkpoints/cp-1.checkpoint.json",
        "checkpoints",
        {"repo": "repo", "job_id": "job", "id": "cp-1"},
    ),
    *((f"anywhere/cp-1.checkpoint.{end}", "checkpoints", {"id": "cp-1"}) for end in ("json", "gz", "zst", "lz4")),
    ("state/reduce_checkpoints/job/reduce-checkpoint-v1-20250918_035034.json", "checkpoints", {"job_id": "job"}),
    ("state/repo/mappings/job.json", "mappings", {"repo": "repo", "key": "job"}),
    ("resume_locks/session-1.lock", "transient", {}),
    ("orphaned_worktrees/repo/job.json", "other", {}),
    ("logs/claude-streaming/20251116_101500-5d0c-4f.jsonl", "logs", {"started": "20251116_101500", "run_id": "5d0c-4f"}),
    ("logs/repo/anything.txt", "other", {}),
    (f"worktrees/repo/{SESSION}/src/main.rs", "exclude", {}),
    (f"worktrees/repo/{SESSION}/.prodigy/session_state.json", "exclude", {}),
    ("worktrees/repo/.gitignore", "other", {}),
    (f"worktrees/repo/.metadata/{SESSION}.json", "worktree_metadata", {"repo": "repo", "worktree_name": SESSION}),
    ("worktrees/repo/.metadata/cleanup.log", "other", {}),
    ("config.yml", "other", {}),
    ("templates/a.yml", "other", {}),
    ("templates/a.meta.json", "other", {}),
    ("progress/job.json", "other", {}),
    ("progress/job_history.json", "other", {}),
    # 3: legacy
    (".prodigy/session_state.json", "sessions", {}),
    (".prodigy/session_2025.json", "sessions", {}),
    (f".prodigy/{SESSION}.json", "checkpoints", {}),
    (".prodigy/cook-1754076473.json", "checkpoints", {}),
    (".prodigy/state.json", "sessions", {}),
    (".prodigy/state.json.corrupted.1754042058078199000", "other", {}),
    (".prodigy/history/20250801_192752_cook-175.json", "other", {}),
    (".prodigy/cache/key.json", "other", {}),
    (".prodigy/sessions/cook-1.json", "sessions", {"id": "cook-1"}),
    (".prodigy/checkpoints/workflow-1757850041656.checkpoint.json", "checkpoints", {"id": "workflow-1757850041656"}),
    (".prodigy/mapreduce/jobs/mapreduce-17/checkpoint-v11.json", "job_states", {"job_id": "mapreduce-17"}),
    (".prodigy/mapreduce/jobs/mapreduce-17/metadata.json", "other", {}),
    (".prodigy/mapreduce/events/global/events.jsonl", "events", {}),
    (".prodigy/mapreduce/dlq/job/items/item_1.json", "dlq", {"job_id": "job", "item_id": "item_1"}),
    (".prodigy/mapreduce/dlq/job/index.json", "other", {}),
    (".prodigy/events/mapreduce_events.jsonl", "events", {}),
    (".prodigy/events/archive/events_archive_20250906_075919.jsonl.gz", "events", {}),
    (".prodigy/dlq/job.json", "other", {}),
    (".prodigy_migrated/session_state.json", "sessions", {}),
    (".mmm/mapreduce/jobs/mapreduce-17/checkpoint-v11.json", "job_states", {"job_id": "mapreduce-17"}),
    (".mmm/metrics/current.json", "other", {}),
    ("home/of/somebody/.prodigy/worktrees/repo/session-1/README.md", "exclude", {}),
    ("home/of/somebody/.prodigy/resume_locks/x.lock", "transient", {}),
    # 5: halves of what stands beside them
    *(
        (path, "transient", {})
        for path in (
            f"state/{SESSION}/checkpoints/workflow-17.checkpoint.tmp",
            f"sessions/{SESSION}/checkpoint.tmp",
            "state/repo/mapreduce/jobs/mapreduce-17/checkpoint-v9.tmp",
            "state/repo/mapreduce/jobs/mapreduce-17/metadata.tmp",
            f"worktrees/repo/.metadata/{SESSION}.json.tmp",
            "state/reduce_checkpoints/job/reduce-checkpoint-v1-20250918_035034.tmp",
            ".prodigy/session_state.tmp.1754042058078199000",
            ".prodigy/state.json.tmp.1754042058078199000",
            "events/repo/job/events-20250918_035034.tmp",
        )
    ),
    # nobody's
    (".DS_Store", "other", {}),
    ("src/session.json", "other", {}),
]


@pytest.fixture(scope="module")
def layout() -> Layout:
    return load("prodigy")


@pytest.mark.parametrize(("path", "where", "captures"), EVERY_FILE, ids=[path for path, _, _ in EVERY_FILE])
def test_every_file_that_prodigy_writes_has_its_place(layout: Layout, path: str, where: str, captures: dict[str, str]):
    """One line for each. A file in the wrong kind is a wrong answer to a query."""
    found = layout.place(path.encode())

    assert (found.kind.name if found.fate == "keep" else found.fate, found.captures) == (where, captures)


@pytest.mark.parametrize(("path", "where", "captures"), EVERY_FILE[:55], ids=[path for path, _, _ in EVERY_FILE[:55]])
def test_the_rules_are_the_same_for_a_root_that_holds_a_prodigy(
    layout: Layout, path: str, where: str, captures: dict[str, str]
):
    """A project's directory as the root, or a directory of projects, means the same files."""
    found = layout.place(f"some/project/.prodigy/{path}".encode())

    assert (found.kind.name if found.fate == "keep" else found.fate, found.captures) == (where, captures)


def test_a_walk_never_enters_a_worktree(layout: Layout):
    """They are gigabytes, and full of files that look like Prodigy's own."""
    assert layout.prunes(b"worktrees/repo/session-1") is not None
    assert layout.prunes(b"project/.prodigy/worktrees/repo/session-1") is not None
    for directory in (b"worktrees", b"worktrees/repo", b"worktrees/repo/.metadata", b"sessions", b"locks", b".prodigy"):
        assert layout.prunes(directory) is None


# -- real files -------------------------------------------------------------------------------------------------------

ROOTS = {
    ".": {"checkpoints": 19, "events": 5, "job_states": 3, "sessions": 1, "other": 6},
    "local": {"checkpoints": 19, "events": 5, "other": 1},
    "jobs": {"job_states": 3, "other": 1},
    "legacy": {"sessions": 1, "other": 3},
}


def _files(root: Path) -> list[str]:
    found = (os.path.join(parent, name) for parent, _, names in os.walk(root) for name in names)
    return sorted(os.path.relpath(path, root) for path in found)


@pytest.mark.parametrize("root", ROOTS)
def test_real_files_have_their_place_whatever_the_root(layout: Layout, root: str):
    """These were written by Prodigy, not by somebody who had read about it."""
    found = Counter(layout.place(path.encode()).kind.name for path in _files(DATA / root))

    assert found == ROOTS[root]


ALWAYS = {
    "checkpoints": [
        "workflow_id",
        "status",
        "created_at",
        "started_at",
        "step_index",
        "total_steps",
        "version",
        "workflow_name",
    ],
    "job_states": [
        "job_id",
        "version",
        "started_at",
        "updated_at",
        "total_items",
        "successful_count",
        "is_complete",
        "input",
    ],
    "sessions": ["id", "status", "started_at", "iterations_completed", "files_changed"],
}


@pytest.mark.parametrize("name", ALWAYS)
def test_promoted_columns_are_found_in_real_files(layout: Layout, name: str):
    """A pointer that is spelled wrong promotes NULL for ever, and nobody notices until a query is empty."""
    paths = [path for path in _files(DATA) if layout.place(path.encode()).kind.name == name]
    for path in paths:
        values = _promoted(layout, path, (DATA / path).read_bytes())

        assert [column for column in ALWAYS[name] if values[column] is None] == [], path
    assert paths


def test_an_archive_is_carried_as_it_is_though_its_name_says_lines(layout: Layout):
    """Real gzip would be cut at every byte that happens to be a line end; only its first bytes tell (12.20)."""
    archives = [path for path in _files(DATA) if path.endswith(".jsonl.gz")]

    assert {form_of(layout.place(path.encode()).kind.form, (DATA / path).read_bytes()) for path in archives} == {"blob"}


def _promoted(layout: Layout, path: str, record: bytes) -> dict[str, object]:
    found = layout.place(path.encode())
    reason, values = Reader(found.kind).read(record, found.captures, suspect=suspicious(record))
    assert reason is None
    return dict(zip((column.name for column in found.kind.columns), values, strict=True))


# -- both generations, one meaning ------------------------------------------------------------------------------------

STATUSES = [
    ("sessions/a.json", b'{"id":"a","state":"InProgress"}', "Running"),
    ("sessions/b.json", b'{"id":"b","session_type":"Workflow","status":"Running"}', "Running"),
    ("sessions/c.json", b'{"id":"c","state":"Cancelled"}', "Cancelled"),
    (".prodigy/session_state.json", b'{"session_id":"d","status":"InProgress"}', "Running"),
    (".prodigy/session_state.json", b'{"session_id":"d","status":"Interrupted"}', "Paused"),
    (".prodigy/sessions/e.json", b'{"id":"e","state":{"Running":{"iteration":3}}}', None),
]


@pytest.mark.parametrize(("path", "record", "status"), STATUSES)
def test_a_session_has_one_status_in_all_generations(layout: Layout, path: str, record: bytes, status: str | None):
    """SELECT status, count(*) is the first thing that an operator types. Prodigy's own migration translates likewise."""
    assert _promoted(layout, path, record)["status"] == status


EVENTS = [
    (
        "events/repo/dir/events-20250918_035034.jsonl",
        b'{"id":"1","timestamp":"x","correlation_id":"c","event":{"event_type":"d_l_q_item_added","job_id":"j","item_id":"i"}}',
        {"id": "1", "event_type": "dlq_item_added", "job_id": "j", "item_id": "i", "correlation_id": "c", "repo": "repo"},
    ),
    (
        "events/repo/dir/events-20250918_035034.jsonl",
        b'{"id":"2","timestamp":"x","event":{"event_type":"claude_tool_invoked","agent_id":"agent-default"}}',
        {"event_type": "claude_tool_invoked", "job_id": "dir", "agent_id": "agent-default", "occurred_at": None},
    ),
    (
        "events/dir/event_20250918_073652_123456789.jsonl",
        b'{"id":"3","timestamp":"x","job_id":"j","event_type":"agent_completed","correlation_id":null,"agent_id":"agent-1"}',
        {"id": "3", "event_type": "agent_completed", "job_id": "j", "agent_id": "agent-1", "repo": None},
    ),
    (
        "events/archive/events_archive_20250906_075919.jsonl",
        b'{"timestamp":"2024-01-01T00:00:00Z","event":"test"}',
        {"id": None, "event_type": "test", "job_id": None},
    ),
]


@pytest.mark.parametrize(("path", "lines", "expected"), EVENTS)
def test_an_event_is_found_by_the_same_columns_in_both_generations(layout: Layout, path: str, lines: bytes, expected):
    """Events of Claude name no job; then the directory does (12.12)."""
    (line,) = split_lines(lines + b"\n")
    found = _promoted(layout, path, line)

    assert {column: found[column] for column in expected} == expected


def test_a_dead_letter_has_the_same_columns_in_both_generations(layout: Layout):
    """Generation 2 counts failures, generation 1 counts retries: two columns, since they are two numbers."""
    first = _promoted(
        layout,
        "dlq/job/item_3.json",
        b'{"id":"item_3","job_id":"job","enqueued_at":"2025-09-18T07:36:52Z","retry_count":2,"last_error":"timed out"}',
    )
    second = _promoted(
        layout,
        "dlq/repo/job/mapreduce/dlq/job/items/item_1.json",
        b'{"item_id":"item_1","last_attempt":"2025-09-18T07:36:52Z","failure_count":1,"reprocess_eligible":true}',
    )

    assert (first["item_id"], first["job_id"], first["retry_count"], first["failure_count"]) == ("item_3", "job", 2, None)
    assert (second["item_id"], second["job_id"], second["retry_count"], second["failure_count"]) == (
        "item_1",
        "job",
        None,
        1,
    )
    assert first["last_attempt"] == second["last_attempt"]
    assert (first["last_error"], second["reprocess_eligible"]) == ("timed out", True)
