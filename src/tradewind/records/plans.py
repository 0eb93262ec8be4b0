"""Options, plans and quotes: what a spec can cost, and what was promised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tradewind.records.tasks import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to carry a pinned spec out, not yet priced: what a kind offers the compiler.

    `width` processes work at the same time, on `parts` items of an array (0: it is no array).
    `sized` says that nobody pinned the size: the compiler may raise it to what was measured.
    `elastic` says that it may choose the cores of a process and, of an array, width and parts,
    `measurable` that a probe can call it on samples of its input, as it can all that are elastic.
    `widest` is how many processes a gang may have, where that is more than `width` (else 0): by
    what its steps took at other widths the compiler may choose.
    """

    backend: str
    width: int = 1
    resources: Resources = field(default_factory=Resources)
    layout: str = "single"
    sized: bool = False
    parts: int = 0
    elastic: bool = False
    measurable: bool = False
    widest: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure with its spread; `None` where nothing is known yet. Of ten outcomes of a prediction
    nine lie between `low` and `p90`: as far below the middle, in proportion, as `p90` is above."""

    p50: float
    p90: float

    @property
    def low(self) -> float:
        """The lower end."""
        return self.p50 * self.p50 / self.p90 if self.p90 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One way to meet a spec. Seconds and nanodollars; unknown figures are None and say so.

    `not_given` says what of its objective the pool cannot give. `cpu` is CPU seconds of all its
    processes: what a neighbour on the machine does not change.
    `grounds` is what a predicted figure was made from, so that its outcome can teach: the `family`,
    the probes' `line` without any factor and what is `fixed` in it, whether the function was `seen`
    before, a process's peak `memory`, the `rows`.
    """

    pool: str
    engine: str
    option: Option
    seconds: Interval | None = None
    price: Interval | None = None
    cpu: Interval | None = None
    basis: str = "unknown, first run"
    chosen_because: str = ""
    not_given: str = ""
    estimate_only: bool = False
    grounds: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The plans worth choosing between. It can be held to until `expires` (seconds since 1970).
    `against` says what a change to the code did to it, where that was asked; `of` what it is made
    for, as far as a spec alone says it; `rows` how many it was asked for, 0 for those of its
    inputs."""

    id: str
    pinned: str
    plans: tuple[Plan, ...]
    made: float
    expires: float
    elsewhere: tuple[Plan, ...] = ()
    against: dict[str, Any] = field(default_factory=dict)
    of: str = ""
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbesWanted:
    """The compiler cannot price this without measuring: calls on samples of the input, at most the
    share `share` of its row groups, for at most `seconds` in all."""

    seconds: float
    share: float
