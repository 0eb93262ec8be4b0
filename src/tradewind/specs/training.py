"""The kind `training`: a function or script whose result becomes a version of a model."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tradewind.specs.common import Width, Workload
from tradewind.specs.faults import fault
from tradewind.specs.fields import DataRefs, Entry, Name, Text


class TrainingSpec(Workload):
    """One training job: a gang of equal workers, one of them by default."""

    kind: Literal["training"] = "training"
    entry: Entry = Field(
        description="file.py:name, or a plain script train.py; relative to the bundle's root."
    )
    args: tuple[Text, ...] = Field(
        default=(), description="Command-line arguments of a plain script."
    )
    input: dict[Text, DataRefs] = Field(
        default_factory=dict,
        description="What each parameter reads: a dataset's name, name@version, a path, or "
        "model:NAME for a model's folder.",
    )
    model: Name | None = Field(
        default=None, description="The model the result becomes. Left out: the training's name."
    )
    workers: Width = Field(
        default=Width.model_construct(min=1, max=1),
        description="Width of the gang: 4, or 2..8 for one that may be resized.",
    )
    metric: Text | None = Field(
        default=None, description="The metric by which versions of the model are compared."
    )
    mode: Literal["max", "min"] = Field(
        default="max", description="Whether more (max) or less (min) of the metric is better."
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.args and ":" in self.entry:
            raise fault(
                "args belong to a plain script, and the entry is a function",
                "pass params instead",
                ("args",),
            )
        if self.workers.min < 1:
            raise fault("a gang has at least one worker", "write workers: 1", ("workers",))
        return self

    @property
    def result(self) -> str:
        """The model that the result becomes."""
        return self.model or self.name
