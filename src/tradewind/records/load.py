"""How busy a machine is with work that is not our own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`others` is how many threads that are not of our placements want a core of its `cores` at
    the same time, on average over some seconds. How busy the cores are would not tell: that ends
    at their number, however many wait."""

    others: float
    cores: float
