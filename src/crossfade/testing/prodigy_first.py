"""What Prodigy's first generation wrote, the ``FileBackend`` of September 2025.

Few people have such files, but they share directories with those of the second generation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random

from crossfade.testing.prodigy_documents import Object, moment, pretty, shuffled, uuid


def documents(random: Random, count: int) -> Iterator[tuple[bytes, bytes]]:
    """*count* files of each kind, with their paths."""
    for number in range(count):
        name = f"session-{uuid(random)}"
        yield f"sessions/{name}.json".encode(), pretty(session(random, name))
        yield f"checkpoints/cp-{number:04d}.json".encode(), pretty(checkpoint(random, number))
        yield f"dlq/job-1/item_{number}.json".encode(), pretty(item(random, number))
        yield f"workflows/wf-{number}.json".encode(), pretty(workflow(random, number))


def events(random: Random, count: int) -> Iterator[tuple[bytes, bytes]]:
    """One file for each event, named for the time at which it was appended."""
    for number in range(count):
        event: Object = {"id": uuid(random), "timestamp": moment(random), "job_id": "job-1", "event_type": "agent_completed"}
        event |= {"data": {"duration_ms": 1250, "success": True}, "correlation_id": None, "agent_id": "agent-1"}
        line = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        yield f"events/job-1/event_20250918_0736{number % 60:02d}_{random.randrange(10**9):09d}.jsonl".encode(), line


def session(random: Random, name: str) -> Object:
    """``PersistedSession``."""
    return {
        "id": name,
        "state": random.choice(("InProgress", "Completed", "Failed", "Cancelled")),
        "started_at": moment(random),
        "updated_at": moment(random),
        "iterations_completed": 2,
        "files_changed": 14,
        "worktree_name": name,
        "metadata": shuffled(random, {"workflow": "implement.yml", "args": ["65"]}),
    }


def checkpoint(random: Random, number: int) -> Object:
    """``WorkflowCheckpoint``."""
    return {
        "id": f"cp-{number:04d}",
        "workflow_id": "workflow-1758167434332",
        "created_at": moment(random),
        "step_index": 2,
        "completed_steps": [0, 1],
        "variables": shuffled(random, {"ARG": "82", "shell.output": "line1\nline2\u001b[0m"}),
        "state": {"phase": "map"},
    }


def item(random: Random, number: int) -> Object:
    """``DLQItem``."""
    return {
        "id": f"item_{number}",
        "job_id": "job-1",
        "enqueued_at": moment(random),
        "retry_count": 2,
        "last_error": "Agent execution timed out",
        "work_item": {"file": "src/lib.rs", "score": 1.0},
        "metadata": {},
    }


def workflow(random: Random, number: int) -> Object:
    """``WorkflowDefinition``."""
    return {
        "id": f"wf-{number}",
        "name": "implement",
        "version": "1.0.0",
        "created_at": moment(random),
        "updated_at": moment(random),
        "content": {"commands": [{"claude": "/prodigy-implement-spec $ARG"}]},
        "metadata": {"description": None, "tags": [], "author": None, "parameters": {}},
    }
