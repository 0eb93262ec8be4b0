"""Which devices there are: classes that come along or are applied, what a driver tells."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind import store
from tradewind.base.clock import SystemClock
from tradewind.base.errors import Conflict, Refused
from tradewind.compiler import catalogue
from tradewind.control import devices, pools
from tradewind.engines.base import Capacity
from tradewind.records.devices import Device
from tradewind.records.tasks import Resources
from tradewind.specs import DeviceSpec, PoolSpec, digest, to_document
from tradewind.specs.fields import bytes_text
from tradewind.store.base import Store

GIB = 1 << 30
A100 = DeviceSpec(name="a100", memory="40GiB", found=["*A100*"])


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with one class of an operator's."""
    here = store.open(tmp_path_factory.mktemp("devices") / "a.db", SystemClock())
    here.revisions.apply("default", "device", "a100", document=to_document(A100),
                         digest=digest(A100), bundle="", user="u")  # fmt: skip
    yield here
    here.close()


def asked(part: object) -> dict[str, Any]:
    return {"kind": "function", "resources": {"cpu": 1, "accelerators": {"a100": part}}}


def driver(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """An nvidia-smi that does this."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")


@given(st.integers(1, 40 * GIB))
def test_memory_is_the_least_part_that_has_as_much(known: Store, size: int) -> None:
    spec = devices.shared(asked(bytes_text(size)), known)
    part = spec["resources"]["accelerators"]["a100"]
    milli = round(part * 1000)
    assert part == milli / 1000 and 0 < milli <= 1000
    assert milli * 40 * GIB >= size * 1000 > (milli - 1) * 40 * GIB
    assert spec["resources"]["cpu"] == 1


def test_what_is_no_memory_stays_as_it_is(known: Store) -> None:
    for part in (1, 0.5):
        assert devices.shared(asked(part), known) == asked(part)
    assert devices.shared({"kind": "pipeline"}, known) == {"kind": "pipeline"}


def test_memory_that_no_device_of_the_class_has_is_refused_where_it_stands(known: Store) -> None:
    with pytest.raises(Refused, match="has 40 GiB of memory, not 41 GiB") as error:
        devices.shared(asked("41GiB"), known)
    assert error.value.where is not None
    assert error.value.where.field == "resources.accelerators.a100"
    tpu = {"resources": {"accelerators": {"tpu": "1GiB"}}}
    with pytest.raises(Refused, match="how much memory a device of class 'tpu'") as error:
        devices.shared(tpu, known)
    assert "a100 (40 GiB)" in error.value.hint and "nvidia-l4" in error.value.hint


def test_a_class_of_another_project_is_not_changed(known: Store) -> None:
    devices.check([A100.model_copy(update={"memory": GIB})], known)
    devices.check([A100.model_copy(update={"name": "b", "project": "other"})], known)
    with pytest.raises(Conflict, match="class of devices 'a100' in project 'default'"):
        devices.check([A100.model_copy(update={"project": "other"})], known)


def test_devices_are_found_where_the_driver_tells_of_them(
    known: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(tmp_path, monkeypatch, """
echo 'GPU-b, 23034, NVIDIA L4'
echo 'GPU-c, 40536, NVIDIA A100-PCIE-40GB'
echo 'GPU-a, [N/A], Strange, Card 3000'
echo 'noise'
""")  # fmt: skip
    found = devices.found(devices.known(known))
    assert [(each.id, each.of, each.memory) for each in found] == [
        ("GPU-c", "a100", 40 * GIB),  # the operator's class goes before the one that comes along
        ("GPU-b", "nvidia-l4", 23034 << 20),
        ("GPU-a", "strange-card-3000", 0),
    ]
    assert devices.counted(found) == {"a100": 1, "nvidia-l4": 1, "strange-card-3000": 1}


@pytest.mark.parametrize("script", ["echo no driver; exit 9", "exit 1"])
def test_a_driver_in_trouble_is_said_and_no_devices_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, script: str
) -> None:
    driver(tmp_path, monkeypatch, script)
    assert devices.found(devices.shipped()) == ()
    assert "nvidia-smi fails" in caplog.text
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    caplog.clear()
    assert devices.found(devices.shipped()) == () and not caplog.text


def test_places_number_the_devices_that_are_there_and_those_that_are_only_said() -> None:
    here = (Device("GPU-x", "l4", found=True), Device("GPU-y", "l4", found=True))
    slices = DeviceSpec(name="slice", shown_by="SLICES", memory="1GiB")
    laid = devices.laid({"slice": 2, "l4": 1, "more": 1}, here, {"slice": slices})
    assert [(each.id, each.of, each.shown_by) for each in laid] == [
        ("GPU-x", "l4", "CUDA_VISIBLE_DEVICES"),
        ("0", "more", "CUDA_VISIBLE_DEVICES"),
        ("0", "slice", "SLICES"),
        ("1", "slice", "SLICES"),
    ]


def test_the_classes_that_come_along_are_told_apart_by_what_drivers_call_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"Tesla T4": "nvidia-t4", "Tesla V100-SXM2-16GB": "nvidia-v100",
             "Tesla V100-SXM2-32GB": "nvidia-v100-32gb", "NVIDIA A10": "nvidia-a10",
             "NVIDIA A10G": "nvidia-a10g", "NVIDIA L4": "nvidia-l4", "NVIDIA L40S": "nvidia-l40s",
             "NVIDIA A100-SXM4-40GB": "nvidia-a100-40gb",
             "NVIDIA A100 80GB PCIe": "nvidia-a100-80gb",
             "NVIDIA H100 80GB HBM3": "nvidia-h100", "NVIDIA H200": "nvidia-h200"}  # fmt: skip
    for name, of in names.items():
        driver(tmp_path, monkeypatch, f"echo 'GPU-1, 1, {name}'")
        [one] = devices.found(devices.shipped())
        assert one.of == of
    assert set(names.values()) == set(devices.shipped())


def test_a_machine_with_devices_costs_what_such_machines_cost() -> None:
    text = resources.files("tradewind.compiler").joinpath("prices.csv").read_text("utf-8")
    machines = catalogue.parse(text)
    bare = Capacity(total=Resources(cpu=2.0), largest=Resources(cpu=2.0), machines=1)
    has = Resources(cpu=2.0, accelerators={"nvidia-l4": 1})
    found = Capacity(total=has, largest=has, machines=1)
    local, classes = PoolSpec(name="local"), devices.shipped()
    plain = pools.facts(local, bare, machines, classes)
    priced = pools.facts(local, found, machines, classes)
    assert priced.price > plain.price and "g2-standard-4" in priced.as_of
    said = PoolSpec(name="local", capacity={"accelerators": {"nvidia-l4": 4}})
    assert pools.facts(said, bare, machines, classes).price > 2 * priced.price
    strange = PoolSpec(name="local", capacity={"accelerators": {"nobody-sells": 4}})
    assert pools.facts(strange, bare, machines, classes).price == plain.price


def test_neighbours_are_joined_where_devices_go_by_number() -> None:
    has = Resources(cpu=2.0, accelerators={"a": 4, "b": 2})
    found = Capacity(total=has, largest=has, machines=1)
    classes = {name: DeviceSpec(name=name, linked=linked) for name, linked in (("a", 2), ("b", 1))}
    text = resources.files("tradewind.compiler").joinpath("prices.csv").read_text("utf-8")
    machines = catalogue.parse(text)
    here = pools.facts(PoolSpec(name="local"), found, machines, classes)
    far = pools.facts(PoolSpec(name="far", engine="kubernetes"), found, machines, classes)
    assert (here.linked, far.linked) == ({"a": 2}, {})
