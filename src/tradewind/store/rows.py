"""The values that the store takes and hands out, besides those of `records`.

They are frozen and alias nothing inside the store: changing a document that came out of it changes
nothing in it. Times are seconds since 1970, money is whole nanodollars.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tradewind.records.events import Event
from tradewind.records.placements import Placement
from tradewind.records.plans import Quote
from tradewind.records.reports import Report
from tradewind.records.runs import Run
from tradewind.records.states import RunState
from tradewind.records.tasks import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to change one run, until `until` or until somebody claims it after that.

    `run` is the run as it was claimed (or last written under this claim). `pokes` is how often it
    had been poked by then. `stop_at` is when somebody (`stop_by`) asked to stop it, 0 for never.
    """

    run: Run
    token: str
    until: float
    pokes: int
    stop_at: float = 0.0
    stop_by: str = ""

    def after(self, run: Run, until: float) -> Claim:
        """The claim as it stands once a Change with `hold_until=until` wrote `run`."""
        return replace(self, run=run, until=until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """One thing that something was made from or made into.

    `dataset` and `model` have a number; `run` and `service` have a name; `bundle` and `environment`
    have a digest.
    """

    kind: str
    name: str = ""
    number: int = 0
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.name}@{self.number}" if self.number else self.name or self.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """`target` came from `source` (or used it), by `run`."""

    project: str
    source: Ref
    target: Ref
    run: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetVersion:
    """One immutable version of a dataset. It is visible when, and only when, this row is.

    `number` is given by the store (0 on the way in). `origin` is the placement or attempt that made
    it: a second row of the same (origin, slot) is the first one. `files` are Parquet, in order.
    """

    project: str
    name: str
    digest: str
    rows: int
    schema: dict[str, Any]
    stats: dict[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    bytes: int = 0
    table_uri: str = ""
    table_version: int = 0
    run: str = ""
    origin: str = ""
    slot: str = ""
    spec_digest: str = ""
    created: float = 0.0
    sources: tuple[Ref, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One immutable version of a model; `artifact` and `environment` are digests.

    `number`, `origin` and `slot` are as in `DatasetVersion`.
    """

    project: str
    name: str
    artifact: str
    format: str
    signature: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    environment: str = ""
    bytes: int = 0
    run: str = ""
    origin: str = ""
    slot: str = ""
    spec_digest: str = ""
    created: float = 0.0
    sources: tuple[Ref, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A model's alias pointing at a version since `at`; `number` 0 means that it was taken away.

    `number` -1, on the way in and in a Change only, means the version published in that Change.
    """

    project: str
    model: str
    alias: str
    number: int
    at: float = 0.0
    user: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """An accepted quote, and what became of it. One per run; `settled` 0 while it is open.

    `outcome` is `kept`, `broken` or `none` (the run failed or was stopped for another reason,
    or its plan gave no time).
    """

    run: str
    project: str
    quote: str
    made: float
    plan: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    price: int | None = None
    outcome: str = ""
    actual_seconds: float = 0.0
    actual_price: int = 0
    settled: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One line of the bill. Writing a (run, part) again replaces it: billing twice bills once.

    `part` is usually a placement's id.
    """

    project: str
    run: str
    part: str
    nanodollars: int
    seconds: float
    at: float
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """A pool has so much from `at` on, at so many nanodollars an hour for all of it."""

    pool: str
    at: float
    capacity: Resources
    price: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one claimed run becomes, with all that hangs on it; written whole or not at all.

    - `run`: the new value. Fields equal to `claim.run`'s are not written; `id`, `project`, `kind`,
      `name`, `spec`, `parent`, `key`, `root`, `created` never change. The run is due again at
      `run.wake` (0: only when poked), or at once if it was poked since it was claimed.
    - `hold_until`: keep the claim till then (to launch, say); 0 gives it back. While it is held the
      next Change carries `claim.after(run, hold_until)`.
    - `placements`: inserted, or updated: `handle`, `done`, `seats`, `reason`, and `state` (with its
      times) where `PLACEMENT_TRANSITIONS` has the step; where a report was faster, the stored one
      stays.
      A *new* placement whose lease is older than its pool's makes the whole Change stale.
    - `children`: accepted with it, once per (parent, key); a replayed one is dropped.
    - `datasets`, `models`: published. Their number is put into `run.result[slot]["version"]` where
      `run.result` has that slot, and events `dataset.version`, `model.version` are appended.
    - `pokes`: other runs to make due. A run that ends pokes its parent by itself.
    - `stops`: runs to ask to stop, as `Runs.ask_stop` does, by `stop_by`.
    """

    claim: Claim
    run: Run
    hold_until: float = 0.0
    placements: tuple[Placement, ...] = ()
    events: tuple[Event, ...] = ()
    children: tuple[Run, ...] = ()
    datasets: tuple[DatasetVersion, ...] = ()
    models: tuple[ModelVersion, ...] = ()
    aliases: tuple[Alias, ...] = ()
    edges: tuple[Edge, ...] = ()
    quotes: tuple[Quote, ...] = ()
    promises: tuple[Promise, ...] = ()
    usage: tuple[Usage, ...] = ()
    pokes: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    stop_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """A run without its big documents (`spec`, `pinned`, `plan`, `memory`), as lists show it."""

    id: str
    project: str
    kind: str
    name: str
    state: RunState
    created: float
    updated: float
    parent: str
    key: str
    root: str
    queue: str
    user: str
    pinned_digest: str
    quote: str
    waiting: str
    wake: float
    error: dict[str, Any]
    result: dict[str, Any]
    cached_from: str
    price: int
    started: float
    ended: float
    tries: int
    losses: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs to list; empty fields do not filter. `text` is a part of a name or of an id.

    `parent` and `root` take ids; `top` leaves out child runs, `work` those that only answer what a
    quote asked. `pools` is exact: "" in it stands for runs that have no pool (yet).
    """

    project: str = ""
    kind: str = ""
    states: frozenset[RunState] = frozenset()
    name: str = ""
    parent: str = ""
    root: str = ""
    text: str = ""
    top: bool = False
    work: bool = False
    pools: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """Newest first; `cursor` gets the next page, empty when this is the last."""

    runs: tuple[RunLine, ...]
    cursor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of reports. `fresh` were not seen before and are stored (stale ones included).

    `stale` holds ids of placements of which a newer number exists, `unknown` those not in the store
    (their reports are dropped). `runs` are those that were poked.
    """

    fresh: tuple[Report, ...]
    stale: frozenset[str]
    unknown: frozenset[str]
    runs: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One measured point of a run."""

    run: str
    name: str
    step: int
    value: float
    at: float
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Where time went beside user code."""

    run: str
    placement: str
    role: str
    index: int
    attempt: int
    name: str
    seconds: float
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a unit is, as it last said."""

    run: str
    placement: str
    role: str
    index: int
    done: float
    total: float
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A named spec as `apply` stored it. `bundle` is the digest of its code, or empty."""

    project: str
    kind: str
    name: str
    number: int
    document: dict[str, Any]
    digest: str
    bundle: str
    user: str
    created: float
    deleted: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who may place on a pool, until when. `number` rises with every new holder."""

    pool: str
    holder: str
    number: int
    expires: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A tenant; `document` is what tenancy keeps about it (quota, people, …)."""

    name: str
    created: float
    document: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody; `document` holds roles and the like."""

    name: str
    created: float
    document: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Only the digest of a token is kept. `scope` says what it reaches; `expires` 0 is never."""

    digest: str
    user: str
    kind: str
    created: float
    expires: float = 0.0
    scope: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """A sum over the ledger."""

    project: str
    nanodollars: int
    seconds: float
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What a prune removed."""

    runs: int
    events: int


Direction = Literal["sources", "users"]
