"""The kind `device`: a class of accelerators. For operators.

Which there are is data: those of `control/devices.yaml` are known from the start, a spec that is
applied adds one or takes the place of one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from tradewind.specs.common import Spec
from tradewind.specs.faults import fault
from tradewind.specs.fields import Bytes, Integer, Text, Variable, one_or_many

Pattern = Annotated[str, Field(strict=True, min_length=1)]


class DeviceSpec(Spec):
    """Devices that are as good as each other. Specs, pools and queues name them by its name."""

    kind: Literal["device"] = "device"
    memory: Bytes | None = Field(
        default=None,
        description="What programs can use of one's memory: 23034MiB. In bytes. Left out: nobody "
        "can ask for a part of it by memory.",
    )
    found: Annotated[tuple[Pattern, ...], BeforeValidator(one_or_many)] = Field(
        default=(),
        description="What its driver calls them; * stands for anything, capitals do not count: "
        "NVIDIA L4, [Tesla V100*16GB].",
    )
    shown_by: Variable = Field(
        default="CUDA_VISIBLE_DEVICES",
        description="The environment variable that says which of them a process sees.",
    )
    linked: Annotated[Integer, Field(ge=1, le=64)] = Field(
        default=1,
        description="On this machine: so many neighbours, by their numbers, are joined by fast "
        "links: 4 for [0, 1, 2, 3] and [4, 5, 6, 7]. A process of several gets them so, where "
        "there is room.",
    )
    sold_as: Text = Field(
        default="",
        description="What the price catalogue calls them: L4. A pool with them that says no price "
        "costs what machines with them cost there.",
    )
    resource: Text = Field(
        default="",
        description="What Kubernetes calls them: nvidia.com/gpu. Left out: no cluster has them.",
    )
    nodes: dict[Text, Text] = Field(
        default_factory=dict,
        description="The labels of the cluster's machines whose `resource` are of this class: "
        "{nvidia.com/gpu.product: NVIDIA-L4}. Left out: all machines.",
    )
    parts: Annotated[Integer, Field(ge=1, le=1000)] = Field(
        default=1,
        description="On Kubernetes: in how many parts the device plugin gives one away, each as "
        "one of `resource` (time slicing, MPS): 4.",
    )

    @field_validator("name")
    @classmethod
    def _is_none_of_these(cls, name: str) -> str:
        if name in ("cpu", "memory"):
            raise fault(f"{name} is no class of devices", "choose another name")
        return name
