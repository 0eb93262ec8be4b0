"""The contract of the store: what callers may assume, and what raises.

Of every implementation, checked by `testing.StoreSuite`:

- **Thread-safe.** Any method may be called from any thread. Every call blocks; none does network
  work other than to its own database.
- **Whole or not at all.** One call is one transaction. When it returns, what it wrote survives the
  death of every process; what `Runs.accept` wrote survives loss of power too.
- **No aliasing.** Values handed out are frozen copies.
- **Errors.** `errors.TryAgain` (`Unreachable` included) when the same call may pass later: the
  database is locked, restarts, does not answer. `errors.Broken` with a hint when an operator must
  act: disk full, read-only, corrupt, newer than this program. `errors.Bug` when the caller broke
  the contract. What else a method raises, it says. After any error nothing was written.

Control is the only writer of runs. A run is *due* when something happened to it: it was accepted, a
report came, a child ended, `wake` was reached, somebody poked it or asked it to stop. Only due runs
are claimed, so a thousand idle runs cost nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from tradewind.records.events import Event
from tradewind.records.placements import Attempt, Placement
from tradewind.records.plans import Quote
from tradewind.records.reports import Report
from tradewind.records.runs import Run
from tradewind.records.states import RunState
from tradewind.store import rows


class Runs(Protocol):
    """Runs: accepted once, claimed, changed under a claim, listed."""

    def accept(self, runs: Sequence[Run], events: Sequence[Event] = ()) -> list[Run]:
        """Store new runs, flushed to disk, in one transaction; they are due at once.

        (project, parent, key) is unique where key is not empty: a replay returns the stored run in
        its place, inserts nothing, and drops the events whose `run` is the id that was not stored.
        A top run's key is the request's idempotency key. Answers in the order of the question.
        """

    def claim(
        self,
        worker: str,
        states: Collection[RunState],
        limit: int,
        now: float,
        lease_seconds: float,
        pools: Collection[str] | None = None,
    ) -> list[rows.Claim]:
        """Take due runs in these states that nobody holds at `now`, longest due first; with
        `pools`, only those of these pools and those that have none.

        A run's pool is that of its plan, before that the one its spec names. Servers with different
        pools share a database so: each passes its own, and a run without a pool is for whoever
        comes first. Such a parent (a pipeline) may be steered by another server at every pass,
        which is safe, since all that steering knows is stored. Its children do not inherit where
        it was claimed: a child that names no pool is planned by the first server that claims it,
        onto a pool of that one. So whatever such runs need (code, inputs) every server must reach.
        Nobody claims a run whose pool no server has, not even to end it.

        A run is held by at most one claim. One token per call. A run whose claim expired unapplied
        is due still. Returns fewer than `limit` only if there are no more (or others hold them).
        """

    def apply(self, changes: Sequence[rows.Change]) -> set[str]:
        """Write the changes in one transaction; the ids of those refused as stale.

        A change is stale when its claim was lost (it expired and the run was claimed again, or the
        run is gone): nothing of it is written, the others are. An expired claim that nobody took is
        still good. A poke that came since the claim leaves the run due. A run that ends pokes its
        parent. At most one change per run. Raises Bug for a way that `RUN_TRANSITIONS` does not
        have; then nothing of the whole batch is written.
        """

    def renew(self, claims: Sequence[rows.Claim], until: float) -> set[str]:
        """Hold these claims until then; the run ids whose claim was lost."""

    def release(self, claims: Sequence[rows.Claim]) -> None:
        """Give claims back unused: the runs stay due. Lost claims are no error."""

    def forget(self, workers: str) -> int:
        """Take back all claims of workers whose name begins so, because their processes are known
        to be dead: nobody waits until they run out. How many there were."""

    def poke(self, run_ids: Iterable[str], at: float | None = None) -> None:
        """Make these runs due (at `at`; now by default), never later than they were. A poke that
        comes while a run is claimed is seen after that claim. Ended or unknown runs: no error."""

    def ask_stop(self, run_ids: Iterable[str], by: str) -> list[str]:
        """Note that these shall stop and poke them; the ids that were not ended. Claims carry
        `stop_at` from then on; moving to STOPPING is for whoever claims. The first asker stays."""

    def next_due(
        self, states: Collection[RunState], now: float, pools: Collection[str] | None = None
    ) -> float | None:
        """When `claim` can next find one: `now` or earlier, later (a wake, a claim's expiry), or
        None if nothing is due until something happens."""

    def due_pools(self) -> set[str]:
        """The pools of all runs that are due now or later; "" stands for those that have none."""

    def get(self, run_id: str) -> Run:
        """Raises NotFound."""

    def get_many(self, run_ids: Collection[str]) -> dict[str, Run]:
        """By id; unknown ones are missing."""

    def find(self, prefix: str, project: str = "") -> Run:
        """By id or by a prefix of it that only one run has. Raises NotFound, and Conflict with the
        candidates when several runs have it."""

    def page(self, where: rows.RunFilter, limit: int = 50, cursor: str = "") -> rows.RunPage:
        """One page, newest first. Runs accepted meanwhile do not shift later pages. Raises
        UserError for a cursor that this store did not give."""

    def counts(self, project: str = "", root: str = "") -> dict[RunState, int]:
        """How many runs are in each state; states without any are missing."""

    def children(self, parents: Collection[str]) -> dict[str, list[rows.RunLine]]:
        """Child runs by parent, oldest first; every parent asked for is a key."""

    def cached(self, project: str, pinned_digest: str) -> Run | None:
        """The newest succeeded run of this pinned spec."""

    def memories(self, project: str, kind: str, name: str, limit: int = 10) -> list[dict[str, Any]]:
        """What succeeded runs of this name kept in `memory`, newest first: `history` without the
        rest, which is much."""

    def history(self, project: str, kind: str, name: str, limit: int = 10) -> list[Run]:
        """Ended runs of this name, newest first, whole: durations, pinned specs, results."""


class Placements(Protocol):
    """Where tasks were put. They are written by `Runs.apply` and moved by reports."""

    def get(self, placement_id: str) -> Placement:
        """Raises NotFound."""

    def of(self, run_ids: Collection[str]) -> dict[str, list[Placement]]:
        """By run, in the order they were made; every run asked for is a key."""

    def live(self, *pools: str) -> list[Placement]:
        """Those that have not ended, on these pools or on all, in the order they were made."""


class Reports(Protocol):
    """What tasks told: the one door back."""

    def record(self, reports: Sequence[Report]) -> rows.Recorded:
        """Fold reports into attempts, placements, metrics, params, phases and progress, once per
        (placement, stream, seq), and poke the runs of `attempt` and `placement` reports.

        They are applied in the order given. Those of a placement's stream come in the order of
        their seq; one not above the highest that came is a repetition and ignored. An ended attempt
        or placement never changes again. A placement moves to RUNNING with its first attempt that
        runs. Of a stale placement (a newer number of its task exists) attempts and its own state
        are stored, nothing else. Appends the events `attempt.<state>`, `placement.<state>` and
        `run.progress`. Safe to repeat after any error.
        """

    def attempts(self, run_ids: Collection[str]) -> dict[str, list[Attempt]]:
        """By run, oldest placement first, stale ones left out; every run asked for is a key."""

    def all_attempts(self, run_id: str) -> list[tuple[Attempt, bool]]:
        """Every attempt of a run with whether it is stale."""

    def waits(self, run_ids: Collection[str]) -> dict[str, str]:
        """What units that prepare wait for, in the engine's words, one for each run; runs of which
        no unit said so are missing."""

    def metrics(
        self,
        run_id: str,
        name: str = "",
        after: int = 0,
        limit: int = 10_000,
        *,
        newest: bool = False,
    ) -> list[rows.Metric]:
        """Points in the order they came, those with `seq` above `after`; of more than `limit` the
        first ones, or the `newest`."""

    def last_metrics(self, run_ids: Collection[str]) -> dict[str, dict[str, float]]:
        """The newest value of each metric by run; every run asked for is a key."""

    def params(self, run_id: str) -> dict[str, Any]:
        """Parameters as last told."""

    def phases(self, run_id: str) -> list[rows.Phase]:
        """In the order they came."""

    def progress(self, run_id: str) -> list[rows.Progress]:
        """The last word of each unit."""


class Events(Protocol):
    """What happened, appended and never changed."""

    def append(self, events: Sequence[Event]) -> int:
        """The seq of the last one (or `last_seq()` for none)."""

    def after(
        self, seq: int, *, project: str = "", run: str = "", root: str = "", limit: int = 1000
    ) -> list[Event]:
        """Events with a higher seq, in order. An event that becomes visible later has a higher seq
        than every one already seen, so a follower misses nothing."""

    def last_seq(self) -> int:
        """0 when there are none."""


class Revisions(Protocol):
    """Named specs with numbered revisions."""

    def apply(
        self,
        project: str,
        kind: str,
        name: str,
        *,
        document: Mapping[str, Any],
        digest: str,
        bundle: str,
        user: str,
    ) -> tuple[rows.Revision, bool]:
        """The newest revision, and whether it is new. The same digest and bundle as the newest live
        one make none. Numbers count from 1 and go on after a delete."""

    def get(self, project: str, kind: str, name: str, number: int = 0) -> rows.Revision:
        """The newest (0) or that one; a number is found even after a delete. Raises NotFound."""

    def newest(self, project: str = "", kind: str = "") -> list[rows.Revision]:
        """The newest of each name that is not deleted, by kind and name."""

    def history(self, project: str, kind: str, name: str) -> list[rows.Revision]:
        """Newest first, deleted ones included; empty for an unknown name."""

    def delete(self, project: str, kind: str, name: str) -> rows.Revision:
        """Hide the name; the revision that was newest. Raises NotFound."""


class Registry(Protocol):
    """Versions of datasets and models, immutable; aliases; lineage."""

    def publish_dataset(self, version: rows.DatasetVersion) -> rows.DatasetVersion:
        """Give it the next number of its name. The stored row if its (origin, slot) is there."""

    def publish_model(self, version: rows.ModelVersion) -> rows.ModelVersion:
        """As `publish_dataset`."""

    def dataset(self, project: str, name: str, number: int = 0) -> rows.DatasetVersion:
        """The newest (0) or that one. Raises NotFound."""

    def datasets(self, project: str = "") -> list[rows.DatasetVersion]:
        """The newest version of each, by name."""

    def dataset_versions(self, project: str, name: str) -> list[rows.DatasetVersion]:
        """Newest first."""

    def model(self, project: str, name: str, number: int = 0, alias: str = "") -> rows.ModelVersion:
        """The newest (0), that number, or what the alias points at. Raises NotFound."""

    def models(self, project: str = "") -> list[rows.ModelVersion]:
        """The newest version of each, by name."""

    def model_versions(self, project: str, name: str) -> list[rows.ModelVersion]:
        """Newest first."""

    def made_by(self, run: str) -> tuple[list[rows.DatasetVersion], list[rows.ModelVersion]]:
        """What a run published."""

    def set_alias(self, alias: rows.Alias) -> rows.Alias:
        """Point an alias at a version (0 takes it away). Raises NotFound for a version that does
        not exist."""

    def aliases(self, project: str, model: str) -> list[rows.Alias]:
        """Where each alias points now, by name."""

    def alias_history(self, project: str, model: str, alias: str = "") -> list[rows.Alias]:
        """Every move, newest first."""

    def add_edges(self, edges: Sequence[rows.Edge]) -> None:
        """Lineage beyond that of published versions; an edge that is there stays one."""

    def lineage(self, project: str, ref: rows.Ref, direction: rows.Direction) -> list[rows.Edge]:
        """One step: what it came from (`sources`), or what came from or used it (`users`)."""


class Ledger(Protocol):
    """Quotes, promises, bills."""

    def put_quote(self, project: str, quote: Quote) -> None:
        """Store; the same id again replaces."""

    def quote(self, quote_id: str) -> Quote:
        """Raises NotFound. An expired one is returned: the caller has the clock."""

    def put_promise(self, promise: rows.Promise) -> None:
        """Store or settle: one per run."""

    def promise(self, run: str) -> rows.Promise | None: ...

    def promises(self, project: str = "", limit: int = 100) -> list[rows.Promise]:
        """Newest first."""

    def put_usage(self, usage: Sequence[rows.Usage]) -> None:
        """One row per (run, part); the same again replaces."""

    def usage(self, run: str) -> list[rows.Usage]:
        """Of this run alone."""

    def bill_of_tree(self, root: str) -> rows.Bill:
        """Of a run and everything below it."""

    def since(self, at: float) -> list[rows.Usage]:
        """What was put on bills after that, in the order of time."""

    def put_capacity(self, capacity: rows.Capacity) -> None:
        """A pool has this from now on; what it had already changes nothing."""

    def capacities(self) -> list[rows.Capacity]:
        """What each pool has had from when on, in the order in which it was told."""

    def bills(self, since: float = 0.0, until: float = 0.0) -> list[rows.Bill]:
        """Sums by project over `since <= at < until` (0: no bound), by name."""


class Leases(Protocol):
    """Who may place on which pool."""

    def take(self, pool: str, holder: str, now: float, seconds: float) -> int | None:
        """The lease's number, or None while another holds it. A new holder gets a higher number
        than every one before; the holder itself keeps its number and time runs anew."""

    def renew(self, pool: str, holder: str, number: int, now: float, seconds: float) -> bool:
        """False if it was lost. One that expired and nobody took is good again."""

    def release(self, pool: str, holder: str, number: int) -> None:
        """Let the next one have it at once. A lost lease is no error."""

    def current(self, pool: str) -> rows.Lease | None: ...


class Tenants(Protocol):
    """Projects, users and tokens, as tenancy keeps them."""

    def put_project(self, project: rows.Project) -> None:
        """Store or replace."""

    def project(self, name: str) -> rows.Project | None: ...

    def projects(self) -> list[rows.Project]: ...

    def put_user(self, user: rows.User) -> None:
        """Store or replace."""

    def user(self, name: str) -> rows.User | None: ...

    def users(self) -> list[rows.User]: ...

    def put_token(self, token: rows.Token) -> None:
        """Store or replace."""

    def token(self, digest: str) -> rows.Token | None:
        """An expired one is returned: the caller has the clock."""

    def drop_tokens(self, digests: Collection[str] = (), *, expired_at: float = 0.0) -> int:
        """Forget these, and those expired at that time; how many."""


class Settings(Protocol):
    """A few JSON values by key, for whoever needs one remembered."""

    def get(self, key: str, default: Any = None) -> Any: ...

    def put(self, key: str, value: Any) -> None: ...

    def remove(self, keys: Collection[str]) -> None: ...

    def all(self, prefix: str = "") -> dict[str, Any]: ...


class Store(Protocol):
    """The parts of one database. `store.open` gives one."""

    @property
    def runs(self) -> Runs: ...
    @property
    def placements(self) -> Placements: ...
    @property
    def reports(self) -> Reports: ...
    @property
    def events(self) -> Events: ...
    @property
    def revisions(self) -> Revisions: ...
    @property
    def registry(self) -> Registry: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def leases(self) -> Leases: ...
    @property
    def tenants(self) -> Tenants: ...
    @property
    def settings(self) -> Settings: ...

    def forget(self, run_ids: Collection[str]) -> rows.Pruned:
        """Delete the trees of these top runs, as `prune` does; one with a live run stays whole."""

    def prune(self, older_than: float, keep: int = 0) -> rows.Pruned:
        """Delete trees of runs that ended before `older_than`, with their placements, reports and
        events, but not the newest `keep` of each (project, kind, name). Versions, bills and
        promises stay. A tree with a live run stays whole."""

    def size(self) -> int:
        """Bytes on disk."""

    def close(self) -> None:
        """Let go of all connections. Any later call raises Bug."""
