"""A pinned dataset to one import task. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from tradewind.base.errors import Refused
from tradewind.kinds import sizing
from tradewind.records.pinned import Pinned
from tradewind.records.plans import Option, Plan
from tradewind.records.tasks import Entry, Gang, Output, Restart, Role, Task
from tradewind.specs import DatasetSpec, from_document

# Reading and writing Parquet keeps one core busy.
CPU = 1.0


def reuses(pinned: Pinned) -> bool:
    """An unchanged source is not read again."""
    return True


def options(pinned: Pinned) -> Sequence[Option]:
    """One process that streams the source through."""
    if cast(DatasetSpec, from_document(pinned.spec)).source is None:
        raise Refused(
            f"dataset {pinned.name!r} has no source to import",
            hint="write source: PATH; without one, a function or step of that name makes versions",
        )
    return [Option(backend="arrow", resources=sizing.Resources(cpu=CPU))]


def tasks(pinned: Pinned, plan: Plan) -> Sequence[Task]:
    """One task with one role."""
    role = Role(
        name="main",
        shape=Gang(),
        entry=Entry(kind="module", target="tradewind.kinds.dataset.work:import_table"),
        resources=plan.option.resources,
        params={"spec": pinned.spec},
        # Files that the task can see itself are only named; their bytes come where it cannot.
        inputs={name: each for name, each in pinned.inputs.items() if each.kind == "folder"},
        outputs={"output": Output(target=pinned.name, project=pinned.project)},
        restart=Restart(deaths=sizing.DEATHS),
    )
    return [Task(name="main", roles=(role,), environment=pinned.environment)]
