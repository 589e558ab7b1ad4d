"""One run of ``start``: copy what is new, then follow, for as long as nobody says stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, cast

from crossfade.errors import ContentDiffers, PhaseForbids, SourceMissing, SourceMoved
from crossfade.migrate import carry
from crossfade.migrate.decide import FOREIGN
from crossfade.migrate.engine import ENGINE, Engine
from crossfade.migrate.follow.brake import Braked, footing_of
from crossfade.migrate.follow.feed import begin, place_of
from crossfade.migrate.follow.follower import Follower
from crossfade.migrate.follow.gone import Ground, census_of, check_gone, removed
from crossfade.migrate.follow.grace import Grace, unread
from crossfade.migrate.follow.lanes import beside, lanes_of, standing_as
from crossfade.migrate.handover.completing import complete
from crossfade.migrate.handover.heeding import Lane, Orders, Outcome, give_up, standing_of
from crossfade.migrate.handover.order import Order, ordered
from crossfade.migrate.handover.phases import forbidden, gives_up
from crossfade.migrate.handover.twin import twin_of
from crossfade.migrate.intents import settle_intents
from crossfade.migrate.judging import source_moved
from crossfade.migrate.obstacles import survey
from crossfade.migrate.prepare import Run
from crossfade.migrate.restore import ARRIVED, check_restored
from crossfade.migrate.throttle.gate import Pause
from crossfade.migrate.validate.verdict import Verdict
from crossfade.migrate.workers import Retried, fault_of
from crossfade.model.changes import Page, Remove, Touch
from crossfade.observe.progress import Progress
from crossfade.store.backends.postgres import journal
from crossfade.store.layers.retrying import Patience, Retrying
from crossfade.store.port import Store
from crossfade.store.registry import FileRecipe

_FOR_EVER = Patience(deadline_seconds=10e8)
_DRIFT_SECONDS = 60.0


class Live(Engine):
    """Runs one plan for as long as it lasts. *grace* is how long it may go on after a stop, to bring over what is out of step.

    ``left`` says afterwards what did not fit into it; nothing where all did. ``unread`` says what of that the next run
    has to read. ``outcome`` says which verb ended it, if one did.
    """

    is_followed = True

    def __init__(
        self,
        run: Run,
        *,
        watch: Callable[[Progress], None],
        stop: threading.Event,
        grace_seconds: float,
    ) -> None:
        self._grace = Grace(stop, grace_seconds)
        super().__init__(run, watch=watch, stop=stop)
        for ledger in filter(None, (run.ledger, run.origin)):
            ledger.tell = self._waiting
        self.left = ""
        self.unread = ""
        self.outcome: Outcome = ""
        self._order: Order | None = None
        self._paged_at = 0.0
        self._done: set[str] = set()

    @property
    def progress(self) -> Progress:
        """How far it came."""
        return replace(self._teller.progress, seconds=self._teller.seconds)

    def follow(self) -> None:
        """Copy, then follow until stopped. Raises Removed, Fenced, and whatever does not pass."""
        with self._holding_the_lease():
            try:
                complete(self._run)
                self._arrive()
                while (outcome := self._follow()) == "turned":
                    pass
                self.outcome = outcome
            finally:
                self._source.close()
                self._target.close()

    def hand_over(self, order: Order) -> None:
        """Bring over what is left, carry *order* out, and end. Raises GateShut where a gate is not met, PhaseForbids where it does not fit."""
        self._order = order
        with self._holding_the_lease():
            try:
                self._check_phase(order)
                complete(self._run)
                if gives_up(order, standing_of(self._run)):
                    give_up(self._run, order)
                    return
                self._arrive()
                if not self._follow():
                    self._check_stop()
            finally:
                self._source.close()
                self._target.close()

    def _check_phase(self, order: Order) -> None:
        """It did fit when it was given; but until the lease was taken another runner may have ended the migration."""
        run = self._run
        phase = run.before.phase if run.before is not None else ""
        if why := forbidden(order, standing_of(run), phase):
            raise PhaseForbids(
                f"migration {run.migration} is {phase} by now: {why}", hint=f"crossfade status {run.migration}"
            )

    def deal_with_drift(self) -> None:
        """Carry out what is wished for what has drifted, and end; what a stop leaves is wished for yet."""
        with self._holding_the_lease(), ExitStack() as held:
            held.callback(self._source.close)
            held.callback(self._target.close)
            for at, run in enumerate(lanes_of(self._run)):
                follower = self._follower(run, at, held)
                follower.drift.deal(follower.drain, _DRIFT_SECONDS, is_stopped=self._stop.is_set)
        if self._lost is not None:
            raise self._lost

    def _arrive(self) -> None:
        """Have everything there once: the first copy, proven; or what changed while nobody followed.

        After a cut-over all was there once: the first sweep finds what is missing, and strangers in the files stop nothing.
        """
        goes_on = not self._run.from_files and not begin(place_of(self._run), self._stop, self._teller.waiting)
        self._check_stop()
        if self._run.reversed or self._run.cut:
            self._check_lanes()
            return
        if self._has_arrived():
            if not goes_on:  # else the feed names what changed since it was read
                self._catch_up()
            return
        with suppress(SourceMoved):  # what moved is what following is for
            self._once()

    def _judge(self, verdict: Verdict, final: dict[str, Any]) -> None:
        """What moved under the copy is followed, and verified then. Of all else this is the proof, unless too much differed to tell."""
        count, found = self._note_moved(verdict), verdict.findings
        if count and found.is_cut_short:
            raise source_moved(count, found.moved)
        self._refuse_different(verdict, final)

    def _has_arrived(self) -> bool:
        """True where it was all there once. A first copy of what lives is followed, even where its proof was overtaken."""
        run = self._run
        return run.before is not None and run.ledger.ask(
            lambda c: journal.tells_of(c, run.ledger.schema, run.migration, ARRIVED)
        )

    def _survey(self) -> Iterable[Touch | Remove]:
        in_the_way = self._looked_over()
        self._have_marker()
        return in_the_way

    def _have_marker(self) -> None:
        """Files that do not decide say so before anything is brought there; before that look they may be a stranger's.

        Where the database does not decide either, other files do, and what is said here would be of those.
        """
        twin = twin_of(self._run) if self._run.to_files else None
        if twin is not None and "database" in twin.marker().authority.values():
            twin.have_marker()

    def _looked_over(self) -> Iterable[Touch | Remove]:
        """Once all was there, what somebody else wrote is drift, and stops nothing."""
        if not self._run.to_files or not self._has_arrived():
            return super()._survey()
        self._run.ledger.forget_gone(self._run.migration)
        ours = (task for task in self._every_task() if task.verb not in FOREIGN)
        return survey(ours, self._run.request.target.url, strangers_may_stay=True)[0]

    def _catch_up(self) -> None:
        self._run = beside(self._run)
        in_the_way = self._survey()
        check_restored(self._run, self._every_task)
        self._apply(in_the_way)
        ahead = self._ahead()
        if (first := next(ahead, None)) is not None or self._has_moved:
            self._copy(chain([first] if first is not None else [], ahead))
            self._settle_directories()
            self._check_stop()
            self._ground.check()
            self._ground.note()
            self._check_held()

    def _check_lanes(self) -> None:
        """What is gone, or not there yet, in each direction that comes out of files, once kinds were cut over."""
        for lane in lanes_of(self._run):
            if lane.from_files:
                self._ground = Ground(lane)
                self._check_lane(lane)
                self._ground.note()

    def _check_lane(self, lane: Run) -> None:
        with (
            closing(self._open_side(lane, "source", ENGINE)) as source,
            closing(self._open_side(lane, "target", ENGINE)) as to,
        ):
            check_gone(lane, census_of(lane, source, to), self._ground.footing)

    def _follow(self) -> Outcome:
        """Follow in one direction, until told to stop; what a hand-over has led to, if there was one."""
        phase = "cut-over" if self._run.reversed else "following"
        self._run.ledger.phase(self._run.migration, phase, "following", {"reversed": self._run.reversed})
        self._teller.step("following")
        with ExitStack() as held:
            lanes = [Lane(run, self._follower(run, at, held)) for at, run in enumerate(lanes_of(self._run))]
            followers = [cast("Follower", lane.follower) for lane in lanes]
            for follower in followers:
                follower.lanes = followers
            orders = Orders(lanes, self._done, self._order)
            self._keep_following(followers[0], orders)
        if self._lost is not None:
            raise self._lost
        if orders.outcome == "turned":
            self._run = standing_as(self._run, orders.standing)
        elif not orders.outcome:
            self._leave("stopped", "; ".join(filter(None, (self.left, self.unread))))
        return orders.outcome

    def _keep_following(self, main: Follower, orders: Orders) -> None:
        try:
            main.follow(self._stop, lambda: orders.heed(self.wanted))
            if self._pausing.is_wanted:
                self.left = "it is paused"
            elif self._lost is None and not orders.outcome:
                self.left = "; ".join(filter(None, (lane.finish() for lane in main.lanes)))
                main.keep(at_once=True)
            self.unread = "" if orders.outcome else unread(sum(lane.owed for lane in main.lanes))
        except Braked as braked:
            raise removed(self._run, str(braked), "nothing more") from None
        except ContentDiffers as differs:
            self._run.ledger.phase(self._run.migration, "different", "differs", {}, differs.sentence)
            raise
        except SourceMissing as missing:
            raise removed(self._run, str(missing), "nothing more") if self._run.from_files else missing from None

    def _follower(self, run: Run, lane: int, held: ExitStack) -> Follower:
        """A follower of one direction, with stores of its own, for as long as *held* lasts."""
        stores = [
            self._open_side(run, side, ENGINE + 1 + 2 * lane + at // 2) for at, side in enumerate(("source", "target") * 2)
        ]
        for store in stores:
            held.callback(store.close)
        settle_intents(run, stores[0], stores[1])
        root = run.request.source.path if run.from_files else None
        follower = Follower(
            run,
            self._teller,
            source=stores[0],
            target=stores[1],
            sweeping=(stores[2], stores[3]),
            footing=None if root is None else self._ground.footing or footing_of(root),
            take=partial(self._followed, run),
            pace=self._pace,
            keep_pause=self._pausing.keep,
        )
        held.callback(follower.proving.close)
        follower.brake.is_off = run.request.manner.allow_removals
        follower.grace = self._grace
        return follower

    def _followed(self, run: Run, outcome: carry.Outcome) -> None:
        """Count a page; see that the budget holds for what is held now: one document is refused anew each time it is written."""
        self._paged_at = time.monotonic()
        self._count(outcome)
        if outcome.refused:
            self._keep_to_held(run)

    def _open_side(self, run: Run, side: str, number: int) -> Store:
        recipe = run.source if side == "source" else run.target
        if side == "source" and isinstance(recipe, FileRecipe):
            recipe = replace(recipe, skip_unreadable=True, waits=False)
        return Retrying(recipe.open(number), _FOR_EVER, self._waiting)

    def _waiting(self, error: BaseException) -> None:
        """A store failed, or the control state, and is asked again; once somebody has said stop, for as long as the grace lasts."""
        if self._grace.is_over():
            raise error
        self._retried(Retried(ENGINE, fault_of(error)))

    def _pace(self, page: Page, records: int, show: Callable[[], None]) -> None:
        """Keep to the limits, and out of the way of those who work; *show* is called now and then meanwhile."""

        def tell(pause: Pause) -> None:
            self._teller.paused(pause)
            show()

        self._run.governor.turn(records, page.size, stop=self._is_pressed, tell=tell, last_page_at=self._paged_at)

    def _is_pressed(self) -> bool:
        """True where nothing keeps out of anybody's way any more: somebody said stop, or waits for a hand-over."""
        order = self._order or ordered(self.wanted)
        return self._stop.is_set() or (order is not None and order.number not in self._done)
