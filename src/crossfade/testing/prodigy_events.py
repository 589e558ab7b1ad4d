"""Event lines as Prodigy writes them: second generation, every type, about 520 bytes each.

The shapes are a table of templates with weights; one row is one kind of event. Texts (Claude's messages, commands)
grow and shrink so that the lines have the wanted mean length. About one line in a thousand is hazardous, as in life.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache
from random import Random

from crossfade.testing.planting import EPOCH_NS

WRAP = (
    '{"id":"%(id)s","timestamp":"%(at)s","correlation_id":"%(correlation)s","event":{"event_type":%(event)s},'
    '"metadata":{%(metadata)s}}\n'
)
METADATA = (  # a hash map: its order changes from line to line
    '"host":"localhost","pid":48213,"thread":"tokio-runtime-worker"',
    '"thread":"tokio-runtime-worker","host":"localhost","pid":48213',
    '"pid":48213,"thread":"tokio-runtime-worker","host":"localhost"',
    '"pid":48213,"host":"localhost","thread":"tokio-runtime-worker"',
)
JOB = '"job_id":"%(job)s"'
AGENT = JOB + ',"agent_id":"%(agent)s"'
CONFIG = (
    '{"input":"debtmap.json","json_path":"$.items[*]","max_parallel":10,"agent_timeout_secs":600,'
    '"continue_on_failure":true,"batch_size":null,"enable_checkpoints":true,"max_items":null,"offset":null}'
)
TOKENS = (
    '"claude_token_usage","agent_id":"agent-default","input_tokens":%(nanos)d,"output_tokens":%(secs)d,'
    '"cache_tokens":%(nanos)d'
)
STARTED = (
    '"claude_session_started","agent_id":"agent-default","session_id":"%(correlation)s",'
    '"model":"claude-sonnet-4-20250514","tools":["Bash","Edit","Read"]'
)
INVOKED = (
    '"claude_tool_invoked","agent_id":"agent-default","tool_name":"Bash","tool_id":"toolu_%(sha).24s",'
    '"parameters":{"command":"cargo test","description":"%(text)s","timeout":600000},"timestamp":"%(at)s"'
)
MESSAGE = (
    '"claude_message","agent_id":"agent-default","content":"%(text)s","message_type":"assistant","json_log_location":null'
)
SHAPES: tuple[tuple[int, str], ...] = (
    (1, f'"job_started",{JOB},"config":{CONFIG},"total_items":%(many)d,"timestamp":"%(at)s"'),
    (1, f'"job_completed",{JOB},"duration":[%(secs)d,%(nanos)d],"success_count":%(many)d,"failure_count":%(few)d'),
    (1, f'"job_failed",{JOB},"error":"Agent execution timed out","partial_results":%(few)d'),
    (1, f'"job_paused",{JOB},"checkpoint_version":%(few)d'),
    (1, f'"job_resumed",{JOB},"checkpoint_version":%(few)d,"pending_items":%(many)d'),
    (6, f'"agent_started",{AGENT},"item_id":"item_%(many)d","worktree":"%(agent)s","attempt":%(few)d'),
    (10, f'"agent_progress",{AGENT},"step":"claude: /fix-debt-item","progress_pct":%(share)s'),
    (5, f'"agent_completed",{AGENT},"duration":[%(secs)d,%(nanos)d],"commits":["%(sha)s"],"json_log_location":"%(log)s"'),
    (2, f'"agent_failed",{AGENT},"error":"Command failed: exit code %(few)d","retry_eligible":true'),
    (2, f'"agent_retrying",{AGENT},"attempt":%(few)d,"backoff_ms":%(secs)d000'),
    (3, f'"checkpoint_created",{JOB},"version":%(few)d,"agents_completed":%(many)d'),
    (1, f'"checkpoint_loaded",{JOB},"version":%(few)d'),
    (1, f'"checkpoint_failed",{JOB},"version":%(few)d,"error":"No space left on device (os error 28)"'),
    (3, f'"worktree_created",{AGENT},"worktree_name":"%(agent)s","branch":"prodigy-%(agent)s"'),
    (3, f'"worktree_merged",{AGENT},"target_branch":"master"'),
    (2, f'"worktree_cleaned",{AGENT},"worktree_name":"%(agent)s"'),
    (4, f'"queue_depth_changed",{JOB},"pending":%(many)d,"active":%(few)d,"completed":%(secs)d'),
    (1, f'"memory_pressure",{JOB},"used_mb":%(secs)d,"limit_mb":4096'),
    (2, f'"d_l_q_item_added",{JOB},"item_id":"item_%(many)d","error_signature":"%(sha).16s","failure_count":%(few)d'),
    (1, f'"d_l_q_item_removed",{JOB},"item_id":"item_%(many)d"'),
    (1, f'"d_l_q_items_reprocessed",{JOB},"count":%(few)d'),
    (1, f'"d_l_q_items_evicted",{JOB},"count":100'),
    (1, f'"d_l_q_analysis_generated",{JOB},"patterns":%(few)d'),
    (12, TOKENS),
    (1, STARTED),
    (30, INVOKED),
    (31, MESSAGE),
)
"""Weight and event. What stands after ``event_type`` is in the order in which Prodigy writes it."""

HAZARDS: tuple[bytes, ...] = (
    b'{"id":"%s","event":{"event_type":"claude_message","agent_id":"agent-default","content":"\\u0000 cut"}}\n',
    b'{"id":"%s","event":{"event_type":"claude_message","agent_id":"agent-default","content":"\\ud83d"}}\n',
    b'{"id":"%s","id":"twice","event":{"event_type":"agent_started","job_id":-0.0}}\n',
    b'{"timestamp":"2024-01-01T00:00:00Z","event":"test","tag":"%s"}\n',
    b"thread 'tokio-runtime-worker' panicked at src/%s.rs:7\n",
    b'{"id":"%s","timestamp":"2025-11-16T10:15:34.123\n',
    b'{"id":"%s","event":{"event_type":"job_paused","job_id":"crlf","checkpoint_version":1}}\r\n',
    b'{"id":"%s","event":{"event_type":"claude_message","content":"caf\xe9"}}\n',
    b'{"id":"%s","event":{"event_type":"job_paused","checkpoint_version":123456789012345678901234567890}}\n',
)
WORDS = (
    "the test passes now and the function returns early when its input is empty so that callers need not check "
    "refactored parser module café ☕ moved match arm into helper 42 lines fewer cargo clippy is quiet "
)
EVENT_BASE = 330
"""Bytes of a line around its text, roughly."""


def event_lines(
    count: int, seed: int, bytes_each: int = 520, *, job: str = "mapreduce-20251116_101500", hazard_every: int = 1_000
) -> Iterator[bytes]:
    """*count* lines, the same for the same arguments, of *bytes_each* bytes on average (410 at the least).

    Every *hazard_every*-th line is hazardous (0: none), though each is one line that ends with a newline.
    """
    random = Random(f"{seed} {job}")  # noqa: S311 - the same on every run is what we want
    shapes = [(WRAP.replace("%(event)s", shape), "%(text)s" in shape) for weight, shape in SHAPES for _ in range(weight)]
    clock, owed = EPOCH_NS, 0
    for number in range(1, count + 1):
        clock += random.getrandbits(25) + 1
        owed += bytes_each
        bits = f"{random.getrandbits(320):080x}"
        if hazard_every and number % hazard_every == hazard_every // 2:
            line = HAZARDS[number // hazard_every % len(HAZARDS)] % bits[:12].encode()
        else:
            shape, wordy = shapes[random.getrandbits(16) % len(shapes)]
            facts = _facts(bits, clock, job)
            if wordy:
                facts["text"] = text(random, max(0, owed - EVENT_BASE))
            line = (shape % facts).encode()
        owed -= len(line)
        yield line


def _facts(bits: str, clock: int, job: str) -> dict[str, object]:
    chance = int(bits[:12], 16)
    few, many = chance % 9 + 1, chance // 9 % 1_000
    secs = chance // 9_000 % 2_000 or 1  # never 0: "%(secs)d000" would be 0000, which is no JSON
    agent = f"mapreduce-agent-{job}_agent_{few}"
    return {
        "id": uuid_of(bits),
        "correlation": uuid_of(bits[32:]),
        "at": stamp(clock),
        "job": job,
        "agent": agent,
        "few": few,
        "many": many,
        "secs": secs,
        "nanos": clock % 1_000_000_000,
        "share": f"{many / 10:.1f}",
        "sha": bits[40:],
        "log": f"/home/u/.prodigy/logs/claude-streaming/20251116_101500-{bits[:8]}.jsonl",
        "metadata": METADATA[few % 4],
    }


def text(random: Random, size: int) -> str:
    """About *size* bytes that could be a message: words, a line break, a colour. Ready for a JSON string."""
    size = int(size * random.uniform(0.5, 1.5))
    start = random.randrange(len(WORDS))
    words = WORDS[start:] + WORDS * (size // len(WORDS) + 1)
    return words[: size // 2] + "\\n\\u001b[0m " + words[size // 2 : size]


def uuid_of(bits: str) -> str:
    """A version 4 UUID from 32 hexadecimal digits."""
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-a{bits[17:20]}-{bits[20:32]}"


def stamp(nanoseconds: int) -> str:
    """A time as chrono prints it: 0, 3, 6 or 9 digits, as many as are needed."""
    second, rest = divmod(nanoseconds, 1_000_000_000)
    fraction = f".{rest:09d}" if rest else ""
    while fraction.endswith("000"):
        fraction = fraction[:-3]
    return f"{_second(second)}{fraction}Z"


@lru_cache(maxsize=1_024)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
