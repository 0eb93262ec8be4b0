"""What a process of the local engine is shown of the machine's devices."""

from __future__ import annotations

from typing import Any

from tradewind.engines.local.render import Context, render
from tradewind.records.devices import Device
from tradewind.records.placements import Placement, Seat
from tradewind.records.tasks import Entry, Environment, Gang, Resources, Role, Task

GIB = 1 << 30
FOUND = (
    Device("GPU-x", "l4", memory=24 * GIB, found=True),
    Device("GPU-y", "l4", memory=24 * GIB, found=True),
    Device("0", "slice", "SLICES"),
)
CUDA = "CUDA_VISIBLE_DEVICES"


def shown(
    seats: tuple[Seat, ...], devices: tuple[Device, ...], least: int = 0, **wanted: int | float
) -> list[dict[str, str]]:
    """The environments of a gang's processes; last, of one whose place is not known."""
    each = Resources(accelerators=dict(wanted))
    role = Role(name="main", shape=Gang(least=least or len(seats), most=len(seats)),
                entry=Entry(kind="script", target="a.py"), resources=each)  # fmt: skip
    task = Task(name="t", roles=(role,), environment=Environment(digest="e"))
    placed = Placement(id="p", run="r", task=task, number=1, pool="local", engine="local",
                       lease=1, demand=Resources(), seats=seats)  # fmt: skip
    context = Context(blobs="", tables="", python="", devices=devices)
    found: list[dict[str, str]] = render(placed, context).get("devices", {}).get("main", [])
    return found


def test_whole_devices_go_by_what_their_driver_calls_them() -> None:
    seats = (Seat("m", (1, 0)), Seat("m", (2,)))
    assert shown(seats, FOUND, l4=2) == [{CUDA: "GPU-y,GPU-x"}, {CUDA: "", "SLICES": "0"},
                                         {CUDA: ""}]  # fmt: skip


def test_who_holds_none_sees_none_of_those_that_are_really_there() -> None:
    assert shown((Seat("m"),), FOUND) == [{CUDA: ""}, {CUDA: ""}]
    assert shown((Seat("m"),), FOUND[2:]) == []


def test_devices_that_nobody_told_of_go_by_number() -> None:
    assert shown((Seat("m", (1, 3)),), (), l4=2) == [{CUDA: "1,3"}, {}]


def test_who_has_grown_sees_what_it_has_since() -> None:
    seats = (Seat("m", (0,)), Seat("m", (1,)))
    assert shown(seats, FOUND, least=1, l4=1) == [{CUDA: "GPU-x"}, {CUDA: "GPU-y"}, {CUDA: ""}]


def test_a_part_of_a_device_comes_with_what_keeps_a_process_to_it() -> None:
    [env, _] = shown((Seat("m", (1,)),), FOUND, l4=0.255)
    assert env == {
        CUDA: "GPU-y",
        "TRADEWIND_DEVICE_SHARE": "0.255",
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "25",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=6266M",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.255",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    assert int(24 * 1024 * 0.255) == 6266
    [env, _] = shown((Seat("m", (2,)),), FOUND, slice=0.001)
    assert env == {CUDA: "", "SLICES": "0", "TRADEWIND_DEVICE_SHARE": "0.001"}


def test_a_limit_of_all_devices_is_not_set_for_the_part_of_one() -> None:
    more: Any = {"l4": 0.5, "other": 1}
    [env, _] = shown((Seat("m", (0, 1)),), FOUND, **more)
    assert env[CUDA] == "GPU-x,GPU-y"
    assert env["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=12288M"
    assert "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE" not in env
