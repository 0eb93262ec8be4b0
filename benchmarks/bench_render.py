"""How fast tasks become the objects that a cluster gets.

    .venv/bin/python benchmarks/bench_render.py [--quick]

Claim: 1,000 tasks of one role each are rendered within 2 s. It is pure computation on the loop that
serves all others, so beside it stands what the bare JSON of the same requests takes.

There is no peer: Ray leaves this to an operator in Go, in the cluster; Prefect fills in a template
within a running worker, between two calls of the network.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from harness import Result, bench, median, repeat, timed

from tradewind.engines.kubernetes.render import Context, render
from tradewind.records.placements import Placement, placement_id
from tradewind.records.tasks import (
    Array,
    Entry,
    Environment,
    Gang,
    Readiness,
    Replicas,
    Resources,
    Role,
    Shape,
    Task,
)

CONTEXT = Context(
    pool="cluster",
    namespace="default",
    image="tradewind:1",
    server="http://tradewind.tradewind.svc:7433",
    token="t" * 100,
    service_token="s" * 40,
    store="bench",
)
SHAPES: dict[str, Shape] = {
    "one process": Gang(),
    "a gang of eight": Gang(least=8, most=8),
    "an array of a thousand items": Array(count=1000, at_once=20),
    "three replicas": Replicas(count=3),
}


def placement(i: int, shape: Shape, done: tuple[int, ...] = ()) -> Placement:
    """One of many alike, with a name of its own."""
    role = Role(
        name="main",
        shape=shape,
        entry=Entry(kind="function", target="job.py:fit"),
        resources=Resources(cpu=1.5, memory=2**30, accelerators={"nvidia.com/gpu": 1}),
        ports=("http", "prometheus-metrics") if isinstance(shape, Replicas) else (),
        readiness=Readiness(path="/health") if isinstance(shape, Replicas) else None,
    )
    task = Task(name="fit", roles=(role,), environment=Environment(digest="sha256:" + "0" * 64))
    return Placement(
        id=placement_id(f"r{i:011d}", task.name, 1),
        run=f"r{i:011d}",
        task=task,
        number=1,
        pool="cluster",
        engine="kubernetes",
        lease=1,
        demand=task.demand(),
        done=done,
    )


def rendered(placements: list[Placement]) -> list[Any]:
    """All of their requests."""
    return [render(each, CONTEXT) for each in placements]


def body(result: Result) -> None:
    count, repeats = (100, 3) if result.quick else (1000, 9)

    def seconds(call: Callable[[], object]) -> list[float]:
        return repeat(lambda: timed(call), repeats)

    mixed = [placement(i, list(SHAPES.values())[i % len(SHAPES)]) for i in range(count)]
    sizes = [len(json.dumps(each)) for each in rendered(mixed)]
    note = f"all shapes in turn; {sum(sizes) / count / 1000:.1f} kB of JSON each"
    target = 2.0 * count / 1000
    result.add(
        median(f"{count:,} tasks", seconds(lambda: rendered(mixed)), "s", target, note),
    )
    for name, shape in SHAPES.items():
        same = [placement(i, shape) for i in range(count)]
        result.add(median(f"… each {name}", seconds(partial(rendered, same)), "s"))
    large = [placement(0, Array(count=100_000, at_once=100), tuple(range(0, 100_000, 2)))]
    values = seconds(lambda: rendered(large))
    result.add(median("one array of 100,000 items, every other done", values, "s"))
    requests = rendered(mixed)
    values = seconds(lambda: json.loads(json.dumps(requests)))
    result.add(median(f"the bare JSON of the {count:,}", values, "s", note="written and read"))


if __name__ == "__main__":
    bench("render", __doc__, body)
