"""One folder per kind: `lower` (options and tasks), `steer` (what next), `work` (beside user code).

Names map to modules here and are loaded on use; kinds do not know each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from tradewind.base.errors import Refused
from tradewind.records.pinned import Pinned
from tradewind.records.plans import Option, Plan
from tradewind.records.steering import Decision, View
from tradewind.records.tasks import Task

NAMES = ("dataset", "function", "training", "pipeline", "service")


class Lower(Protocol):
    """From a pinned spec to options, and with a plan to tasks. Pure."""

    def reuses(self, pinned: Pinned) -> bool:
        """Whether an equal earlier result may be taken instead of working."""

    def options(self, pinned: Pinned) -> Sequence[Option]:
        """Ways to carry it out; empty for a kind that only steers child runs."""

    def tasks(self, pinned: Pinned, plan: Plan) -> Sequence[Task]:
        """The tasks of this plan."""


class Probes(Lower, Protocol):
    """A kind whose options may need measuring before they have a price."""

    def probe(
        self, pinned: Pinned, seconds: float, share: float, before: Pinned | None = None
    ) -> Task:
        """The task that measures: calls on at most this share of the input, for at most these
        seconds together. `before` is an earlier version that is measured beside it, for as long,
        and whose bundle is in that of `pinned`."""


class Steer(Protocol):
    """What next. Pure; called at PLANNED and after everything that happens to the run."""

    def next(self, view: View, now: float) -> Sequence[Decision]:
        """Decisions in the order in which they are to be carried out; none: wait for more."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind's two pure halves."""

    lower: Lower
    steer: Steer


def load(name: str) -> Kind:
    """The kind of this name. Raises Refused for a kind that is stored but never run."""
    if name not in NAMES:
        raise Refused(
            f"a {name} is not something to run",
            hint=f"`tw apply` stores it; kinds that run: {', '.join(NAMES)}",
        )
    return Kind(
        cast(Lower, import_module(f"tradewind.kinds.{name}.lower")),
        cast(Steer, import_module(f"tradewind.kinds.{name}.steer")),
    )
