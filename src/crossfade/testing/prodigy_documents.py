"""Documents as Prodigy writes them: pretty JSON, two spaces, no final newline.

One function a shape, field for field in the order of the Rust structs. Values are made up from a seeded ``Random``;
hash maps come in random order, as they do in life.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from crossfade.testing.planting import DAY_NS, EPOCH_NS
from crossfade.testing.prodigy_events import CONFIG, WORDS, stamp, uuid_of

Object = dict[str, Any]

HOME = "/home/u/.prodigy"


def pretty(value: object) -> bytes:
    """The bytes of ``serde_json::to_string_pretty``."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode()


def uuid(random: Random) -> str:
    """A new UUID."""
    return uuid_of(f"{random.getrandbits(128):032x}")


def moment(random: Random) -> str:
    """A time of the month in which things happen."""
    return stamp(EPOCH_NS + random.randrange(30 * DAY_NS))


def shuffled(random: Random, items: Object) -> Object:
    """A hash map: the same items in another order."""
    return dict(random.sample(list(items.items()), len(items)))


def duration(random: Random) -> Object:
    """A duration of the standard library."""
    return {"secs": random.randrange(2_000), "nanos": random.randrange(10**9)}


def session(random: Random, *, mapreduce: bool = False) -> Object:
    """A session of the second generation; ``@…@`` stands for what makes it this one (see :func:`filled`)."""
    status = random.choice(("Running", "Paused", "Completed", "Completed", "Completed", "Failed", "Cancelled"))
    metadata = {"workflow_type": "standard", "execution_start_time": "@offset@", "total_steps": 3, "current_step": 0}
    steps = ("claude: /implement $ARG", "shell: cargo test", "shell: cargo clippy")
    return {
        "id": "@id@",
        "session_type": "Workflow",
        "status": status,
        "started_at": "@started@",
        "updated_at": "@ended@",
        "completed_at": "@ended@" if status == "Completed" else None,
        "metadata": shuffled(random, metadata),
        "checkpoints": [] if mapreduce else [snapshot(random)],
        "timings": {step: duration(random) for step in sorted(steps)},
        "error": "Command failed: exit code 101" if status == "Failed" else None,
        "workflow_data": None if mapreduce else workflow_data(random),
        "mapreduce_data": mapreduce_data(random) if mapreduce else None,
    }


def filled(pattern: bytes, name: str, start: int, end: int) -> bytes:
    """A session's bytes with its name and its two times (ns) in their places."""
    body = pattern.replace(b"@id@", name.encode()).replace(b"@started@", stamp(start).encode())
    return body.replace(b"@offset@", stamp(start)[:-1].encode() + b"+00:00").replace(b"@ended@", stamp(end).encode())


def snapshot(random: Random) -> Object:
    """A checkpoint inside a session; the keys of its state are sorted."""
    state = {"checkpoint_version": 1, "command_timings": [["shell: cargo test", duration(random)]], "completed_at": None}
    return {"id": f"checkpoint-{uuid(random)}", "created_at": "@ended@", "state": state, "metadata": {}}


def workflow_data(random: Random) -> Object:
    """What a workflow's session knows of it."""
    return {
        "workflow_id": "@id@",
        "workflow_name": random.choice(("implement", "fix-debt", "write-docs", "grüße")),
        "current_step": 0,
        "total_steps": 3,
        "completed_steps": [0, 1],
        "variables": shuffled(random, {"ARG": str(random.randrange(300)), "shell.output": "ok\n\u001b[0m"}),
        "iterations_completed": 1,
        "files_changed": random.randrange(40),
        "worktree_name": None,
    }


def mapreduce_data(random: Random) -> Object:
    """What a MapReduce session knows of its job."""
    return {
        "job_id": "mapreduce-20251116_101500",
        "total_items": 20,
        "processed_items": random.randrange(20),
        "failed_items": 1,
        "agent_count": 10,
        "phase": random.choice(("Setup", "Map", "Reduce", "Complete")),
        "reduce_results": None,
    }


def checkpoint(random: Random, workflow: str, *, old: bool = False) -> Object:
    """A workflow's checkpoint; an *old* one lacks the last two keys."""
    state = {"current_step_index": 2, "total_steps": 3, "status": "Running", "start_time": moment(random)}
    state |= {"last_checkpoint": moment(random), "current_iteration": None, "total_iterations": None}
    variables = {"PROJECT_ROOT": f"{HOME}/worktrees/prodigy/session", "ARG": "65", "shell.output": WORDS * 3}
    last: Object = {} if old else {"retry_checkpoint_state": None, "variable_checkpoint_state": None}
    return {
        "workflow_id": workflow,
        "execution_state": state,
        "completed_steps": [step(random, number) for number in range(2)],
        "variable_state": shuffled(random, variables),
        "mapreduce_state": None,
        "timestamp": moment(random),
        "version": 1,
        "workflow_hash": "implement-3",
        "total_steps": 3,
        "workflow_name": "implement",
        "workflow_path": None,
    } | last


