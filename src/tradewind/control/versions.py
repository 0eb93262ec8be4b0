"""What a change to the code does to the price: an earlier version is probed beside the present one.

The earlier version is code that a client sent (a git revision) or that of a run. Both travel in one
bundle and are measured by one task, in turns, with what the present spec gives them; the answer
stands in the quote as `against`.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from pydantic import ValidationError

from tradewind.base.errors import NotFound, TradewindError, UserError
from tradewind.blobs.base import Blobs
from tradewind.compiler import blame, margin
from tradewind.compiler.quote import PROBE_SECONDS
from tradewind.control import code, costs
from tradewind.control.gather import Batch
from tradewind.control.planning import Planner
from tradewind.inside import profiling
from tradewind.inside.versions import FOLDER
from tradewind.records import codec
from tradewind.records.pinned import Pinned
from tradewind.records.plans import Plan, ProbesWanted, Quote
from tradewind.records.runs import Run
from tradewind.specs import from_document, to_document
from tradewind.store.base import Store

# Time alone bounds the samples: a change is seen the better the longer both are called.
WANTED = ProbesWanted(seconds=PROBE_SECONDS, share=1.0)
# Calls that took less say nothing about a change.
LEAST = 0.1
# And so few of one version.
FEWEST = 2
# Problems that end a version before it is called, or with it.
ENDS = frozenset({"import", "died"})
# What of a spec is the code and how it is called; the rest is as it is now.
WRITTEN = ("entry", "style", "by", "on_error", "sql", "bundle")
_GIVEN = ("params", "input")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The version that is compared with: what people call it, its spec with its code, `both` the
    bundle that has both versions, and what is not as it was then."""

    name: str
    spec: Json
    both: str
    run: str = ""
    notes: tuple[str, ...] = ()


def find(store: Store, blobs: Blobs, spec: Any, wanted: Json) -> Json:
    """The `against` of a question ({run} or {spec, name}) as the run that answers it remembers it.
    Raises UserError, NotFound."""
    now = to_document(from_document(spec))
    if now["kind"] != "function":
        raise UserError(
            f"a {now['kind']} cannot be quoted against another version",
            hint="functions can; compare two runs with `tw cost RUN --against RUN`",
        )
    run = store.runs.find(str(wanted["run"])) if wanted.get("run") else None
    old = run.spec if run is not None else wanted.get("spec")
    if not isinstance(old, dict):
        raise UserError("`against` is {run: ID} or {spec: a document, name: what it is called}")
    name = run.id if run is not None else str(wanted.get("name") or "before")[:200]
    if (old.get("kind"), old.get("name")) != ("function", now["name"]):
        raise UserError(
            f"{name} is {old.get('kind')} {old.get('name')}, not function {now['name']}",
            hint="a run of the same function, or a git revision, can be compared with",
        )
    made = _as_it_was(now, old)
    for each in (now, made):
        bundle = str(each.get("bundle") or "")
        if bundle and not blobs.exists(bundle):
            raise NotFound(f"the code of {name if each is made else now['name']} is not here")
    _has_entry(blobs, made, name)
    earlier = Earlier(
        name=name,
        spec=made,
        both=together(blobs, str(now.get("bundle") or ""), str(made.get("bundle") or "")),
        run=run.id if run is not None else "",
        notes=tuple(_others(now, old)),
    )
    found: Json = codec.to_json(earlier)
    return found


def _as_it_was(now: Json, old: Json) -> Json:
    made = {key: value for key, value in now.items() if key not in WRITTEN}
    made |= {key: old[key] for key in WRITTEN if key in old}
    if made.get("style") != now.get("style"):
        made.pop("backend", None)  # it may not carry that style out
    return to_document(from_document(made))


def _has_entry(blobs: Blobs, spec: Json, name: str) -> None:
    try:
        code.reached(blobs, str(spec.get("bundle") or ""), str(spec.get("entry") or ""))
    except NotFound as error:
        raise NotFound(f"at {name}: {error.message}", hint="it is new since, or moved") from None


