"""Whom to interrupt so that another run can start: who loses the least work, and only where the
other then certainly starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tradewind.scheduler.amounts import Amounts, Parts, each
from tradewind.scheduler.nodes import Ask, Mask, Nodes, Reserve, Spot
from tradewind.scheduler.queues import Branch, Queues


@dataclass(frozen=True, slots=True)
class Victim:
    """A run that may be interrupted: what it holds where, what is lost of it, in devices times
    seconds, and how late it is due. `moves`: it may only move, and must find another place at
    once. `foreign`: it is of another project or queue, and may be interrupted only as far as
    `Queues.takes` says; `keeps` and `amounts` are for that."""

    run: str
    parts: Parts
    spots: tuple[Spot, ...]
    loss: float
    due: float
    leaf: Branch
    amounts: Amounts
    moves: bool = False
    foreign: bool = False
    keeps: bool = False

    @property
    def cost(self) -> tuple[float, float]:
        """Least loss first; where nothing is lost, whoever is due last."""
        return (self.loss, -self.due)


@dataclass(frozen=True, slots=True)
class Room:
    """Who leaves, and the places that are free then, one for each process."""

    leaving: frozenset[str]
    spots: tuple[Spot, ...]


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
        """The cheapest who go so that the queues allow what is wanted, nobody of them in vain; None
        where that does not help."""
        gone: list[Victim] = []
        left = sorted(victims, key=lambda victim: victim.cost)
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
        inside = any(each is full for each in victim.leaf.path())
        return inside and not victim.moves and victim.amounts.get(name, 0) > 0


def make(
    nodes: Nodes, parts: Parts, victims: Iterable[Victim], claim: Claim, among: Mask
) -> Room | None:
    """Who must go so that the queues allow this and it fits; None where it does not help. Node by
    node of these, the cheapest first."""
    scratch, left = nodes.copy(), {victim.run: victim for victim in victims}
    forced = claim.quota(left.values())
    if forced is None:
        return None
    gone: list[Victim] = [*forced]
    for victim in forced:
        del left[victim.run]
        _give(scratch, victim)
    spots: list[Spot] = []
    for ask in each(parts):
        row = _first(scratch, ask)
        if row < 0:
            chosen = _cheapest(scratch, ask, list(left.values()), claim, among)
            if chosen is None:
                return None
            row, leaving = chosen
            for victim in leaving:
                del left[victim.run]
                claim.gone(victim)
                _give(scratch, victim)
            gone += leaving
        spots.append(scratch.at(row, ask))
        scratch.take(spots[-1], ask)
    if not _elsewhere(scratch, gone, spots):
        return None
    return Room(frozenset(victim.run for victim in gone), tuple(spots))


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


def _give(nodes: Nodes, victim: Victim) -> None:
    for spot, ask in zip(victim.spots, each(victim.parts), strict=True):
        nodes.give(spot, ask)


def _cheapest(
    nodes: Nodes, ask: Ask, victims: list[Victim], claim: Claim, among: Mask
) -> tuple[int, list[Victim]] | None:
    """The node where least is lost until this fits, and who leaves."""
    on: dict[int, list[Victim]] = {}
    for victim in sorted(victims, key=lambda victim: victim.cost):
        for row in {spot.node for spot in victim.spots if among[spot.node]}:
            on.setdefault(row, []).append(victim)
    best: tuple[tuple[float, float], int, list[Victim]] | None = None
    for row, here in sorted(on.items()):
        if best is not None and here[0].cost >= best[0]:
            continue
        leaving = _until_it_fits(nodes, row, ask, here, claim)
        if not leaving:
            continue
        cost = (sum(each.loss for each in leaving), -min(each.due for each in leaving))
        if best is None or cost < best[0]:
            best = (cost, row, leaving)
    return None if best is None else best[1:]


def _until_it_fits(
    nodes: Nodes, row: int, ask: Ask, here: list[Victim], claim: Claim
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
