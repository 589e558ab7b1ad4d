"""Keeping the target in step, until told to stop.

One turn: hear what the person wants, take the paths that are due, look at both sides, bring over what differs, and give the
sweep its slice. Nothing here remembers a position: what is in step is written in the marks, by the page that made it so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial

from crossfade.migrate.carry import Outcome
from crossfade.migrate.decide import Task
from crossfade.migrate.follow.batches import BATCH, Batches
from crossfade.migrate.follow.brake import Brake, Footing
from crossfade.migrate.follow.bring import Bringer
from crossfade.migrate.follow.burden import Burden
from crossfade.migrate.follow.dirty import Dirt, Dirty
from crossfade.migrate.follow.drifting import Drifting
from crossfade.migrate.follow.earlier import earlier
from crossfade.migrate.follow.feed import FeedWatch, place_of
from crossfade.migrate.follow.gone import note_volumes
from crossfade.migrate.follow.grace import NO_END, left_behind
from crossfade.migrate.follow.hints import Hints, Watch, check_heard, check_knows
from crossfade.migrate.follow.lanes import entries_of
from crossfade.migrate.follow.look import Look
from crossfade.migrate.follow.measure import measured
from crossfade.migrate.follow.moving import Moving
from crossfade.migrate.follow.proving import Proving
from crossfade.migrate.follow.rereading import SHARE as REREAD_SHARE
from crossfade.migrate.follow.rereading import Rereading, check_reread
from crossfade.migrate.follow.sweep import Sweep, look_over
from crossfade.migrate.follow.tails import Tails
from crossfade.migrate.follow.verifier import Wrong
from crossfade.migrate.plan import Limits
from crossfade.migrate.prepare import Run
from crossfade.migrate.telling import Teller
from crossfade.model.changes import Page
from crossfade.store.backends.file.gate import Gate
from crossfade.store.port import Store

_IDLE_SECONDS = 0.05
_BEAT_SECONDS = 0.1
"""Between two batches, while little waits: a page costs nearly the same whether it brings one line or a thousand."""

_LONG_BEAT_SECONDS = 0.2
"""While there are fewer processors than one could use."""

_SETTLE_SECONDS = 0.005
_PREPARE_SECONDS = 1.0
_REREAD_SECONDS = 5.0
_REREAD_SLICE_SECONDS = 0.2
_PAGE = Limits(page_bytes=2 << 20, page_records=5_000, mark_seconds=0.2)


class Follower:
    """Follows the source of *run*, whose root stood on *footing* before any of it was copied; None for a database.

    *sweeping* are two more stores, for the sweep. *take* hears of each page, *pace* waits where it should.
    *keep_pause* is called between pages, and stands still while somebody wants that. ``lanes`` are all directions of the run, the
    main one first, which takes the turns of the others.
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
        pace: Callable[[Page, int, Callable[[], None]], None],
        keep_pause: Callable[[Callable[[], None]], None],
    ) -> None:
        self._run = run
        self._held = ExitStack()
        self._watch: Watch | None = None
        self._heard_at = time.monotonic()
        self._teller = teller
        self._take = take
        self._keep_pause = keep_pause
        self._dirty = Dirty(must=lambda path: path in self.drift.anew)
        self.brake = Brake(run.request.source.path, footing, entries_of(run), partial(note_volumes, run))
        self._beat = 0.0
        self.watches: list[Hints] = []
        self.grace = NO_END
        self.lanes = [self]
        self._look = Look(source, target, run.decide, run.kinds, tombstones=run.to_files)
        self._sweep = Sweep(
            lambda: look_over(*sweeping, run.decide, run.kinds, tombstones=run.to_files),
            is_short=lambda: run.governor.is_short,
        )
        self.drift = Drifting(run, self._look, source=source, target=target, dirty=self._dirty, anew=self._bring_anew)
        self._burden = Burden(self._dirty, self._look)
        self.proving = Proving(run, teller, source=source, target=target, lag=lambda: self.lag_seconds)
        part = run.governor.part(REREAD_SHARE)
        self._rereading = Rereading(source, target, lambda seconds: part.pace(seconds).seconds, lambda: self.proving.now)
        self._bringer = self._new_bringer(source, target, pace)
        moving = Moving(run, source, target, look=self._look, bringer=self._bringer)
        hear = lambda paths: self._hear(dict.fromkeys(paths, False))  # noqa: E731
        self._batches = Batches(run, self._dirty, self._look, self._bringer, moving, self.drift, self.brake.check, hear)
        self._bring = self._batches.bring

    def _new_bringer(self, source: Store, target: Store, pace: Callable[[Page, int, Callable[[], None]], None]) -> Bringer:
        return Bringer(
            source,
            target,
            _PAGE,
            tails=Tails(),
            ready=lambda page, records: None if self._bringer.is_final else pace(page, records, self._show),
            done=self._taken,
            stop=lambda: self.grace.is_over(),  # noqa: PLW0108 - it is given later
            patient=lambda path: self._batches.is_patient(path),  # noqa: PLW0108 - they are given later
            took=self.proving.took,
            grew=self._rereading.grew if self._run.from_files else lambda _: True,
        )

    def follow(self, stop: threading.Event, heed: Callable[[], bool]) -> None:
        """Follow until *stop* is set, or *heed*, which is asked in each turn, has ended this direction.

        Raises Braked, and whatever the stores raise that does not pass.
        """
        with self.watching(), ExitStack() as held:
            for other in self.lanes[1:]:
                held.enter_context(other.watching())
            while not stop.is_set() and not heed():
                self._keep_pause(self._show_anew)
                for other in self.lanes[1:]:
                    other.take_turn()
                self._turn()
            self.keep(at_once=True)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hear hints, and be ready to verify."""
        with self._held:
            self.proving.begin()
            self.drift.begin()
            self._rereading.recall(earlier(self._run, self.proving.now))
            self._begin_to_watch()
            yield

    def take_turn(self) -> None:
        """One turn of a direction beside another one, which waits for both."""
        self._turn(waits=False)

    def _begin_to_watch(self) -> None:
        self.watches = [self._new_watch(), *self.drift.watch()]
        for watch in self.watches:
            self._held.enter_context(watch)

    def _new_watch(self) -> Hints:
        """What hints at changes of the source."""
        if not self._run.from_files:
            return FeedWatch(place_of(self._run), self._dirty, self._run.scribe.say)
        self._watch = Watch(self._run.request.source.path, self._hear, self._dirty.miss, self._run.leaves_out)
        return self._watch

    # For a hand-over

    @property
    def is_in_step(self) -> bool:
        """True while every change is heard of, and all was looked at since one may not have been."""
        return self._dirty.knows_all and all(watch.hears_all for watch in self.watches)

    @property
    def unheard(self) -> str:
        """Why not every change is heard of; empty where it is, or not known."""
        return "; ".join(watch.trouble for watch in self.watches if watch.trouble and not watch.hears_all)

    def hurry(self) -> None:
        """Somebody waits for it to be in step."""
        self._sweep.hurry()

    @property
    def behind(self) -> int:
        """How many paths may be out of step."""
        return len(self._dirty) + self.unread

    @property
    def unread(self) -> int:
        """Changes that wait in the feed and cannot be read yet; their paths and sizes are unknown."""
        return sum(watch.unread for watch in self.watches)

    @property
    def behind_bytes(self) -> int:
        """By how many bytes, of what the file system or the feed has named, when that was last looked at."""
        return self._burden.bytes

    @property
    def lag_seconds(self) -> float:
        """Since when the first of them may be."""
        since = [at for at in (self._dirty.oldest(), *(watch.unread_since for watch in self.watches)) if at is not None]
        return max(time.monotonic() - min(since), 0.0) if since else 0.0

    @property
    def still_seconds(self) -> float:
        """Since when nothing was heard of the source, or found in it."""
        return time.monotonic() - self._heard_at

    @property
    def unreadable(self) -> Mapping[bytes, str]:
        """What cannot be read, and why."""
        return self._batches.unreadable

    @property
    def unverified(self) -> int:
        """How many changes were applied and not verified yet."""
        return self.proving.unverified

    def prepare(self, seconds: float) -> None:
        """Have a barrier, behind which every hint is heard, and little left to verify. Raises GateShut where it takes more than *seconds*."""
        if self._watch is not None:
            gate = Gate(self._run.request.source.path)
            gate.make()
            self._watch.meet_in(gate.barrier())
        self.drift.prepare()
        self._sweep.measure(self._found, seconds, is_needed=any(watch.is_shared for watch in self.watches))
        self._reread()
        for _ in range(2):  # so that little is left to do while writers wait
            self._mend(self.proving.rush(time.monotonic() + _PREPARE_SECONDS))
            self.drain(_PREPARE_SECONDS)

    def _reread(self) -> None:
        """Read the logs whole that were followed by their ends. Raises GateShut where that takes more than a while."""
        edited, is_whole = self._rereading.rush(time.monotonic() + _REREAD_SECONDS)
        self._bring_anew(edited)
        check_reread(is_whole=is_whole)

    def settle(self, paths: list[bytes], seconds: float) -> None:
        """Bring over all that happened until now, *paths* among it. Raises GateShut where it takes longer than *seconds*.

        Nobody writes meanwhile, so a torn line is as whole as it will be.
        """
        until = time.monotonic() + seconds
        self._dirty.add(dict.fromkeys(paths, False), time.monotonic())
        check_heard(self._watch, seconds)
        self._sweep.rush(self._found, until)
        self.drift.settle(max(until - time.monotonic(), 0.0))
        with self._bringer.final():
            while len(self._dirty) and time.monotonic() < until:
                if not self._bring(self._dirty.take(float("inf"), BATCH)):
                    time.sleep(_SETTLE_SECONDS)
        check_knows(all_of_it=self.is_in_step)
        self._dirty.check_settled()

    def prove(self, seconds: float) -> None:
        """Verify all that was applied. Raises GateShut where that takes longer than *seconds*."""
        until = time.monotonic() + seconds
        while wrong := self.proving.rush(until):
            self._mend(wrong)
            self._bring(self._dirty.take(float("inf"), BATCH))
            self.drift.settle(max(until - time.monotonic(), 0.0))  # what somebody else wrote there is drift
        self.proving.check_settled()

    def overrule(self, seconds: float) -> None:
        """Put the authority's version back over all that has drifted; what stands there is kept aside."""
        self.drift.overrule(self.drain, seconds)

    def drain(self, seconds: float) -> bool:
        """Bring over what is known to be out of step, for *seconds* at most, and no longer than the grace. True where nothing is left."""
        until = time.monotonic() + seconds
        while len(self._dirty) and time.monotonic() < until and not self.grace.is_over():
            if not self._bring(self._dirty.take(float("inf"), BATCH)):
                time.sleep(_IDLE_SECONDS)
        return not len(self._dirty)

    def finish(self) -> str:
        """Bring over all that is out of step, heard of or not, as far as the grace goes; what is left, in words.

        Then logs that grew by their ends are read whole: between two runs nobody would look at what was edited further up.
        """
        chunks = self._sweep.whole() if self._run.from_files else iter(())
        is_whole = is_reread = False
        while not self.grace.is_over():
            done = self._bring(self._dirty.take(float("inf"), BATCH))
            found = None if is_whole else next(chunks, None)
            is_whole = found is None
            self._found(found or ())
            if is_whole and not self._pending:
                if is_reread:
                    break
                is_reread = self._settle_logs()
            elif is_whole and not done:
                time.sleep(_IDLE_SECONDS)
        return left_behind(self._pending, is_whole=is_whole)

    @property
    def reread_at(self) -> datetime | None:
        """What logs had before then was read whole, and brought; None where that has not come on."""
        return None if self.drift.anew else self._rereading.position

    @property
    def owed(self) -> int:
        """How many logs were followed by their ends, and not read whole since, or not brought whole though they must be."""
        return self._rereading.owed + len(self.drift.anew)

    def _settle_logs(self) -> bool:
        """Read on in the logs that are owed, for a moment. True where none is left, or none can be read just now."""
        until = time.monotonic() + _REREAD_SLICE_SECONDS
        edited, is_whole = self._rereading.settle(until)
        self._bring_anew(edited)
        return is_whole or time.monotonic() < until

    @property
    def _pending(self) -> int:
        """Paths that are known to be out of step, and can be read."""
        return max(len(self._dirty) - len(self._batches.unreadable), 0)

    def _taken(self, outcome: Outcome) -> None:
        """A page is done, and nothing is in hand."""
        self._take(outcome)
        if not self._bringer.is_final:
            self._keep_pause(self._show)

    def _show_anew(self) -> None:
        """While it stands still, the lag is shown to grow."""
        self._burden.measure()
        self._show()

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

    def _found(self, tasks: Sequence[Task]) -> bool:
        """A look at everything came upon *tasks*; True where something of it is news."""
        return self._dirty.found(self.drift.without_theirs(tasks), time.monotonic())

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
        if self._found(found):
            self._heard_at = now
        self.brake.total = max(self.brake.total, self._sweep.held)
        self.drift.turn(now)
        self._mend(self.proving.turn(now))
        self._bring_anew(self._rereading.turn(now))
        self._burden.measure()
        if not waits:
            return
        self._tell()
        if not batch and not found:
            self._wait()

    def _take_batch(self, now: float) -> list[Dirt]:
        """What is due, where the last batch was long enough ago, or more is waiting than one can hold."""
        if now < self._beat and len(self._dirty) < BATCH:
            return []
        batch = self._dirty.take(now, BATCH)
        beat = _LONG_BEAT_SECONDS if self._run.governor.is_short else _BEAT_SECONDS
        self._beat = now + beat if batch else 0.0
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
        self.keep()
        reason = "; ".join(watch.trouble for lane in self.lanes for watch in lane.watches if watch.trouble)
        self._teller.progress = replace(self._teller.progress, reason=reason or self.proving.reason)
        self._teller.tell()

    def keep(self, *, at_once: bool = False) -> None:
        """Write down how far it is, now and then."""
        verified = [lane.proving.verified_at for lane in self.lanes]
        self.proving.keep(verified, lambda: [lane.reread_at for lane in self.lanes], at_once=at_once)

    def _measure(self) -> None:
        self._teller.progress = measured(self._teller.progress, self.lanes)
