"""What a cluster knows, for those who ask: who holds what, what is free, what a run waits for. They
ask from other threads than the one that tells it what happens: so what changes is copied first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from tradewind.records.placements import Seat
from tradewind.records.tasks import Resources
from tradewind.scheduler import amounts, demand
from tradewind.scheduler.amounts import CPU, MEMORY, Amounts
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import Waiting
from tradewind.scheduler.held import Held
from tradewind.scheduler.line import Kind, kind
from tradewind.scheduler.nodes import WHOLE, Nodes
from tradewind.scheduler.pool import Pool
from tradewind.scheduler.queues import Branch, Queues


class Answering(Cluster):
    """A cluster that can be asked."""

    def why(self, run: str) -> str:
        """What a waiting run waits for, in words; empty when it does not wait."""
        return self.reasons([run]).get(run, "")

    def reasons(self, runs: Collection[str]) -> dict[str, str]:
        """What those of the runs that wait are waiting for, in words."""
        asked = set(runs)
        found = {
            due.asked.run: f"pool {due.asked.pool!r}: others make room for it"
            for due in list(self.due.values())
            if due.asked.run in asked
        }
        waiting = list(self.line.waiting.values())
        if not any(each.run in asked for each in waiting):
            return found
        ahead, reasons = Counter[str](), _Reasons(self)
        for each in sorted(waiting, key=lambda each: each.since):
            if each.run in asked:
                found[each.run] = reasons.of(each, ahead[each.pool])
            ahead[each.pool] += 1
        return found

    def began(self, run: str) -> float:
        """When a run got the place that it holds."""
        return self.held[run].began

    def kept(self, run: str) -> float:
        """The seconds of its work at the place that it holds which it has saved."""
        held = self.held.get(run)
        return max(0.0, held.saved - held.began) if held is not None else 0.0

    def holds(self, run: str) -> str:
        """The pool that this run holds a place on, or nothing."""
        held = self.held.get(run)
        return held.asked.pool if held is not None else ""

    def inside(self, queue: str) -> list[str]:
        """The runs that wait or hold a place in this queue."""
        asked = [*self.line.waiting.values(), *(due.asked for due in list(self.due.values())),
                 *(held.asked for held in list(self.held.values()) if not held.of)]  # fmt: skip
        return [each.run for each in asked if each.queue == queue]

    def holders(self, pool: str) -> set[str]:
        """The runs that hold a place there."""
        return {held.of or held.asked.run for held in self._there(pool)}

    def seats(self, run: str) -> tuple[Seat, ...]:
        """The places of its processes, one after the other."""
        return self._seats(self.held[run], lambda _: True)

    def stays(self, run: str) -> tuple[Seat, ...]:
        """Of these those that it was not told to give back."""
        return self._seats(self.held[run], lambda more: not self._told(more))

    def _seats(self, held: Held, counts: Callable[[str], bool]) -> tuple[Seat, ...]:
        pool = self.pools.get(held.asked.pool)
        mine = pool.seats(held.spots) if pool is not None and held.spots else held.seats
        grown = [more for more in list(held.grown) if counts(more)]
        return (*mine, *(seat for more in grown for seat in self.seats(more)))

    def grown(self, run: str) -> int:
        """By how many processes it may work more than it waited with; those that it was told to
        give back are no more among them."""
        held = self.held.get(run)
        return 0 if held is None else sum(not self._told(more) for more in held.grown)

    def leaving(self, run: str) -> str:
        """The run that gets the place of this one, which has been told to go; or nothing."""
        held = self.held.get(run)
        due = self.due.get(held.by) if held is not None else None
        return due.asked.run if due is not None and due.told <= self.now else ""

    def free(self, pool: str) -> Resources:
        """How much of a pool may still be held, on all its machines together."""
        known = self.pools.get(pool)
        return demand.resources({} if known is None else known.spare(known.nodes))

    def room(self, pool: str, each: Resources) -> int:
        """How many more processes of this size a pool can hold now."""
        known = self.pools.get(pool)
        return 0 if known is None else known.room(demand.ask(each))

    def used(self, pool: str) -> Resources:
        """How much of a pool is held."""
        return _sum(self._there(pool))

    def standing(self, pool: str) -> Resources:
        """How much of it is held by what goes on until it is stopped."""
        return _sum(filter(_stands, self._there(pool)))

    def queues(self) -> list[dict[str, Any]]:
        """Every queue, one that is above before those below it: its quotas, what it uses, who waits
        in it, and its projects. Of `most` what is not named is not limited."""
        waiting = Counter(
            (each.queue, each.project) for each in list(self.line.waiting.values())
        ) + Counter((due.asked.queue, due.asked.project) for due in list(self.due.values()))
        return [
            each for top in list(self.tree.root.below) for each in _told(self.tree, top, waiting)
        ]

    def _there(self, pool: str) -> list[Held]:
        return [held for held in list(self.held.values()) if held.asked.pool == pool]

    # --- what it waits for -------------------------------------------------------------------

    def reason(self, waiting: Waiting, beside: Nodes | None) -> tuple[str, bool]:
        """What is missing for it now, in words, and whether others ahead of it want that too.
        `beside` is its pool as it would be if nothing but what stands were there (None: nothing
        stands there)."""
        pool = self.pools.get(waiting.pool)
        if pool is None:
            why = self.gone.get(waiting.pool, "")
            return f"pool {waiting.pool!r}" + (f": {why}" if why else " is not there"), False
        if not pool.could(waiting.parts, waiting.layout):
            never = pool.never(waiting.pool, waiting.parts, waiting.layout)
            return f"{never}; it waits until there is more", False
        lacks = _lacks(pool, waiting)
        if limit := self._limit(pool, waiting, kept=not lacks):
            return limit, True
        found = f"pool {waiting.pool!r}: {lacks or 'about to start'}"
        if beside is not None and not pool.holds(waiting.parts, beside, waiting.layout):
            services = self.standing(waiting.pool)
            found += f"; what services hold ({services}) is free when they are stopped"
        return found, True

    def beside(self, name: str) -> Nodes | None:
        """The nodes of a pool as they would be if nothing but what stands were there; None where
        nothing stands."""
        pool, standing = self.pools.get(name), [*filter(_stands, self._there(name))]
        if pool is None or not standing:
            return None
        nodes = pool.empty().copy()
        for held in standing:
            for spot, ask in zip(held.spots, amounts.each(held.asked.parts), strict=False):
                nodes.take(spot, ask)
        return nodes

    def _limit(self, pool: Pool, waiting: Waiting, kept: bool) -> str:
        """Which of its queues may not hold so much more, in words; or, if it is said that this is
        `kept`, that it is kept for others."""
        leaf = self.tree.known(waiting.queue, waiting.project)
        if leaf is None or self._allowed(pool, waiting, leaf) is not None:
            return ""
        # Of several models that would do each is at its limit: the first one is named.
        models = [frozenset({model}) for model in pool.nodes.kinds]
        for parts in (waiting.parts, *(amounts.narrowed(waiting.parts, each) for each in models)):
            wants = pool.wants(parts)
            if full := self.tree.full(leaf, wants):
                break
        else:
            return ""
        branch, name = full
        if branch is self.tree.root:
            free = (
                f"pool {waiting.pool!r}: what is free of its {_unit(name)} is kept for other queues"
            )
            return free if kept else ""
        most = branch.ceiling[name]
        held = max(branch.now.get(name, 0), branch.load.get(name, 0))
        if held >= most:
            return f"{branch} holds all {amounts.words(name, most)} that it may use"
        return (
            f"{branch} holds {amounts.figure(name, held)} of the "
            f"{amounts.words(name, most)} that it may use, "
            f"this needs {amounts.figure(name, wants[name])}"
        )


@dataclass(slots=True)
class _Reasons:
    """Those of one moment: who asks for the same waits for the same."""

    cluster: Answering
    _known: dict[Kind, tuple[str, bool]] = field(default_factory=dict)
    _beside: dict[str, Nodes | None] = field(default_factory=dict)

    def of(self, waiting: Waiting, ahead: int) -> str:
        which = kind(waiting)
        known = self._known.get(which)
        if known is None:
            if waiting.pool not in self._beside:
                self._beside[waiting.pool] = self.cluster.beside(waiting.pool)
            known = self.cluster.reason(waiting, self._beside[waiting.pool])
            self._known[which] = known
        found, counts = known
        return found + (f"; {ahead} ahead of it" if ahead and counts else "")


def _lacks(pool: Pool, waiting: Waiting) -> str:
    """What is missing of it all, or else on single machines; empty when it fits."""
    lacks = pool.lacks(waiting.parts, pool.nodes)
    if lacks or pool.holds(waiting.parts, pool.nodes):
        return lacks or pool.scattered(waiting.parts, pool.nodes, waiting.layout)
    for ask, count in waiting.parts:
        held = pool.nodes.room(ask)
        if held < count and count == 1:
            return f"needs {ask} on one machine, and none has so much free"
        if held < count:
            return f"needs {count} times {ask}, and there is room for {held} of them now"
    return "there is no room for all its processes at the same time now"


def _told(
    queues: Queues, branch: Branch, waiting: Counter[tuple[str, str]]
) -> list[dict[str, Any]]:
    below = [each for each in list(branch.below) if not each.project]
    projects = [each for each in list(branch.below) if each.project]
    found = [told for each in below for told in _told(queues, each, waiting)]
    waits = {each.name: waiting[branch.name, each.name] for each in projects}
    told = {
        "name": branch.name,
        "parent": branch.parent.name if branch.parent else "",
        "weight": branch.weight,
        "guarantee": figures(branch.guarantee),
        "most": figures(branch.ceiling),
        "keeps": figures(branch.keep),
        "used": figures(branch.used),
        "share": queues.share(branch),
        "waiting": sum(waits.values()) + sum(each["waiting"] for each in found
                                             if each["parent"] == branch.name),
        "projects": [
            {"name": each.name, "used": figures(each.used), "share": queues.share(each),
             "most": figures(each.cap.ceiling) if each.cap is not None else {},
             "waiting": waits[each.name]}
            for each in projects
        ],
    }  # fmt: skip
    return [told, *found]


def figures(found: Amounts) -> dict[str, Any]:
    """Cores, bytes, and devices by class, parts of them too."""
    known = {
        name: amount for name, amount in list(found.items()) if amount or name in (CPU, MEMORY)
    }
    body: dict[str, Any] = {
        name: count / WHOLE for name, count in known.items() if name not in (CPU, MEMORY)
    }
    body = {"accelerators": body} if body else {}
    body |= {"memory": known[MEMORY]} if MEMORY in known else {}
    return body | ({"cpu": known[CPU] / WHOLE} if CPU in known else {})


def _stands(held: Held) -> bool:
    return held.asked.stands


def _sum(holders: Iterable[Held]) -> Resources:
    found = Counter[str]()
    for held in holders:
        found.update(held.amounts or amounts.asked(held.asked.parts, ())[0])
    return demand.resources(found)


def _unit(name: str) -> str:
    return {amounts.CPU: "CPU", amounts.MEMORY: "memory"}.get(name, name)
