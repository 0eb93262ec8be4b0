"""A machine whose driver tells of devices: they are there without a word, and nobody sees those of
others. The driver is a script that says what it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import tradewind as tw
from tests.road.home import Home, home_in, until

pytestmark = pytest.mark.xdist_group("local-found")

DRIVER = """#!/bin/sh
echo 'GPU-11, 23034, NVIDIA L4'
echo 'GPU-22, 24564, NVIDIA GeForce RTX 4090'
"""
MORE = """
kind: device
name: rtx
memory: 24GB
found: "*RTX 40*"
"""
LESS = """
kind: pool
name: local
capacity: {accelerators: {rtx: 1}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("found")
    program = folder / "nvidia-smi"
    program.write_text(DRIVER)
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}:/usr/local/bin:/usr/bin:/bin")
        with home_in(folder) as made:
            yield made


def held(**devices: int | float | str) -> dict[str, str]:
    """What a run that asks for these is shown."""

    @tw.function(name="held", resources={"cpu": 0.5, "accelerators": devices}, cache=False)
    def shown() -> dict[str, str]:
        import os

        return {
            name: value for name, value in os.environ.items()
            if name.startswith("CUDA") or name == "TRADEWIND_DEVICE_SHARE"
        }  # fmt: skip

    told: dict[str, str] = shown.run().result()
    return told


def devices(home: Home) -> dict[str, int]:
    [pool] = home.json("get", "pools")
    found: dict[str, int] = pool["capacity"]["accelerators"]
    return found


def test_what_is_there_is_found_and_shown_to_who_holds_it(home: Home, tmp_path: Path) -> None:
    assert devices(home) == {"nvidia-l4": 1, "nvidia-geforce-rtx-4090": 1}
    assert held() == {"CUDA_VISIBLE_DEVICES": ""}
    assert held(**{"nvidia-l4": 1}) == {"CUDA_VISIBLE_DEVICES": "GPU-11"}
    assert held(**{"nvidia-l4": "6GiB"}) == {
        "CUDA_VISIBLE_DEVICES": "GPU-11",
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "26",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=6150M",
        "TRADEWIND_DEVICE_SHARE": "0.267",
    }

    home.good("apply", home.write({"more.yaml": MORE}) / "more.yaml")
    assert devices(home) == {"nvidia-l4": 1, "rtx": 1}
    assert held(rtx=1) == {"CUDA_VISIBLE_DEVICES": "GPU-22"}
    both = held(**{"nvidia-l4": 1, "rtx": 1})["CUDA_VISIBLE_DEVICES"].split(",")
    assert sorted(both) == ["GPU-11", "GPU-22"]

    @tw.function(resources={"cpu": 0.5, "accelerators": {"rtx": 0.5}}, cache=False)
    def holds() -> str:
        import time

        time.sleep(30.0)
        return ""

    run = holds.run()
    until(lambda: home.json("get", "pools")[0]["used"]["accelerators"] == {"rtx": 0.5})
    for words in (["delete", "device/rtx"], ["apply", home.write({"l.yaml": LESS}) / "l.yaml"]):
        said = home.tw(*words)
        assert said.status != 0 and f"run {run.id} holds a device" in said.err, said.err
    home.good("apply", "more.yaml")
    home.good("stop", run.id, "--wait")
    home.good("delete", "device/rtx")
    assert devices(home) == {"nvidia-l4": 1, "nvidia-geforce-rtx-4090": 1}
