"""Drift while following: what somebody writes on the side that does not decide is written down, and left alone until a person
says what is to become of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import chain, islice

from crossfade.errors import GateShut
from crossfade.migrate.decide import FOREIGN, Task
from crossfade.migrate.follow.brake import Braked, Footing, footing_of, why_not_there
from crossfade.migrate.follow.dealing import RECORDS, Dealing
from crossfade.migrate.follow.dirty import Dirt, Dirty
from crossfade.migrate.follow.hints import Watch
from crossfade.migrate.follow.lanes import kinds_of
from crossfade.migrate.follow.look import Look
from crossfade.migrate.follow.verifier import Wrong
from crossfade.migrate.prepare import Run
from crossfade.model.paths import key_of
from crossfade.store.backends.file.gate import Gate
from crossfade.store.backends.file.walk import left_out_by
from crossfade.store.backends.postgres import drift
from crossfade.store.backends.postgres.drift import Item, Seen, Side, State, Which, Wish, seen_of
from crossfade.store.port import Store

_KNOWN = 10_000
"""So many open items are known by heart, and looked at again now and then; where there are more, the next ones each time."""

_BATCH = 512
_WISHES_SECONDS = 0.5
_WISHES_PAUSE = 10
"""So many times as long as asking for wishes takes nobody asks: among a million items that is a third of a second."""

_WISHES_MOST = 3.0
"""But no longer than that: it may have taken long because something else was in the way."""

_AGAIN_SECONDS = 30.0
_WRITTEN_AGAIN = "it was put back, and somebody wrote it again; look at it again"


class Drifting:
    """The drift of what *run* follows into. *dirty* hears of paths that are ours to bring, *anew* of those to bring in any case.

    ``anew`` holds these until they are brought.
    """

    def __init__(
        self, run: Run, look: Look, *, source: Store, target: Store, dirty: Dirty, anew: Callable[[list[bytes]], None]
    ) -> None:
        self._run = run
        self._look = look
        self._dirty = dirty
        self._bring = anew
        self.anew: set[bytes] = set()
        self._dealing = Dealing(run, source, target)
        self._touched = Dirty()
        self._known: dict[bytes, Seen] = {}
        self._knows_all = True
        self._known_until = 0
        self._put_back: dict[bytes, str] = {}
        self._wishes_left, self._wished_until = False, b""
        self._asks_at = self._again = 0.0
        self._footing: Footing | None = None
        self._watch: Watch | None = None

    def begin(self) -> None:
        """Know what is open already, and go on with what is wished. On the side that decides by now there is no drift."""
        if self._run.to_files:
            self._footing = footing_of(self._run.request.target.path)
        other: Side = "target" if self._dealing.side == "source" else "source"
        for found in drift.pages(self._run.ledger.ask, self._run.ledger.schema, self._which(other)):
            self._end([(item, "undone", "that side decides by now") for item in found])
        self._learn()
        self.carry_out()

    def watch(self) -> list[Watch]:
        """Who hears of what happens to files that only we should write."""
        if not self._run.to_files:
            return []
        leaves_out = left_out_by(self._run.layout, include_transient=True)
        self._watch = Watch(self._run.request.target.path, self.hear, self._dirty.miss, leaves_out)
        return [self._watch]

    def prepare(self) -> None:
        """Have a barrier, behind which all is heard that was written into files that are about to decide."""
        if self._watch is not None:
            gate = Gate(self._run.request.target.path)
            gate.make()
            self._watch.meet_in(gate.barrier())

    def settle(self, seconds: float) -> None:
        """Look at all that was touched until now. Raises GateShut where that takes longer than *seconds*."""
        until = time.monotonic() + seconds
        if self._watch is not None and not (self._watch.hears_all and self._watch.has_met(seconds)):
            raise GateShut("what happens on the other side is not heard of yet; nothing was handed over", hint="try again")
        while len(self._touched):
            if time.monotonic() >= until:
                what = f"{len(self._touched):,} paths of the other side are not looked at yet; nothing was handed over"
                raise GateShut(what, hint="try again, or --hold-max")
            self._look_at_touched(float("inf"))

    def deal(self, drain: Callable[[float], bool], seconds: float, *, is_stopped: Callable[[], bool]) -> None:
        """Do what is wished, and no more, for *seconds* at most, or until it *is_stopped*; *drain* brings over what is dirty."""
        until = time.monotonic() + seconds
        self.begin()
        while self._put_back or len(self._dirty) or self._wishes_left:
            left = until - time.monotonic()
            if left <= 0 or is_stopped():
                return
            drain(left)
            self.turn(time.monotonic())
            if not self._put_back:  # then there is room for what did not fit
                self.carry_out()

    def overrule(self, drain: Callable[[float], bool], seconds: float) -> None:
        """Put the authority's version back over all that has drifted, a page after the other, as far as *seconds* go."""
        until = time.monotonic() + seconds
        for found in drift.pages_by_key(self._run.ledger.ask, self._run.ledger.schema, self._mine):
            self._carry_out(found, "ignore")
            drain(max(until - time.monotonic(), 0.0))
            while len(self._touched) and time.monotonic() < until:
                self._look_at_touched(float("inf"))
            if time.monotonic() >= until:
                return

    # Seeing

    def hear(self, paths: dict[bytes, bool]) -> None:
        """Somebody touched *paths* on the side that does not decide; mostly it was us."""
        if paths:
            self._touched.add(paths, time.monotonic())

    def without_theirs(self, found: Sequence[Task]) -> list[bytes]:
        """The paths of what a look at everything found, but for what is somebody else's, which is looked at apart."""
        self.hear({task.entry.path: False for task in found if task.verb in FOREIGN})
        return [task.entry.path for task in found if task.verb not in FOREIGN]

    def brought(self, paths: AbstractSet[bytes]) -> None:
        """*paths* were brought over; those that had to be in any case are looked at once more."""
        self.hear(dict.fromkeys(paths & self.anew, False))
        self.anew -= paths

    def ours(self, ahead: Iterator[Task], theirs: set[bytes]) -> Iterator[Task]:
        """What is to be done. What is a stranger's, or was changed by one in the target, is left to people; its paths are *theirs*."""
        while some := list(islice(ahead, _BATCH)):
            foreign = [task for task in some if task.verb in FOREIGN]
            theirs.update(task.entry.path for task in foreign)
            self.saw(foreign)
            yield from (task for task in some if task.verb not in FOREIGN)

    def saw(self, tasks: Iterable[Task]) -> None:
        """Write down what *tasks* found to be somebody else's. Raises Braked where all of it is gone."""
        left, side = self._run.keeps_strangers, self._dealing.side
        found = [seen_of(side, task.source, task.target) for task in tasks if not (left and task.verb == "stranger")]
        again = {seen.key for seen in found if seen.key in self._put_back and seen.path not in self.anew}
        for key in again:
            del self._put_back[key]
        self._note(found)
        self._leave_open(again)

    def _leave_open(self, keys: AbstractSet[bytes]) -> None:
        """What was put back at *keys* was written again before that was seen: people decide about it anew."""
        if keys:
            self._end([(item, "open", _WRITTEN_AGAIN) for item in self._at(keys)])

    def saw_wrong(self, wrong: Sequence[Wrong]) -> None:
        """The same, for what verifying found: what somebody wrote is looked at; records that are wrong, no look can see."""
        self.hear({found.path: False for found in wrong if found.foreign})
        records = [found for found in wrong if found.doubt.walked and not found.foreign]
        seen = [seen_of(self._dealing.side, found.doubt.entry, found.there) for found in records]
        self._note([replace(each, klass="changed", type=RECORDS) for each in seen])

    def _note(self, found: list[Seen]) -> None:
        new = [seen for seen in found if self._known.get(seen.key) != seen and seen.key not in self._put_back]
        if not new:
            return
        if any(seen.klass == "removed" for seen in new):
            self._check_root()
        run = self._run
        run.ledger.change(lambda c: drift.see(c, run.ledger.schema, run.migration, new))
        room = max(_KNOWN - len(self._known), 0)
        self._known |= {seen.key: seen for seen in new[:room]}
        self._knows_all = self._knows_all and len(new) <= room

    def _check_root(self) -> None:
        """A volume that is not there any more is no reason to write down that all of it was removed."""
        if self._footing is None:
            return
        if why_not_there(self._footing, footing_of(self._run.request.target.path)):
            raise Braked("the target's root is gone, empty, or another volume than before")

    def in_step(self, paths: Iterable[bytes]) -> None:
        """Both sides are the same at *paths*, so there is no drift any more."""
        keys = {key for path in paths if self._may_be_over(key := key_of(path))}
        ended: list[tuple[Item, State, str]] = []
        for item in self._at(keys) if keys else ():
            put_back = self._put_back.pop(item.seen.key, "")
            if put_back or item.seen.type != RECORDS:
                ended.append((item, "ignored" if put_back else "undone", put_back or "both sides are the same again"))
        self._end(ended)

    def _may_be_over(self, key: bytes) -> bool:
        seen = self._known.get(key)
        return key in self._put_back or (not self._knows_all if seen is None else seen.type != RECORDS)

    # Looking, and what people want

    def turn(self, now: float) -> None:
        """Look at what was touched; do what is wished."""
        is_any = bool(self._known) or not self._knows_all
        if is_any and now >= self._asks_at:
            self.carry_out()
        if is_any and now - self._again >= _AGAIN_SECONDS:
            self._again = now
            self._look_again()
        self._look_at_touched(now)

    def _look_again(self) -> None:
        """Have what is open looked at, a part of it each time where that is much: what is set right may not have been heard of."""
        if not self._knows_all:
            self._learn()
        self.hear({seen.path: False for seen in self._known.values()})

    def _look_at_touched(self, due: float) -> None:
        batch = self._touched.take(due, _BATCH)
        try:
            self._look_at(batch)
        except BaseException:
            self._touched.put_back()
            raise
        self._touched.settled()

    def _look_at(self, batch: Sequence[Dirt]) -> None:
        theirs: set[bytes] = set()
        ours = {task.entry.path for task in self.ours(self._look.tasks(batch, frozenset(self.anew)), theirs)}
        if ours:
            self._dirty.add(dict.fromkeys(ours, False), time.monotonic())
        self.in_step([dirt.path for dirt in batch if dirt.path not in ours | theirs | self._look.hidden])

    def carry_out(self) -> None:
        """Do what is wished, a page of it at most: what is put back stays in hand until it is there."""
        began, run = time.monotonic(), self._run
        wished = replace(self._mine, wished=True)
        found = run.ledger.ask(lambda c: drift.page_by_key(c, run.ledger.schema, wished, self._wished_until))
        asked = time.monotonic()
        self._asks_at = asked + min(max(_WISHES_SECONDS, _WISHES_PAUSE * (asked - began)), _WISHES_MOST)
        self._wishes_left = len(found) == drift.PAGE
        self._wished_until = found[-1].seen.key if self._wishes_left else b""  # what cannot be done is in nobody's way
        self._carry_out(found)

    def _carry_out(self, found: Sequence[Item], overruled: Wish | None = None) -> None:
        for item in found:
            wished = overruled or item.wish
            if wished is None or item.seen.key in self._put_back:
                continue
            done = self._dealing.deal(item, wished)
            if done.put_back:
                self._put_back[item.seen.key] = done.outcome
                self._bring([item.seen.path])
            else:
                self.saw(done.seen)
                self._end([(item, done.state, done.outcome)])

    # The table

    @property
    def _mine(self) -> Which:
        """What is open on the side that this direction goes to."""
        return self._which(self._dealing.side)

    def _which(self, side: Side) -> Which:
        return Which(self._run.migration, side, kinds_of(self._run))

    def _learn(self) -> None:
        """Know by heart what is open; where that is more than one can, what comes behind that which was known until now."""
        ledger, after, self._known = self._run.ledger, self._known_until, {}
        pages = drift.pages(ledger.ask, ledger.schema, self._mine, after=after)
        for item in islice(chain.from_iterable(pages), _KNOWN):
            self._known[item.seen.key], self._known_until = item.seen, item.item
        if len(self._known) < _KNOWN:  # that was the last of them
            self._known_until = 0
        self._knows_all = not after and not self._known_until

    def _at(self, keys: AbstractSet[bytes]) -> list[Item]:
        """What is open at *keys*."""
        run = self._run
        return run.ledger.ask(lambda c: drift.at(c, run.ledger.schema, self._mine, keys))

    def _end(self, ended: Sequence[tuple[Item, State, str]]) -> None:
        if not ended:
            return
        run = self._run
        run.ledger.change(lambda c: drift.end(c, run.ledger.schema, run.migration, ended))
        for item, state, _ in ended:
            if state != "open":
                self._known.pop(item.seen.key, None)
