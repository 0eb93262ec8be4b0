"""The kind `queue`: who may use how much, in which order. For operators."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tradewind.specs.common import Frozen, Spec
from tradewind.specs.fields import Integer, Name, Number, Size, Text

Amount = Annotated[Number, Field(ge=0, le=1e9)]


class Quota(Frozen):
    """So much of each that is named, of all pools together."""

    cpu: Amount | None = Field(default=None, description="Processor cores: 16.")
    memory: Size | None = Field(default=None, description="Main memory: 64GiB, 0. In bytes.")
    accelerators: dict[Text, Amount] = Field(
        default_factory=dict, description="Devices by their class: {nvidia-l4: 4}."
    )


class QueueSpec(Spec):
    """What a group of runs is guaranteed, and what it may borrow from others while they leave it
    idle. What is guaranteed to others comes back to them as soon as they ask for it."""

    kind: Literal["queue"] = "queue"
    parent: Name | None = Field(
        default=None, description="The queue of whose quota this one is a part."
    )
    guarantee: Quota | None = Field(
        default=None,
        description="What it has whenever it asks for it. Left out: what is guaranteed to those "
        "below it.",
    )
    borrow: Quota | None = Field(
        default=None,
        description="The most that it may use beyond its guarantee. Left out: all that is idle.",
    )
    lend: Quota | None = Field(
        default=None,
        description="The most of its guarantee that others may use while it is idle. Left out: "
        "all of it.",
    )
    weight: Annotated[Number, Field(gt=0, le=1e6)] = Field(
        default=1.0, description="Its part of what is beyond guarantees: 2 is twice that of 1."
    )
    priority: Annotated[Integer, Field(ge=-1000, le=1000)] = Field(
        default=0, description="The priority of its runs that say none."
    )
