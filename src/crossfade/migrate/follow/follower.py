"""Keeping the target in step, until told to stop.

One turn: hear what the person wants, take the paths that are due, look at both sides, bring over what differs, and give the
sweep its slice. Nothing here remembers a position: what is in step is written in the marks, by the page that made it so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice

from crossfade.errors import GateShut
from crossfade.migrate.carry import Outcome
from crossfade.migrate.decide import Task
from crossfade.migrate.follow.brake import Brake, Footing
from crossfade.migrate.follow.bring import Bringer
from crossfade.migrate.follow.dirty import NEVER, Dirt, Dirty
from crossfade.migrate.follow.drifting import Drifting
from crossfade.migrate.follow.feed import FeedWatch, place_of
from crossfade.migrate.follow.grace import NO_END, left_behind
from crossfade.migrate.follow.hints import Hints, Watch
from crossfade.migrate.follow.look import Look, in_order
from crossfade.migrate.follow.measure import measured
from crossfade.migrate.follow.moving import WAIT_SECONDS, Moving
from crossfade.migrate.follow.proving import Proving
from crossfade.migrate.follow.sweep import Sweep, look_over
from crossfade.migrate.follow.tails import Tails
from crossfade.migrate.follow.verifier import Wrong
from crossfade.migrate.plan import Limits
from crossfade.migrate.prepare import Run
from crossfade.migrate.restore import unplaced
from crossfade.migrate.telling import Teller
from crossfade.model.changes import Page
from crossfade.model.paths import parent_of
from crossfade.store.backends.file.gate import Gate
from crossfade.store.port import Store

_BATCH = 512
_IDLE_SECONDS = 0.05
_BEAT_SECONDS = 0.1
"""Between two batches, while little waits: a page costs nearly the same whether it brings one line or a thousand."""

_BLURRED_SECONDS = 0.025
_UNREADABLE_SECONDS = 30.0
_SETTLE_SECONDS = 0.005
_PREPARE_SECONDS = 1.0
_TRIES = 12
_PAGE = Limits(page_bytes=2 << 20, page_records=5_000, mark_seconds=0.2)


class Follower:
    """Follows the source of *run*, whose root stood on *footing* before any of it was copied; None for a database.

    *sweeping* are two more stores, for the sweep. *take* hears of each page, *pace* waits where it should.
    *keep_pause* is called between pages, and stands still while somebody wants that.
    """

    def __init__(
        self,
        run: Run,
        teller: Teller,
        *,
        source: Store,
        target: Store,
        sweeping: tuple[Store, Store],
        footing: Footing | None,
        take: Callable[[Outcome], None],
        pace: Callable[[Page, int], None],
        keep_pause: Callable[[Callable[[], None]], None],
        began_in_step: bool = False,
    ) -> None:
        self._run = run
        self._began_in_step = began_in_step
        self._held = ExitStack()
        self._watch: Watch | None = None
        self._heard_at = time.monotonic()
        self._teller = teller
        self._take = take
        self._keep_pause = keep_pause
        self._dirty = Dirty()
        total = sum(total.entries for total in run.ledger.totals(run.store_id))
        self.brake = Brake(run.request.source.path, footing, total)
        self._beat = 0.0
        self._tries: dict[bytes, int] = {}
        self.watches: list[Hints] = []
        self.unreadable: dict[bytes, str] = {}
        self.grace = NO_END
        self.beside: list[Follower] = []
        self._look = Look(source, target, run.decide, run.kinds, tombstones=run.to_files)
        self._sweep = Sweep(lambda: look_over(*sweeping, run.decide, run.kinds, tombstones=run.to_files))
        self.drift = Drifting(run, self._look, source=source, target=target, dirty=self._dirty, anew=self._bring_anew)
        self._unplaced = unplaced(run)
        self.proving = Proving(run, teller, source=source, target=target, lag=lambda: self.lag_seconds)
        self._bringer = self._new_bringer(source, target, pace)
        self._moving = Moving(run, source, target, look=self._look, bringer=self._bringer)

    def _new_bringer(self, source: Store, target: Store, pace: Callable[[Page, int], None]) -> Bringer:
        return Bringer(
            source,
            target,
            _PAGE,
            tails=Tails(),
            ready=lambda page, records: None if self._bringer.is_final else pace(page, records),
            done=self._taken,
            stop=lambda: self.grace.is_over(),  # noqa: PLW0108 - it is given later
            patient=lambda path: self._tries.get(path, 0) < _TRIES,
            took=self.proving.took,
        )

    def follow(self, stop: threading.Event, heed: Callable[[], bool]) -> None:
        """Follow until *stop* is set, or *heed*, which is asked in each turn, has ended this direction.

        Raises Braked, and whatever the stores raise that does not pass.
        """
        with self.watching(), ExitStack() as held:
            for other in self.beside:
                held.enter_context(other.watching())
            while not stop.is_set() and not heed():
                self._rest()
                for other in self.beside:
                    other.take_turn()
                self._turn()
            self._keep(at_once=True)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hear hints, and be ready to verify."""
        with self._held:
            self.proving.begin()
            self.drift.begin()
            self._begin_to_watch()
            yield

    def take_turn(self) -> None:
        """One turn of a direction beside another one, which waits for both."""
        self._turn(waits=False)

    def _begin_to_watch(self) -> None:
        self.watches = [self._new_watch()]
        for watch in (*self.watches, *self.drift.watch()):
            self._held.enter_context(watch)

    def _new_watch(self) -> Hints:
        """What hints at changes of the source."""
        if not self._run.from_files:
            return FeedWatch(place_of(self._run), self._dirty, self._run.scribe.say)
        barrier = Gate(self._run.request.source.path).barrier()
        self._watch = Watch(self._run.request.source.path, self._hear, barrier)
        return self._watch

    # For a hand-over

    @property
    def is_in_step(self) -> bool:
        """True once the whole was looked at, or began in step."""
        return self._began_in_step or self._sweep.rounds > 0

    @property
    def behind(self) -> int:
        """How many paths may be out of step."""
        return len(self._dirty) + sum(watch.unread for watch in self.watches)

    @property
    def lag_seconds(self) -> float:
        """Since when the first of them may be."""
        since = [at for at in (self._dirty.oldest(), *(watch.unread_since for watch in self.watches)) if at is not None]
        return max(time.monotonic() - min(since), 0.0) if since else 0.0

    @property
    def still_seconds(self) -> float:
        """Since when nothing was heard of the source."""
        return time.monotonic() - self._heard_at

    @property
    def unverified(self) -> int:
        """How many changes were applied and not verified yet."""
        return self.proving.unverified

    def prepare(self) -> None:
        """Have a barrier, behind which every hint is heard, and little left to verify."""
        if self._run.from_files and self._watch is not None and not self._watch.has_barrier:
            Gate(self._run.request.source.path).make()
            self._held.close()
            self._begin_to_watch()
            self._sweep.at_once()  # what happened between the two watches
        for _ in range(2):  # so that little is left to do while writers wait
            self._mend(self.proving.rush(time.monotonic() + _PREPARE_SECONDS))
            self.drain(_PREPARE_SECONDS)

    def settle(self, paths: list[bytes], seconds: float) -> None:
        """Bring over all that happened until now, *paths* among it. Raises GateShut where it takes longer than *seconds*.

        Nobody writes meanwhile, so a torn line is as whole as it will be.
        """
        until = time.monotonic() + seconds
        self._hear(dict.fromkeys(paths, False))
        if self._watch is not None and not self._watch.has_met(seconds):
            raise GateShut("the file system is slow to tell what happened; nothing was handed over", hint="try again")
        self._bringer.is_final = True
        try:
            while len(self._dirty) and time.monotonic() < until:
                if not self._bring(self._dirty.take(float("inf"), _BATCH)):
                    time.sleep(_SETTLE_SECONDS)
        finally:
            self._bringer.is_final = False
        if len(self._dirty):
            raise GateShut(
                f"{len(self._dirty):,} paths are not in step yet; nothing was handed over", hint="try again, or --hold-max"
            )

    def prove(self, seconds: float) -> None:
        """Verify all that was applied. Raises GateShut where that takes longer than *seconds*."""
        until = time.monotonic() + seconds
        while wrong := self.proving.rush(until):
            self._mend(wrong)
            self._bring(self._dirty.take(float("inf"), _BATCH))
        self.proving.check_settled()

    def overrule(self, seconds: float) -> None:
        """Put the authority's version back over all that has drifted; what stands there is kept aside."""
        self.drift.carry_out(force=True)
        self.drain(seconds)

    def drain(self, seconds: float) -> bool:
        """Bring over what is known to be out of step, for *seconds* at most. True where nothing is left."""
        until = time.monotonic() + seconds
        while len(self._dirty) and time.monotonic() < until:
            if not self._bring(self._dirty.take(float("inf"), _BATCH)):
                time.sleep(_IDLE_SECONDS)
        return not len(self._dirty)

    def finish(self) -> str:
        """Bring over all that is out of step, heard of or not, as far as the grace goes; what is left, in words."""
        chunks = self._sweep.whole() if self._run.from_files else iter(())
        is_whole = False
        while not self.grace.is_over():
            done = self._bring(self._dirty.take(float("inf"), _BATCH))
            found = None if is_whole else next(chunks, None)
            is_whole = found is None
            self._dirty.found(self.drift.without_theirs(found or ()), time.monotonic())
            if is_whole and not self._pending:
                break
            if is_whole and not done:
                time.sleep(_IDLE_SECONDS)
        return left_behind(self._pending, is_whole=is_whole)

    @property
    def _pending(self) -> int:
        """Paths that are known to be out of step, and can be read."""
        return max(len(self._dirty) - len(self.unreadable), 0)

    def _taken(self, outcome: Outcome) -> None:
        """A page is done, and nothing is in hand."""
        self._take(outcome)
        if not self._bringer.is_final:
            self._rest()

    def _rest(self) -> None:
        """Stand still while somebody wants that; the lag is shown to grow."""
        self._keep_pause(self._show)

    def _show(self) -> None:
        self._measure()
        self._teller.tell()

    def _mend(self, wrong: list[Wrong]) -> None:
        """Deal with what is not as it was applied: what somebody wrote is drift, anything else is brought anew."""
        self.drift.saw_wrong(wrong)
        self._bring_anew([found.path for found in wrong if found.is_ours])

    def _bring_anew(self, paths: list[bytes]) -> None:
        self.drift.anew.update(paths)
        if paths:
            self._dirty.add(dict.fromkeys(paths, False), time.monotonic())

    def _hear(self, paths: dict[bytes, bool]) -> None:
        self._heard_at = time.monotonic()
        self._dirty.add(paths, self._heard_at)

    def _turn(self, *, waits: bool = True) -> None:
        """One round of the loop."""
        now = time.monotonic()
        batch = self._take_batch(now)
        self._bring(batch)
        self._sweep.make_good(self._dirty)
        found = self._sweep.slice(now)
        self._dirty.found(self.drift.without_theirs(found), now)
        self.brake.total = max(self.brake.total, self._sweep.met)
        self.drift.turn(now)
        self._mend(self.proving.turn(now))
        if not waits:
            return
        self._tell()
        if not batch and not found:
            self._wait()

    def _take_batch(self, now: float) -> list[Dirt]:
        """What is due, where the last batch was long enough ago, or more is waiting than one can hold."""
        if now < self._beat and len(self._dirty) < _BATCH:
            return []
        batch = self._dirty.take(now, _BATCH)
        self._beat = now + _BEAT_SECONDS if batch else 0.0
        return batch

    def _wait(self) -> None:
        """Until something is due."""
        now, due = time.monotonic(), self._dirty.next_due()
        if now < self._beat:
            time.sleep(min(self._beat - now, _IDLE_SECONDS))
        else:
            self._dirty.wait(_IDLE_SECONDS if due is None else min(max(due - now, 0.001), _IDLE_SECONDS))

    def _tell(self) -> None:
        self._measure()
        self._keep()
        reason = "; ".join(watch.trouble for lane in (self, *self.beside) for watch in lane.watches if watch.trouble)
        self._teller.progress = replace(self._teller.progress, reason=reason or self.proving.reason)
        self._teller.tell()

    def _keep(self, *, at_once: bool = False) -> None:
        self.proving.keep([lane.proving.verified_at for lane in (self, *self.beside)], at_once=at_once)

    def _measure(self) -> None:
        self._teller.progress = measured(self._teller.progress, [self, *self.beside])

    def _bring(self, batch: list[Dirt]) -> int:
        """Bring over what differs at the paths of *batch*; what is not settled stays dirty. How many tasks there were."""
        done, began = 0, time.monotonic()
        ahead = self.drift.ours(self._look.tasks(batch, frozenset(self.drift.anew)), set())
        unsettled: dict[bytes, float | None] = {}
        renewed: set[bytes] = set()
        waiting: list[Dirt] = []
        while tasks := self._next(ahead):
            done += len(tasks)
            tasks, later = self._moving.first(tasks, batch)
            waiting += later
            tasks = list(self.drift.ours(iter(tasks), set()))
            self.brake.check(tasks)
            brought = self._bringer.bring(in_order(tasks, to_files=self._run.to_files))
            unsettled |= dict.fromkeys([*brought.held, *brought.torn, *brought.moved])
            renewed.update(brought.torn, brought.blurred)
            unsettled |= dict.fromkeys(brought.blurred, _BLURRED_SECONDS)
            unsettled |= {path: _UNREADABLE_SECONDS for path, _ in brought.unreadable}
            self.unreadable |= dict(brought.unreadable)
            self.drift.saw(brought.foreign)
            if self._run.to_files:
                self._hear({parent_of(task.entry.path): False for task in tasks if task.entry.type != "dir"})
            renewed.difference_update(brought.held, brought.moved)
            if brought.stopped:
                unsettled |= dict.fromkeys(dirt.path for dirt in batch)
                break
        self._settle(batch, unsettled, renewed, began, waiting)
        return done

    def _next(self, ahead: Iterator[Task]) -> list[Task]:
        """Some more tasks. What a restore could not place is not gone."""
        found = (task for task in ahead if not (task.verb == "remove" and task.entry.path in self._unplaced))
        return list(islice(found, _BATCH))

    def _settle(
        self,
        batch: Sequence[Dirt],
        unsettled: dict[bytes, float | None],
        renewed: set[bytes],
        began: float,
        waiting: Sequence[Dirt],
    ) -> None:
        """What is *unsettled* or *waiting* is looked at again; of what is *renewed*, all from before it *began* was brought."""
        now = time.monotonic()
        known = {dirt.path: dirt for dirt in batch}
        first = min((dirt.number for dirt in batch), default=NEVER)
        for path, pause in unsettled.items():
            dirt = known.get(path, Dirt(path, now, now, number=first))
            if path in renewed:
                dirt = replace(dirt, since=began, tries=0)
            self._tries[path] = dirt.tries + 1
            number = NEVER if path in self.unreadable else dirt.number
            self._dirty.again(replace(dirt, deep=False, number=number), now, pause)
        for dirt in waiting:
            self._dirty.again(dirt, now, WAIT_SECONDS)
        settled = known.keys() - unsettled.keys() - {dirt.path for dirt in waiting}
        for path in settled:
            self._tries.pop(path, None)
            self.unreadable.pop(path, None)
        self.drift.brought(settled)
        self._dirty.settled()
