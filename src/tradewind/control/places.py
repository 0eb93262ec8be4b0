"""What this server knows of pools: the ones it places on, those of other servers, those that nobody
can reach. The road, the pinner and the API ask here; `connect.py` keeps it true.

A pool is *served* here while this server holds its lease and is connected to it. Several servers
may share a database, each with pools of its own; a run of a pool that no server holds is looked
after by every one, so that it can wait with a reason, be refused, or be stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from tradewind.base.clock import Clock
from tradewind.base.errors import (
    Conflict,
    Location,
    Refused,
    TradewindError,
    TryAgain,
    Unreachable,
)
from tradewind.base.ids import digest_json
from tradewind.compiler.facts import PoolFacts
from tradewind.control import asking
from tradewind.control.neighbours import Neighbours
from tradewind.control.pools import LOCAL, server
from tradewind.engines.base import Engine
from tradewind.records import codec
from tradewind.records.placements import Placement
from tradewind.records.runs import Run
from tradewind.records.tasks import Lot
from tradewind.scheduler import demand
from tradewind.scheduler.answers import Answering
from tradewind.scheduler.events import PoolChanged
from tradewind.specs import PoolSpec
from tradewind.store.base import Store

# After so long whoever waits for a pool looks again, even if nobody tells that it has come.
GUARD_SECONDS = 15.0


class NoPlace(Exception):
    """A run's pool cannot be planned for yet; `why` says what is waited for."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(slots=True)
