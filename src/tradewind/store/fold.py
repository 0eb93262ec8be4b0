"""What reports change, worked out without a database: the pure half of `reports.py`.

Reports come from user code, so a body may hold anything; what makes no sense is dropped, never
raised, because the report would only come again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from tradewind.records.events import Event
from tradewind.records.placements import Attempt
from tradewind.records.reports import Report
from tradewind.records.states import (
    ATTEMPT_ENDED,
    PLACEMENT_ENDED,
    PLACEMENT_TRANSITIONS,
    AttemptState,
    PlacementState,
)
from tradewind.store.rows import Metric, Phase, Progress


@dataclass(slots=True, kw_only=True)
class Facts:
    """A placement as it is stored, and as reports move it."""

    id: str
    run: str
    project: str
    task: str
    number: int
    stale: bool
    seen: int
    state: PlacementState
    started: float
    ended: float
    reason: dict[str, Any]


@dataclass(slots=True)
class Folded:
    """Everything to write for a batch of reports."""

    fresh: list[Report] = field(default_factory=list)
    seen: dict[tuple[str, str], int] = field(default_factory=dict)
    placements: dict[str, Facts] = field(default_factory=dict)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    params: dict[tuple[str, str], Any] = field(default_factory=dict)
    phases: list[Phase] = field(default_factory=list)
    progress: dict[tuple[str, str, str, int], Progress] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    poked: set[str] = field(default_factory=set)
    lost: dict[str, float] = field(default_factory=dict)


def attempt_key(report: Report) -> str:
    """The one key by which an attempt's row is found again."""
    return f"{report.placement}/{report.role}/{report.index}/{report.attempt}"


def fold(
    reports: Sequence[Report],
    facts: Mapping[str, Facts],
    attempts: Mapping[str, Attempt],
    streams: Mapping[tuple[str, str], int],
) -> Folded:
    """Apply reports in the order given. `facts` lacks unknown placements, `attempts` those that no
    report has told of yet, `streams` (seq seen, by placement and stream) the nameless stream, which
    `facts` have; all are read and not changed."""
    out = Folded(attempts={})
    now = {key: replace(fact) for key, fact in facts.items()}
    tries = dict(attempts)
    seen = {(fact.id, ""): fact.seen for fact in facts.values()} | dict(streams)
    for report in reports:
        fact, teller = now.get(report.placement), (report.placement, report.stream)
        if fact is None or report.seq <= seen.get(teller, 0):
            continue
        seen[teller] = out.seen[teller] = report.seq
        out.fresh.append(report)
        out.placements[fact.id] = fact
        handler = _HANDLERS.get(report.kind)
        if handler is not None and (report.kind in _OF_STALE or not fact.stale):
            handler(report, fact, tries, out)
    out.events.extend(_progress_event(p, now[p.placement].project) for p in out.progress.values())
    return out


def _attempt(report: Report, fact: Facts, tries: dict[str, Attempt], out: Folded) -> None:
    out.poked.add(fact.run)
    state = _state(AttemptState, report)
    key = attempt_key(report)
    old = tries.get(key)
    if state is None or (old is not None and old.state in ATTEMPT_ENDED):
        return
    if old is None:
        old = Attempt(
            placement=fact.id,
            run=fact.run,
            task=fact.task,
            role=report.role,
            index=report.index,
            number=report.attempt,
            state=state,
        )
    body = report.body
    new = replace(
        old,
        state=state,
        started=old.started or (report.at if state in _BEGUN else 0.0),
        ended=report.at if state in ATTEMPT_ENDED else 0.0,
        exit=_exit(state, body),
        usage={**old.usage, **_dict(body.get("usage"))},
        outputs={**old.outputs, **_dict(body.get("outputs"))},
        address=_word(body.get("address")) or old.address,
        width=_whole(body.get("width")) or old.width,
    )
    tries[key] = out.attempts[key] = new
    if state in ATTEMPT_ENDED:
        for name, seconds in _dict(body.get("phases")).items():
            _spent(name, seconds, report, fact, out)
    told: dict[str, Any] = {
        name: body[name] for name in ("why", "exit", "usage", "address", "pid") if name in body
    }
    told |= {"role": report.role, "index": report.index, "attempt": report.attempt}
    out.events.append(_event(f"attempt.{state}", report, fact, told))
    if state is not AttemptState.PREPARING:
        _move(fact, PlacementState.RUNNING, report, out)
    if new.started:  # one that ended while it waited moved the placement, and began no work
        fact.started = min(fact.started or new.started, new.started)


def _exit(state: AttemptState, body: Mapping[str, Any]) -> dict[str, Any]:
    """How it ended; of one that goes on, what it waits for, which is over with the next word."""
    if state in ATTEMPT_ENDED:
        return _dict(body.get("exit"))
    why, native = _word(body.get("why")), _dict(body.get("native"))
    waits = {"reason": "waiting", "message": why} if why else {}
    return {**waits, "native": native} if why and native else waits