def _others(now: Json, old: Json) -> list[str]:
    """What was given to it then, and is given otherwise now."""
    found = []
    for what in _GIVEN:
        before, given = old.get(what) or {}, now.get(what) or {}
        names = [n for n in before if n in given and before[n] != given[n]]
        words = {"params": "parameter", "input": "input"}[what]
        found += [f"{words} {n!r} was another: both have the present one" for n in names]
    if old.get("dependencies") != now.get("dependencies"):
        found.append("its dependencies were others: both have the present ones")
    return found


def together(blobs: Blobs, now: str, before: str) -> str:
    """One bundle with the code of now, and that of before in a folder."""
    if not before:
        return now
    out = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for bundle, folder in ((now, ""), (before, FOLDER + "/")):
            if not bundle:
                continue
            with tarfile.open(blobs.path(bundle)) as source:
                for member in source:
                    if member.isfile():
                        member.name = folder + member.name.removeprefix("./")
                        tar.addfile(member, source.extractfile(member))
    return blobs.put_bytes(out.getvalue())


def check(wanted: Any) -> None:
    """Raises UserError for what `find` has not made."""
    try:
        codec.from_json(Earlier, wanted)
    except ValidationError:
        raise UserError("ask for `against` with POST /quotes") from None


def of(run: Run) -> Earlier | None:
    """What a run's question compares with."""
    asked = run.memory.get("ask") or {}
    return codec.from_json(Earlier, asked["against"]) if asked.get("against") else None


def unmeasured(run: Run) -> bool:
    """Whether both versions are still to be probed."""
    return of(run) is not None and "versions" not in run.memory


def pinned(made: Pinned, earlier: Earlier) -> tuple[Pinned, Pinned]:
    """Both versions as the probe is told of them."""
    bundle = str(earlier.spec.get("bundle") or "")
    return replace(made, bundle=earlier.both), replace(made, spec=earlier.spec, bundle=bundle)


def pair(run: Run) -> tuple[Pinned, Pinned] | None:
    """Both versions of a run whose question compares."""
    earlier = of(run)
    return pinned(codec.from_json(Pinned, run.pinned), earlier) if earlier is not None else None


# --- the comparison ------------------------------------------------------------------------------


def answered(
    planner: Planner, blobs: Blobs, made: Pinned, batch: Batch, run: Run, quote: Quote, now: float
) -> Quote:
    """The quote with what the change did, if that was asked."""
    earlier = of(run)
    if earlier is None:
        return quote
    found: Json = run.memory["versions"]
    _new, old = pinned(made, earlier)
    after = _plans(planner, made, batch, run, now, run.memory["probes"])
    before = _plans(planner, old, batch, run, now, found)
    plan = after[0] if after else None
    same = next((each for each in before if plan and _size(each) == _size(plan)), None)
    body = {
        "name": earlier.name,
        "run": earlier.run,
        "notes": list(earlier.notes),
        "before": _figures(same or next(iter(before), None), found),
        "now": _figures(plan, run.memory["probes"]),
        "rows": int(found.get("samples", {}).get("now", {}).get("rows", 0)),
        **_change(blobs, made, old, run, found),
    }
    return replace(quote, against=body)


def _plans(
    planner: Planner, made: Pinned, batch: Batch, run: Run, now: float, found: Json
) -> Sequence[Plan]:
    """What the probes alone say of it, so that both versions are judged by the same."""
    if not found.get("calls") or "input" not in found or made.spec.get("items"):
        return ()
    try:
        quote = planner.quote(made, batch, run, now, found)
    except TradewindError:
        return ()
    return quote.plans if isinstance(quote, Quote) else ()


def _size(plan: Plan) -> tuple[object, ...]:
    option = plan.option
    return plan.pool, option.backend, option.width, option.parts, option.resources


def _figures(plan: Plan | None, found: Json) -> Json:
    told = codec.to_json(plan) if plan is not None else {}
    names = ("seconds", "price", "cpu", "pool", "option")
    return {
        **{name: told.get(name) for name in names},
        "start": float(found.get("start", 0.0)),
        "problems": list(found.get("problems", ())),
    }


