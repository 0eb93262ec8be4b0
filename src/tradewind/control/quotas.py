"""The queues and the quotas of projects that were applied: whether they can be, what the scheduler
is told of them, what is to be seen of them. They hold for all pools on which this server places,
together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tradewind.base.errors import Conflict, Location, Refused, TradewindError
from tradewind.control.places import Places
from tradewind.control.pools import limited
from tradewind.records.runs import Run
from tradewind.records.tasks import Resources
from tradewind.scheduler import demand
from tradewind.scheduler.events import QueuesChanged
from tradewind.scheduler.queues import DEFAULT, beyond, check, may_guarantee
from tradewind.specs import PoolSpec, ProjectSpec, QueueSpec, from_document
from tradewind.store.base import Store


@dataclass(slots=True)
class Quotas:
    """One per server. Changed between two passes of the loop only."""

    store: Store
    places: Places
    specs: dict[str, QueueSpec] = field(default_factory=dict)
    projects: dict[str, ProjectSpec] = field(default_factory=dict)

    def load(self) -> None:
        """What is stored holds from now on."""
        self.specs, self.projects = self._queues(), self._projects()
        told = QueuesChanged(
            queues=tuple(map(demand.queue, self.specs.values())),
            caps=demand.caps(self.projects.values()),
        )
        self.places.machine.feed([told])

    def changed(self) -> bool:
        """Whether another server of this database has applied or deleted any. Blocks on the
        store."""
        return (self._queues(), self._projects()) != (self.specs, self.projects)

    def _queues(self) -> dict[str, QueueSpec]:
        found = (from_document(each.document) for each in self.store.revisions.newest(kind="queue"))
        return {spec.name: spec for spec in found if isinstance(spec, QueueSpec)}

    def _projects(self) -> dict[str, ProjectSpec]:
        newest = self.store.revisions.newest(kind="project")
        found = (from_document(each.document) for each in newest)
        return {spec.name: spec for spec in found if isinstance(spec, ProjectSpec)}

    # --- what is asked before it is stored ---------------------------------------------------

    def may(self, specs: Sequence[QueueSpec | ProjectSpec], applied: Sequence[PoolSpec]) -> None:
        """Raises InvalidSpec for what would be no tree with those that there are, Conflict for a
        name that another project has, Refused for guarantees above what the pools have, with those
        that are `applied` at the same time."""
        then = {**self.specs}
        for spec in specs:
            of_kind = self.specs if isinstance(spec, QueueSpec) else self.projects
            known = of_kind.get(spec.name)
            if known is not None and known.project != spec.project:
                raise Conflict(
                    f"there is a {spec.kind} {spec.name!r} in project {known.project!r}",
                    hint=f"each {spec.kind} has a name of its own, in whichever project it is "
                    "applied: choose another one",
                    where=Location(file=f"{spec.kind}/{spec.name}", field="name"),
                )
            if isinstance(spec, QueueSpec):
                then[spec.name] = spec
        if then == self.specs and not applied:
            return
        queues = [demand.queue(spec) for spec in then.values()]
        now, whole = [demand.queue(spec) for spec in self.specs.values()], self._whole(applied)
        try:
            check(queues)
            if whole is not None:  # what is too much already, and gets no worse, is theirs who did
                may_guarantee(queues, whole, beyond(now, self._whole(()) or whole))
        except TradewindError as error:
            error.where = _nearest(error.where, [each.name for each in specs], then)
            raise

    def _whole(self, applied: Sequence[PoolSpec]) -> Counter[str] | None:
        """What the pools will have; None while that is not known of each."""
        then = {facts.name: facts.capacity for facts in self.places.facts.values()}
        for spec in applied:
            if spec.name not in then and spec.capacity is None:
                return None
            if spec.capacity is not None:
                then[spec.name] = limited(then.get(spec.name, Resources(cpu=0.0)), spec.capacity)
        return _sum(then.values()) if then else None

    def may_go(self, name: str) -> None:
        """Raises Conflict while there are queues below it, or runs in it."""
        below = sorted(spec.name for spec in self.specs.values() if spec.parent == name)
        if below:
            raise Conflict(f"queue {name!r} has queues below it: {', '.join(below)}",
                           hint="delete these first")  # fmt: skip
        if inside := self.places.machine.inside(name):
            shown = ", ".join(inside[:5]) + (", …" if len(inside) > 5 else "")
            raise Conflict(f"{len(inside)} runs wait or work in queue {name!r}: {shown}",
                           hint="wait for these runs, or stop them first: tw stop RUN")  # fmt: skip

    def may_lose(self, pool: str, left: Resources | None) -> None:
        """Raises Refused where the guarantees are above what there is when only so much is `left`
        of a pool, or nothing."""
        queues = [demand.queue(spec) for spec in self.specs.values()]
        now = {facts.name: facts.capacity for facts in self.places.facts.values()}
        then = {name: each for name, each in now.items() if name != pool}
        then |= {pool: left} if left is not None else {}
        may_guarantee(queues, _sum(then.values()), beyond(queues, _sum(now.values())))

    def check(self, name: str) -> None:
        """Raises Refused for a queue in which nothing can wait. For one that this server does not
        know it blocks on the store: another one may have applied it a moment ago."""
        specs = self.specs if name in {DEFAULT, *self.specs} else self._queues()
        below = sorted(spec.name for spec in specs.values() if spec.parent == name)
        where = Location(field="queue")
        if below:
            raise Refused(
                f"queue {name!r} is shared out to the queues below it",
                hint=f"wait in one of these: {', '.join(below)}",
                where=where,
            )
        if name not in {DEFAULT, *specs}:
            known = ", ".join(sorted({DEFAULT, *specs}))
            raise Refused(f"there is no queue {name!r}", hint=f"queues: {known}", where=where)

    def priority(self, run: Run) -> int:
        """What it says, or else its queue."""
        said = run.spec.get("priority")
        if said is not None:
            return int(said)
        spec = self.specs.get(run.queue)
        return spec.priority if spec is not None else 0

    # --- what people ask ---------------------------------------------------------------------

    def listing(self) -> list[dict[str, Any]]:
        """Every queue, whoever is above before those below."""
        return self.places.machine.queues()


def gave(run: Run) -> str:
    """The run to which this one has given its newest place; or nothing."""
    told = run.memory.get("gave") or {}
    return str(told.get("by", "")) if told.get("number") == run.number else ""


def _sum(capacities: Iterable[Resources]) -> Counter[str]:
    whole = Counter[str]()
    for capacity in capacities:
        whole.update(demand.amounts(capacity))
    return whole


def _nearest(
    where: Location | None, names: Sequence[str], then: Mapping[str, QueueSpec]
) -> Location | None:
    """Of the queues that are applied the one that is meant: a fault that shows in another one comes
    of one below it."""
    named = where.file.partition("/")[2] if where is not None else ""
    if where is None or named in names:
        return where
    for name in names:
        above, seen = name, set[str]()
        while above in then and above not in seen:
            seen.add(above)
            above = then[above].parent or ""
            if above == named:
                return replace(where, file=f"queue/{name}")
    return where
