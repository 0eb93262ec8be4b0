"""The one door back: what engines tell becomes reports in the store, and pokes the runs concerned.

Reports are recorded first and acknowledged after, so a server that dies between the two hears them
again, and the store applies each once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from tradewind.base.clock import Clock
from tradewind.base.errors import TradewindError
from tradewind.control.pulse import Pulse
from tradewind.engines.base import Engine, NoSuchPlace
from tradewind.records.placements import Placement
from tradewind.records.reports import Report
from tradewind.records.states import PlacementState, RunState
from tradewind.records.tasks import Stop
from tradewind.store.base import Store

log = logging.getLogger("tradewind.control")

POLL_SECONDS = 10.0
RECONCILE_SECONDS = 15.0
RETRY_SECONDS = 0.3
PAUSE_SECONDS = 1.0
LONGEST_PAUSE = 5.0
# A launch may be on its way; only what was placed longer ago than this can be missing.
GRACE_SECONDS = 10.0

# Above every number that an engine gives: what control itself says about a placement is the last.
LAST_WORD = 2**62


Ails = Callable[[TradewindError], None]


async def follow(
    store: Store,
    clock: Clock,
    pool: str,
    engine: Engine,
    wake: Callable[[], None],
    pulse: Pulse,
    ails: Ails,
) -> None:
    """Bring one pool's reports home, for ever; an engine that does not answer is asked again, and
    `ails` is told."""
    reconciled: float | None = None
    trouble, pause = "", RETRY_SECONDS
    while True:
        try:
            seconds = 0.0 if reconciled is None else POLL_SECONDS
            told = await hear(store, engine, wake, pulse, seconds, ails)
            # Silence is the moment to compare; a stream of reports must not put it off for ever.
            recent = reconciled is None or clock.monotonic() - reconciled < RECONCILE_SECONDS
            trouble, pause = "", RETRY_SECONDS
            if told and recent:
                continue
            await reconcile(store, clock, pool, engine, wake)
            reconciled = clock.monotonic()
        except TradewindError as error:
            if error.message != trouble:
                log.warning("pool %s: %s", pool, error.message)
            trouble = error.message
            await asyncio.sleep(error.after or pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        except Exception:
            log.exception("pool %s: what it reports cannot be taken; it is tried again", pool)
            await asyncio.sleep(PAUSE_SECONDS)


async def hear(
    store: Store,
    engine: Engine,
    wake: Callable[[], None],
    pulse: Pulse,
    seconds: float,
    ails: Ails,
) -> bool:
    """Take what the engine has to tell, waiting that long for the first word; whether it told."""

    def told() -> None:
        pulse.beat()
        wake()

    try:
        reports = await engine.observe(seconds)
    except TradewindError as error:
        ails(error)
        raise
    if reports:
        await take(store, engine, reports, told)
    return bool(reports)


async def take(
    store: Store,
    engine: Engine,
    reports: Sequence[Report],
    told: Callable[[], None] = lambda: None,
) -> None:
    """Record, say so, then acknowledge."""
    recorded = await asyncio.to_thread(store.reports.record, reports)
    told()
    for placement in recorded.unknown:
        log.warning("nobody here asked for placement %s: it is stopped", placement)
        await engine.stop(placement, Stop(way="kill"))
    await engine.acknowledge(reports)


async def reconcile(
    store: Store, clock: Clock, pool: str, engine: Engine, wake: Callable[[], None]
) -> None:
    """Compare what we believe with what is there, after all reports are in.

    A placement that the engine does not know is launched anew if its launch was never confirmed
    (its run is poked, steering launches it), and lost otherwise. One that the store does not know
    is stopped.
    """
    known = set(await engine.known())
    live = await asyncio.to_thread(store.placements.live, pool)
    missing = [each for each in live if each.id not in known]
    if missing:
        # Its end may have come between the two questions.
        reports = await engine.observe(0.0)
        if reports:
            await take(store, engine, reports)
            wake()
        if {each.placement for each in reports} & {each.id for each in missing}:
            return
    now = clock.now()
    late = [each for each in missing if abs(now - each.placed) > GRACE_SECONDS]
    unlaunched = await asyncio.to_thread(_unlaunched, store, missing)
    gone = [lost(each, now) for each in late if each.run not in unlaunched]
    if gone:
        await asyncio.to_thread(store.reports.record, gone)
    if unlaunched:
        await asyncio.to_thread(store.runs.poke, unlaunched)
    if gone or unlaunched:
        wake()
    ours = {each.id for each in live}
    for placement in known - ours:
        log.warning("placement %s has no live row here: it is stopped", placement)
        await engine.stop(placement, Stop(way="kill"))


def _unlaunched(store: Store, missing: Sequence[Placement]) -> list[str]:
    """The runs of those that are still to be launched. One that was never launched and shall stop
    will not be; nobody else would end it."""
    runs = store.runs.get_many({each.run for each in missing})
    return [
        each.run
        for each in missing
        if each.state is PlacementState.PLACED and runs[each.run].state is not RunState.STOPPING
    ]


async def none_left(store: Store, clock: Clock, pool: str, engine: Engine | None) -> bool:
    """The place of a pool does not exist: what was launched there is lost; whether anything was.
    What an engine that has followed it still knows it tells itself, and better."""
    known = set() if engine is None else set(await engine.known())
    live = await asyncio.to_thread(store.placements.live, pool)
    if engine is not None:
        with contextlib.suppress(NoSuchPlace):
            if await engine.observe(0.0):
                return False  # first what it has to say
    missing = [each for each in live if each.id not in known]
    unlaunched = await asyncio.to_thread(_unlaunched, store, missing)
    gone = [lost(each, clock.now()) for each in missing if each.run not in unlaunched]
    if gone:
        await asyncio.to_thread(store.reports.record, gone)
    return bool(gone)


def lost(placement: Placement, now: float) -> Report:
    """The report of a placement that nobody knows any more."""
    return Report(
        placement=placement.id,
        seq=LAST_WORD,
        at=now,
        kind="placement",
        body={
            "state": "lost",
            "reason": {"reason": "lost", "message": "the engine does not know it any more"},
        },
    )


def held_up(placement: Placement, error: TradewindError, now: float) -> Report:
    """The report of a placement whose engine cannot take it yet: its first unit says why."""
    role = placement.task.roles[0]
    done = set(placement.done)
    return Report(
        placement=placement.id,
        stream="launch",
        seq=int(now * 1000),
        at=now,
        kind="attempt",
        role=role.name,
        index=next(index for index in range(len(done) + 1) if index not in done),
        body={"state": "preparing", "why": error.message},
    )


def refused(placement: Placement, error: TradewindError, now: float) -> Report:
    """The report of a placement that its engine will never run."""
    return Report(
        placement=placement.id,
        seq=LAST_WORD,
        at=now,
        kind="placement",
        body={
            "state": "failed",
            "reason": {"reason": "refused", "message": error.message, "hint": error.hint},
        },
    )
