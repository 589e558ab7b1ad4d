"""Kinds move side by side where the target is slow, and a rate that was asked for is kept, from above and from below."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from crossfade.migrate.engine import Engine
from crossfade.migrate.plan import Limits, Manner
from crossfade.migrate.prepare import Request, prepared
from crossfade.store.location import parse
from crossfade.testing import prodigy
from crossfade.testing.faulty import FaultyRecipe
from support.person import said
from support.running import Run, Terminal
from support.servers import NAMES, Database, Servers


def test_two_kinds_overlap_where_the_target_is_slow(database: Database, tmp_path: Path):
    """Each page takes 50 ms: two workers carry two kinds at the same time, and no kind waits for another to be done."""
    store = tmp_path / "prodigy"
    prodigy.write_logs(str(store), events=18_000, logs=8)
    prodigy.write_sessions(str(store), count=3_000)
    manner = Manner(workers=2, limits=Limits(page_bytes=256 << 10))

    with prepared(Request(parse(str(store)), database.location, manner=manner)) as run:
        slow = replace(run, target=FaultyRecipe(run.target, page_seconds=0.05))
        Engine(slow, watch=lambda _: None, stop=threading.Event()).once()
    spans = dict[str, tuple[float, float]](
        (kind, (first.timestamp(), last.timestamp()))
        for kind, first, last in database.all(
            "SELECT kind, min(changed_at), max(changed_at) FROM entries WHERE type = 'file' GROUP BY kind"
        )
    )
    (events, sessions) = spans["events"], spans["sessions"]
    shared = min(events[1], sessions[1]) - max(events[0], sessions[0])

    assert set(spans) == {"events", "sessions"}
    assert shared > 0.5 * min(events[1] - events[0], sessions[1] - sessions[0]), (events, sessions)


RATES = [("4000", 1), ("4000", 2), ("2MB", 1), ("2MB", 2)]
"""What is asked for, and by how many workers it is kept together."""


@pytest.fixture(scope="module")
def paced(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, int], Future]]:
    """Four copies of about five seconds, side by side: each is idle most of the time, that is the point of it."""
    folder = tmp_path_factory.mktemp("rate")
    prodigy.write_logs(str(folder / "prodigy"), events=20_000, logs=100)
    found = {}
    with ThreadPoolExecutor(4) as executor:
        for number, (rate, workers) in enumerate(RATES):
            found[rate, workers] = executor.submit(_copy, servers, folder, number, rate, workers)
        yield found


def _copy(servers: Servers, folder: Path, number: int, rate: str, workers: int) -> tuple[Run, list[tuple[float, int, int]]]:
    with servers.database(NAMES[0]) as database:
        done = Terminal(folder / f"state{number}").run(
            "start", folder / "prodigy", database.url, "--once", "--json", "--rate-limit", rate, "--workers", workers
        )
        query = "SELECT extract(epoch FROM changed_at)::float8, records, size FROM entries WHERE type = 'file' ORDER BY 1"
        return done, database.all(query)


@pytest.mark.parametrize(("rate", "workers"), RATES, ids=str)
def test_the_rate_limit_holds_within_a_tenth(rate: str, workers: int, paced: dict):
    """By the server's clock, from the first page to the last; neither faster nor much slower than asked."""
    done, rows = paced[rate, workers].result()

    assert done.status == 0, done
    (begin, *_), (end, *_) = rows[0], rows[-1]
    moved = sum(size if rate.endswith("MB") else records for at, records, size in rows if at > begin)
    wanted = float(rate.removesuffix("MB")) * (1e6 if rate.endswith("MB") else 1)
    measured = moved / (end - begin)
    held = said(done)["throttle"]["seconds_total"]
    print(
        f"{rate}, {workers} workers: {measured / wanted - 1:+.1%} over {end - begin:.1f} s, {held:.1f} s of them held back"
    )
    assert end - begin > 3
    assert measured <= wanted * 1.1, f"{measured / wanted - 1:+.1%}"
    is_crowded = held < 0.5 * (end - begin)  # the machine was what kept it, and not the limit
    assert measured >= wanted * 0.9 or is_crowded, f"{measured / wanted - 1:+.1%}"
