"""What a run cost, line by line: its bill, its code and what was seen of it, brought together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tradewind.base.errors import TradewindError
from tradewind.blobs.base import Blobs
from tradewind.compiler import blame, learning, margin
from tradewind.compiler.facts import PoolFacts
from tradewind.compiler.margin import Cost, Place, Try
from tradewind.control import bill, code, lessons
from tradewind.inside import profiling
from tradewind.records import codec
from tradewind.records.placements import Attempt, Placement
from tradewind.records.runs import Run
from tradewind.records.states import ENDED, RunState
from tradewind.records.tasks import Gang, Role, starting_width
from tradewind.store.base import Store
from tradewind.store.rows import Phase

_Unit = tuple[str, str, int, int]
_ENDS = {RunState.FAILED: "failed", RunState.STOPPED: "was stopped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the tries of a run told of their time."""

    phases: Mapping[str, float]
    lines: Mapping[Place, float]
    looks: int
    waited: float


@dataclass(frozen=True, slots=True)
class Costs:
    """One per server. `pools`: what is known of each now."""

    store: Store
    blobs: Blobs
    pools: Mapping[str, PoolFacts]

    def of(self, run: Run, now: float, before: Run | None = None) -> dict[str, Any]:
        """The bill of a run in the margin of its code (docs/cli.md, `tw cost`); what changed since
        the run `before`."""
        told = self._told(run.id)
        costs = margin.together(self._margins(run, told, now))
        children = self.store.runs.children([run.id])[run.id]
        steps: list[dict[str, Any]] = [
            {"name": each.name, "run": each.id, "state": str(each.state),
             "price": self._price(each.id, now)}
            for each in children
        ]  # fmt: skip
        looks = sum(each.looks for each in told.values())
        return {
            "run": run.id,
            "name": run.name,
            "state": str(run.state),
            "price": sum(each.price for each in costs) + sum(each["price"] for each in steps),
            "looks": looks,
            "note": _note(run, looks, bool(costs), bool(steps)),
            "buckets": [
                {"name": each.place.what, "what": margin.BUCKETS[each.place.what],
                 "seconds": each.seconds, "price": each.price}
                for each in costs if not each.place.file
            ],
            "files": self._files(run, [each for each in costs if each.place.file]),
            "steps": steps,
            **({"against": self._against(run, before, now)} if before else {}),
        }  # fmt: skip

    def _against(self, run: Run, before: Run, now: float) -> dict[str, Any]:
        sides = self.side([before]), self.side([run])
        # Two runs at two times: what the machine differs by between them is no change.
        repeat = max(blame.REPEAT, learning.repeat(lessons.learned(self.store.settings)))
        found = blame.blame(*sides, repeat=repeat)
        return {
            "run": before.id,
            "name": before.name,
            "state": str(before.state),
            "notes": _doubts(run, before),
            "before": self._price(before.id, now),
            "now": self._price(run.id, now),
            **told(found, *sides),
        }

    def side(self, runs: Sequence[Run]) -> blame.Side:
        """Runs of one version of the code, to compare with those of another."""
        works, lines, looks = [], dict[blame.Line, float](), 0
        for run in runs:
            told = self._told(run.id)
            tries = self.store.reports.attempts([run.id])[run.id]
            spent = sum(float(each.usage.get("cpu", 0.0)) for each in tries)
            works.append(spent + sum(each.waited for each in told.values()))
            looks += sum(each.looks for each in told.values())
            for each in told.values():
                for place, seconds in each.lines.items():
                    key = (place.file or margin.BUCKETS[place.what], place.line)
                    lines[key] = lines.get(key, 0.0) + seconds
        return blame.Side(works=works, lines=lines, looks=looks, sources=self.sources(runs[-1]))

    def _price(self, run_id: str, now: float) -> int:
        """A run's bill with all below it."""
        run = self.store.runs.get(run_id)
        own = sum(price for _placement, price, _held in self._bills(run, now))
        return own + sum(
            self._price(each.id, now) for each in self.store.runs.children([run_id])[run_id]
        )

    def _bills(self, run: Run, now: float) -> list[tuple[Placement, int, float]]:
        """Each placement with its nanodollars so far and the seconds that it was held."""
        paid = {each.part: each for each in self.store.ledger.usage(run.id)}
        found = []
        for placement in self.store.placements.of([run.id])[run.id]:
            pool = self.pools.get(placement.pool)
            if placement.id in paid:
                usage = paid[placement.id]
                found.append((placement, usage.nanodollars, usage.seconds))
            elif pool is not None and placement.started and not placement.ended:
                until = max(now, placement.started)
                price = bill.accrued(run, placement, pool, until)
                found.append((placement, price, until - placement.started))
        return found

    def _margins(self, run: Run, told: Mapping[_Unit, Seen], now: float) -> list[list[Cost]]:
        attempts = [each for each, _stale in self.store.reports.all_attempts(run.id)]
        found = []
        for placement, price, seconds in self._bills(run, now):
            if not price and not seconds:
                continue  # it only waited
            tries = [
                _try(each, told, placement, placement.ended or now)
                for each in attempts
                if each.placement == placement.id and each.started
            ]
            together = sum(_together(role) for role in placement.task.roles)
            found.append(margin.margin(price, seconds * together, tries))
        return found

    def _told(self, run_id: str) -> dict[_Unit, Seen]:
        units: dict[_Unit, list[Phase]] = {}
        for row in self.store.reports.phases(run_id):
            units.setdefault((row.placement, row.role, row.index, row.attempt), []).append(row)
        return {unit: _seen(rows) for unit, rows in units.items()}

    def _files(self, run: Run, costs: Sequence[Cost]) -> list[dict[str, Any]]:
        sources = self.sources(run)
        return [
            {
                "path": path,
                "source": sources.get(path, []),
                "lines": _lines([each for each in costs if each.place.file == path]),
            }
            for path in dict.fromkeys(each.place.file for each in costs)
        ]

    def sources(self, run: Run) -> dict[str, list[str]]:
        """The lines of the files that travelled with a run; none if they are gone."""
        bundle = str(run.pinned.get("bundle") or run.spec.get("bundle") or "")
        return texts(self.blobs, bundle)