def _change(blobs: Blobs, made: Pinned, old: Pinned, run: Run, found: Json) -> Json:
    bodies = {"before": found, "now": run.memory["probes"]}
    # A line that nothing reaches may be an import that fails.
    ends = any(
        each["kind"] in ENDS for body in bodies.values() for each in body.get("problems", ())
    )
    if not ends and _does_the_same(blobs, made, old):
        nothing = blame.Blame(verdict="same", change=0.0, noise=0.0, lines=())
        return {**codec.to_json(nothing), "words": "no line that it reaches does anything else"}
    for name, each in bodies.items():
        if len(found.get("samples", {}).get(name, {}).get("works", ())) < FEWEST:
            nothing = blame.Blame(verdict="unclear", change=0.0, noise=0.0, lines=())
            problem: Json = next(iter(each.get("problems", ())), {})
            why = problem.get("message", "too few calls of it came back in time")
            which = "the earlier version" if name == "before" else "the present version"
            words = f"it cannot be told: {which} could not be measured: {why}"
            return {**codec.to_json(nothing), "words": words}
    asleep = any(_asleep(each, found["samples"][name]) for name, each in bodies.items())
    before, now = (
        blame.Side(
            works=_works(bodies[name], sample, asleep),
            lines=_lines(sample, asleep),
            looks=int(sample["looks"]),
            sources=costs.texts(blobs, bundle),
        )
        for name, sample, bundle in (
            ("before", found["samples"]["before"], old.bundle),
            ("now", found["samples"]["now"], made.bundle),
        )
    )
    # The more cores neighbours keep busy, the less alike are the CPU seconds of equal calls, though
    # they are made side by side (`inside.versions`).
    load = max(float(each.get("load", 0.0)) for each in bodies.values())
    change = blame.blame(before, now, LEAST, blame.REPEAT * (1.0 + load / 4))
    return costs.told(change, before, now)


def _does_the_same(blobs: Blobs, made: Pinned, old: Pinned) -> bool:
    """Whether nothing but spaces, comments and code that it does not reach was changed. What is no
    code may be read by it."""
    written = [{name: each.spec.get(name) for name in WRITTEN[:-1]} for each in (made, old)]
    entry = str(made.spec.get("entry") or "")
    reached = [code.parts(blobs, each.bundle, entry) for each in (made, old) if entry]
    others = [
        {name: data for name, data in code.files_of(blobs, each.bundle).items()
         if not name.endswith((".py", ".tw"))}
        for each in (made, old)
    ]  # fmt: skip
    return bool(reached and reached[0]) and all(
        one == other for one, other in (written, reached, others)
    )


def _asleep(body: Json, sample: Json) -> bool:
    """A neighbour doubles the time by a clock at most; what takes longer than that sleeps."""
    wall, cpu = (median(each[what] for each in sample["works"]) for what in ("wall", "cpu"))
    return float(body.get("load", 0.0)) < 1 and wall > 2 * cpu


def _works(body: Json, sample: Json, asleep: bool) -> list[float]:
    """Each call's work. What a call takes without rows counts as it does for all of the input."""
    rows, whole = int(sample["rows"]), int(body["input"]["rows"])
    what = "wall" if asleep else "cpu"
    empty = [float(call[what]) for call in body["calls"] if not call["rows"]]
    works = [float(each[what]) for each in sample["works"]]
    if not rows or whole <= rows or not empty:
        return works
    fixed = min(empty[0], min(works) / 2) * (1 - rows / whole)
    return [work - fixed for work in works]


def _lines(sample: Json, asleep: bool) -> dict[blame.Line, float]:
    """Seconds by line, as parts of what the works are: without waits, or by the clock."""
    found: dict[blame.Line, float] = {}
    for name, seconds in sample["lines"].items():
        file, _tab, rest = name.removeprefix(profiling.MARK).partition("\t")
        line, _tab, what = rest.partition("\t")
        if not file and what == profiling.IDLE and not asleep:
            continue
        key = (file, int(line)) if file else (margin.BUCKETS.get(what, what), 0)
        found[key] = found.get(key, 0.0) + max(0.0, float(seconds))
    return found
