"""A pinned training to options and tasks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from tradewind.kinds import sizing
from tradewind.records.pinned import Pinned
from tradewind.records.plans import Option, Plan
from tradewind.records.tasks import Entry, Gang, Output, Role, Task
from tradewind.specs import TrainingSpec, from_document

# A training uses what it gets; one core until it says more.
CPU = 1.0


def reuses(pinned: Pinned) -> bool:
    """Only where the spec, or its pipeline, says so."""
    return bool(pinned.spec.get("cache"))


def options(pinned: Pinned) -> Sequence[Option]:
    """The least width of its gang, and how much wider it may be."""
    spec = _spec(pinned)
    return [
        Option(
            backend="python",
            width=spec.workers.min,
            resources=sizing.resources(spec, CPU),
            sized=sizing.free(spec),
            widest=spec.workers.max if spec.workers.max > spec.workers.min else 0,
        )
    ]


def tasks(pinned: Pinned, plan: Plan) -> Sequence[Task]:
    """One gang."""
    spec = _spec(pinned)
    role = Role(
        name="worker",
        shape=Gang(least=plan.option.width, most=max(plan.option.width, spec.workers.max)),
        entry=_entry(spec),
        resources=plan.option.resources,
        params=spec.params,
        inputs=pinned.inputs,
        outputs={
            "output": Output(),
            "model": Output(kind="model", target=spec.result, project=pinned.project),
        },
        env={**sizing.trusted(pinned.inputs), **spec.env},
        restart=sizing.restart(spec),
        stop=sizing.Stop(way="checkpoint"),
        timeout=spec.timeout or 0.0,
    )
    return [Task(name="main", roles=(role,), environment=pinned.environment, bundle=pinned.bundle)]


def _spec(pinned: Pinned) -> TrainingSpec:
    return cast(TrainingSpec, from_document(pinned.spec))


def _entry(spec: TrainingSpec) -> Entry:
    if ":" in spec.entry:
        return Entry(kind=sizing.entry_kind(spec.entry), target=spec.entry)
    return Entry(kind="script", target=spec.entry, args=spec.args)
