"""The kind `project`: the tenant, its people and what they may use together. For operators."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tradewind.specs.common import Spec
from tradewind.specs.fields import Money, Text
from tradewind.specs.queue import Quota

Role = Literal["owner", "editor", "viewer"]


class ProjectSpec(Spec):
    """Who works together, sees the same data and shares a bill."""

    kind: Literal["project"] = "project"
    members: dict[Text, Role] = Field(
        default_factory=dict,
        description="Role by person: owner (all, people too), editor (runs and writes), viewer.",
    )
    quota: Quota | None = Field(
        default=None, description="The most that all its runs may use at one time."
    )
    budget: Money | None = Field(
        default=None, description="The most that it may spend in a calendar month: $500."
    )