def _together(role: Role) -> int:
    """How many tries of a role are paid for at the same time; a gang has one for all of it."""
    return 1 if isinstance(role.shape, Gang) else starting_width(role.shape)


def _try(attempt: Attempt, told: Mapping[_Unit, Seen], placement: Placement, until: float) -> Try:
    key = (attempt.placement, attempt.role, attempt.index, attempt.number)
    seen = told.get(key, Seen(phases={}, lines={}, looks=0, waited=0.0))
    seconds = max(0.0, (attempt.ended or until) - attempt.started)
    # Without a bundle what was called is ours: an import, a query.
    unseen = "short" if placement.task.bundle else "outside"
    return Try(seconds=seconds, phases=seen.phases, seen=seen.lines, unseen=unseen)


def _seen(rows: Sequence[Phase]) -> Seen:
    """Of what was seen the last word counts: each holds all before it."""
    marked = [row for row in rows if row.name.startswith(profiling.MARK)]
    last = [row for row in marked if row.at == marked[-1].at]
    lines: dict[Place, float] = {}
    looks, waited = 0, 0.0
    for row in last:
        file, _tab, rest = row.name.removeprefix(profiling.MARK).partition("\t")
        line, _tab, what = rest.partition("\t")
        if not file and what == profiling.SAMPLES:
            looks = int(row.seconds)
        elif not file and what == profiling.WAITED:
            waited = max(0.0, row.seconds)
        elif file and line.isdigit():
            lines[Place(file, int(line), what)] = max(0.0, row.seconds)
        elif what in margin.BUCKETS:
            lines[margin.bucket(what)] = max(0.0, row.seconds)
    phases = {row.name: row.seconds for row in rows if row not in marked}
    return Seen(phases=phases, lines=lines, looks=looks, waited=waited)


def _lines(costs: Sequence[Cost]) -> list[dict[str, Any]]:
    """One entry for each line, with what it calls."""
    found: dict[int, dict[str, Any]] = {}
    for each in costs:
        line = found.setdefault(
            each.place.line, {"line": each.place.line, "seconds": 0.0, "price": 0, "calls": []}
        )
        line["seconds"] += each.seconds
        line["price"] += each.price
        if each.place.what:
            line["calls"].append(
                {"name": each.place.what, "seconds": each.seconds, "price": each.price}
            )
    for line in found.values():
        line["calls"].sort(key=lambda call: (-call["price"], call["name"]))
    return list(found.values())


def _note(run: Run, looks: int, costs: bool, steps: bool) -> str:
    """What people should know about these figures."""
    words = []
    if run.state not in ENDED:
        words.append("it is still going: this is what is known so far")
    if run.cached_from:
        words.append(f"it took its result from {run.cached_from} and did no work itself")
    elif costs and not looks:
        words.append("none of its code ran long enough to be looked at: no lines, only phases")
    elif not costs and not steps:
        words.append("it has cost nothing")
    return "; ".join(words)


def _doubts(run: Run, before: Run) -> list[str]:
    """Why two runs may not be two versions of one work."""
    words = []
    if (run.project, run.kind, run.name) != (before.project, before.kind, before.name):
        other = f"{before.kind} {before.name} of project {before.project}"
        words.append(f"{before.id} is of something else: the {other}")
    if before.state not in ENDED:
        words.append(f"{before.id} is still going: it may not have done all of its work")
    elif before.state is not RunState.SUCCEEDED:
        words.append(f"{before.id} {_ENDS[before.state]}: it may not have done all of its work")
    if before.cached_from:
        words.append(f"{before.id} took its result from {before.cached_from} and did no work")
    return words


def texts(blobs: Blobs, bundle: str) -> dict[str, list[str]]:
    """The lines of the files of a bundle that hold code; none if it is gone."""
    try:
        files = code.files_of(blobs, bundle)
    except (TradewindError, OSError):
        return {}
    return {
        name: data.decode("utf-8", "replace").splitlines()
        for name, data in files.items()
        if name.endswith((".py", ".tw"))
    }


def told(found: blame.Blame, before: blame.Side, now: blame.Side) -> dict[str, Any]:
    """A comparison for the wire: in words, and with the text of its lines now and before."""
    return {
        **codec.to_json(found),
        "words": _words(found),
        "lines": [
            {
                **codec.to_json(each),
                "text": _text(before if each.gone else now, each.file, each.line),
                "was_text": _text(before, each.file, each.was),
            }
            for each in found.lines
        ],
    }


def _text(side: blame.Side, file: str, line: int) -> str:
    source = side.sources.get(file, ())
    return source[line - 1] if 0 < line <= len(source) else ""


def _words(found: blame.Blame) -> str:
    """The verdict for people."""
    change, noise = f"{abs(found.change):.1%}", f"{found.noise:.1%}"
    match found.verdict:
        case "dearer" | "cheaper":
            more = "more" if found.verdict == "dearer" else "less"
            return f"it does {change} {more} work; {noise} would be chance"
        case "same":
            return f"the same: {change} of difference are less than the {noise} that may be chance"
    return "it cannot be told: the runs are too short, or too uneven"
