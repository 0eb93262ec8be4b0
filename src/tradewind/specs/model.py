"""The kind `model`: an entry of the registry, made from a run's result or from a file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from tradewind.specs.common import Frozen, Spec
from tradewind.specs.fields import Json, Name, Text, one_or_many


class Signature(Frozen):
    """What a model takes and gives: the type of each column."""

    inputs: dict[Text, Text] = Field(default_factory=dict, description="Type by input column.")
    outputs: dict[Text, Text] = Field(default_factory=dict, description="Type by output column.")


class ModelSpec(Spec):
    """A model by name. Versions are immutable; an alias points at one of them."""

    kind: Literal["model"] = "model"
    source: Annotated[str, Field(strict=True, min_length=1)] | None = Field(
        default=None,
        description="What the next version is made from: a run's id, run/step, or a path. "
        "Left out: trainings write the versions.",
    )
    alias: Annotated[tuple[Name, ...], BeforeValidator(one_or_many)] = Field(
        default=(), description="Aliases that move to the new version: production, [best, eu]."
    )
    signature: Signature | None = Field(
        default=None, description="Inputs and outputs. Left out: recorded when it was trained."
    )
    metadata: dict[Text, Json] = Field(
        default_factory=dict, description="JSON to keep beside the model."
    )
