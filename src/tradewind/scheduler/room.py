"""Whom to interrupt so that another run can start: who loses the least work, and only where the
other then certainly starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tradewind.scheduler.events import Parts
from tradewind.scheduler.nodes import Ask, Mask, Nodes, Spot
from tradewind.scheduler.pool import each


@dataclass(frozen=True, slots=True)
class Victim:
    """A run that may be interrupted: what it holds where, what is lost of it, in devices times
    seconds, and how late it is due. `moves`: it may only move, and must find another place at
    once."""

    run: str
    parts: Parts
    spots: tuple[Spot, ...]
    loss: float
    due: float
    moves: bool = False

    @property
    def cost(self) -> tuple[float, float]:
        """Least loss first; where nothing is lost, whoever is due last."""
        return (self.loss, -self.due)


@dataclass(frozen=True, slots=True)
class Room:
    """Who leaves, and the nodes on which there is room then."""

    leaving: frozenset[str] = frozenset()
    rows: tuple[int, ...] = ()


def enough(nodes: Nodes, parts: Parts, victims: Iterable[Victim]) -> bool:
    """Whether what is free and what they hold is as much as is asked for, wherever it is."""
    cpu, milli = _total(parts)
    cpu -= int(nodes.cpu.sum())
    milli -= int(nodes.devices.sum())
    for victim in victims:
        theirs = _total(victim.parts)
        cpu, milli = cpu - theirs[0], milli - theirs[1]
    return len(nodes) > 0 and cpu <= 0 and milli <= 0


def _total(parts: Parts) -> tuple[int, int]:
    return sum(ask.cpu * count for ask, count in parts), sum(
        ask.milli * count for ask, count in parts
    )


def make(
    nodes: Nodes, parts: Parts, victims: Iterable[Victim], among: Mask | None = None
) -> Room | None:
    """Who must go so that this fits on nodes of these; None where it does not help. Node by node,
    the cheapest first."""
    among = np.ones(len(nodes), dtype=np.bool_) if among is None else among
    scratch, left = nodes.copy(), {victim.run: victim for victim in victims}
    gone: list[Victim] = []
    rows: list[int] = []
    for ask in each(parts):
        row = _first(scratch, ask, among)
        if row < 0:
            chosen = _cheapest(scratch, ask, list(left.values()), among)
            if chosen is None:
                return None
            row, leaving = chosen
            for victim in leaving:
                del left[victim.run]
                _give(scratch, victim)
            gone += leaving
        scratch.take(scratch.at(row, ask), ask)
        rows.append(row)
    elsewhere = among.copy()
    elsewhere[rows] = False
    for ask in [ask for victim in gone if victim.moves for ask in each(victim.parts)]:
        row = _first(scratch, ask, elsewhere)
        if row < 0:
            return None
        scratch.take(scratch.at(row, ask), ask)
    return Room(frozenset(victim.run for victim in gone), tuple(sorted(set(rows))))


def _first(nodes: Nodes, ask: Ask, among: Mask) -> int:
    fit = nodes.fit(ask) & among
    row = int(fit.argmax())
    return row if fit[row] else -1


def _give(nodes: Nodes, victim: Victim) -> None:
    for spot, ask in zip(victim.spots, each(victim.parts), strict=True):
        nodes.give(spot, ask)


def _cheapest(
    nodes: Nodes, ask: Ask, victims: list[Victim], among: Mask
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
        leaving = _until_it_fits(nodes, row, ask, here)
        if not leaving:
            continue
        cost = (sum(each.loss for each in leaving), -min(each.due for each in leaving))
        if best is None or cost < best[0]:
            best = (cost, row, leaving)
    return None if best is None else best[1:]


def _until_it_fits(nodes: Nodes, row: int, ask: Ask, here: list[Victim]) -> list[Victim]:
    """The cheapest that leave until it fits on this node, without those that need not; nobody if it
    does not fit without them either."""
    only = np.array([row])
    gone: list[Victim] = []
    for victim in here:
        _here(nodes, row, victim, +1)
        gone.append(victim)
        if nodes.fit(ask, only)[0]:
            break
    fits = bool(nodes.fit(ask, only)[0])
    for victim in sorted(gone, key=lambda victim: victim.cost, reverse=True) if fits else ():
        _here(nodes, row, victim, -1)
        if nodes.fit(ask, only)[0]:
            gone.remove(victim)
        else:
            _here(nodes, row, victim, +1)
    for victim in gone:
        _here(nodes, row, victim, -1)
    return gone if fits else []


def _here(nodes: Nodes, row: int, victim: Victim, sign: int) -> None:
    for spot, ask in zip(victim.spots, each(victim.parts), strict=True):
        if spot.node == row:
            (nodes.give if sign > 0 else nodes.take)(spot, ask)
