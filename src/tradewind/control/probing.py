"""Probes: what the compiler cannot know is measured, on samples, by a task of the run itself.

A run in the state PROBING has one placement whose task is named `probe`. It waits in the same line
and stands on the same bill as the work; when it has ended, the run is planned with what it found.
Runs of the same pinned spec share the findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from tradewind import kinds
from tradewind.base.errors import Broken, Refused, UserError, from_json
from tradewind.base.units import format_money
from tradewind.compiler import price
from tradewind.compiler.facts import Call, PoolFacts, Probed
from tradewind.compiler.quote import QUOTE_SECONDS
from tradewind.compiler.refusals import writable_money
from tradewind.kinds.one_task import MOST_LOSSES, deaths, error_of, told
from tradewind.kinds.sizing import DEATHS
from tradewind.records import codec
from tradewind.records.load import Load
from tradewind.records.pinned import Pinned
from tradewind.records.placements import Placement
from tradewind.records.runs import Run
from tradewind.records.states import AttemptState, PlacementState
from tradewind.records.steering import View
from tradewind.records.tasks import Task
from tradewind.specs import from_document
from tradewind.specs.common import Workload

NAME = "probe"
# Seconds until any process can be asked anything, and until most have imported what they need.
LEAST_START, START = 0.3, 1.0
# As long as a quote that is made from it holds.
FRESH = QUOTE_SECONDS


def task(run: Run, versions: tuple[Pinned, Pinned] | None = None) -> Task:
    """The task that measures, as it was decided; of two `versions` both in turns."""
    made, before = versions or (codec.from_json(Pinned, run.pinned), None)
    wanted = run.memory["probe"]
    lower = cast(kinds.Probes, kinds.load(run.kind).lower)
    return lower.probe(made, float(wanted["seconds"]), float(wanted["share"]), before)


def may_cost(run: Run, task: Task, pool: PoolFacts) -> None:
    """Raises Refused where the budget is less than any probe costs on this pool."""
    spec = from_document(run.spec)
    least = _cost(LEAST_START, task, pool)
    if isinstance(spec, Workload) and spec.budget is not None and spec.budget < least:
        raise Refused(
            f"its budget of {format_money(spec.budget)} is less than measuring it costs: at least "
            f"{format_money(least)} on pool {pool.name!r}",
            hint=_hint(run, task, pool),
        )


def spent(run: Run, task: Task, pool: PoolFacts, paid: int, budget: int) -> Refused:
    """What is said when a probe has cost the whole budget."""
    return Refused(
        f"ended while it was measured, at {format_money(paid)}: its budget of "
        f"{format_money(budget)} is spent",
        hint=_hint(run, task, pool),
    )


def _hint(run: Run, task: Task, pool: PoolFacts) -> str:
    seconds = START + float(run.memory["probe"]["seconds"])
    enough = format_money(writable_money(_cost(seconds, task, pool)))
    return (
        f"measuring takes about {enough} at most, and the work comes on top: write at least "
        f"`budget: {enough}`, or leave it out"
    )


def _cost(seconds: float, task: Task, pool: PoolFacts) -> int:
    return price.cost(seconds, pool.price, price.share(task.demand(), pool.capacity))


def is_probe(placement: Placement) -> bool:
    """Whether this placement only measured."""
    return placement.task.name == NAME


def without(view: View) -> View:
    """What the kind may know: its own work, not the probes before it."""
    probes = {each.id for each in view.placements if is_probe(each)}
    if not probes:
        return view
    return replace(
        view,
        placements=tuple(each for each in view.placements if each.id not in probes),
        attempts=tuple(each for each in view.attempts if each.placement not in probes),
    )


def found(view: View, placement: Placement) -> dict[str, Any] | None:
    """What an ended probe measured; None when its processes were lost, or somebody killed one, and
    it is to be made again.

    Raises what its failure was, or that the budget was spent: nothing else of the run has been
    paid for.
    """
    match placement.state:
        case PlacementState.SUCCEEDED:
            ended = next(
                each
                for each in view.attempts
                if each.placement == placement.id and each.state is AttemptState.SUCCEEDED
            )
            return dict(ended.outputs["output"]["value"])
        case PlacementState.FAILED if not 0 < (times := deaths(view, placement)) <= DEATHS:
            body = error_of(told(placement.reason, times))
            raise UserError(
                f"its probe failed: {body.get('message', '')}",
                hint=str(body.get("hint") or "nothing but the probe was paid for"),
            )
    if "spent" in view.run.memory:  # it was ended by us
        raise from_json(view.run.memory["spent"])
    if view.run.losses >= MOST_LOSSES:
        raise Broken("its probe was lost again and again", hint="look at `tw doctor`")
    return None


def before(run: Run, history: Sequence[Run], *, seen: bool = False) -> dict[str, Any] | None:
    """What a probe of the same pinned spec has found, in this run or not long ago in another: what
    else the machine did then is in it, and how large a sample there was time for. `seen` says that
    earlier runs tell its time: then also what was found long ago, but for what the machine did."""
    for each in (run, *history):
        asked = each.memory.get("asked", each.pinned_digest)  # before it had a place
        if not each.memory.get("probes") or asked != run.pinned_digest:
            continue
        if each is run or run.created - each.created < FRESH:
            return dict(each.memory["probes"])
        if seen:
            return {**each.memory["probes"], "load": 0.0}
    return None


def facts(body: dict[str, Any]) -> Probed:
    """The findings as the compiler reads them."""
    whole = body["input"]
    return Probed(
        rows=max(1, int(whole["rows"])),  # 0 is where nobody knows
        groups=int(whole["groups"]),
        bytes=int(whole["bytes"]),
        style=str(body["style"]),
        backend=str(body["backend"]),
        family=str(body["family"]),
        calls=tuple(
            Call(**{name: each[name] for name in Call.__dataclass_fields__ if name in each})
            for each in body["calls"]
        ),
        operators=tuple(body.get("operators", ())),
        problems=tuple(body.get("problems", ())),
        load=float(body.get("load", 0.0)),
        beside=codec.from_json(Load, body["beside"]) if "beside" in body else None,
        keys=float(body.get("keys", 0.0)),
        growth=float(body.get("growth", 1.0)),
        times=float(body.get("times", 0.0)),
        start=float(body.get("start", 0.0)),
        asleep=float(body.get("asleep", 0.0)),
        page=float(body.get("page", 0.0)),
    )
