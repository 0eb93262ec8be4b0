"""What every workload's spec says about size and restarts, as tasks say it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from tradewind import specs
from tradewind.records.tasks import Input, Resources, Restart, Stop
from tradewind.specs.common import Workload

# What kills a process again and again is something in it, or too little of something around it.
DEATHS = 3

__all__ = ["Resources", "Stop", "entry_kind", "free", "resources", "restart", "trusted"]


def entry_kind(entry: str) -> Literal["function", "module"]:
    """`file.py:name` is a file of the bundle; a component is a module of the environment."""
    return "function" if entry.partition(":")[0].endswith((".py", ".tw")) else "module"


def resources(spec: Workload, cpu: float) -> Resources:
    """The pin of the spec, or `cpu` cores and no limit of memory of its own."""
    pin = spec.resources
    if pin is None:
        return Resources(cpu=cpu)
    return Resources(
        cpu=pin.cpu if pin.cpu is not None else cpu,
        memory=pin.memory or 0,
        accelerators=_devices(pin),
    )


def _devices(pin: specs.Resources) -> dict[str, int | float]:
    found: dict[str, int | float] = {}
    for name, count in pin.accelerators.items():
        assert not isinstance(count, str), "what is asked for by memory is a share once pinned"
        found[name] = count
    return found


def free(spec: Workload) -> bool:
    """Whether the number of cores is the compiler's to choose."""
    return spec.resources is None or spec.resources.cpu is None


def trusted(inputs: Mapping[str, Input]) -> dict[str, str]:
    """The manifests of the models among the inputs: they come from this project's own registry, so
    what they hold may be executed. A model from anywhere else never is."""
    digests = [str(each.meta["manifest"]) for each in inputs.values() if each.meta.get("manifest")]
    return {"TRADEWIND_TRUSTED_MODELS": ",".join(digests)} if digests else {}


def restart(spec: Workload) -> Restart:
    """The restart rule that `retries` says; none: one try. Availability begins with surviving the
    death of a process, so a few of those do not count."""
    if spec.retries is None:
        return Restart(deaths=DEATHS)
    return Restart(
        most=spec.retries.max,
        backoff=spec.retries.backoff,
        factor=spec.retries.factor,
        deaths=DEATHS,
    )
