"""A process of the real local engine sees the devices that it holds, and no others."""

from __future__ import annotations

import pytest

import tradewind as tw
from tests.road.home import Home

pytestmark = pytest.mark.xdist_group("local-devices")

POOL = """
kind: pool
name: local
capacity: {cpu: 4, memory: 2GiB, accelerators: {L4: 4}}
"""


def test_whole_devices_are_shown_to_who_holds_them(home: Home) -> None:
    home.good("apply", home.write({"pool.yaml": POOL}) / "pool.yaml")

    @tw.function(resources={"cpu": 0.5, "accelerators": {"L4": 2}}, cache=False)
    def two() -> str:
        import os
        import time

        time.sleep(3.0)
        return os.environ["CUDA_VISIBLE_DEVICES"]

    @tw.function(resources={"cpu": 0.5, "accelerators": {"L4": 1}}, cache=False)
    def item(_number: int) -> str:
        import os
        import time

        time.sleep(0.3)
        return os.environ["CUDA_VISIBLE_DEVICES"]

    @tw.function(resources={"cpu": 0.5}, cache=False)
    def none() -> bool:
        import os

        return "CUDA_VISIBLE_DEVICES" in os.environ

    pair, items = two.run(), item.map([1, 2, 3, 4], at_once=2)
    assert none.run().result() is False
    shown = set(items.result())
    assert len(shown) == 2
    assert sorted([*shown, *pair.result().split(",")]) == ["0", "1", "2", "3"]
