"""Who may use how much: queues as a tree with quotas, and below a queue the projects that use it.

A queue is guaranteed so much; it may borrow what others leave idle, and lends what it leaves idle
itself, each within a limit. What is beyond their guarantees goes to whoever has least of it: by
"dominant resource fairness" (Ghodsi et al., NSDI 2011) the share of a queue is the largest part
that it has, beyond its guarantee, of any one resource, by its weight. Among the projects of a queue
it is the same, and nothing is guaranteed. What a project may hold at most counts over all queues.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tradewind.base.errors import InvalidSpec, Location, Refused
from tradewind.scheduler.amounts import Amounts, words

ROOT = ""
DEFAULT = "default"
# By project, the most of each resource that all its runs may hold at the same time.
Caps = Iterable[tuple[str, tuple[tuple[str, int], ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Quotas are by resource: "cpu" in thousandths of a core, "memory" in bytes, a device class in
    thousandths of devices. Of what `borrow` does not name it may borrow all, of what `lend` does
    not name it lends all."""

    name: str
    parent: str = ROOT
    weight: float = 1.0
    guarantee: tuple[tuple[str, int], ...] = ()
    borrow: tuple[tuple[str, int], ...] = ()
    lend: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True, eq=False)
class Branch:
    """A queue, or a project in one (`project`: nothing is guaranteed to it, and nobody is below).
    `cap` stands for a project in all queues, and has only a ceiling. `used` is what all below hold
    when those have gone who have been told to; `load` the same with what those below keep for
    themselves, `now` that at this moment. `known_share` is below zero where it has to be
    found again."""

    name: str
    parent: Branch | None
    project: bool = False
    weight: float = 1.0
    guarantee: dict[str, int] = field(default_factory=dict)
    ceiling: dict[str, int] = field(default_factory=dict)
    keep: dict[str, int] = field(default_factory=dict)
    below: list[Branch] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)
    load: dict[str, int] = field(default_factory=dict)
    now: dict[str, int] = field(default_factory=dict)
    known_share: float = -1.0
    cap: Branch | None = None
    _path: tuple[Branch, ...] = ()

    def __post_init__(self) -> None:
        """Nobody gets another parent."""
        above = self.parent.path() if self.parent is not None else ()
        self._path = (self, *([self.cap] if self.cap is not None else []), *above)

    def path(self) -> tuple[Branch, ...]:
        """This one, its cap, whoever it is below, and so on up to the root."""
        return self._path

    def __str__(self) -> str:
        return f"{'project' if self.project else 'queue'} {self.name!r}"

    def over(self, resource: str) -> bool:
        """Whether it holds more of this than is guaranteed to it, with what those below keep."""
        holds = max(self.used.get(resource, 0), self.load.get(resource, 0))
        return holds > self.guarantee.get(resource, 0)