class Places:
    """One per server, which others reach at `url`. `facts` are of every pool of which anything is
    known; `leases` and `engines` of those served here; `specs` of all that were applied but this
    machine's; `priority` tells that of a run. Changed between two passes of the loop only."""

    store: Store
    clock: Clock
    worker: str
    machine: Answering
    interpreter: Callable[[], str]
    url: str = ""
    facts: dict[str, PoolFacts] = field(default_factory=dict)
    leases: dict[str, int] = field(default_factory=dict)
    engines: dict[str, Engine] = field(default_factory=dict)
    environments: dict[str, str] = field(default_factory=dict)
    specs: dict[str, PoolSpec] = field(default_factory=dict)
    troubles: dict[str, TradewindError] = field(default_factory=dict)
    strays: set[str] = field(default_factory=set)
    shared: bool = False
    neighbours: Neighbours = field(default_factory=Neighbours)
    priority: Callable[[Run], int] = lambda run: 0
    _held: dict[str, float] = field(default_factory=dict)

    # --- who places where --------------------------------------------------------------------

    def mine(self) -> set[str]:
        """The pools whose runs this server steps."""
        return {*self.leases, *self.strays}

    def served(self, pool: str) -> bool:
        """Whether this server places there."""
        return pool in self.leases

    def holder(self, pool: str) -> str:
        """The other server that places there, or nothing. Blocks on the store."""
        lease = self.store.leases.current(pool)
        if lease is None or lease.holder == self.worker or lease.expires <= self.clock.now():
            return ""
        self.shared = True
        self._held[pool] = lease.expires
        return lease.holder.partition(":")[0]

    def beside(self, pool: str) -> str:
        """The address of the other server that places there, as far as it is known. Blocks on the
        store."""
        found = server(self.store, pool) if self.holder(pool) else ""
        return "" if found == self.url else found

    def notice(self, pool: str) -> None:
        """A run names this pool. While no server holds it, its runs are stepped here too."""
        if not pool or pool in self.leases:
            return
        # Asked for every run that comes in: what was held a moment ago is not looked up again.
        if self._held.get(pool, 0.0) > self.clock.now() or self.holder(pool):
            self.strays.discard(pool)
        else:
            self.strays.add(pool)

    def sweep(self, pools: set[str]) -> None:
        """Which of these pools, and of those known, no server holds now."""
        asked = {*pools, *self.specs, *self.strays} - {"", *self.leases}
        self.strays = {pool for pool in asked if not self.holder(pool)}

    def why(self, pool: str) -> str:
        """Why nothing is placed there by this server, in words. Blocks on the store."""
        error = self.troubles.get(pool)
        if error is not None and pool not in self.leases:
            return f"pool {pool!r}: {said(error)}"
        holder = self.holder(pool)
        if holder:
            return f"pool {pool!r} is placed by the server on {holder}"
        soon = "; it is being connected" if pool in self.specs else ""
        return f"no server places on pool {pool!r} now{soon}"

    def hint(self, why: str) -> str:
        """What to do about the pools that these words say are in trouble."""
        found = [each.hint for each in tuple(self.troubles.values()) if each.message in why]
        return "\n".join(dict.fromkeys(filter(None, found)))

    def engine(self, pool: str) -> Engine:
        """Raises Conflict for a pool of another server, Unreachable for one that is in trouble."""
        engine = self.engines.get(pool)
        if engine is not None:
            return engine
        why = self.why(pool)
        if self.holder(pool):
            raise Conflict(f"{why}, and only that one can look into its work", hint="ask it there")
        raise Unreachable(why, after=GUARD_SECONDS)

    # --- what the road asks ------------------------------------------------------------------

    def choice(self, pool: str) -> tuple[PoolFacts, ...]:
        """The pools that a run may be planned for: the one it names, or those served here, or where
        none is, all that are known. Raises NoPlace while nothing can be said about them, Refused
        for a pool that nobody knows."""
        if pool:
            if pool not in self.facts and (pool in self.specs or self.holder(pool)):
                raise NoPlace(self.why(pool))
            if pool not in self.facts:
                raise Refused(
                    f"there is no pool named {pool!r}",
                    hint=f"pools: {', '.join(self.facts) or 'none'}",
                    where=Location(field="pool"),
                )
            if _empty(self.facts[pool]):
                raise NoPlace(f"pool {pool!r} has no machine that takes work now")
            return tuple(self.facts.values())
        able = [
            each for name, each in self.facts.items() if name in self.leases and not _empty(each)
        ]
        good = [each for each in able if each.name not in self.troubles]
        found = tuple(good or able or self.facts.values())
        if not found:
            known = [self.why(name) for name in self.specs]
            raise NoPlace("; ".join(known) or "there is no pool yet: apply one")
        return found

    def now(self, facts: PoolFacts) -> PoolFacts:
        """The same pool with the neighbours and the services that it has now."""
        load = self.neighbours.now(facts.name, self.clock.now())
        return replace(facts, load=load, standing=self.machine.standing(facts.name))

    def first(self) -> str:
        """The pool that goes before the others when none is named: this machine."""
        return LOCAL if LOCAL in self.leases else ""

    def environment(self, pool: str) -> str:
        """The digest of the interpreter that tasks without dependencies of their own get there."""
        if pool:
            return self._environment(pool)
        if LOCAL in self.leases:
            return self.interpreter()
        served = sorted({self._environment(name) for name in self.leases or self.specs})
        if len(served) == 1:
            return served[0]
        return digest_json(served) if served else self.interpreter()

    def _environment(self, pool: str) -> str:
        if pool == LOCAL and LOCAL in self.leases:
            return self.interpreter()
        return self.environments.get(pool) or digest_json({"pool": pool})

    def here(self, pool: str) -> bool:
        """Whether tasks there see this machine's files."""
        return LOCAL in self.leases and pool in {"", LOCAL}

    def event(self, pool: str) -> PoolChanged:
        """How the scheduler is told of a pool. This machine does not grow; elsewhere machines come
        and go, and what they held when a run was planned may be there again. Machines that are not
        told one by one are taken to be as the largest."""
        facts = self.facts[pool]
        alike = (Lot(each=facts.largest, count=max(1, facts.machines)),)
        nodes = demand.nodes(facts.sizes or alike, facts.where, facts.linked)
        most = demand.limit(facts.capacity, nodes)
        prices = tuple(sorted(facts.prices.items()))
        return PoolChanged(pool=pool, nodes=nodes, firm=pool == LOCAL, most=most, prices=prices)

    def hold(self, live: Iterable[Placement]) -> None:
        """Tell the scheduler what is there, as far as it does not know. Blocks on the store."""
        fresh = {each.run: each for each in live if not self.machine.holds(each.run)}
        runs = self.store.runs.get_many(fresh.keys()).values()
        held = (asking.occupied(run, fresh[run.id], self.priority(run)) for run in runs)
        self.machine.feed(held, self.clock.now())

    # --- what people ask ---------------------------------------------------------------------

    def listing(self) -> list[dict[str, Any]]:
        """Every known pool with its state, in the order of names, this machine first."""
        names = sorted({*self.facts, *self.specs}, key=lambda name: (name != LOCAL, name))
        return [self._described(name) for name in names]

    def _described(self, name: str) -> dict[str, Any]:
        facts, spec, error = self.facts.get(name), self.specs.get(name), self.troubles.get(name)
        body: dict[str, Any] = {"name": name}
        if facts is not None:
            body |= codec.to_json(self.now(facts))
        elif spec is not None:
            body |= {"engine": spec.engine, "production": spec.production}
        served = name in self.leases
        holder = "" if served else self.holder(name)
        if served and error is None:
            state = "ready"
        elif holder:
            state = "elsewhere"
        else:
            state = "connecting" if error is None else "trouble"
        body["state"] = state
        if served:
            body["used"] = codec.to_json(self.machine.used(name))
        if holder:
            body["server"] = holder
        if error is not None and not holder:
            body["error"] = error.to_json()
        if spec is not None:
            body["options"] = dict(spec.options)
        return body


def _empty(pool: PoolFacts) -> bool:
    """Whether it holds nothing at all: what a machine of it could hold is not known."""
    return not pool.capacity.cpu


def said(error: TradewindError) -> str:
    """What is wrong with a pool, in words."""
    if "cannot be reached" in error.message:
        return error.message
    how = "cannot be reached" if isinstance(error, TryAgain) else "cannot be used"
    return f"{how}: {error.message}"
