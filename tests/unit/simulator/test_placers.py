"""Peers choose as their publications say."""

from __future__ import annotations

import pytest

from tradewind.scheduler.nodes import Ask
from tradewind.simulator.placers import typical


def test_typical_shapes_are_of_cpu_and_devices() -> None:
    """Memory had split the frequent ones, and rare ones were typical instead of them."""
    asks = [Ask(cpu=4000, memory=at, devices=1) for at in range(57)]
    asks += [Ask(cpu=1000, devices=1, share=500)] * 38 + [Ask(cpu=2000)] * 5
    found = dict(typical(asks))
    assert set(found) == {Ask(cpu=4000, devices=1), Ask(cpu=1000, devices=1, share=500)}
    assert found[Ask(cpu=4000, devices=1)] == pytest.approx(0.6)


def test_of_equally_frequent_shapes_the_larger_is_typical() -> None:
    smaller, larger = Ask(cpu=1000, devices=1, share=500), Ask(cpu=1000, devices=1)
    asks = [Ask(cpu=500)] * 93 + [smaller] * 3 + [larger] * 3 + [Ask()]
    assert [ask for ask, _ in typical(asks)] == [Ask(cpu=500), larger]
