"""How busy a machine is with work that is not our own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`others` is how many threads that are not of our placements want a core of its `cores` at
    the same time, on average over some seconds. How busy the cores are would not tell: that ends
    at their number, however many wait. `groups` is to how many sessions they belong, where the
    kernel shares the cores evenly among sessions (Linux: autogroup); None: among threads."""

    others: float
    cores: float
    groups: float | None = None
