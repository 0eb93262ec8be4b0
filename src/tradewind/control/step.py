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
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
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
from tradewind.records.states import ENDED, LIVE, RunState, may_move
from tradewind.scheduler.machine import Occupied, Place, Released
from tradewind.store.base import Store
from tradewind.store.rows import RunFilter

log = logging.getLogger("tradewind.control")

Value = TypeVar("Value")

BATCH = 256
# A pass takes less; a server that dies holds its runs up for no longer.
CLAIM_SECONDS = 5.0
IDLE_SECONDS = 5.0
RELAUNCH_SECONDS = 0.5
LEASE_SECONDS = 30.0
RECONCILE_SECONDS = 15.0


@dataclass(slots=True)
class Stepper:
    """One pass of the loop."""

    store: Store
    road: Road
    clock: Clock
    worker: str
    machines: tuple[CatalogueMachine, ...]
    failures: dict[str, TradewindError] = field(default_factory=dict)

    def step(self) -> tuple[list[Action], set[str], bool]:
        """One batch: what to do outside, which runs ended, and whether there is more at once."""
        now = self.clock.now()
        claims = self.store.runs.claim(self.worker, LIVE, BATCH, now, CLAIM_SECONDS)
        if not claims:
            return [], set(), False
        self.road.actions = []
        batch = gather.batch(self.store, claims, tuple(self.road.pools.values()), self.machines)
        drafts = {claim.run.id: Draft.of(claim, now) for claim in claims}
        for claim in claims:
            drafts[claim.run.id] = self._advanced(drafts[claim.run.id], batch)
        self._decide(drafts)
        stale = self._apply(drafts)
        for run_id in stale:
            # What the scheduler holds for it is set right when it is claimed again.
            log.warning("the claim on run %s was lost; its changes are dropped", run_id)
        self.store.runs.poke(stale)
        actions = [act for act in self.road.actions if act.placement.run not in stale]
        ended = {each.run.id for each in drafts.values() if each.run.state in ENDED} - stale
        return actions, ended, True

    def _advanced(self, draft: Draft, batch: gather.Batch) -> Draft:
        """The draft after its stages. A fault of ours in one run ends that run, not the loop."""
        run_id = draft.run.id
        failure = self.failures.get(run_id)
        try:
            if failure is not None:
                draft.fail(failure)
            self.road.advance(draft, batch)
        except Exception as error:
            log.exception("run %s cannot be carried on", run_id)
            return self._broken(draft, error)
        return draft

    def _broken(self, draft: Draft, error: Exception) -> Draft:
        """A fresh draft that only ends the run."""
        fresh = Draft.of(draft.claim, draft.now)
        told = Bug(f"{type(error).__name__}: {error}", hint="a fault of Tradewind: see server.log")
        if fresh.run.state is RunState.QUEUED or may_move(fresh.run.state, RunState.FAILED):
            fresh.fail(told)
        else:
            fresh.move(RunState.STOPPING)
        self.road.machine.feed([Released(run=fresh.run.id)])
        return fresh

    def _apply(self, drafts: dict[str, Draft]) -> set[str]:
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
                except Exception as error:
                    drafts[run_id] = self._broken(draft, error)
                    stale |= apply([drafts[run_id].change()])
        for run_id in drafts.keys() - stale:
            self.failures.pop(run_id, None)
        return stale

    def _decide(self, drafts: dict[str, Draft]) -> None:
        """Ask the scheduler; a decision about a run of another batch waits for its claim."""
        elsewhere = []
        for decision in self.road.machine.decide():
            draft = drafts.get(decision.run)
            if draft is None or draft.run.state is not RunState.QUEUED:
                elsewhere.append(decision.run)
            elif isinstance(decision, Place):
                self.road.placed(draft, decision.pool)
            else:
                self.road.rejected(draft, decision)
        self.store.runs.poke(elsewhere)

    def recover(self) -> None:
        """After a start: tell the scheduler what is held, and look at every live run once."""
        for placement in self.store.placements.live():
            self.road.machine.feed(
                [Occupied(run=placement.run, pool=placement.pool, demand=placement.demand)]
            )
        cursor = ""
        while True:
            page = self.store.runs.page(RunFilter(states=LIVE), limit=1000, cursor=cursor)
            self.store.runs.poke([run.id for run in page.runs])
            cursor = page.cursor
            if not cursor:
                return


