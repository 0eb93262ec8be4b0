"""Leases on pools: of several servers of one database each pool is placed by one at a time.

A server that does not renew in time loses a pool to whoever asks next; what that one has placed and
ended meanwhile is learned before anything is placed there again.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial

from tradewind.base.errors import TradewindError
from tradewind.control.places import Places
from tradewind.control.pools import LOCAL
from tradewind.control.step import LEASE_SECONDS, Loop
from tradewind.records.states import RunState
from tradewind.scheduler.events import PoolGone, Released

log = logging.getLogger("tradewind.control")


@dataclass(frozen=True, slots=True)
class Leases:
    """Those of one server: `places.leases`. Every call but `keep` blocks on the store."""

    places: Places
    loop: Loop

    def take(self, pool: str) -> int | None:
        """The number of the lease; None while another server has it."""
        places = self.places
        return places.store.leases.take(pool, places.worker, places.clock.now(), LEASE_SECONDS)

    def release(self, pool: str, number: int) -> None:
        """Give it back."""
        self.places.store.leases.release(pool, self.places.worker, number)

    async def keep(self) -> None:
        """Renew all, for ever; nothing else may hold that up."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            for pool in tuple(self.places.leases):
                try:
                    await self.loop.between(partial(self.renew, pool), look=False)
                except TradewindError as error:
                    log.warning("the lease on pool %s was not renewed: %s", pool, error.message)

    def renew(self, pool: str) -> None:
        """Between two passes. Without it nothing is placed there until it is ours again."""
        places, now = self.places, self.places.clock.now()
        number = places.leases.get(pool)
        if number is None:
            return
        if number and places.store.leases.renew(pool, places.worker, number, now, LEASE_SECONDS):
            return
        fresh = self.take(pool)
        if fresh is None:
            log.error("pool %s is placed by another server now", pool)
            places.machine.feed([PoolGone(pool=pool, why="another server places there")])
            if pool == LOCAL:
                places.leases[pool] = 0
            else:
                del places.leases[pool]
            return
        self.settle(pool)
        places.leases[pool] = fresh
        places.machine.feed([places.event(pool)])
        self.loop.recover()

    def settle(self, pool: str) -> None:
        """What others may have placed and ended there while it was not ours."""
        places = self.places
        held = places.machine.holders(pool)
        live = {each.run: each for each in places.store.placements.live(pool)}
        runs = places.store.runs.get_many(held - live.keys())
        free = [
            run
            for run in held - live.keys()
            if run not in runs or runs[run].state is not RunState.QUEUED
        ]
        places.machine.feed((Released(run=run) for run in free), places.clock.now())
        places.hold(live.values())