def step(random: Random, number: int) -> Object:
    """A step that is done, with everything it printed."""
    return {
        "step_index": number,
        "command": "shell: cargo test",
        "success": True,
        "output": "\u001b[32mok\u001b[0m " + WORDS * random.randrange(1, 12),
        "captured_variables": {},
        "duration": duration(random),
        "completed_at": moment(random),
    }


def dlq_item(random: Random, item: str) -> Object:
    """An item that no agent could do."""
    first, log = moment(random), f"{HOME}/logs/claude-streaming/20251116_101500-{uuid(random)}.jsonl"
    kinds = ("Timeout", {"CommandFailed": {"exit_code": 101}}, "MergeConflict", "Unknown")
    failure = {"attempt_number": 1, "timestamp": first, "error_type": random.choice(kinds)}
    failure |= {"error_message": "Command failed: exit code 101", "stack_trace": None, "agent_id": f"agent-{item}"}
    failure |= {"step_failed": "agent_execution", "duration_ms": random.randrange(90_000), "json_log_location": log}
    artifacts = {"worktree_path": f"{HOME}/worktrees/session-1/agent", "branch_name": "prodigy-agent"}
    return {
        "item_id": item,
        "item_data": {"id": "src/lib.rs", "priority": random.randrange(9), "score": 1.0},
        "first_attempt": first,
        "last_attempt": first,
        "failure_count": 1,
        "failure_history": [failure],
        "error_signature": f"{random.getrandbits(64):016x}",
        "worktree_artifacts": artifacts | {"uncommitted_changes": None, "error_logs": None},
        "reprocess_eligible": True,
        "manual_review_required": False,
    }


def dlq_index(random: Random, job: str, items: list[str]) -> Object:
    """The index beside the items; its keys are sorted."""
    return {"item_count": len(items), "item_ids": items, "job_id": job, "updated_at": moment(random)}


def job_state(random: Random, job: str, version: int) -> Object:
    """A MapReduce job in the shape of 0.1.8; the done agents come in random order."""
    items = [f"item_{number}" for number in range(version)]
    results = {item: agent_result(random, job, item) for item in items}
    return {
        "job_id": job,
        "config": json.loads(CONFIG),
        "started_at": moment(random),
        "updated_at": moment(random),
        "work_items": [{"id": item, "score": 0.1 + 0.2, "path": "src/größe.rs"} for item in items],
        "agent_results": shuffled(random, results),
        "completed_agents": random.sample(items, len(items)),
        "failed_agents": {},
        "pending_items": [],
        "checkpoint_version": version,
        "parent_worktree": None,
        "reduce_phase_state": None,
        "total_items": len(items),
        "successful_count": len(items),
        "failed_count": 0,
        "is_complete": version == 11,
    }


def agent_result(random: Random, job: str, item: str) -> Object:
    """What one agent brought home."""
    return {
        "item_id": item,
        "status": random.choice(("Success", "Success", {"Failed": "exit code 1"}, {"Retrying": 2})),
        "output": "=== Step 1 (unnamed) ===\n## Summary\n\n" + WORDS * random.randrange(1, 8),
        "commits": [f"{random.getrandbits(160):040x}"],
        "duration": duration(random),
        "branch_name": f"prodigy-{job}-{item}",
    }


def worktree(random: Random, name: str) -> Object:
    """The metadata of a git worktree."""
    return {
        "session_id": name,
        "worktree_name": name,
        "branch": f"prodigy-{name}",
        "original_branch": "master",
        "created_at": moment(random),
        "updated_at": moment(random),
        "status": random.choice(("in_progress", "completed", "merged", "interrupted")),
        "iterations": {"completed": random.randrange(3), "max": 10},
        "stats": {"files_changed": random.randrange(30), "commits": random.randrange(5), "last_commit_sha": None},
        "merged": False,
        "merged_at": None,
        "error": None,
        "merge_prompt_shown": False,
        "merge_prompt_response": None,
        "interrupted_at": None,
        "interruption_type": None,
        "last_checkpoint": None,
        "resumable": True,
    }