class Loop:
    """Runs the stepper, acts on what it decides, and lets reports in."""

    def __init__(
        self,
        stepper: Stepper,
        engines: dict[str, Engine],
        pulse: Pulse,
        leases: dict[str, int],
    ) -> None:
        """`engines` by pool. Every pool's lease is taken before the first step."""
        self._stepper = stepper
        self._engines = engines
        self._pulse = pulse
        self._leases = leases
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="step")
        self._slow = ThreadPoolExecutor(2, thread_name_prefix="pin")
        self._beginning: set[str] = set()
        self._lock = threading.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._closing = False
        stepper.road.begin = self._begin

    def wake(self) -> None:
        """Something is due; may be called from any thread."""
        self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Until `close`. A pass that fails is logged and tried again: the loop never dies."""
        await self._blocking(self._stepper.recover)
        self._go(self._keep_leases())
        for pool, engine in self._engines.items():
            self._go(self._follow(pool, engine))
        while not self._closing:
            self._wake.clear()
            try:
                actions, ended, more = await self._blocking(self._stepper.step)
            except TradewindError as error:
                log.error("a pass of the control loop failed: %s", error)
                await asyncio.sleep(min(5.0, error.after or 0.5))
                continue
            except Exception:
                log.exception("a pass of the control loop failed; it is tried again")
                await asyncio.sleep(1.0)
                continue
            for action in actions:
                self._go(self._act(action))
            if ended or more:
                self._pulse.beat(ended)
            if not more:
                await self._idle()

    async def close(self) -> None:
        """Stop stepping. Tasks that run go on; claims run out by themselves."""
        self._closing = True
        self._wake.set()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._thread.shutdown(wait=True)
        self._slow.shutdown(wait=False, cancel_futures=True)

    async def _idle(self) -> None:
        store, now = self._stepper.store, self._stepper.clock.now()
        due = await self._blocking(lambda: store.runs.next_due(LIVE, now))
        pause = IDLE_SECONDS if due is None else min(IDLE_SECONDS, max(0.0, due - now))
        try:
            await asyncio.wait_for(self._wake.wait(), pause)
        except TimeoutError:
            return

    async def _blocking(self, work: Callable[[], Value]) -> Value:
        return await self._loop.run_in_executor(self._thread, work)

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _begin(self, run_id: str, wait: NotYet) -> None:
        """Start slow work for a run, once for everybody who waits for the same."""
        with self._lock:
            if wait.key in self._beginning:
                return
            self._beginning.add(wait.key)
        self._slow.submit(self._work, run_id, wait)

    def _work(self, run_id: str, wait: NotYet) -> None:
        try:
            wait.work()
        except TradewindError as error:
            self._stepper.failures[run_id] = error
        except Exception as error:
            log.exception("slow work for run %s failed", run_id)
            self._stepper.failures[run_id] = UserError(f"{wait.why}: {error}")
        finally:
            with self._lock:
                self._beginning.discard(wait.key)
            self._stepper.store.runs.poke([run_id])
            self.wake()

    def _follow(self, pool: str, engine: Engine) -> Coroutine[Any, Any, None]:
        stepper = self._stepper
        return report.follow(stepper.store, stepper.clock, pool, engine, self.wake, self._pulse)

    async def _act(self, action: Action) -> None:
        placement = action.placement
        engine = self._engines[placement.pool]
        try:
            match action:
                case LaunchPlacement():
                    await self._launch(engine, placement)
                case StopPlacement():
                    await engine.stop(placement.id, action.stop)
                case ResizePlacement():
                    await engine.resize(placement.id, action.width)
        except TryAgain as error:
            log.info("%s: %s; trying again", placement.id, error.message)
            await asyncio.sleep(error.after or RELAUNCH_SECONDS)
            await self._blocking(lambda: self._stepper.store.runs.poke([placement.run]))
            self.wake()
        except TradewindError as error:
            log.error("%s: %s", placement.id, error)
            await self._refused(placement, error)

    async def _launch(self, engine: Engine, placement: Placement) -> None:
        await engine.launch(engine.render(placement))

    async def _refused(self, placement: Placement, error: TradewindError) -> None:
        """The engine says that this can never run: its end is told like any other."""
        told = report.refused(placement, error, self._stepper.clock.now())
        await self._blocking(lambda: self._stepper.store.reports.record([told]))
        self.wake()

    async def _keep_leases(self) -> None:
        stepper = self._stepper
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            now = stepper.clock.now()
            for pool, number in self._leases.items():
                renew = partial(
                    stepper.store.leases.renew, pool, stepper.worker, number, now, LEASE_SECONDS
                )
                held = await self._blocking(renew)
                if not held:
                    log.error("pool %s is placed by another server now", pool)