class Queues:
    """The tree, and who holds what of it."""

    def __init__(self, queues: Iterable[Queue] = (), caps: Caps = ()) -> None:
        """`caps` are what projects may hold at most. Raises InvalidSpec for what is no tree, or
        guarantees more than its parent has."""
        self.given, self._given_caps = tuple(queues), tuple(caps)
        check(self.given)
        self.root = Branch(ROOT, None)
        self._caps = {name: Branch(name, None, project=True, ceiling=dict(most))
                      for name, most in self._given_caps}  # fmt: skip
        self._queues: dict[str, Branch] = {ROOT: self.root}
        self._leaves: dict[tuple[str, str], Branch] = {}
        self._whole: dict[str, int] = {}
        # The resources of which anything is guaranteed or limited.
        self.limited = {name for each in self.given
                        for name, _ in (*each.guarantee, *each.borrow, *each.lend)}  # fmt: skip
        self.limited |= {name for cap in self._caps.values() for name in cap.ceiling}
        known = {each.name: each for each in self.given}
        for each in self.given:
            self._plant(each, known)

    def _plant(self, queue: Queue, known: Mapping[str, Queue]) -> Branch:
        found = self._queues.get(queue.name)
        if found is not None:
            return found
        above = self._plant(known[queue.parent], known) if queue.parent else self.root
        branch = Branch(queue.name, above, weight=queue.weight)
        branch.guarantee = guaranteed(queue, known.values())
        branch.ceiling = {name: branch.guarantee.get(name, 0) + most
                          for name, most in queue.borrow}  # fmt: skip
        branch.keep = {name: max(0, branch.guarantee.get(name, 0) - most)
                       for name, most in queue.lend}  # fmt: skip
        above.below.append(branch)
        self._queues[queue.name] = branch
        for account in ("now", "load"):
            _lift(above, account, branch.keep, +1)
        return branch

    def leaf(self, queue: str, project: str) -> Branch:
        """Where the runs of a project in a queue stand."""
        known = self._leaves.get((queue, project))
        if known is None:
            above = self._queues.get(queue)
            if above is None:
                above = self._queues[queue] = Branch(queue, self.root)
                self.root.below.append(above)
            known = self._leaves[queue, project] = Branch(
                project, above, project=True, cap=self._caps.get(project)
            )
            above.below.append(known)
        return known

    def known(self, queue: str, project: str) -> Branch | None:
        """The same, where anybody has stood there."""
        return self._leaves.get((queue, project))

    def below(self, branch: Branch, groups: Iterable[tuple[str, ...]]) -> list[bool]:
        """Of each pair of a queue and a project whether it stands below this one."""
        leaves = self._leaves
        return [group in leaves and branch in leaves[group].path()
                for group in groups]  # fmt: skip

    def copy(self) -> Queues:
        """The same, which changes by itself."""
        twin = Queues(self.given, self._given_caps)
        twin.capacity(self._whole)
        for (queue, project), leaf in self._leaves.items():
            twin.now(twin.leaf(queue, project), leaf.now)
            twin.then(twin.leaf(queue, project), leaf.used)
        return twin

    def capacity(self, whole: Amounts) -> None:
        """There is so much of everything."""
        self._whole = dict(whole)
        self.root.ceiling = {name: whole.get(name, 0) for name in self.limited}
        for branch in (*self._queues.values(), *self._leaves.values()):
            branch.known_share = -1.0

    # --- who holds what ----------------------------------------------------------------------

    def hold(self, leaf: Branch, amounts: Amounts, sign: int = 1) -> None:
        """So much more, or less."""
        self.now(leaf, amounts, sign)
        self.then(leaf, amounts, sign)

    def now(self, leaf: Branch, amounts: Amounts, sign: int = 1) -> None:
        """Only at this moment, while some have been told to go and have not yet gone."""
        if self.limited:
            _lift(leaf, "now", amounts, sign)

    def then(self, leaf: Branch, amounts: Amounts, sign: int = 1) -> None:
        """Only when they have gone, and those they go for have come; shares count so."""
        for branch in leaf.path():
            used = branch.used
            for name, amount in amounts.items():
                used[name] = used.get(name, 0) + sign * amount
            branch.known_share = -1.0
        if self.limited:
            _lift(leaf, "load", amounts, sign)

    def share(self, branch: Branch) -> float:
        """The largest part that it has, beyond its guarantee, of any one resource, by its weight:
        found when it is asked for, which with a single queue nobody does."""
        if branch.known_share < 0:
            branch.known_share = self._share(branch, branch.used)
        return branch.known_share

    def _share(self, branch: Branch, used: Amounts) -> float:
        most = 0.0
        guarantee, whole = branch.guarantee, self._whole
        for name, amount in used.items():
            beyond = amount - guarantee.get(name, 0)
            if beyond > 0:
                most = max(most, beyond / whole[name] if whole.get(name) else math.inf)
        return most / branch.weight

    # --- who may take what -------------------------------------------------------------------

    def full(self, leaf: Branch, more: Amounts,
             accounts: tuple[str, ...] = ("now", "load")) -> tuple[Branch, str] | None:  # fmt: skip
        """Who may not hold so much more, and of what, now or when those have gone who have been
        told to; None: all may."""
        for name, amount in more.items() if self.limited else ():
            for account in accounts if name in self.limited else ():
                found = _over(leaf, account, name, amount)
                if found is not None:
                    return found, name
        return None

    def never(self, leaf: Branch, wants: Amounts, firm: bool = False) -> str:
        """Why it may not hold so much even if nobody held anything, in words; empty where it may.
        The whole that there is counts if it is `firm`; else more may come back."""
        for name, wanted in wants.items() if self.limited else ():
            below, amount = leaf, 0
            for branch in leaf.path():
                mine = branch is not leaf.cap
                others = [each for each in branch.below if each is not below] if mine else []
                load = (amount if mine else 0) + sum(_kept(each, name) for each in others)
                most = branch.ceiling.get(name, math.inf)
                if load + wanted > most and (branch is not self.root or (firm and load)):
                    where = f"{branch} may use at most" if branch.name else "the pools have"
                    kept = f", of which other queues keep {words(name, load)}" if load else ""
                    return (f"{where} {words(name, int(most))} at the same time{kept}; this needs "
                            f"{words(name, wanted)}")  # fmt: skip
                if mine:
                    below, amount = branch, max(load, branch.keep.get(name, 0) - wanted)
        return ""

    def takes(self, leaf: Branch, wants: Amounts, other: Branch, theirs: Amounts,
              keeps: bool) -> bool:  # fmt: skip
        """Whether one that waits and wants so much may have the place of a run of another branch
        that has only borrowed it: where it is guaranteed, or else, if the other `keeps` its work,
        where even then the other's share is not the lesser."""
        mine, lender = apart(leaf, other)
        both = [name for name in theirs if wants.get(name)]
        # Of what nobody is guaranteed anything everybody holds more than is guaranteed to him.
        names = [name for name in both if name in self.limited] or both
        for branch in upto(other, lender):
            if not any(branch.over(name) for name in names):
                return False
        if self.owns(mine, leaf, wants):
            return True
        then = dict(mine.used)
        for name, amount in wants.items():
            then[name] = then.get(name, 0) + amount
        after = {name: amount - theirs.get(name, 0) for name, amount in lender.used.items()}
        return keeps and self._share(lender, after) >= self._share(mine, then)

    def claims(self, leaf: Branch, wants: Amounts) -> bool:
        """Whether so much more is guaranteed to it, or to whoever it is below: else it `takes` of
        others only from those that keep their work."""
        return any(self.owns(branch, leaf, wants) for branch in leaf.path())

    def owns(self, branch: Branch, leaf: Branch, more: Amounts) -> bool:
        """Whether all of this that is limited at all, for a leaf below it, is guaranteed to it
        beside what it holds and those below keep."""
        return not self.limited.isdisjoint(more) and all(
            not (beyond := _reaches(leaf, branch, name, amount))
            or branch.load.get(name, 0) + beyond <= branch.guarantee.get(name, 0)
            for name, amount in more.items()
            if name in self.limited
        )