def _placement(report: Report, fact: Facts, tries: dict[str, Attempt], out: Folded) -> None:
    out.poked.add(fact.run)
    state = _state(PlacementState, report)
    if state is None:
        return
    reason = report.body.get("reason")
    reason = reason if isinstance(reason, dict) else {"reason": _word(reason)} if reason else {}
    if not _move(fact, state, report, out, reason):
        return
    if state in (PlacementState.RUNNING, PlacementState.SUCCEEDED):
        fact.started = fact.started or report.at
    if state is PlacementState.LOST:
        _lose(fact, report.at, tries, out)


def _lose(fact: Facts, at: float, tries: dict[str, Attempt], out: Folded) -> None:
    """Nobody will tell how the attempts of a lost placement ended: they are lost with it. Those
    that this batch does not hold are moved in the database."""
    out.lost[fact.id] = at
    for key, attempt in tries.items():
        if attempt.placement == fact.id and attempt.state not in ATTEMPT_ENDED:
            tries[key] = out.attempts[key] = replace(
                attempt, state=AttemptState.LOST, ended=at, exit={}
            )


def _move(
    fact: Facts,
    state: PlacementState,
    report: Report,
    out: Folded,
    reason: dict[str, Any] | None = None,
) -> bool:
    if (fact.state, state) not in PLACEMENT_TRANSITIONS:
        return False
    fact.state = state
    if state in PLACEMENT_ENDED:
        fact.ended = report.at or 1.0
        fact.reason = reason or fact.reason
    out.events.append(_event(f"placement.{state}", report, fact, {"reason": reason or {}}))
    return True


def _metric(report: Report, fact: Facts, tries: dict[str, Attempt], out: Folded) -> None:
    value, step = _number(report.body.get("value")), _number(report.body.get("step", 0))
    name = _word(report.body.get("name"))
    if name and value is not None:
        whole = int(step) if step is not None and abs(step) < 2**53 else 0
        out.metrics.append(Metric(run=fact.run, name=name, step=whole, value=value, at=report.at))


def _param(report: Report, fact: Facts, tries: dict[str, Attempt], out: Folded) -> None:
    name = _word(report.body.get("name"))
    if name:
        out.params[fact.run, name] = report.body.get("value")


def _progress(report: Report, fact: Facts, tries: dict[str, Attempt], out: Folded) -> None:
    done, total = _number(report.body.get("done")), _number(report.body.get("total", 0))
    if done is None or total is None or not (math.isfinite(done) and math.isfinite(total)):
        return
    out.progress[fact.run, fact.id, report.role, report.index] = Progress(
        run=fact.run,
        placement=fact.id,
        role=report.role,
        index=report.index,
        done=done,
        total=total,
        at=report.at,
    )


def _phase(report: Report, fact: Facts, tries: dict[str, Attempt], out: Folded) -> None:
    _spent(report.body.get("name"), report.body.get("seconds"), report, fact, out)
    if not report.body.get("rank"):  # the lines of a gang's code are those of its first member
        for name, seconds in _dict(report.body.get("phases")).items():
            _spent(name, seconds, report, fact, out)


def _spent(name: object, seconds: object, report: Report, fact: Facts, out: Folded) -> None:
    """Where time went beside or in user code: told on its own, or with an attempt's end."""
    word, number = _word(name), _number(seconds)
    if not word or number is None or not math.isfinite(number):
        return
    out.phases.append(
        Phase(
            run=fact.run,
            placement=fact.id,
            role=report.role,
            index=report.index,
            attempt=report.attempt,
            name=word,
            seconds=number,
            at=report.at,
        )
    )


_Handler = Callable[[Report, Facts, dict[str, Attempt], Folded], None]
_HANDLERS: dict[str, _Handler] = {
    "attempt": _attempt,
    "placement": _placement,
    "metric": _metric,
    "param": _param,
    "progress": _progress,
    "phase": _phase,
}
_OF_STALE = ("attempt", "placement")
# Who is told to be so has begun to work, and not only waited.
_BEGUN = frozenset({AttemptState.RUNNING, AttemptState.READY, AttemptState.SUCCEEDED})


_State = TypeVar("_State", AttemptState, PlacementState)


def _state(kind: type[_State], report: Report) -> _State | None:
    try:
        return kind(report.body.get("state", ""))
    except ValueError:
        return None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


def _word(value: Any) -> str:
    """Text that every database can hold: PostgreSQL knows no NUL, nobody knows half characters."""
    if not isinstance(value, str):
        return ""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _event(type_: str, report: Report, fact: Facts, body: dict[str, Any]) -> Event:
    return Event(
        type=type_,
        at=report.at,
        project=fact.project,
        subject=fact.id,
        run=fact.run,
        body={"task": fact.task, "number": fact.number, **body},
    )


def _progress_event(progress: Progress, project: str) -> Event:
    body = {"role": progress.role, "index": progress.index}
    return Event(
        type="run.progress",
        at=progress.at,
        project=project,
        subject=progress.run,
        run=progress.run,
        body={**body, "done": progress.done, "total": progress.total},
    )
