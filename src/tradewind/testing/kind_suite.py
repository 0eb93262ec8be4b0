"""The exam of a kind. A kind passes when a subclass with a `kind` and `documents` does.

    class TestMine(KindSuite):
        kind = "mine"
        documents = ({"kind": "mine", "name": "x", …}, …)

It asks of `lower` that it is pure and total over valid specs, and of `steer` that whatever it sees,
it decides what control can carry out, the same each time, and nothing for a run that has ended.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind import kinds
from tradewind.base.errors import Refused
from tradewind.records import codec
from tradewind.records.pinned import Pinned
from tradewind.records.placements import Attempt, Placement, placement_id
from tradewind.records.plans import Option, Plan
from tradewind.records.runs import Run
from tradewind.records.states import (
    ATTEMPT_ENDED,
    ENDED,
    PLACEMENT_ENDED,
    AttemptState,
    PlacementState,
    RunState,
    may_move,
)
from tradewind.records.steering import (
    Child,
    Decision,
    Finish,
    Launch,
    Note,
    Publish,
    Remember,
    Resize,
    StopChild,
    Submit,
    View,
    WakeAt,
)
from tradewind.records.tasks import Array, Environment, Input, Replicas, Task
from tradewind.specs import from_document, to_document

Document = dict[str, Any]
NOW = 1_700_000_000.0

# What `steer` is shown: control looks after every other state by itself.
STEERED = (RunState.PLANNED, RunState.PLACED, RunState.RUNNING, RunState.STOPPING)
_REASONS: tuple[dict[str, Any], ...] = (
    {},
    {"reason": "error", "message": "boom", "traceback": "…"},
    {"reason": "environment", "message": "no such package"},
    {"reason": "timeout"},
    {"reason": "lost", "message": "gone"},
)
_BODIES: tuple[dict[str, Any], ...] = (
    {},
    {"kind": "json", "value": [1, {"a": 2}]},
    {"kind": "table", "rows": 1, "files": [{"path": "a", "digest": "sha256:" + "0" * 64}]},
    {"kind": "folder", "files": []},
)


def pinned_of(document: Document, inputs: dict[str, Input] | None = None) -> Pinned:
    """A pinned spec for a document, with inputs as they might have been bound."""
    spec = from_document(document)
    return Pinned(
        kind=spec.kind,
        name=spec.name,
        project=spec.project,
        spec=to_document(spec),
        bundle="sha256:" + "1" * 64,
        environment=Environment(digest="sha256:" + "2" * 64),
        inputs=inputs or {},
    )


class KindSuite:
    """Subclass it. `inputs` binds what the documents name."""

    kind: ClassVar[str]
    documents: ClassVar[Sequence[Document]]
    inputs: ClassVar[dict[str, Input]] = {}

    # --- lower -------------------------------------------------------------------------------

    def test_options_are_pure_and_total(self) -> None:
        """Equal specs give equal options, and nothing handed in is changed."""
        for made in self._pinned():
            before = copy.deepcopy(made)
            try:
                one = self._kind().lower.options(made)
            except Refused:
                continue
            assert one == self._kind().lower.options(copy.deepcopy(made))
            assert made == before
            assert all(each.width >= 1 and each.resources.cpu > 0 for each in one)
            assert isinstance(self._kind().lower.reuses(made), bool)

    def test_tasks_are_pure_and_survive_the_store(self) -> None:
        """A task read back from JSON is the task; its demand is that of its option."""
        for made in self._pinned():
            for plan in self._plans(made):
                before = copy.deepcopy((made, plan))
                tasks = self._kind().lower.tasks(made, plan)
                assert tasks == self._kind().lower.tasks(made, plan)
                assert (made, plan) == before
                assert len({task.name for task in tasks}) == len(tasks) == 1
                for task in tasks:
                    assert codec.loads(Task, codec.dumps(task)) == task
                    assert codec.from_json(Task, codec.to_json(task)) == task
                    option = plan.option
                    assert task.demand().cpu == option.resources.cpu * option.width

    # --- steer -------------------------------------------------------------------------------

    def test_every_view_gets_decisions_that_can_be_carried_out(self) -> None:
        """The same view gives the same decisions, none of them changes it, and a model of control
        carries them all out."""
        steer = self._kind().steer

        @settings(max_examples=300)
        @given(self._views())
        def check(view: View) -> None:
            before = copy.deepcopy(view)
            decisions = list(steer.next(view, NOW))
            assert decisions == list(steer.next(copy.deepcopy(before), NOW)), "not the same again"
            assert view == before, "steering changed what it was shown"
            _Control(view).carry_out(decisions)

        check()

    def test_a_run_that_shall_stop_starts_nothing(self) -> None:
        """Stopping ends: it waits for what goes on, or it finishes."""
        steer = self._kind().steer

        @given(self._views(RunState.STOPPING))
        def check(view: View) -> None:
            decisions = list(steer.next(view, NOW))
            assert not [each for each in decisions if isinstance(each, Launch | Submit | Resize)]
            placement = view.placement
            if placement is not None and placement.state not in PLACEMENT_ENDED:
                return
            serving = {each.id for each in view.children if each.kind == "service" and each.ready}
            live = {each.id for each in view.children if not each.ended} - serving
            stops = {each.run for each in decisions if isinstance(each, StopChild)}
            finishes = [each for each in decisions if isinstance(each, Finish)]
            assert stops == live and bool(finishes) != bool(live)

        check()

    def test_nothing_is_decided_for_what_still_goes_on(self) -> None:
        """While its newest placement lives, a run is neither launched again nor ended."""
        steer = self._kind().steer

        @settings(max_examples=50)
        @given(self._views(RunState.RUNNING))
        def check(view: View) -> None:
            placement = view.placement
            if placement is not None and placement.state not in PLACEMENT_ENDED:
                for decision in steer.next(view, NOW):
                    assert not isinstance(decision, Launch | Finish)

        check()

    # --- what it is shown --------------------------------------------------------------------

    def _kind(self) -> kinds.Kind:
        return kinds.load(self.kind)

    def _pinned(self) -> list[Pinned]:
        return [pinned_of(each, self.inputs) for each in self.documents]

    def _plans(self, made: Pinned) -> list[Plan]:
        try:
            options: Sequence[Option] = self._kind().lower.options(made)
        except Refused:
            return []
        return [Plan(pool="here", engine="local", option=each) for each in options]

    def _views(self, state: RunState | None = None) -> st.SearchStrategy[View]:
        return st.sampled_from(self._pinned()).flatmap(lambda made: self._views_of(made, state))

    def _views_of(self, made: Pinned, state: RunState | None) -> st.SearchStrategy[View]:
        plans = self._plans(made)
        tasks = self._kind().lower.tasks(made, plans[0]) if plans else []
        states = st.just(state) if state else st.sampled_from(STEERED)
        if tasks:
            return states.flatmap(lambda at: _with_task(made, plans[0], tasks[0], at))
        # Without a task it has no place.
        at_all = states.filter(lambda at: at is not RunState.PLACED)
        return at_all.flatmap(lambda at: _with_children(made, at))


def _run(made: Pinned, state: RunState, **fields: Any) -> Run:
    return Run(
        id="r1", project=made.project, kind=made.kind, name=made.name, state=state,
        spec=made.spec, pinned=codec.to_json(made), created=NOW - 100, updated=NOW, **fields,
    )  # fmt: skip


@st.composite
def _with_task(
    draw: Callable[..., Any], made: Pinned, plan: Plan, task: Task, at: RunState
) -> View:
    """A run of one task in some state, with the placements and attempts that can go with it."""
    number = 0 if at is RunState.PLANNED else draw(st.integers(1, 3))
    if at is RunState.STOPPING and draw(st.booleans()):
        number = 0
    placements = []
    for each in range(1, number + 1):
        last = each == number
        states = tuple(PlacementState) if last else tuple(PLACEMENT_ENDED)
        placements.append(draw(_placement(task, each, states)))
    attempts = [one for each in placements for one in draw(_attempts(task, each))]
    memory = draw(st.sampled_from([{}, {"served": placements[-1].id}] if placements else [{}]))
    run = _run(
        made, at, plan=codec.to_json(plan), number=number, memory=memory,
        tries=draw(st.integers(0, number)), losses=draw(st.sampled_from([0, 1, 15, 16])),
    )  # fmt: skip
    metrics = draw(st.sampled_from([{}, {"auc": 0.7}]))
    return View(run=run, placements=tuple(placements), attempts=tuple(attempts), metrics=metrics)


@st.composite
def _placement(
    draw: Callable[..., Any], task: Task, number: int, states: Sequence[PlacementState]
) -> Placement:
    state = draw(st.sampled_from(states))
    return Placement(
        id=placement_id("r1", task.name, number), run="r1", task=task, number=number, pool="here",
        engine="local", lease=1, demand=task.demand(), state=state,
        placed=NOW - 50, started=NOW - 40, ended=NOW - 10 if state in PLACEMENT_ENDED else 0.0,
        reason=draw(st.sampled_from(_REASONS)) if state in PLACEMENT_ENDED else {},
    )  # fmt: skip


@st.composite
def _attempts(draw: Callable[..., Any], task: Task, placement: Placement) -> list[Attempt]:
    role = task.roles[0]
    shape = role.shape
    count = shape.count if isinstance(shape, Array | Replicas) else 1
    found = []
    for index in range(min(count, 3)):
        state = draw(st.sampled_from(AttemptState))
        if placement.state in PLACEMENT_ENDED:
            state = draw(st.sampled_from(sorted(ATTEMPT_ENDED)))
        outputs = {slot: draw(st.sampled_from(_BODIES)) for slot in role.outputs}
        found.append(
            Attempt(
                placement=placement.id, run="r1", task=task.name, role=role.name, index=index,
                number=1, state=state, started=NOW - 40,
                ended=NOW - 10 if state in ATTEMPT_ENDED else 0.0,
                outputs={k: v for k, v in outputs.items() if v}
                if state is AttemptState.SUCCEEDED else {},
            )
        )  # fmt: skip
    return found


@st.composite
def _with_children(draw: Callable[..., Any], made: Pinned, at: RunState) -> View:
    """A run that steers children: any of its steps may stand anywhere."""
    children = []
    if at in {RunState.RUNNING, RunState.STOPPING}:
        for index, step in enumerate(made.spec.get("steps", ())):
            for key in (step["name"], f"{step['name']}#0", f"{step['name']}~0"):
                if draw(st.booleans()):
                    children.append(draw(_child(f"c{index}{key[-2:]}", key, step)))
    started = 0.0 if at is RunState.PLANNED else NOW - draw(st.sampled_from([1.0, 1e6]))
    return View(run=_run(made, at, started=started), children=tuple(children))


@st.composite
def _child(draw: Callable[..., Any], child: str, key: str, step: Document) -> Child:
    state = draw(st.sampled_from(RunState))
    uses = step["uses"]
    ready = state is RunState.RUNNING and draw(st.booleans())
    result = {"output": draw(st.sampled_from(_BODIES))} if state is RunState.SUCCEEDED else {}
    return Child(
        id=child, key=key, kind=uses["kind"] if isinstance(uses, dict) else "function",
        name=step["name"], state=state, result={k: v for k, v in result.items() if v},
        error={"code": "user_error", "message": "no"} if state is RunState.FAILED else {},
        ended=NOW if state in ENDED else 0.0, ready=ready,
    )  # fmt: skip


class _Control:
    """What control would do with decisions, on the table of states."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._state = view.run.state
        self._keys = {child.key for child in view.children}
        self._published: set[str] = set()

    def carry_out(self, decisions: Sequence[Decision]) -> None:
        """Assert that each can be carried out in its turn."""
        for decision in decisions:
            assert self._state not in ENDED, f"{decision} comes after the end"
            self._one(decision)

    def _one(self, decision: Decision) -> None:
        match decision:
            case Launch():
                self._move(RunState.QUEUED)
                assert decision.at == 0.0 or decision.at >= NOW
                assert list(decision.done) == sorted(set(decision.done))
            case Submit():
                if self._state is RunState.PLANNED:
                    self._move(RunState.RUNNING)
                assert self._state is RunState.RUNNING
                assert decision.key and decision.key not in self._keys, "submitted twice"
                self._keys.add(decision.key)
                document = {"project": self._view.run.project, **decision.spec}
                from_document(document)
            case StopChild():
                assert decision.run in {each.id for each in self._view.children if not each.ended}
            case Resize():
                assert decision.placement in {each.id for each in self._view.placements}
                assert decision.width >= 1
            case WakeAt():
                assert decision.at > 0
            case Remember():
                codec.dumps(replace(self._view.run, memory=decision.memory))
            case Note():
                assert decision.text
            case Publish():
                assert decision.name and decision.origin and decision.slot not in self._published
                self._published.add(decision.slot)
            case Finish():
                self._finish(decision)

    def _finish(self, decision: Finish) -> None:
        if self._state is RunState.PLANNED:
            self._move(RunState.RUNNING)
        self._move(decision.state)
        assert self._state in ENDED
        assert (self._state is RunState.FAILED) == bool(decision.error)
        if decision.error:
            assert decision.error["code"] and decision.error["message"]

    def _move(self, state: RunState) -> None:
        assert may_move(self._state, state), f"no way from {self._state} to {state}"
        self._state = state
