"""What the compiler may know: pools with their prices, and how earlier runs went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tradewind.records.load import Load
from tradewind.records.tasks import Lot, Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """One pool. `capacity` is what may be used at the same time, on `machines` machines of which
    the biggest holds `largest`; `price` is nanodollars per hour of the whole pool; `as_of` says
    when and from where the price was taken. `zones` is in how many zones its machines are, `sizes`
    how large each is (empty: not told); `production`: what it cannot give is refused.
    `where` it is, by level a name, the widest level first, as far as its machines do not tell it.
    `parts`: in how many parts its engine gives away a device of a class, one for each process (not
    named: whole devices; None: any part of any). `linked`: of a class, how many neighbours fast
    links join (not named: none).
    `shared`: projects may run beside each other although nothing keeps them apart.
    `load`: its neighbours now (None: it does not tell). `standing` is what services hold of it,
    which go on until they are stopped. `prices` are those of one core and of one device of each
    class that it has, in nanodollars per hour (empty: not known, or there are none)."""

    name: str
    engine: str
    capacity: Resources
    largest: Resources
    price: int
    machines: int = 1
    as_of: str = ""
    zones: int = 1
    sizes: tuple[Lot, ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    production: bool = False
    parts: Mapping[str, int] | None = None
    linked: Mapping[str, int] = field(default_factory=dict)
    shared: bool = False
    load: Load | None = None
    standing: Resources = field(default_factory=lambda: Resources(cpu=0.0))
    prices: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine of the catalogue: `price` in nanodollars per hour, on demand, `spot` on the spot
    market (0: not sold there), `memory` in bytes, and that of one accelerator. `name` is
    provider/instance, the same in all regions; `zones` of the region have it (0: not known).
    `as_of` says when the price was taken, `source` where."""

    name: str
    cpu: float
    memory: int
    price: int
    as_of: str
    spot: int = 0
    provider: str = ""
    region: str = ""
    accelerators: Mapping[str, int] = field(default_factory=dict)
    accelerator_memory: int = 0
    zones: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What an earlier training told of its steps: how many it made, and the seconds of one; on
    which pool. `of` is a digest of what makes a training the same but for its width and data."""

    steps: int
    seconds: float
    pool: str = ""
    of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """How one earlier run of the same function went: wall seconds in tasks, core-seconds of CPU,
    peak bytes of memory; the rows that it read, on which backend and how wide. `given` is a digest
    of what else it was given: parameters, a model; `load` the neighbours that it had; `pace` its
    steps, of a training that told enough of them."""

    seconds: float
    cpu: float
    memory: int
    rows: int = 0
    backend: str = ""
    width: int = 1
    parts: int = 0
    given: str = ""
    load: Load | None = None
    pace: Pace | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One measured call on a sample: wall seconds, CPU seconds, peak bytes of memory. The empty
    call has no rows. `out_rows` is how many came back, `keys` how many groups a function of the
    style group was given; `times` how often it was called (0: not counted), for `inside` seconds in
    all and so many CPU seconds. `pages` of memory it was given anew."""

    rows: int
    bytes: int
    groups: int
    wall: float
    cpu: float
    memory: int
    out_rows: int = 0
    pages: int = 0
    keys: int = 0
    times: int = 0
    inside: float = 0.0
    inside_cpu: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What the probes of a function found: the whole input's `rows`, row `groups` and `bytes`, the
    calls on samples of it, the family of its operators (`stream`, `hash`, `sort`, `group`,
    `table`) and what went wrong; `start` is the CPU seconds of a
    process until the function is ready, without its rows (0: not measured), `asleep` the seconds
    until then in which it does not compute, `page` the CPU seconds that a page of memory takes to
    be given. `keys` is how many
    groups the whole input has (0: it is not grouped), `growth` the power of its rows with which
    they grow, `times` how often the whole input calls a function that gets no groups (0: not
    counted). `load` is cores that others kept busy, `beside` who wanted them, where that is
    known."""

    rows: int
    groups: int
    bytes: int
    style: str
    backend: str
    family: str
    calls: tuple[Call, ...] = ()
    operators: tuple[str, ...] = ()
    problems: tuple[dict[str, Any], ...] = ()
    load: float = 0.0
    beside: Load | None = None
    start: float = 0.0
    asleep: float = 0.0
    page: float = 0.0
    keys: float = 0.0
    growth: float = 1.0
    times: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One earlier prediction and what came: CPU seconds, from the first quote of another run.
    `line` is what its probes said before any factor (0: `predicted` was that), `fixed` the starts
    in it; `seen` says that it was predicted from earlier runs of the same function."""

    backend: str
    family: str
    predicted: float
    actual: float
    function: str = ""
    line: float = 0.0
    fixed: float = 0.0
    seen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything together. `history` is newest first; `elsewhere` is the catalogue;
    `rows` is how many all its tables have together now, as an earlier run counts them; `style` is
    how it is written, where its spec says so; `paced` are those of `history` that were the same
    training and told of their steps."""

    pools: tuple[PoolFacts, ...]
    history: tuple[PastRun, ...] = ()
    elsewhere: tuple[Machine, ...] = ()
    probed: Probed | None = None
    outcomes: tuple[Outcome, ...] = ()
    rows: int = 0
    style: str = ""
    paced: tuple[PastRun, ...] = ()
