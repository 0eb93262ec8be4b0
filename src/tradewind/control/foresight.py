"""What the road tells of runs that come and start, for estimates of when others will.

The passes of the loop only note it down: whoever estimates takes the notes in, one at a time.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tradewind.scheduler.answers import Answering
from tradewind.scheduler.events import Waiting
from tradewind.scheduler.forecast import Calibration, Estimate, Forecast
from tradewind.store.base import Settings

Json = dict[str, Any]
# So many estimates that were learned from make it worth to keep all for the next start.
KEEPS = 20


@dataclass(slots=True)
class Foresight:
    """One per server, which started at `since`. What it learns is kept in the settings under `key`.
    `comes`, `starts` and `gone` are for the thread of the passes, all else for those that ask."""

    settings: Settings
    key: str
    since: float
    forecast: Forecast = field(default_factory=Forecast)
    _came: deque[tuple[float, Waiting]] = field(default_factory=deque)
    _started: deque[tuple[str, float]] = field(default_factory=deque)
    _open: set[str] = field(default_factory=set)
    _learned: int = 0
    # Who hangs up while it is answered does not end the thread that answers.
    _one: threading.Lock = field(default_factory=threading.Lock)
    # Whom it asks about unasked is left to chance, so that it is no matter of what it would say.
    _chance: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self) -> None:
        """What an earlier server of the same folder has learned is true of this one."""
        told = self.settings.get(self.key)
        if told is not None:
            self.forecast.calibration = Calibration.of(told)

    # --- the road ----------------------------------------------------------------------------

    def comes(self, waiting: Waiting, now: float) -> None:
        """It asks for its place for the first time. What came before the server did is looked at
        anew when that starts, all at once: that tells nothing of what will come."""
        if waiting.since >= self.since:
            self._came.append((now, waiting))

    def starts(self, run: str, at: float) -> None:
        """It got its place then."""
        self._started.append((run, at))

    # --- whoever asks ------------------------------------------------------------------------

    def gone(self, machine: Answering) -> list[str]:
        """Those that were estimated and will not start; between two passes."""
        known = [*self._open]  # at once: another thread may add to it
        return [run for run in known if machine.asked(run) is None and not machine.holds(run)]

    def learn(self, gone: list[str]) -> None:
        """Take the notes in, up to the moment at which these had `gone`. Blocks on the store."""
        with self._one:
            self._take(gone)

    def _take(self, gone: list[str]) -> None:
        while self._came:
            at, waiting = self._came.popleft()
            self.forecast.came(waiting, at)
        while self._started:
            run, at = self._started.popleft()
            self._learned += len(self.forecast.started(run, at))
            self._open.discard(run)
        for run in gone:
            self.forecast.withdrawn(run)
            self._open.discard(run)
        if self._learned >= KEEPS:
            self._learned = 0
            self.settings.put(self.key, self.forecast.calibration.told())

    def ask(self, twin: Answering, run: str) -> Estimate | None:
        """When it starts; held against what becomes of it."""
        with self._one:
            estimate = self.forecast.ask(twin, run)
            if estimate is not None:
                self.forecast.expect(estimate)
                self._open.add(run)
        return estimate

    def one(self, twin: Answering) -> str:
        """Any one of those that wait."""
        return self._chance.choice(sorted(twin.line.waiting))
