"""A pinned function to options and tasks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from tradewind.components import catalog
from tradewind.kinds import sizing
from tradewind.records.pinned import Pinned
from tradewind.records.plans import Option, Plan
from tradewind.records.tasks import Array, Entry, Gang, Output, Role, Task
from tradewind.specs import FunctionSpec, from_document

# What a function is given before anything is known of it. Small, so that many no-ops run at once
# on a laptop; nothing stops it from using an idle core, and what it used sizes the next run.
FIRST_CPU = 0.125

# How many items run together when nobody says.
FIRST_WIDTH = 2


def reuses(pinned: Pinned) -> bool:
    """Only where the spec, or its pipeline, says so: who types `tw run` wants it to run."""
    return bool(pinned.spec.get("cache"))


def options(pinned: Pinned) -> Sequence[Option]:
    """One process, or one for each item with `at_once` of them together."""
    spec = _spec(pinned)
    width = min(len(spec.items), spec.at_once or FIRST_WIDTH) if spec.items else 1
    backend = "duckdb" if spec.sql else "python"
    return [
        Option(
            backend=backend,
            width=width,
            resources=sizing.resources(spec, FIRST_CPU),
            sized=sizing.free(spec),
        )
    ]


def tasks(pinned: Pinned, plan: Plan) -> Sequence[Task]:
    """One task with one role."""
    spec = _spec(pinned)
    items = spec.items or ()
    role = Role(
        name="main",
        shape=Array(count=len(items), at_once=plan.option.width) if items else Gang(),
        entry=_entry(spec),
        resources=plan.option.resources,
        params={**spec.params, **({"sql": spec.sql} if spec.sql else {})},
        items=tuple(items),
        inputs=pinned.inputs,
        outputs=_outputs(spec),
        env={**sizing.trusted(pinned.inputs), **spec.env},
        restart=sizing.restart(spec),
        timeout=spec.timeout or 0.0,
    )
    return [Task(name="main", roles=(role,), environment=pinned.environment, bundle=pinned.bundle)]


def _spec(pinned: Pinned) -> FunctionSpec:
    return cast(FunctionSpec, from_document(pinned.spec))


def _entry(spec: FunctionSpec) -> Entry:
    if spec.entry is None:
        return Entry(kind="module", target="tradewind.kinds.function.work:run_sql")
    return Entry(kind=sizing.entry_kind(spec.entry), target=spec.entry)


def _outputs(spec: FunctionSpec) -> dict[str, Output]:
    """The returned value; of a component, the outputs that it declares."""
    component = catalog.BY_TARGET.get(spec.entry or "")
    if component is None:
        return {"output": Output(target=spec.result, project=spec.project)}
    return {
        slot: Output(
            kind="model" if kind == "model" else "result",
            target=spec.result if slot in {"output", "model"} else f"{spec.result}-{slot}",
            project=spec.project,
        )
        for slot, kind in component.outputs.items()
    }
