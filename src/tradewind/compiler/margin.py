"""A bill in the margin of the code: what each line of the user cost, and what was no line.

Every nanodollar of a bill is somewhere, and once: seconds are weights, and the bill is apportioned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tradewind.base.units import apportion

# What seconds were for that are no line of the user's, in the order in which they are shown.
BUCKETS = {
    "around": "begin and end of processes, and between tries",
    "imports": "start-up and imports",
    "inputs": "reading inputs",
    "outputs": "writing outputs",
    "idle": "waiting, without a line of yours",
    "outside": "work outside your code",
    "short": "your code, too short to be looked at",
    "rest": "your other lines",
}
# The phases of a try (docs/reports.md) as buckets; `call` is user code.
_PHASES = {"import": "imports", "inputs": "inputs", "outputs": "outputs", "store": "outputs"}
_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file and what it calls elsewhere; or a bucket, which has no file."""

    file: str
    line: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One try at a unit: how long it lasted (s), its phases, and what user code was seen at (s);
    the bucket of a call of which nothing was seen."""

    seconds: float
    phases: Mapping[str, float] = field(default_factory=dict)
    seen: Mapping[Place, float] = field(default_factory=dict)
    unseen: str = "short"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds and nanodollars of one place."""

    place: Place
    seconds: float
    price: int


def bucket(name: str) -> Place:
    """The place of a bucket."""
    return Place("", 0, name)


def margin(price: int, held: float, tries: Sequence[Try]) -> list[Cost]:
    """A placement's bill over its places. `held`: the seconds that its processes were paid for,
    together; what no try had of them is around them."""
    found: dict[Place, float] = {}
    for each in tries:
        for place, seconds in _of(each).items():
            found[place] = found.get(place, 0.0) + seconds
    left = held - sum(found.values())
    if left > 0 or not found:
        found[bucket("around")] = found.get(bucket("around"), 0.0) + max(left, _LEAST)
    weights = [max(1, round(seconds * 1e9)) for seconds in found.values()]
    parts = apportion(price, weights)
    return [
        Cost(place=place, seconds=seconds, price=part)
        for (place, seconds), part in zip(found.items(), parts, strict=True)
    ]


def _of(each: Try) -> dict[Place, float]:
    """The seconds of one try by place. What was seen stands for all of the call: it was not looked
    at from its first moment."""
    found: dict[Place, float] = {}
    left = each.seconds
    for name, part in _PHASES.items():
        seconds = min(left, each.phases.get(name, 0.0))
        if seconds > 0:
            found[bucket(part)] = found.get(bucket(part), 0.0) + seconds
            left -= seconds
    seen = sum(each.seen.values())
    # Whoever was killed, or still runs, has told no phases: then all of its time is the call.
    call = min(left, each.phases.get("call", left if seen else 0.0))
    if call > 0:
        for place, seconds in each.seen.items() if seen else [(bucket(each.unseen), 1.0)]:
            found[place] = found.get(place, 0.0) + call * seconds / (seen or 1.0)
        left -= call
    if left > 0:
        found[bucket("around")] = found.get(bucket("around"), 0.0) + left
    return found


def together(margins: Iterable[Iterable[Cost]]) -> list[Cost]:
    """Several margins as one: buckets first, then lines in the order of their files."""
    seconds: dict[Place, float] = {}
    prices: dict[Place, int] = {}
    for margin_ in margins:
        for cost in margin_:
            seconds[cost.place] = seconds.get(cost.place, 0.0) + cost.seconds
            prices[cost.place] = prices.get(cost.place, 0) + cost.price
    order = list(BUCKETS)
    places = sorted(
        prices, key=lambda p: (p.file, p.line, "" if p.file else order.index(p.what), p.what)
    )
    return [Cost(place=place, seconds=seconds[place], price=prices[place]) for place in places]
