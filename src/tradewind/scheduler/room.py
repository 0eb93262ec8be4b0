"""Whom to interrupt so that another run can start: who loses the least work, and only where the
other then certainly starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tradewind.scheduler.amounts import Amounts, Parts, each
from tradewind.scheduler.going import Cost, Table
from tradewind.scheduler.layout import Plan
from tradewind.scheduler.nodes import Ask, Ints, Mask, Nodes, Reserve, Spot
from tradewind.scheduler.queues import Branch, Queues


@dataclass(frozen=True, slots=True)
class Victim:
    """A run that may be interrupted: what it holds where, and as `cost` what is lost of it, in
    devices times seconds, and how soon it is due. `moves`: it may only move, and must find another
    place at once. `foreign`: it is of another project or queue, and may be interrupted only as far
    as `Queues.takes` says; `keeps` and `amounts` are for that."""

    run: str
    parts: Parts
    spots: tuple[Spot, ...]
    cost: Cost
    leaf: Branch
    amounts: Amounts
    moves: bool = False
    foreign: bool = False
    keeps: bool = False


Make = Callable[[int, Cost], Victim]


@dataclass(frozen=True, slots=True)
class Room:
    """Who leaves, the places that are free then, one for each process, and what is lost."""

    leaving: frozenset[str]
    spots: tuple[Spot, ...]
    cost: Cost


class Claim:
    """What one that waits may take, step by step: whoever is `gone` no longer counts in the queues,
    until all is put back at the end."""

    def __init__(self, queues: Queues, leaf: Branch, wants: Amounts) -> None:
        self._queues, self._leaf, self._wants = queues, leaf, wants
        self._gone: dict[str, Victim] = {}

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        for victim in [*self._gone.values()]:
            self.back(victim)

    def allows(self, victim: Victim) -> bool:
        """Whether it may have the place of this one now."""
        return not victim.foreign or self._queues.takes(
            self._leaf, self._wants, victim.leaf, victim.amounts, victim.keeps
        )

    def gone(self, victim: Victim) -> None:
        """It has gone."""
        self._gone[victim.run] = victim
        self._queues.hold(victim.leaf, victim.amounts, -1)

    def back(self, victim: Victim) -> None:
        """It has not."""
        del self._gone[victim.run]
        self._queues.hold(victim.leaf, victim.amounts)

    def quota(self, victims: Iterable[Victim]) -> list[Victim] | None:
        """Who of these, the cheapest first, goes so that the queues allow what is wanted, nobody of
        them in vain; None where that does not help."""
        gone: list[Victim] = []
        if not self._queues.full(self._leaf, self._wants):
            return gone
        left = list(victims)
        while (full := self._queues.full(self._leaf, self._wants)) is not None:
            able = (each for each in left if self._helps(each, *full) and self.allows(each))
            victim = next(able, None)
            if victim is None:
                return None
            left.remove(victim)
            self.gone(victim)
            gone.append(victim)
        for victim in reversed([*gone]):
            self.back(victim)
            if self._queues.full(self._leaf, self._wants):
                self.gone(victim)
            else:
                gone.remove(victim)
        return gone

    @staticmethod
    def _helps(victim: Victim, full: Branch, name: str) -> bool:
        """Whether this branch would hold less of this without it."""
        return full in victim.leaf.path() and not victim.moves and victim.amounts.get(name, 0) > 0


class Able:
    """Those who may be interrupted, the cheapest first. There are many of them, and of most it is
    enough to know what they hold where: a victim is made of whoever is looked at closely."""

    def __init__(self, slots: Ints, costs: list[Cost], processes: Table, make: Make) -> None:
        """Rows and costs of runs, the processes of all runs; `make` gives the victim of a row."""
        self._slots, self._costs, self._processes, self._make = slots, costs, processes, make
        self._victims: dict[int, Victim] = {}
        # By row of a run, where it stands here.
        self._at = np.full(int(slots.max()) + 1, -1)
        self._at[slots] = np.arange(len(slots))

    def __iter__(self) -> Iterator[Victim]:
        return map(self.at, range(len(self._slots)))

    def at(self, place: int) -> Victim:
        """The one there."""
        found = self._victims.get(place)
        if found is None:
            found = self._make(int(self._slots[place]), self._costs[place])
            self._victims[place] = found
        return found

    def on(self, nodes: Nodes, ask: Ask, among: Mask) -> Iterator[tuple[Cost, int, list[int]]]:
        """By node on which there might be room for this if all went, what it costs at least, and
        where those stand who hold anything there; the cheapest node first. The cost is that of the
        first with whom it might fit: whoever is last to go costs as much at least. Which devices
        become free is not looked at."""
        places, rows, order = self._there(among)
        enough = np.ones(len(order), dtype=np.bool_)
        # What is held beyond what there is of one device is no less of the others.
        free = {"cpu": nodes.cpu, "memory": nodes.memory,
                "milli": np.maximum(nodes.devices, 0).sum(axis=1)}  # fmt: skip
        begins = np.searchsorted(rows, rows)
        for name, need in (("cpu", ask.cpu), ("memory", ask.memory), ("milli", ask.milli)):
            if need:
                given = np.concatenate([[0.0], np.cumsum(self._processes[name][order])])
                enough &= free[name][rows] + given[1:] - given[begins] >= need
        first = np.flatnonzero(enough)
        found, at = np.unique(rows[first], return_index=True)
        least = [self._costs[place] for place in places[first[at]].tolist()]
        ends = np.searchsorted(rows, found, side="right").tolist()
        each = zip(least, found.tolist(), begins[first[at]].tolist(), ends, strict=True)
        for cost, row, begin, end in sorted(each):
            yield cost, row, list(dict.fromkeys(places[begin:end].tolist()))

    def _there(self, among: Mask) -> tuple[Ints, Ints, Ints]:
        """Of their processes on these nodes, node by node and the cheapest first: where their runs
        stand, their nodes, and their rows."""
        processes = self._processes
        places = np.full(len(processes), -1)
        known = processes["alive"] & (processes["run"] < len(self._at))
        places[known] = self._at[processes["run"][known]]
        order = np.flatnonzero((places >= 0) & among[processes["row"]])
        order = order[np.lexsort((places[order], processes["row"][order]))]
        return places[order], processes["row"][order], order

    def drop(self, victims: Iterable[Victim]) -> None:
        """They have gone."""
        gone = {victim.run for victim in victims}
        for place, victim in self._victims.items():
            if victim.run in gone:
                self._at[self._slots[place]] = -1


def make(
    nodes: Nodes, parts: Parts, able: Able, claim: Claim, among: Mask, plan: Plan | None = None
) -> Room | None:
    """Who must go so that the queues allow this and it fits (as a plan says, if there is one); None
    where it does not help. Node by node of these, the cheapest first."""
    forced = claim.quota(able)
    if forced is None:
        return None
    scratch, gone = nodes.copy(), [*forced]
    able.drop(forced)
    for victim in forced:
        give(scratch, victim.parts, victim.spots)
    spots: list[Spot] = []
    for ask in each(parts):
        masks = [None] if plan is None else [*plan.among(ask)]
        row = next((row for mask in masks if (row := _first(scratch, ask, mask)) >= 0), -1)
        if row < 0:
            last = masks[-1]
            there = among if last is None else among & last
            chosen = _cheapest(scratch, ask, able, claim, there)
            if chosen is None:
                return None
            row, leaving = chosen
            able.drop(leaving)
            for victim in leaving:
                claim.gone(victim)
                give(scratch, victim.parts, victim.spots)
            gone += leaving
        spots.append(scratch.at(row, ask))
        scratch.take(spots[-1], ask)
        if plan is not None:
            plan.put(row)
    if not _elsewhere(scratch, gone, spots):
        return None
    return leaves(gone, tuple(spots))


def leaves(gone: Sequence[Victim], spots: tuple[Spot, ...]) -> Room:
    """What it is if these go for those places."""
    runs = frozenset(victim.run for victim in gone)
    return Room(runs, spots, _cost(gone))


def _cost(gone: Sequence[Victim]) -> Cost:
    """Of all of them: what is lost, and how soon the first of them is due."""
    costs = [victim.cost for victim in gone]
    return sum(lost for lost, _ in costs), max((soon for _, soon in costs), default=-np.inf)


def beyond(
    parts: Parts, spots: Iterable[Spot], going: Iterable[tuple[Parts, tuple[Spot, ...]]]
) -> dict[int, Reserve]:
    """By node, what these places take beyond what those that still have to go will leave there."""
    found: dict[int, Reserve] = {}
    for spot, ask in zip(spots, each(parts), strict=True):
        found.setdefault(spot.node, Reserve()).add(spot, ask)
    for theirs, where in going:
        for spot, ask in zip(where, each(theirs), strict=False):
            if spot.node in found:
                found[spot.node].add(spot, ask, -1)
    return {row: reserve.positive() for row, reserve in found.items()}


def _elsewhere(nodes: Nodes, gone: list[Victim], spots: list[Spot]) -> bool:
    """Whether those that only move find another place."""
    elsewhere = np.ones(len(nodes), dtype=np.bool_)
    elsewhere[[spot.node for spot in spots]] = False
    for ask in [ask for victim in gone if victim.moves for ask in each(victim.parts)]:
        row = _first(nodes, ask, elsewhere)
        if row < 0:
            return False
        nodes.take(nodes.at(row, ask), ask)
    return True


def _first(nodes: Nodes, ask: Ask, among: Mask | None = None) -> int:
    fit = nodes.fit(ask) if among is None else nodes.fit(ask) & among
    row = int(fit.argmax())
    return row if fit[row] else -1


def give(nodes: Nodes, parts: Parts, spots: Iterable[Spot]) -> None:
    """Nobody holds that any more."""
    for spot, ask in zip(spots, each(parts), strict=False):
        nodes.give(spot, ask)


def _cheapest(
    nodes: Nodes, ask: Ask, able: Able, claim: Claim, among: Mask
) -> tuple[int, list[Victim]] | None:
    """The node where least is lost until this fits, and who leaves."""
    best: tuple[Cost, int, list[Victim]] | None = None
    for least, row, places in able.on(nodes, ask, among):
        if best is not None and (least, row) >= best[:2]:
            break
        leaving = _until_it_fits(nodes, row, ask, map(able.at, places), claim)
        if leaving:
            cost = _cost(leaving)
            if best is None or (cost, row) < best[:2]:
                best = (cost, row, leaving)
    return None if best is None else best[1:]


def _until_it_fits(
    nodes: Nodes, row: int, ask: Ask, here: Iterable[Victim], claim: Claim
) -> list[Victim]:
    """The cheapest that leave until it fits on this node, without those that need not; nobody if it
    does not fit without them either."""
    only = np.array([row])
    gone: list[Victim] = []
    fits = False
    for victim in here:
        if claim.allows(victim):
            _leave(nodes, row, victim, claim)
            gone.append(victim)
            fits = bool(nodes.fit(ask, only)[0])
        if fits:
            break
    for victim in sorted(gone, key=lambda victim: victim.cost, reverse=True) if fits else ():
        _return(nodes, row, victim, claim)
        if nodes.fit(ask, only)[0]:
            gone.remove(victim)
        else:
            _leave(nodes, row, victim, claim)
    for victim in gone:
        _return(nodes, row, victim, claim)
    return gone if fits else []


def _leave(nodes: Nodes, row: int, victim: Victim, claim: Claim) -> None:
    claim.gone(victim)
    _here(nodes, row, victim, +1)


def _return(nodes: Nodes, row: int, victim: Victim, claim: Claim) -> None:
    claim.back(victim)
    _here(nodes, row, victim, -1)


def _here(nodes: Nodes, row: int, victim: Victim, sign: int) -> None:
    for spot, ask in zip(victim.spots, each(victim.parts), strict=True):
        if spot.node == row:
            (nodes.give if sign > 0 else nodes.take)(spot, ask)
