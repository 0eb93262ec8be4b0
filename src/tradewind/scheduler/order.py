"""Who goes first: an index for each run, the lower the sooner.

Where it is known how long a run still takes, that is the work that is left, in devices times
seconds ("shortest remaining service first"). Where it is not, it is the Gittins index over those
that have ended: the least, over all times that one may give it, of the mean service that it takes
until then by the chance that it ends until then (Gittins, "Bandit processes and dynamic allocation
indices", 1979; of jobs on many devices: Gu et al., "Tiresias", NSDI 2019). How long runs live is
told by the product-limit estimator (Kaplan and Meier, 1958), which counts those that still go on:
without them a queue believes that all is short, since what is long has not ended yet.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

# Of fewer ends of one width nothing is believed: then all widths are taken together, and where
# those are too few, whoever has had least goes first.
ALONE, FEWEST = 20, 8
# A table is made again when so much more has ended; ages are so many, evenly spread by logarithm.
GROWTH, STEPS = 1.03, 64
# Service counts devices by this power where durations are known, and by this one more where they
# are not: a wide gang that turns out to be long stands in the way of many. On the traces of Muri
# 0.8 to 1, and 0.3 to 0.6, are alike.
KNOWN, NARROW = 0.85, 0.6


@dataclass(slots=True)
class Lives:
    """How much service runs take, as far as it is known."""

    ended: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    table: list[float] = field(default_factory=list)
    made: int = 0

    def due(self) -> bool:
        """Whether enough has ended since the table was made."""
        return len(self.ended) >= max(FEWEST, self.made * GROWTH)

    def learn(self, going: Iterable[float]) -> None:
        """Make the table; `going` is the service so far of those that have not ended."""
        self.made = len(self.ended)
        ended, others = np.sort(self.ended), np.sort(list(going))
        last = max(float(ended[-1]), float(others[-1]) if len(others) else 0.0)
        ages = np.concatenate([[0.0], np.geomspace(max(ended[0], 1.0), last * 1.001 + 1, STEPS)])
        table = gittins(ages, survival(ages, ended, others))
        self.ages, self.table = ages.tolist(), table.tolist()

    def index(self, attained: float) -> float:
        """Of one that has had so much."""
        if not self.table:
            return attained
        at = bisect.bisect_right(self.ages, attained) - 1
        known = self.table[at]
        return known if at < len(self.table) - 1 else max(known, attained) + attained / 1000


def survival(ages: np.ndarray, ended: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The part of runs that needs more than each of these ages."""
    ends = np.searchsorted(ended, ages, side="right")
    gone = np.searchsorted(others, ages, side="right")
    # Of those whose end is not known half are counted in the step in which they are lost of sight.
    left = len(ended) + len(others) - ends[:-1] - gone[:-1] - np.diff(gone) / 2
    hazard = np.minimum(np.diff(ends) / np.maximum(left, 1), 1.0)
    found: np.ndarray = np.concatenate([[1.0], np.cumprod(1 - hazard)])
    return found


def gittins(ages: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """By age the least mean service until a later age by the chance to end until then."""
    spent = np.concatenate([[0.0], np.cumsum((alive[:-1] + alive[1:]) / 2 * np.diff(ages))])
    ends = alive[:, None] - alive[None, :]
    takes = spent[None, :] - spent[:, None]
    later = np.arange(len(ages))[None, :] > np.arange(len(ages))[:, None]
    ratio = np.full(ends.shape, np.inf)
    np.divide(takes, ends, out=ratio, where=later & (ends > 1e-9))
    best = ratio.min(axis=1)
    known = np.isfinite(best)
    last = float(best[known][-1]) if known.any() else 0.0
    found: np.ndarray = np.where(known, best, np.maximum(last, ages))
    return found


@dataclass(slots=True)
class Shortest:
    """The order of Tradewind. `version` rises when indices given before are no longer true."""

    version: int = 0
    _all: Lives = field(default_factory=Lives)
    _wide: dict[float, Lives] = field(default_factory=dict)

    def ended(self, width: float, seconds: float) -> bool:
        """A run of so many devices has ended after so long. Whether `learn` is due."""
        wide = self._wide.setdefault(width, Lives())
        for lives in (self._all, wide):
            lives.ended.append(max(width * seconds, 1e-9))
        return self._all.due() or wide.due()

    def learn(self, going: Iterable[tuple[float, float]]) -> None:
        """`going` are width and seconds of all that have not ended."""
        runs = list(going)
        if self._all.due():
            self._all.learn(width * seconds for width, seconds in runs)
        for wide, lives in self._wide.items():
            if lives.due():
                lives.learn(width * seconds for width, seconds in runs if width == wide)
        self.version += 1

    def index(self, width: float, attained: float, left: float | None) -> float:
        """Of a run that has had so many seconds and needs so many more (None: nobody knows)."""
        if left is not None:
            return float(width**KNOWN * left)
        lives = self._wide.get(width)
        if lives is None or lives.made < ALONE:
            lives = self._all
        return float(lives.index(width * attained) * width**NARROW)

    def services(self, width: float) -> tuple[list[float], bool]:
        """What runs of so many devices took that have ended, and whether these are alone: of too
        few, all others' too."""
        mine = self._wide.get(width)
        if mine is not None and len(mine.ended) >= ALONE:
            return mine.ended, True
        return self._all.ended, False

    def copy(self) -> Shortest:
        """The same, which learns by itself."""
        wide = {width: replace(each, ended=[*each.ended]) for width, each in self._wide.items()}
        return Shortest(self.version, replace(self._all, ended=[*self._all.ended]), wide)
