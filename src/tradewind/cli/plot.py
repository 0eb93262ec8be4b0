"""A price curve in characters: time to the right, price upwards, both in logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tradewind.base.units import format_duration, format_money

Point = tuple[float, float]
WIDTH, HEIGHT = 64, 10


def price_curve(plans: Sequence[Point], estimates: Sequence[Point] = ()) -> list[str]:
    """The lines of a plot of (seconds, nanodollars): ● a plan, from which a line goes on until
    another is cheaper; ○ an estimate. None where there is no curve: fewer than two points."""
    points = [*plans, *estimates]
    if len(set(points)) < 2:
        return []
    times, prices = [seconds for seconds, _ in points], [price for _, price in points]
    grid = [[" "] * WIDTH for _ in range(HEIGHT)]
    cheaper = _cheaper(plans)
    for number, (seconds, price) in enumerate(cheaper):
        begin = _place(seconds, times, WIDTH)
        end = _place(cheaper[number + 1][0], times, WIDTH) if cheaper[number + 1 :] else WIDTH
        grid[_place(price, prices, HEIGHT)][begin:end] = "─" * (end - begin)
    for mark, marked in (("○", estimates), ("●", plans)):
        for seconds, price in marked:
            grid[_place(price, prices, HEIGHT)][_place(seconds, times, WIDTH)] = mark
    top, bottom = (format_money(round(price)) for price in (max(prices), min(prices)))
    margin = max(len(top), len(bottom))
    labels = [bottom, *[""] * (HEIGHT - 2), top]
    lines = [
        f"{labels[row]:>{margin}} ┤{''.join(grid[row])}".rstrip() for row in reversed(range(HEIGHT))
    ]
    first, last = format_duration(min(times)), format_duration(max(times))
    axis = f"{first}{last:>{WIDTH - len(first)}}"
    return [*lines, f"{'':{margin}} └{'─' * WIDTH}", f"{'':{margin}}  {axis}"]


def _place(value: float, values: Sequence[float], size: int) -> int:
    """Where a value stands among all, on `size` places."""
    low, high, here = (math.log(max(1e-3, each)) for each in (min(values), max(values), value))
    return round((here - low) / (high - low) * (size - 1)) if high > low else 0


def _cheaper(points: Sequence[Point]) -> list[Point]:
    """Those that are cheaper than all sooner ones."""
    kept: list[Point] = []
    for seconds, price in sorted(points):
        if not kept or price < kept[-1][1]:
            kept.append((seconds, price))
    return kept
