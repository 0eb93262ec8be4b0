"""The kind `queue`: who may use how much, in which order. For operators."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tradewind.specs.common import Resources, Spec
from tradewind.specs.fields import Integer


class QueueSpec(Spec):
    """A line of runs of one project with its own quota."""

    kind: Literal["queue"] = "queue"
    quota: Resources | None = Field(
        default=None, description="The most that runs of this queue may use at one time."
    )
    priority: Annotated[Integer, Field(ge=-1000, le=1000)] = Field(
        default=0, description="Queues of a higher number are served first."
    )
    order: Literal["fifo"] = Field(
        default="fifo", description="fifo: who came first is served first."
    )
