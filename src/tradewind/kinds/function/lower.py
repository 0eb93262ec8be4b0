"""A pinned function to options and tasks. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from tradewind.base.errors import Refused
from tradewind.base.units import format_bytes
from tradewind.components import catalog
from tradewind.kinds import sizing
from tradewind.kinds.function import matrix
from tradewind.records.pinned import Pinned
from tradewind.records.plans import Option, Plan
from tradewind.records.tasks import Array, Entry, Gang, Output, Role, Task
from tradewind.specs import FunctionSpec, from_document

# What a function is given before anything is known of it. Small, so that many no-ops run at once
# on a laptop; nothing stops it from using an idle core, and what it used sizes the next run.
FIRST_CPU = 0.125

# How many items run together when nobody says.
FIRST_WIDTH = 2

# A probe measures CPU seconds of one process. It keeps its own time; if it cannot (the function is
# stuck in a library), the task is ended after its start and so many times that time.
PROBE_CPU = 1.0
PROBE_START, PROBE_PATIENCE = 60.0, 4.0

# Java begins with less and is ended, or ends by itself, after the work was paid for.
SPARK_MEMORY = 1 << 30
_SPARK = re.compile(r"pyspark\b(?!-)|tradewind\[.*spark")

# What a part returns is nothing by itself: the parts of a table are published together.
_PART = Output()


def reuses(pinned: Pinned) -> bool:
    """Only where the spec, or its pipeline, says so: who types `tw run` wants it to run."""
    return bool(pinned.spec.get("cache"))


def options(pinned: Pinned) -> Sequence[Option]:
    """One for each backend that can carry it out and that the spec allows; of several the first is
    the plainest. What is called with whole tables stays as it is written: one process, or one for
    each item with `at_once` of them together; of the one process samples can be measured."""
    spec = _spec(pinned)
    backends = _there(spec, matrix.chosen(_style(spec), spec.backend))
    sized = sizing.free(spec)
    resources = sizing.resources(spec, FIRST_CPU)
    if spec.items:
        width = min(len(spec.items), spec.at_once or FIRST_WIDTH)
        return [Option(backend=backends[0], width=width, resources=resources, sized=sized)]
    if _style(spec) == "table":
        tables = any(bound.kind == "table" for bound in pinned.inputs.values())
        return [Option(backend=backends[0], resources=resources, sized=sized, measurable=tables)]
    return [
        Option(
            backend=backend,
            resources=resources,
            sized=sized,
            parts=1 if backend == "partitions" else 0,
            elastic=True,
            measurable=True,
        )
        for backend in backends
    ]


def _there(spec: FunctionSpec, backends: Sequence[str]) -> Sequence[str]:
    """Without Spark where nobody asked for it: no plan may need what the environment lacks."""
    named = spec.dependencies if isinstance(spec.dependencies, tuple) else ()
    memory = sizing.resources(spec, FIRST_CPU).memory
    small = 0 < memory < SPARK_MEMORY
    if spec.backend == "spark" and small:
        raise Refused(
            f"the backend 'spark' needs {format_bytes(SPARK_MEMORY)} of memory for its Java, and "
            f"resources.memory is {format_bytes(memory)}",
            hint="write memory: 1.5GiB, leave it out, or write backend: duckdb",
        )
    if spec.backend == "spark" or (any(_SPARK.match(each) for each in named) and not small):
        return backends
    return [each for each in backends if each != "spark"]


def tasks(pinned: Pinned, plan: Plan) -> Sequence[Task]:
    """One task with one role."""
    spec, option = _spec(pinned), plan.option
    items = list(spec.items or ())
    if option.backend == "partitions":
        parts = max(option.parts, option.width)
        items = [{"part": part, "of": parts} for part in range(parts)]
    # Of Spark the first member is the driver, with the master beside it; all of them work.
    width = option.width if option.backend == "spark" else 1
    gang = Gang(least=width, most=width)
    role = Role(
        name="main",
        shape=Array(count=len(items), at_once=option.width) if items else gang,
        entry=_entry(spec, _call(spec, option)),
        resources=option.resources,
        params=_params(spec),
        items=tuple(items),
        inputs=pinned.inputs,
        outputs={"output": _PART} if option.backend == "partitions" else _outputs(spec),
        env={**sizing.trusted(pinned.inputs), **_threads(option), **spec.env},
        restart=sizing.restart(spec),
        timeout=spec.timeout or 0.0,
    )
    return [Task(name="main", roles=(role,), environment=pinned.environment, bundle=pinned.bundle)]


def probe(pinned: Pinned, seconds: float, share: float, before: Pinned | None = None) -> Task:
    """Measure calls on samples: at most the share `share` of the input's row groups, for at most
    about so many seconds. What is found is the output `output`, JSON (see `inside.probing`; with an
    earlier version `before` side by side, `inside.versions`)."""
    spec = _spec(pinned)
    style = _style(spec)
    backend = matrix.able(style)[0]
    measured: dict[str, Any] = {"seconds": seconds, "share": share}
    if spec.items:
        measured["item"] = spec.items[0]
    resources = sizing.resources(spec, PROBE_CPU)
    option = Option(backend=backend, resources=resources, elastic=style != "table")
    call = {**_called(spec, style, option), "probe": measured}
    if spec.backend == "spark" and style == "expression":
        call["pinned"] = "spark"  # what is measured is DuckDB; what Spark refuses is told too
    if before is not None:
        measured["against"] = _earlier(_spec(before), option)
    role = Role(
        name="main",
        shape=Gang(),
        entry=_entry(spec, call),
        resources=option.resources,
        params=_params(spec),
        inputs=pinned.inputs,
        outputs={"output": Output()},
        env={**sizing.trusted(pinned.inputs), **_threads(option), **spec.env},
        timeout=(PROBE_START + PROBE_PATIENCE * seconds) * (1 if before is None else 3),
    )
    return Task(name="probe", roles=(role,), environment=pinned.environment, bundle=pinned.bundle)


def _earlier(spec: FunctionSpec, option: Option) -> dict[str, Any]:
    """How an earlier version is called, as a start says it."""
    style = _style(spec)
    call = _called(spec, style, replace(option, backend=matrix.able(style)[0]))
    entry = _entry(spec, call)
    told = {"kind": entry.kind, "target": entry.target, "call": call}
    return {"entry": told, "params": _params(spec)}


def _style(spec: FunctionSpec) -> str:
    return spec.style or ("sql" if spec.sql else "table")


def _call(spec: FunctionSpec, option: Option) -> dict[str, Any]:
    """Nothing for what is called once with whole tables, as everything is that says no style."""
    style = _style(spec)
    return {} if style in ("table", "sql") else _called(spec, style, option)


def _called(spec: FunctionSpec, style: str, option: Option) -> dict[str, Any]:
    call: dict[str, Any] = {"style": style, "backend": option.backend}
    if spec.by:
        call["by"] = list(spec.by)
    if spec.on_error:
        call["on_error"] = spec.on_error
    # Less than a core is a guess, or a share of one: libraries keep their own number of threads.
    if option.resources.cpu >= 1:
        call["cores"] = math.ceil(option.resources.cpu)
    if option.resources.memory:
        call["memory"] = option.resources.memory
    if option.backend == "spark" and option.width > 1:
        call["width"] = option.width
    return call


def _threads(option: Option) -> dict[str, str]:
    """Of what a batch calls (a model, a solver): as many as the process has cores. Several for each
    of several processes wait for each other, spinning, and a probe would count that as work."""
    if not option.elastic or option.resources.cpu < 1:
        return {}
    return {"OMP_NUM_THREADS": str(math.ceil(option.resources.cpu))}


def _params(spec: FunctionSpec) -> dict[str, Any]:
    return {**spec.params, **({"sql": spec.sql} if spec.sql else {})}


def _spec(pinned: Pinned) -> FunctionSpec:
    return cast(FunctionSpec, from_document(pinned.spec))


def _entry(spec: FunctionSpec, call: dict[str, Any]) -> Entry:
    if spec.entry is None:
        target = "tradewind.kinds.function.work:run_sql"
        return Entry(kind="module", target=target, call=call)
    return Entry(kind=sizing.entry_kind(spec.entry), target=spec.entry, call=call)


def _outputs(spec: FunctionSpec) -> dict[str, Output]:
    """The returned value; of a component, the outputs that it declares."""
    component = catalog.BY_TARGET.get(spec.entry or "")
    if component is None:
        # Of items the results are a list, and no dataset.
        named = bool(spec.output) and not spec.items
        return {"output": Output(target=spec.result, project=spec.project, named=named)}
    return {
        slot: Output(
            kind="model" if kind == "model" else "result",
            target=spec.result if slot in {"output", "model"} else f"{spec.result}-{slot}",
            project=spec.project,
        )
        for slot, kind in component.outputs.items()
    }
