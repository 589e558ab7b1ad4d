"""What is to be reached, and how a figure stands to it."""

from __future__ import annotations

from typing import NamedTuple


class Goal(NamedTuple):
    """A figure of a benchmark's JSON, what it means in a few words, and its bound."""

    name: str
    meaning: str
    bound: float
    at_most: bool

    def met(self, value: float) -> bool:
        """True where *value* is good enough."""
        return value <= self.bound if self.at_most else value >= self.bound

    def spoken(self) -> str:
        """As ``≤ 1.05`` or ``≥ 150,000``."""
        return f"{'≤' if self.at_most else '≥'} {self.bound:,}"


GOALS = (
    Goal(
        "copy_index_ratio", "copy + indexes ÷ one `psql \\copy` of ready-made rows, then the indexes one by one", 1.05, True
    ),
    Goal("copy_index_ratio_parallel", "the same ÷ two `psql \\copy` at once, then the indexes two at a time", 1.25, True),
    Goal("with_validation_ratio", "copy + indexes + validation ÷ the first limit", 1.35, True),
    Goal("hazard_ratio", "1 % hazardous lines ÷ clean ones", 1.2, True),
    Goal("restore_lines_per_second", "lines of logs, database to files, durable", 150_000, False),
    Goal("restore_documents_per_second", "small files, database to files, durable", 5_000, False),
    Goal("documents_per_second", "small files, from file to committed and indexed", 10_000, False),
    Goal("peak_memory_mb", "the most that all processes of crossfade held together, MB of PSS", 250, True),
)
