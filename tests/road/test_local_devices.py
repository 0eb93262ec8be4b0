"""A process of the real local engine sees the devices that it holds, and no others."""

from __future__ import annotations

from typing import Any

import pytest

import tradewind as tw
from tests.road.home import Home, until

pytestmark = pytest.mark.xdist_group("local-devices")

POOL = """
kind: pool
name: local
capacity: {cpu: 4, memory: 2GiB, accelerators: {L4: 4}}
"""


SLICES = """
kind: device
name: cpu-slice
memory: 8GiB
shown_by: CPU_SLICES
---
kind: pool
name: local
capacity: {cpu: 4, memory: 2GiB, accelerators: {cpu-slice: 2}}
price: $3600/h
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


def test_a_class_that_a_file_adds_is_shared_out_billed_and_simulated(home: Home) -> None:
    home.good("apply", home.write({"slices.yaml": SLICES}) / "slices.yaml")

    def shown() -> list[str]:
        import os
        import time

        time.sleep(1.0)
        return [os.environ["CPU_SLICES"], os.environ["TRADEWIND_DEVICE_SHARE"]]

    def asking(name: str, part: object) -> Any:
        resources = {"cpu": 0.25, "accelerators": {"cpu-slice": part}}
        return tw.function(name=name, resources=resources, cache=False)(shown).run()

    runs = [asking("most", 0.6), asking("as-much", 0.6), asking("quarter", "2GiB")]
    told = [run.result() for run in runs]
    assert sorted(told) == [["0", "0.25"], ["0", "0.6"], ["1", "0.6"]]
    bodies = [home.json("describe", run.id) for run in runs]
    for body, part in zip(bodies, (0.6, 0.6, 0.25), strict=True):
        (held,) = body["placements"]
        assert held["demand"]["accelerators"] == {"cpu-slice": part}
        worked = held["ended"] - held["started"]
        assert body["price"] == pytest.approx(part / 2 * worked * 1e9), "of two devices for $1/s"
    home.good("simulate", "history", "--save", "runs.csv")
    head, *rows = (home.work / "runs.csv").read_text().splitlines()
    ours = [row for row in rows if "cpu-slice" in row]
    assert sum(",0.25 cpu-slice," in row for row in ours) == 1
    nodes = "sn,cpu_milli,memory_mib,gpu,model\na,4000,2048,2,cpu-slice\n"
    home.write({"ours.csv": "\n".join([head, *ours]), "nodes.csv": nodes})
    found = home.json("simulate", "ours.csv", "--nodes", "nodes.csv")
    assert (found["jobs"], found["left_out"]) == (3, 0)


def test_a_pool_stays_while_its_devices_are_held(home: Home) -> None:
    home.good("apply", home.write({"slices.yaml": SLICES}) / "slices.yaml")

    @tw.function(resources={"cpu": 0.5, "accelerators": {"cpu-slice": 1}}, cache=False)
    def holds() -> None:
        import time

        time.sleep(60.0)

    run = holds.run()
    until(lambda: home.json("get", "pools")[0]["used"]["accelerators"] == {"cpu-slice": 1})
    said = home.tw("delete", "pool/local")
    assert said.status != 0 and f"run {run.id} holds a device" in said.err, said.err
    home.good("stop", run.id, "--wait")
    home.good("delete", "pool/local")
    assert "cpu-slice" not in home.json("get", "pools")[0]["capacity"]["accelerators"]


def test_what_nobody_has_is_refused_and_says_what_there_is(home: Home) -> None:
    home.good("apply", home.write({"slices.yaml": SLICES}) / "slices.yaml")
    spec = """
kind: function
name: f
entry: f.py:f
resources: {cpu: 0.5, accelerators: {%s}}
"""
    home.write({"f.py": "def f():\n    return 1\n"})
    cases = {
        "tpu: 1": ("devices of class 'tpu'", "2 cpu-slice on 'local'"),
        "tpu: 1GiB": ("nothing says how much memory a device of class 'tpu'", "cpu-slice (8 GiB)"),
        "cpu-slice: 9GiB": ("has 8 GiB of memory, not 9 GiB", "another class"),
        "cpu-slice: 3": ("3 cpu-slice", "2 cpu-slice"),
        "cpu-slice: 1.5": ("only of a single device a part", "for 1 or 2 of them"),
        "cpu-slice: -1": ("expected whole devices", ""),
        "cpu-slice: .nan": ("finite number", ""),
        "cpu-slice: 0.0001": ("thousandths", "0.001"),
        "cpu-slice: 1e30": ("expected whole devices", "at most 100,000"),
    }
    for asked, (message, hint) in cases.items():
        home.write({"f.yaml": spec % asked})
        said = home.tw("run", "f.yaml")
        assert said.status != 0
        assert message in said.err and hint in said.err, said.err
        assert "resources.accelerators" in said.err or asked == "cpu-slice: 3", said.err


def test_devices_that_fast_links_join_go_together(home: Home) -> None:
    pairs = SLICES.replace("memory: 8GiB", "linked: 2").replace("cpu-slice: 2", "cpu-slice: 4")
    home.good("apply", home.write({"pairs.yaml": pairs}) / "pairs.yaml")

    def shown() -> str:
        import os
        import time

        time.sleep(2.0)
        return os.environ["CPU_SLICES"]

    def asking(count: int) -> Any:
        resources = {"cpu": 0.25, "accelerators": {"cpu-slice": count}}
        return tw.function(name=f"of-{count}", resources=resources, cache=False)(shown).run()

    one = asking(1)
    until(lambda: home.json("get", "pools")[0]["used"]["accelerators"] == {"cpu-slice": 1})
    two = asking(2)
    assert (one.result(), two.result()) == ("0", "2,3")
