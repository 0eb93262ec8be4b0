"""The kind `pool`: a place with an engine, capacity and a price. For operators."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from tradewind.specs.common import Level, Resources, Spec
from tradewind.specs.faults import fault, shown
from tradewind.specs.fields import Flag, Json, Name, Price, Text


class PoolSpec(Spec):
    """A place where tasks run. What only its engine understands stands in `options`."""

    kind: Literal["pool"] = "pool"
    engine: Name = Field(
        default="local", description="Who launches tasks there: local, kubernetes, …"
    )
    capacity: Resources | None = Field(
        default=None, description="How much it holds. Left out: what the engine finds."
    )
    price: Price | None = Field(
        default=None, description="What the whole pool costs for an hour: $0.10/h. In nanodollars."
    )
    where: dict[Level, Text] = Field(
        default_factory=dict,
        description="Where its machines are, by level, the widest first: {zone: a, rack: r7}. "
        "What a machine tells itself goes before.",
    )
    shared: Flag = Field(
        default=False,
        description="On this machine: whether several projects may run here. Their tasks are "
        "processes of one user, and can read each other's data. Otherwise it is that of the first.",
    )
    production: Flag = Field(
        default=False, description="Whether it is production: the CLI asks before it changes it."
    )
    options: dict[Text, Json] = Field(
        default_factory=dict, description="The engine's own settings, passed on unread."
    )

    @field_validator("capacity")
    @classmethod
    def _whole(cls, capacity: Resources | None) -> Resources | None:
        for name, count in (capacity.accelerators if capacity else {}).items():
            if not isinstance(count, int):
                raise fault(
                    f"a pool has whole devices, not {shown(count)}",
                    "parts of them are for those who ask",
                    ("accelerators", name),
                )
        return capacity
