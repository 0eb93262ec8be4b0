"""The kind `service`: a model that answers requests, in replicas kept alive."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tradewind.specs.common import Width, Workload
from tradewind.specs.faults import fault
from tradewind.specs.fields import Duration, Entry, Integer, ModelRef, Name


class ServiceSpec(Workload):
    """Interchangeable replicas of one predictor behind one address."""

    kind: Literal["service"] = "service"
    model: ModelRef | None = Field(
        default=None, description="The model: name, name@alias or name/version."
    )
    entry: Entry | None = Field(
        default=None,
        description="file.py:name of a predictor of your own. Left out: the model's flavour.",
    )
    replicas: Width = Field(
        default=Width.model_construct(min=1, max=1),
        description="How many: 2, or 1..8 to follow the load; 0..4 may stop when idle.",
    )
    ports: dict[Name, Annotated[Integer, Field(ge=0, le=65535)]] = Field(
        default_factory=dict,
        description="Port by name: {http: 8080}. 0 or left out: the system chooses.",
    )
    ready_timeout: Duration | None = Field(
        default=None,
        description="How long a replica may take until it is ready: 60s. In seconds.",
    )

    @model_validator(mode="after")
    def _has_body(self) -> Self:
        if self.model is None and self.entry is None:
            raise fault(
                f"the service {self.name!r} has neither model nor entry",
                "write model: name@alias, or entry: file.py:name",
            )
        if self.entry is not None and ":" not in self.entry:
            raise fault(
                f"the entry {self.entry!r} names no predictor",
                f"write {self.entry}:name",
                ("entry",),
            )
        return self
