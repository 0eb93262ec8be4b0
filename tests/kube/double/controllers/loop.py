"""Runs controllers: a write makes keys dirty, and dirty keys are synced."""

import asyncio
import heapq
import itertools
import traceback
from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol

from tests.kube.double.clock import Clock
from tests.kube.double.storage import Event, Storage


class Controller(Protocol):
    @property
    def patience(self) -> float:
        """How long after a write its keys are synced, with all that is written till then."""
        return 0.0

    def concerns(self, event: Event) -> Iterable[Hashable]:
        """Returns the keys that a write makes dirty."""
        ...

    def sync(self, key: Hashable) -> float | None:
        """Brings one thing to where it belongs; returns after how many seconds to look again."""
        ...


class Loop:
    """Syncs one key at a time; all in the thread of the server's loop."""

    def __init__(self, storage: Storage, clock: Clock, controllers: Sequence[Controller]) -> None:
        self.clock, self.controllers = clock, controllers
        # What a controller raised: a defect of the double, told when the double ends.
        self.errors: list[str] = []
        self.paused = False
        self._dirty: dict[tuple[int, Hashable], None] = {}
        self._later: list[tuple[float, int, tuple[int, Hashable]]] = []
        self._due: dict[tuple[int, Hashable], float] = {}
        self._order = itertools.count()
        self._wake: asyncio.Event | None = None
        storage.listeners.append(self._hear)
        clock.listeners.append(self.poke)

    def poke(self) -> None:
        if self._wake is not None:
            self._wake.set()

    def _hear(self, event: Event) -> None:
        for number, controller in enumerate(self.controllers):
            for key in controller.concerns(event):
                if controller.patience:
                    self._plan((number, key), controller.patience)
                else:
                    self._dirty[number, key] = None
        self.poke()

    def settle(self) -> None:
        """Syncs all that is dirty, before anybody is served."""
        while self._dirty:
            self._sync(*next(iter(self._dirty)))

    async def run(self) -> None:
        self._wake = asyncio.Event()
        while True:
            self._wake.clear()
            if not self.paused:
                self._ripen()
                while self._dirty and not self.paused:
                    self._sync(*next(iter(self._dirty)))
                    await asyncio.sleep(0)
            try:
                # Not wait_for: in Python 3.11 it may swallow the cancelling of this task.
                async with asyncio.timeout(self._wait()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _sync(self, number: int, key: Hashable) -> None:
        del self._dirty[number, key]
        self._due.pop((number, key), None)
        try:
            delay = self.controllers[number].sync(key)
        except Exception:
            self.errors.append(traceback.format_exc())
            return
        if delay is not None:
            self._plan((number, key), delay)

    def _plan(self, entry: tuple[int, Hashable], delay: float) -> None:
        """Makes a key dirty later; what is to come sooner stays."""
        due = self.clock.now() + delay
        if entry not in self._due or due < self._due[entry]:
            self._due[entry] = due
            heapq.heappush(self._later, (due, next(self._order), entry))

    def _ripen(self) -> None:
        now = self.clock.now()
        while self._later and self._later[0][0] <= now:
            due, _, entry = heapq.heappop(self._later)
            # A later sync may have set another time, or none.
            if self._due.get(entry) == due:
                del self._due[entry]
                self._dirty[entry] = None

    def _wait(self) -> float | None:
        if not self._later:
            return None
        return max(0.0, self._later[0][0] - self.clock.now())
