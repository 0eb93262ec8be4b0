"""Who else wants the cores of the machines that this server places on: now, and while a run was."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean

from tradewind.base.clock import Clock
from tradewind.base.errors import TradewindError
from tradewind.engines.base import Engine, Shared
from tradewind.records.load import Load

log = logging.getLogger("tradewind.control")

# How often engines are asked, and for how long an answer is the present.
PAUSE = 5.0
FRESH = 30.0
# An hour: of a longer run its last hour is what is known.
KEPT = 720


@dataclass(slots=True)
class Neighbours:
    """What engines told, by pool. Lost with the server: then nothing is known."""

    _told: defaultdict[str, deque[tuple[float, Load]]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=KEPT))
    )

    def tell(self, pool: str, load: Load, at: float) -> None:
        """Remember what a pool's engine told."""
        self._told[pool].append((at, load))

    def now(self, pool: str, now: float) -> Load | None:
        """Those of the present; None where nobody told of late."""
        told = tuple(self._told.get(pool, ()))
        return told[-1][1] if told and now - told[-1][0] <= FRESH else None

    def during(self, pool: str, since: float, until: float) -> Load | None:
        """Those of a span of time in the middle, or what was known when it began."""
        told = tuple(self._told.get(pool, ()))  # at once: it is asked in other threads
        within = [load for at, load in told if since <= at <= until]
        if within:
            groups = [each.groups for each in within if each.groups is not None]
            return Load(
                others=fmean(each.others for each in within),
                cores=within[-1].cores,
                groups=fmean(groups) if groups else None,
            )
        before = [load for at, load in told if since - FRESH <= at < since]
        return before[-1] if before else None

    async def look(self, engines: Mapping[str, Engine], clock: Clock) -> None:
        """Ask every engine that can tell. One that cannot be reached tells nothing."""
        for pool, engine in tuple(engines.items()):
            if not isinstance(engine, Shared):
                continue
            try:
                load = await engine.load()
            except TradewindError:
                continue
            if load is not None:
                self.tell(pool, load, clock.now())

    async def watch(self, engines: Mapping[str, Engine], clock: Clock) -> None:
        """Ask again and again, for ever."""
        while True:
            try:
                await self.look(engines, clock)
            except Exception:
                log.exception("the neighbours cannot be counted; it is tried again")
            await asyncio.sleep(PAUSE)
