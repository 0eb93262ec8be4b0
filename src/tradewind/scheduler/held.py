"""Who has a place, and who gets one when others have gone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tradewind.records.placements import Seat
from tradewind.scheduler.amounts import Amounts
from tradewind.scheduler.events import Waiting
from tradewind.scheduler.nodes import Reserve, Spot

# What goes on until it is stopped gives its place back last of all.
PRECIOUS = 1e18


@dataclass(slots=True)
class Held:
    """A run that has a place. `asked` is what it waited with, `began` when it got its place,
    `amounts` what it holds of its queues, `by` the run that gets the place next. `seats` are its
    places by name while its pool, or all that is in it, is not there. `of`: it is a process by
    which that run has grown, and is given back to whoever wants it; else `grown` are those by which
    it has, `resized` when it last has. `saved` is until when its work here is not lost (endlessly
    long ago: none), `worth` the price of what it holds, or where prices are not known its
    devices."""

    asked: Waiting
    spots: tuple[Spot, ...]
    began: float
    amounts: Amounts
    by: str = ""
    seats: tuple[Seat, ...] = ()
    of: str = ""
    grown: list[str] = field(default_factory=list)
    resized: float = 0.0
    saved: float = -math.inf
    worth: float = 0.0

    def attained(self, now: float) -> float:
        """Seconds of work it has had."""
        return self.asked.attained + max(0.0, now - self.began - self.asked.restart)

    def left(self, now: float) -> float | None:
        """Seconds it still needs, if that is known."""
        if self.asked.left is None:
            return None
        return max(0.0, self.asked.left + self.asked.attained - self.attained(now))

    def keeps(self, now: float) -> bool:
        """Whether its work is kept when it is interrupted, or at least half of what it has done
        here: so whoever is interrupted has got on."""
        return self.asked.keeps or now - self.saved <= self.saved - self.began

    def unsaved(self, now: float) -> float:
        """What is lost when it is interrupted: seconds of work times the price of what it holds."""
        if self.asked.stands:
            return PRECIOUS
        return self.since_saved(now) * self.worth

    def since_saved(self, now: float) -> float:
        """Seconds of work here that are lost when it is interrupted."""
        return 0.0 if self.asked.keeps else now - max(self.began, self.saved)


@dataclass(slots=True)
class Due:
    """A run for which others make room on `spots`, and have not gone yet (`staying`). `reserved` is
    what nobody else may have meanwhile. Until `until` it only waits for their end; `told` is when
    they were told to go (infinite: they were not)."""

    asked: Waiting
    spots: tuple[Spot, ...]
    amounts: Amounts
    staying: set[str]
    until: float
    reserved: dict[int, Reserve] = field(default_factory=dict)
    told: float = math.inf
