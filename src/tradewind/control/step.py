"""The claim loop: claims due runs in batches, walks them down the road, writes each batch once.

    claim   one transaction
    gather  a few queries for the whole batch
    advance pure stages, run by run
    decide  the scheduler, once for the batch
    apply   one transaction; what had lost its claim is dropped
    act     launch, stop, resize: outside every transaction

`Loop` is the asynchronous shell around it; `Stepper` is the synchronous whole, in one thread.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from tradewind.base.clock import Clock
from tradewind.base.errors import Broken, Bug, TradewindError, TryAgain, UserError
from tradewind.compiler.facts import Machine as CatalogueMachine
from tradewind.control import gather, report
from tradewind.control.draft import Draft
from tradewind.control.pin import NotYet
from tradewind.control.pulse import Pulse
from tradewind.control.road import (
    Action,
    LaunchPlacement,
    ResizePlacement,
    Road,
    StopPlacement,
)
from tradewind.engines.base import Engine
from tradewind.records.placements import Placement
from tradewind.records.reports import Report
from tradewind.records.states import ENDED, LIVE, RunState
from tradewind.scheduler.events import Place, Preempt, Reject, Released, Resize
from tradewind.store.base import Store
from tradewind.store.rows import Claim, RunFilter

log = logging.getLogger("tradewind.control")

Value = TypeVar("Value")

BATCH = 256
# A pass takes less; a server that dies holds its runs up for no longer.
CLAIM_SECONDS = 5.0
IDLE_SECONDS = 5.0
SHARED_SECONDS = 1.0
RELAUNCH_SECONDS = 0.5
PAUSE_SECONDS = 1.0
SET_BACK_SECONDS = 1.0
LEASE_SECONDS = 30.0


_IN_LINE = frozenset({RunState.QUEUED, RunState.PROBING})


@dataclass(frozen=True, slots=True)
class Turn:
    """What one pass did: what is to be done outside, which runs ended, whether it wrote at all, and
    whether there is certainly more to do at once."""

    actions: list[Action] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    wrote: bool = False
    more: bool = False


@dataclass(slots=True)
class Stepper:
    """One pass of the loop."""

    store: Store
    road: Road
    clock: Clock
    worker: str
    machines: Sequence[CatalogueMachine]
    failures: dict[str, TradewindError] = field(default_factory=dict)
    latest: float = 0.0
    # When the scheduler has something to say even if nothing happens.
    alarm: float = math.inf

    def step(self) -> Turn:
        """One batch."""
        now = self.clock.now()
        if now < self.latest - SET_BACK_SECONDS:
            log.warning("the clock was set back by %.0f s", self.latest - now)
            self.recover()  # what was due by the old time would wait until it comes again
        self.latest = now
        mine = self.road.places.mine()
        claims = self.store.runs.claim(self.worker, LIVE, BATCH, now, CLAIM_SECONDS, mine)
        if not claims:
            return Turn(more=now >= self.alarm and self._decide({}, now))
        try:
            return self._carried_on(claims, now)
        except Exception:
            self._give_back(claims)
            raise

    def _carried_on(self, claims: list[Claim], now: float) -> Turn:
        self.road.actions = []
        batch = gather.batch(self.store, claims, self.machines)
        drafts = {claim.run.id: Draft.of(claim, now) for claim in claims}
        for claim in claims:
            drafts[claim.run.id] = self._advanced(drafts[claim.run.id], batch)
        elsewhere = self._decide(drafts, now)
        stale = self._apply(drafts, batch)
        for run_id in stale:
            # What the scheduler holds for it is set right when it is claimed again.
            log.warning("the claim on run %s was lost; its changes are dropped", run_id)
        self.store.runs.poke(stale)
        actions = [act for act in self.road.actions if act.placement.run not in stale]
        ended = {each.run.id for each in drafts.values() if each.run.state in ENDED} - stale
        return Turn(actions, ended, wrote=True, more=elsewhere or len(claims) == BATCH)

    def _give_back(self, claims: list[Claim]) -> None:
        """After a pass that failed: the next one need not wait until the claims run out."""
        try:
            self.store.runs.release(claims)
        except TradewindError as error:
            log.info("claims are left to run out: %s", error.message)

    def _advanced(self, draft: Draft, batch: gather.Batch) -> Draft:
        """The draft after its stages. A fault of ours in one run ends that run, not the loop."""
        run_id = draft.run.id
        failure = self.failures.get(run_id)
        try:
            if failure is not None:
                draft.fail(failure)
            self.road.advance(draft, batch)
        except (TryAgain, Broken):
            raise
        except Exception as error:
            log.exception("run %s cannot be carried on", run_id)
            return self._broken(draft, error, batch)
        return draft

    def _broken(self, draft: Draft, error: Exception, batch: gather.Batch) -> Draft:
        """A fresh draft that only ends the run, and what goes on for it."""
        fresh = Draft.of(draft.claim, draft.now)
        told = Bug(f"{type(error).__name__}: {error}", hint="a fault of Tradewind: see server.log")
        fresh.fail(told)
        self.road.machine.feed([Released(run=fresh.run.id)], fresh.now)
        self.road.abandon(fresh, batch.views[fresh.run.id])
        return fresh

    def _apply(self, drafts: dict[str, Draft], batch: gather.Batch) -> set[str]:
        """Write all; if one of them cannot be written, find it and end it."""
        apply = self.store.runs.apply
        try:
            stale = apply([draft.change() for draft in drafts.values()])
        except (TryAgain, Broken):
            raise
        except Exception:
            log.exception("a batch cannot be written; its runs are written one by one")
            stale = set()
            for run_id, draft in drafts.items():
                try:
                    stale |= apply([draft.change()])
                except (TryAgain, Broken):
                    raise
                except Exception as error:
                    drafts[run_id] = self._broken(draft, error, batch)
                    stale |= apply([drafts[run_id].change()])
        for run_id in drafts.keys() - stale:
            # One that came after its run was looked at is for the next pass.
            if drafts[run_id].run.state in ENDED:
                self.failures.pop(run_id, None)
        return stale

    def _decide(self, drafts: dict[str, Draft], now: float) -> bool:
        """Ask the scheduler; a decision about a run of another batch waits for its claim, and one
        that gives its place to another is stopped, or resized, when it is looked at next
        (`Road._follow`). Whether there was such a one."""
        elsewhere = []
        for decision in self.road.machine.decide(now):
            draft = drafts.get(decision.run)
            of_holder = isinstance(decision, Preempt | Resize)
            if of_holder or draft is None or draft.run.state not in _IN_LINE:
                elsewhere.append(decision.run)
            elif isinstance(decision, Place):
                self.road.placed(draft, decision.pool)
            elif isinstance(decision, Reject):
                self.road.rejected(draft, decision)
        self.store.runs.poke(elsewhere)
        self.alarm = self.road.machine.alarm()
        return bool(elsewhere)

    def recover(self) -> None:
        """After a start: tell the scheduler what is held, and look at every live run once."""
        places = self.road.places
        live = self.store.placements.live(*places.leases) if places.leases else []
        places.hold(live)
        where, cursor = RunFilter(states=LIVE, pools=frozenset({*places.mine(), ""})), ""
        while True:
            page = self.store.runs.page(where, limit=1000, cursor=cursor)
            self.store.runs.poke([run.id for run in page.runs])
            cursor = page.cursor
            if not cursor:
                return


class Loop:
    """Runs the stepper, acts on what it decides, and lets reports in."""

    def __init__(
        self,
        stepper: Stepper,
        pulse: Pulse,
    ) -> None:
        """The pools that are there from the start are served before the first step."""
        self._stepper = stepper
        self._places = stepper.road.places
        self._pulse = pulse
        # Told what keeps a pool's engine from telling anything.
        self.ails: Callable[[str, TradewindError], None] = lambda pool, error: None
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="step")
        self._slow = ThreadPoolExecutor(2, thread_name_prefix="pin")
        self._beginning: dict[str, list[str]] = {}
        self._working: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reasons: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._following: dict[str, tuple[Engine, asyncio.Task[None]]] = {}
        self._acting: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self._over.set()
        self._loop = asyncio.get_running_loop()
        self._started = self._closing = False
        stepper.road.begin = self._begin

    def wake(self) -> None:
        """Something is due; may be called from any thread."""
        self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Until `close`. What fails is logged and tried again: the loop never dies."""
        self._over.clear()
        try:
            await self._patiently(self.begin)
            self._started = True
            for pool, engine in self._places.engines.items():
                self.follow(pool, engine)
            while not self._closing:
                await self._patiently(self._pass)
        finally:
            self._over.set()

    async def begin(self) -> None:
        """Before the first turn: learn what is held and look at every live run."""
        await self._blocking(self._stepper.recover)

    async def turn(self) -> Turn:
        """One pass; its actions are begun."""
        turn = await self._blocking(self._stepper.step)
        for action in turn.actions:
            self._go(self._act(action), acts=True)
        if turn.wrote:
            self._pulse.beat(turn.ended)
        return turn

    async def _pass(self) -> None:
        self._wake.clear()
        if not (await self.turn()).more:
            await self._idle()

    async def _patiently(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do this; after a failure wait a while, for whoever calls again."""
        while not self._closing:
            try:
                return await work()
            except TradewindError as error:
                log.error("a pass of the control loop failed: %s", error)
                await asyncio.sleep(min(5.0, error.after or 0.5))
            except Exception:
                log.exception("a pass of the control loop failed; it is tried again")
                await asyncio.sleep(PAUSE_SECONDS)

    async def close(self) -> None:
        """Finish the pass that goes on, then let go. Tasks that run go on."""
        self._closing = True
        self._wake.set()
        await self._over.wait()
        tasks = {*self._tasks, *(task for _, task in self._following.values())}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._thread.shutdown(wait=True)
        self._slow.shutdown(wait=False, cancel_futures=True)

    async def quiet(self) -> None:
        """Until what was begun outside the passes (launches, stops, resolving) has been done."""
        while self._acting or self._working:
            if self._acting:
                await asyncio.wait(self._acting)
            else:
                await asyncio.sleep(0.001)

    async def _idle(self) -> None:
        due = await self._blocking(self.due)
        # Another server wakes nobody here.
        most = SHARED_SECONDS if self._places.shared else IDLE_SECONDS
        pause = min(most, max(0.0, due - self.now()))
        try:
            # Not wait_for: in Python 3.11 it may swallow the cancelling of this task.
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return

    def due(self) -> float:
        """When the next pass has something to do, as far as it is known; infinite where that is
        not. Blocks on the store."""
        found = self._stepper.store.runs.next_due(LIVE, self.now(), self._places.mine())
        return min(self._stepper.alarm, math.inf if found is None else found)

    def now(self) -> float:
        """The time by the clock of the steps."""
        return self._stepper.clock.now()

    async def between(self, work: Callable[[], None], *, look: bool = True) -> None:
        """Carry this out between two passes, then look again at all that waits."""
        await self._blocking(work)
        if look:
            await self._blocking(self._stepper.recover)
        self.wake()

    def recover(self) -> None:
        """Between two passes: look again at all that waits."""
        self._stepper.recover()

    async def _blocking(self, work: Callable[[], Value]) -> Value:
        return await self._loop.run_in_executor(self._thread, work)

    def _go(self, work: Coroutine[Any, Any, None], *, acts: bool = False) -> None:
        task = self._loop.create_task(work)
        for kept in (self._tasks, self._acting) if acts else (self._tasks,):
            kept.add(task)
            task.add_done_callback(kept.discard)

    def _begin(self, run_id: str, wait: NotYet) -> None:
        """Start slow work for a run, once for everybody who waits for the same."""
        with self._lock:
            waiters = self._beginning.get(wait.key)
            if waiters is not None:
                waiters.append(run_id)
                return
            self._beginning[wait.key] = [run_id]
        working = self._slow.submit(self._work, wait)
        self._working.add(working)
        working.add_done_callback(self._working.discard)

    def _work(self, wait: NotYet) -> None:
        failure: TradewindError | None = None
        try:
            wait.work()
        except TradewindError as error:
            failure = error
        except Exception as error:
            log.exception("slow work failed: %s", wait.why)
            failure = UserError(f"{wait.why}: {error}")
        with self._lock:
            waiters = self._beginning.pop(wait.key)
        if failure is not None:
            self._stepper.failures.update(dict.fromkeys(waiters, failure))
        try:
            self._stepper.store.runs.poke(waiters)
        except TradewindError as error:
            # They look again by themselves when their guard time is over.
            log.warning("nobody could be told that %s is done: %s", wait.why, error.message)
        self.wake()

    def follow(self, pool: str, engine: Engine) -> None:
        """Bring home what this pool's engine reports, from the loop's start on."""
        known = self._following.get(pool)
        if not self._started or self._closing or (known is not None and known[0] is engine):
            return
        self.unfollow(pool)
        stepper = self._stepper
        ails = partial(self.ails, pool)
        told = report.follow(
            stepper.store, stepper.clock, pool, engine, self.wake, self._pulse, ails
        )
        self._following[pool] = engine, self._loop.create_task(told)

    def unfollow(self, pool: str) -> None:
        """Hear no more of it."""
        _, task = self._following.pop(pool, (None, None))
        if task is not None:
            task.cancel()

    async def _act(self, action: Action) -> None:
        placement = action.placement
        engine = self._places.engines.get(placement.pool)
        if engine is None:  # once it is connected, all that is live is looked at again
            self._say(logging.INFO, placement, f"pool {placement.pool!r} is not connected")
            return
        try:
            match action:
                case LaunchPlacement():
                    await engine.launch(engine.render(placement))
                case StopPlacement():
                    await engine.stop(placement.id, action.stop)
                case ResizePlacement():
                    await engine.resize(placement.id, action.width, engine.render(placement))
        except TryAgain as error:
            self._say(logging.INFO, placement, f"{error.message}; trying again")
            if isinstance(action, LaunchPlacement):
                await self._held_up(placement, error)
            await self._again(placement, error.after or RELAUNCH_SECONDS)
            return
        except Exception as error:
            self._say(logging.ERROR, placement, str(error), not isinstance(error, TradewindError))
            if not isinstance(action, LaunchPlacement):
                await self._again(placement, RELAUNCH_SECONDS * 10)
                return
            ours = (
                error if isinstance(error, TradewindError) else Bug(f"the launch failed: {error}")
            )
            await self._refused(placement, ours)
        self._reasons.pop(placement.id, None)
        self._said.pop(placement.id, None)

    def _say(self, level: int, placement: Placement, words: str, trace: bool = False) -> None:
        """Into the log, once for as long as it stays the same."""
        if self._said.get(placement.id) != words:
            log.log(level, "%s: %s", placement.id, words, exc_info=trace)
        self._said[placement.id] = words

    async def _held_up(self, placement: Placement, error: TradewindError) -> None:
        """People see why it does not start: once for each reason."""
        if self._reasons.get(placement.id) == error.message:
            return
        self._reasons[placement.id] = error.message
        await self._tell(report.held_up(placement, error, self._stepper.clock.now()))

    async def _again(self, placement: Placement, seconds: float) -> None:
        """Look at its run again after a while; what is still to be done then comes up again."""
        runs, at = self._stepper.store.runs, self._stepper.clock.now() + seconds
        await self._patiently(lambda: self._blocking_none(lambda: runs.poke([placement.run], at)))
        self.wake()

    async def _blocking_none(self, work: Callable[[], None]) -> None:
        await self._blocking(work)

    async def _refused(self, placement: Placement, error: TradewindError) -> None:
        """The engine says that this can never run: its end is told like any other."""
        await self._tell(report.refused(placement, error, self._stepper.clock.now()))
        self.wake()

    async def _tell(self, told: Report) -> None:
        """Record what control itself has to say about a placement."""
        record = self._stepper.store.reports.record

        async def write() -> None:
            await self._blocking(lambda: record([told]))

        await self._patiently(write)