def _kept(branch: Branch, name: str) -> int:
    """What it keeps for itself, and those below it for themselves, while nobody holds anything."""
    return max(branch.keep.get(name, 0), sum(_kept(each, name) for each in branch.below))


def _lift(leaf: Branch, account: str, amounts: Amounts, sign: int) -> None:
    """What a branch keeps for itself counts above it as if it were held."""
    for name, amount in amounts.items():
        more = sign * amount
        for branch in leaf.path():
            known: dict[str, int] = getattr(branch, account)
            before = known.get(name, 0)
            known[name] = before + more
            keep = branch.keep.get(name, 0)
            more = max(before + more, keep) - max(before, keep)
            if not more:
                break


def _over(leaf: Branch, account: str, name: str, more: int) -> Branch | None:
    """The first one that would be beyond its ceiling."""
    for branch in leaf.path():
        before = getattr(branch, account).get(name, 0)
        if before + more > branch.ceiling.get(name, math.inf):
            return branch
        keep = branch.keep.get(name, 0)
        more = max(before + more, keep) - max(before, keep)
        if not more:
            break
    return None


def _reaches(leaf: Branch, above: Branch, name: str, more: int) -> int:
    """How much of what a leaf takes counts for one above it: not what was kept for it."""
    for branch in leaf.path():
        if branch is above or not more:
            break
        before, keep = branch.load.get(name, 0), branch.keep.get(name, 0)
        more = max(before + more, keep) - max(before, keep)
    return more


