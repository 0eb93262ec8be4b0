"""Placement → the request that the node gets. Pure: paths come in with the context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tradewind.engines import desk
from tradewind.engines.base import Request
from tradewind.records.devices import CUDA, Device
from tradewind.records.placements import Placement, Seat
from tradewind.records.tasks import Role, starting_width


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where things are on this machine. `python` is the pool's default interpreter, `devices` are
    those of the machine, as the places of processes number them."""

    blobs: str
    tables: str
    python: str
    devices: tuple[Device, ...] = ()


def render(placement: Placement, context: Context) -> Request:
    """The native request: JSON, complete, the same for equal placements in the same place."""
    asked = desk.request(placement)
    environment = asked["environment"]
    environment["base" if environment.get("lock") else "python"] = context.python
    shown = _shown(placement, context.devices)
    told = {"devices": shown} if any(any(each) for each in shown.values()) else {}
    return {**asked, **told, "blobs": context.blobs, "tables": context.tables}


def _shown(placement: Placement, devices: Sequence[Device]) -> dict[str, list[dict[str, str]]]:
    """By role and process, the environment that shows it the devices that it holds; last, what
    shows none to a process whose place is not known. It is the first role that has been resized."""
    none = {each.shown_by: "" for each in devices if each.found}
    first, *others = (starting_width(role.shape) for role in placement.task.roles)
    first = max(first, len(placement.seats) - sum(others))
    found, at = {}, 0
    for role, width in zip(placement.task.roles, (first, *others), strict=True):
        mine, at = placement.seats[at : at + width], at + width
        found[role.name] = [*(none | _held(seat, role, devices) for seat in mine), none]
    return found


def _held(seat: Seat, role: Role, devices: Sequence[Device]) -> dict[str, str]:
    mine = [devices[n] if n < len(devices) else Device(str(n), "") for n in seat.devices]
    env = {
        each.shown_by: ",".join(one.id for one in mine if one.shown_by == each.shown_by)
        for each in mine
    }
    shares = [count for count in role.resources.accelerators.values() if count < 1]
    return env | _limits(mine[0], shares[0], alone=len(mine) == 1) if mine and shares else env


def _limits(device: Device, share: float, *, alone: bool) -> dict[str, str]:
    """What keeps a process to its share of a device: NVIDIA's MPS does where its daemon runs, JAX
    and TensorFlow by themselves; other code is told. What holds for all devices of a process is
    said only where it has no other (`alone`)."""
    env = {"TRADEWIND_DEVICE_SHARE": f"{share:g}"}
    if device.shown_by != CUDA:
        return env
    if device.memory:
        env["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"0={int(device.memory * share) >> 20}M"
    if alone:
        env["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = str(max(1, int(share * 100)))
        env["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{share:g}"
        env["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    return env