def apart(one: Branch, other: Branch) -> tuple[Branch, Branch]:
    """Where the paths of two go apart: the last branches that they do not share."""
    theirs = next(each for each in other.path() if each.parent in one.path())
    mine = next(each for each in one.path() if each.parent is theirs.parent)
    return mine, theirs


def upto(branch: Branch, above: Branch) -> Iterator[Branch]:
    """The path of a branch as far as one that it is below."""
    for each in branch.path():
        yield each
        if each is above:
            return


def guaranteed(queue: Queue, queues: Iterable[Queue]) -> dict[str, int]:
    """What is guaranteed to it; of what it does not name, as much as to those below it."""
    found: dict[str, int] = {}
    known = tuple(queues)
    for each in known:
        if each.parent == queue.name:
            for name, amount in guaranteed(each, known).items():
                found[name] = found.get(name, 0) + amount
    return found | dict(queue.guarantee)


def check(queues: Iterable[Queue]) -> None:
    """Raises InvalidSpec for a name that comes twice, a parent that is not there or is below its
    own queue, and a guarantee that is less than those below it have."""
    known: dict[str, Queue] = {}
    for queue in queues:
        if queue.name in known:
            raise _wrong(queue, "name", "there are two queues of this name")
        known[queue.name] = queue
    for queue in known.values():
        _check_parents(queue, known)
    for queue in known.values():
        below = guaranteed(Queue(name=queue.name), known.values())
        for name, amount in queue.guarantee:
            if below.get(name, 0) > amount:
                raise _wrong(queue, "guarantee", f"the queues below it are guaranteed "
                             f"{words(name, below[name])}, it {words(name, amount)}")  # fmt: skip


def beyond(queues: Iterable[Queue], whole: Amounts) -> dict[str, int]:
    """How much more is guaranteed than there is."""
    known, wanted = tuple(queues), Counter[str]()
    for top in known:
        wanted.update(guaranteed(top, known) if not top.parent else {})
    return {name: amount - whole.get(name, 0) for name, amount in wanted.items()
            if amount > whole.get(name, 0)}  # fmt: skip


def may_guarantee(queues: Iterable[Queue], whole: Amounts, already: Amounts) -> None:
    """Raises Refused for guarantees above all that there is, by more than `already`."""
    known = tuple(queues)
    for name, more in sorted(beyond(known, whole).items()):
        if more > already.get(name, 0):
            there = whole.get(name, 0)
            tops = {top.name: guaranteed(top, known).get(name, 0)
                    for top in known if not top.parent}  # fmt: skip
            raise Refused(
                f"the queues are guaranteed {words(name, there + more)} together, "
                f"the pools have {words(name, there)}",
                hint="guarantee less; what is beyond guarantees is shared by weight",
                where=_place(max(tops, key=tops.__getitem__), "guarantee"),
            )


def _check_parents(queue: Queue, known: Mapping[str, Queue]) -> None:
    way, at = [queue.name], queue
    while at.parent:
        if at.parent not in known:
            raise _wrong(at, "parent", f"there is no queue {at.parent!r}")
        at = known[at.parent]
        if at.name in way:
            raise _wrong(queue, "parent", f"it is below itself: {' < '.join([*way, at.name])}")
        way.append(at.name)


def _wrong(queue: Queue, name: str, why: str) -> InvalidSpec:
    return InvalidSpec(f"queue {queue.name!r}: {why}", where=_place(queue.name, name))


def _place(queue: str, name: str) -> Location:
    """As far as it is known here: whoever has read the queue from a file knows the line."""
    return Location(file=f"queue/{queue}", field=name)
