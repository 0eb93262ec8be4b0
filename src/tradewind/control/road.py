"""The road: the stages of a run, in order. To follow one run, read this file from top to bottom.

    accept   Request → Run ACCEPTED, flushed to disk          (`accept`)
    pin      names → digests; a cached result ends it here    (`pin`)
    plan     options → Quote → the plan that is held to       (`plan`)
    place    tasks → the scheduler → a placement, or a wait   (`place`, `placed`)
    launch   placement → native request → engine              (`control/step.py`, outside the write)
    work     beside user code
    report   facts come back → store                          (`control/report.py`)
    steer    view → decisions: launch again, submit, finish   (`steer`)

A stage takes a draft (one claimed run) and adds to it; it writes nothing, and does nothing outside.
What must be done outside (launch, stop, resize) is collected as actions and done after the write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tradewind import kinds
from tradewind.base.errors import Refused, TradewindError, TryAgain, from_json
from tradewind.base.ids import new_id
from tradewind.control import (
    asking,
    bill,
    explain,
    family,
    growth,
    late,
    lessons,
    places,
    probing,
    promise,
    publish,
    topology,
    versions,
)
from tradewind.control.draft import Draft
from tradewind.control.foresight import Foresight
from tradewind.control.gather import Batch
from tradewind.control.parts import Parts
from tradewind.control.pin import ImportFirst, NotYet, Pinner
from tradewind.control.places import NoPlace, Places
from tradewind.control.planning import Planner
from tradewind.control.quotas import Quotas, gave
from tradewind.records import codec, pinned
from tradewind.records.pinned import Pinned
from tradewind.records.placements import Placement, placement_id
from tradewind.records.plans import Plan, ProbesWanted
from tradewind.records.runs import Run
from tradewind.records.states import ENDED, PLACEMENT_ENDED, PlacementState, RunState
from tradewind.records.steering import (
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
from tradewind.records.tasks import Restart, Stop, Task
from tradewind.scheduler.answers import Answering
from tradewind.scheduler.events import Reject, Released, Widened
from tradewind.specs import KINDS, from_document, to_document
from tradewind.specs.common import Workload
from tradewind.store.base import Store

# A child of these kinds gets the code that travels with its parent.
WITH_CODE = frozenset(name for name, kind in KINDS.items() if issubclass(kind, Workload))
GUARD_SECONDS = 60.0
LONGEST_PAUSE = Restart().ceiling


@dataclass(frozen=True, slots=True)
class StopPlacement:
    """Outside: ask the engine to stop this."""

    placement: Placement
    stop: Stop


@dataclass(frozen=True, slots=True)
class ResizePlacement:
    """Outside: ask the engine for another width."""

    placement: Placement
    width: int


@dataclass(frozen=True, slots=True)
class LaunchPlacement:
    """Outside: send this to its engine."""

    placement: Placement


Action = StopPlacement | ResizePlacement | LaunchPlacement


@dataclass(slots=True)
class Road:
    """The stages, with the parts of the world that they may ask."""

    store: Store
    pinner: Pinner
    planner: Planner
    parts: Parts
    machine: Answering
    places: Places
    quotas: Quotas
    foresight: Foresight
    begin: Callable[[str, NotYet], None]
    actions: list[Action] = field(default_factory=list)

    # --- accept ------------------------------------------------------------------------------

    @staticmethod
    def accept(
        document: dict[str, Any], *, now: float, user: str, key: str = "", parent: Run | None = None
    ) -> Run:
        """A valid spec document as a new run; storing it is the caller's. The id is fresh."""
        run_id = new_id("r")
        return Run(
            id=run_id,
            project=str(document.get("project") or "default"),
            kind=str(document["kind"]),
            name=str(document["name"]),
            state=RunState.ACCEPTED,
            spec=document,
            created=now,
            updated=now,
            parent=parent.id if parent else "",
            root=(parent.root or parent.id) if parent else run_id,
            key=key,
            queue=str(document.get("queue") or "default"),
            user=user,
        )

    # --- the conductor -----------------------------------------------------------------------

    def advance(self, draft: Draft, batch: Batch) -> None:
        """Walk one run as far as it can go now. A fault that may pass is raised: nothing of this
        pass is written then."""
        if draft.claim.stop_at and draft.run.state not in ENDED | {RunState.STOPPING}:
            self.stop(draft, batch)
        try:
            while draft.run.state not in ENDED:
                before = draft.run.state
                self._stage(draft, batch)
                if draft.run.state is before:
                    break
        except NotYet as wait:
            self.begin(draft.run.id, wait)
            draft.set(waiting=wait.why, wake=draft.now + GUARD_SECONDS)
        except NoPlace as wait:
            draft.set(waiting=wait.why, wake=draft.now + places.GUARD_SECONDS)
        except TryAgain:
            raise
        except TradewindError as error:
            draft.fail(error)
        if draft.run.state in ENDED:
            self._ended(draft, batch)
            return
        said = partial(self.store.reports.progress, draft.run.id)
        late.look(draft, batch.views[draft.run.id], said)

    def _stage(self, draft: Draft, batch: Batch) -> None:
        match draft.run.state:
            case RunState.ACCEPTED:
                self.pin(draft, batch)
            case RunState.PINNED:
                self.plan(draft, batch)
            case RunState.PROBING:
                self.probe(draft, batch)
            case RunState.QUEUED:
                self.place(draft)
            case _:
                self.steer(draft, batch)

    @staticmethod
    def stop(draft: Draft, batch: Batch) -> None:
        """Somebody asked to stop it: what it was to do next is forgotten, steering ends the rest.
        The imports that an accepted run waits for end with it."""
        if draft.run.state is RunState.ACCEPTED:
            draft.stops += [
                each.id for each in batch.views[draft.run.id].children if not each.ended
            ]
        draft.move(RunState.STOPPING, waiting="")

    # --- pin ---------------------------------------------------------------------------------

    def pin(self, draft: Draft, batch: Batch) -> None:
        run = draft.run
        children = {child.key: child for child in batch.views[run.id].children}
        try:
            made = self.pinner.pin(run, children)
        except ImportFirst as first:
            if first.key not in children:
                self._submit(draft, first.key, first.spec)
            draft.set(waiting=f"importing {first.spec['source']}")
            return
        digest = pinned.digest(made)
        draft.move(RunState.PINNED, pinned=codec.to_json(made), pinned_digest=digest, waiting="")
        self._reuse(draft, made, batch)

    def _reuse(self, draft: Draft, made: Pinned, batch: Batch) -> None:
        """End it with an equal earlier result, or remember why there is none."""
        run = draft.run
        if not kinds.load(run.kind).lower.reuses(made):
            return
        before = self.store.runs.cached(run.project, run.pinned_digest)
        if before is not None:
            draft.move(
                RunState.SUCCEEDED,
                result=before.result,
                cached_from=before.cached_from or before.id,
            )
            return
        why = self._why_anew(made, batch.history(run))
        draft.set(memory={**draft.run.memory, **why})

    def _why_anew(self, made: Pinned, history: Sequence[Run]) -> dict[str, Any]:
        """In what this differs from the newest earlier run of its name: why nothing was reused."""
        before = next((each for each in history if each.pinned), None)
        if before is None:
            return {"changed": []}
        old = codec.from_json(Pinned, before.pinned)
        told = explain.explain(old, made, self.pinner.blobs, self.store.settings)
        return {"changed": pinned.difference(old, made), "explain": told}

    # --- plan --------------------------------------------------------------------------------

    def plan(self, draft: Draft, batch: Batch) -> None:
        run = draft.run
        made = codec.from_json(Pinned, run.pinned)
        if versions.unmeasured(run):
            self._probe_first(draft, versions.WANTED)
            return
        quote = (
            self.planner.held_to(run)
            if run.quote
            else self.planner.in_time(made, batch, run, draft.now)
        )
        if isinstance(quote, ProbesWanted):
            self._probe_first(draft, quote)
            return
        if quote is not None:
            blobs, planner = self.pinner.blobs, self.planner
            quote = versions.answered(planner, blobs, made, batch, run, quote, draft.now)
        spec = from_document(run.spec)
        plan = None if quote is None else quote.plans[int(run.memory.get("plan", 0))]
        if plan is not None:
            pools = self.places.facts
            family.afford(self.store, pools, run, plan, draft.now, batch.begun)
            question = self.planner.worth(run, plan, spec, batch, draft.now)
        else:
            question = self.planner.worth_of_all(made, batch, run)
        if run.parent and (question or run.memory.get("question")):
            draft.pokes.append(run.parent)  # what it waits for is shown with its pipeline
        if question:
            memory = {**run.memory, "question": True}
            draft.set(waiting=question, wake=draft.now + GUARD_SECONDS, memory=memory)
            return
        if plan is not None and plan.price is not None:
            batch.begun[run.id] = round(plan.price.p50)
        promised = bill.promise(draft, quote, plan, spec)
        if promised is not None:
            draft.promises.append(promised)
        if quote is None or plan is None:
            draft.move(RunState.PLANNED)
            return
        self.planner.may_share(run, plan)
        self._land(draft, made, plan, batch)
        if draft.run.state in ENDED:
            return
        draft.quotes.append(quote)
        draft.move(RunState.PLANNED, plan=codec.to_json(plan), quote=quote.id)
        if "ask" in run.memory:  # `tw quote`: the road ends here
            told = {"quote": {"kind": "quote", "id": quote.id}}
            draft.move(RunState.RUNNING)
            draft.move(RunState.SUCCEEDED, result=told)

    def _land(self, draft: Draft, made: Pinned, plan: Plan, batch: Batch) -> None:
        """Where no pool was named it was pinned for the one that goes first: pin it for the one
        that was chosen, where an equal result may be known."""
        there = self.pinner.landed(made, plan.pool)
        if there == made or "ask" in draft.run.memory:
            return
        memory = {**draft.run.memory, "asked": draft.run.pinned_digest}
        digest = pinned.digest(there)
        draft.set(pinned=codec.to_json(there), pinned_digest=digest, memory=memory)
        if draft.run.state is RunState.PINNED:
            self._reuse(draft, there, batch)

    def _probe_first(self, draft: Draft, wanted: ProbesWanted) -> None:
        """Measure before it is planned, on the pool that would be chosen if all were equal."""
        pool = str(draft.run.spec.get("pool") or self.places.first())
        pool = pool or self.places.choice("")[0].name
        limits = {"seconds": wanted.seconds, "share": wanted.share}
        measuring = replace(draft.run, memory={**draft.run.memory, "probe": limits})
        task = probing.task(measuring, versions.pair(draft.run))
        probing.may_cost(measuring, task, self.places.facts[pool])
        draft.move(
            RunState.PROBING,
            plan={"pool": pool, "engine": self.places.facts[pool].engine},
            memory=measuring.memory,
        )

    def probe(self, draft: Draft, batch: Batch) -> None:
        """Place the probe; when it has ended, plan with what it found."""
        view = batch.views[draft.run.id]
        placement = view.placement
        if placement is None or placement.number < draft.run.number:
            self.place(draft)
            return
        self._follow(draft, view, placement)
        if placement.state not in PLACEMENT_ENDED:
            return
        found = probing.found(view, placement)
        if found is None:
            wanted = draft.run.memory["probe"]
            if wanted.get("lost") != placement.number:  # counted once, however long it waits then
                memory = {**draft.run.memory, "probe": {**wanted, "lost": placement.number}}
                draft.set(losses=draft.run.losses + (not gave(draft.run)), memory=memory)
            self.place(draft)
            return
        span = placement.started or draft.now, placement.ended or draft.now
        load = self.places.neighbours.during(placement.pool, *span)
        found |= {} if load is None else {"beside": codec.to_json(load)}
        other = {"versions": found.pop("against")} if "against" in found else {}
        memory = {**draft.run.memory, "probes": found, **other}
        draft.set(memory=memory, plan={}, waiting="")
        self.plan(draft, batch)

    # --- place -------------------------------------------------------------------------------

    def place(self, draft: Draft) -> None:
        """Join the line, or take the place that the scheduler has been holding."""
        run = draft.run
        pause = float(run.memory.get("pause", 0.0))
        # Nobody asks for a longer pause: the clock was set back since.
        if run.state is RunState.QUEUED and 0 < pause - draft.now <= LONGEST_PAUSE:
            draft.set(wake=pause)
            return
        pool = str(run.plan["pool"])
        if not self.places.served(pool):
            self._hand_over(draft, pool)
            return
        if self.machine.holds(run.id):
            self.placed(draft, pool)
            return
        waiting = asking.waiting(run, pool, self.task(run), self.quotas.priority(run))
        if not run.number and self.machine.asked(run.id) is None:
            self.foresight.comes(waiting, draft.now)
        self.machine.feed([waiting])

    def _hand_over(self, draft: Draft, pool: str) -> None:
        """It waits for another server, or until there is one."""
        self.places.notice(pool)
        draft.set(waiting=self.places.why(pool))
        if pool in self.places.mine():
            draft.set(wake=draft.now + places.GUARD_SECONDS)
        else:
            draft.pokes.append(draft.run.id)

    @staticmethod
    def task(run: Run) -> Task:
        """The task of a planned run, or the probe of one that is not planned yet."""
        if run.state is RunState.PROBING:
            return probing.task(run, versions.pair(run))
        made = codec.from_json(Pinned, run.pinned)
        plan = codec.from_json(Plan, run.plan)
        return topology.laid(run.spec, kinds.load(run.kind).lower.tasks(made, plan)[0])

    def placed(self, draft: Draft, pool: str) -> None:
        """The scheduler gave it a place: a placement is written, then launched."""
        run = draft.run
        task = self.task(run)
        number = run.number + 1
        placement = Placement(
            id=placement_id(run.id, task.name, number),
            run=run.id,
            task=task,
            number=number,
            pool=pool,
            engine=self.places.facts[pool].engine,
            lease=self.places.leases.get(pool, 0),
            demand=task.demand(),
            done=tuple(run.memory.get("done", ())),
            placed=draft.now,
            seats=self.machine.seats(run.id),
        )
        draft.placements[placement.id] = placement
        self.foresight.starts(run.id, self.machine.began(run.id))
        if run.state is RunState.PROBING:
            draft.set(number=number, waiting="", wake=0.0)
        else:
            draft.move(RunState.PLACED, number=number, waiting="", wake=0.0)
        self.actions.append(LaunchPlacement(placement))

    def rejected(self, draft: Draft, decision: Reject) -> None:
        """The scheduler found that it can never start."""
        draft.fail(Refused(decision.why, hint="ask for less in `resources`, or name another pool"))
        self._ended(draft, None)

    # --- steer -------------------------------------------------------------------------------

    def steer(self, draft: Draft, batch: Batch) -> None:
        view = batch.views[draft.run.id]
        placement = view.placement
        if placement is not None and placement.number == draft.run.number:
            self._follow(draft, view, placement)
            if probing.is_probe(placement) and placement.state not in PLACEMENT_ENDED:
                return  # it is being stopped
            ended = placement.state is PlacementState.STOPPED
            if ended and "spent" in draft.run.memory and draft.run.state is RunState.RUNNING:
                raise from_json(draft.run.memory["spent"])
        view = probing.without(replace(view, run=draft.run))
        decisions = kinds.load(draft.run.kind).steer.next(view, draft.now)
        goes_on = not any(isinstance(each, Finish) for each in decisions)
        if view.placement is None and draft.run.state is not RunState.STOPPING:
            if goes_on or "spent" in draft.run.memory:
                family.watch(draft, view, self.store, self.places.facts)
            if "spent" in draft.run.memory:
                return
        for decision in decisions:
            self._carry_out(draft, view, decision)
        if view.placement is None and draft.run.state is RunState.RUNNING:
            family.tell_question(draft, view)

    def _follow(self, draft: Draft, view: View, placement: Placement) -> None:
        """What the newest placement's state means for the run, before the kind decides."""
        if placement.state in PLACEMENT_ENDED:
            if kept := self.machine.kept(draft.run.id):
                kept += draft.run.memory.get(bill.KEPT, 0.0)
                draft.set(memory={**draft.run.memory, bill.KEPT: kept})
            ended = placement.state in (PlacementState.SUCCEEDED, PlacementState.FAILED)
            self.machine.feed([Released(run=draft.run.id, ended=ended)], draft.now)
            bill.charge(draft, placement, self.places.facts.get(placement.pool))
        elif draft.run.state is RunState.STOPPING:
            self._end(placement)
        elif by := self.machine.leaving(draft.run.id):
            # When it has ended it is launched again, which counts neither as a try nor as a loss.
            if not gave(draft.run):
                draft.note("run.preempted", by=by)
            memory = {**draft.run.memory, "gave": {"number": draft.run.number, "by": by}}
            draft.set(waiting=f"gives its place to {by}", memory=memory)
            self._end(placement)
        elif placement.state is PlacementState.RUNNING:
            if draft.run.state is RunState.PLACED:
                draft.move(RunState.RUNNING)
            draft.set(started=draft.run.started or placement.started)
            if width := growth.follow(draft, view, placement, self.machine):
                placement = draft.placements.get(placement.id, placement)
                self.actions.append(ResizePlacement(placement, width))
            self._keep(draft, view, placement)
        elif placement.state is PlacementState.PLACED:
            # A server that died after the write and before the launch left it so.
            self.actions.append(LaunchPlacement(placement))

    def _end(self, placement: Placement) -> None:
        self.actions.append(StopPlacement(placement, placement.task.roles[0].stop))

    def _keep(self, draft: Draft, view: View, placement: Placement) -> None:
        """Its budget and its deadline, while it works."""
        pool = self.places.facts.get(placement.pool)
        if pool is None or not (family.budget(draft.run) or draft.run.spec.get("performance")):
            return
        try:
            room = partial(self.machine.room, pool.name)
            said = partial(self.store.reports.progress, draft.run.id)
            wider = promise.watch(draft, view, placement, pool, room, said)
        except Refused as spent:
            # Its end is told when its processes have ended: until then they are on the bill.
            draft.set(memory={**draft.run.memory, "spent": spent.to_json()})
            self.actions.append(StopPlacement(placement, Stop(way="kill")))
            return
        if wider is not None:
            promise.widened(draft, wider)
            parts = growth.parts(draft.run, placement)
            self.machine.feed([Widened(run=placement.run, parts=parts)], draft.now)
            wide = replace(placement, seats=self.machine.seats(placement.run))
            draft.placements[placement.id] = wide
            self.actions.append(ResizePlacement(wide, wider.width))

    def _carry_out(self, draft: Draft, view: View, decision: Decision) -> None:
        match decision:
            case Launch():
                self._launch_again(draft, view, decision)
            case Submit():
                if draft.run.state is RunState.PLANNED:
                    draft.move(RunState.RUNNING, started=draft.now)
                self._submit(draft, decision.key, decision.spec)
            case Resize():
                found = next(each for each in view.placements if each.id == decision.placement)
                self.actions.append(ResizePlacement(found, decision.width))
            case StopChild():
                draft.stops.append(decision.run)
            case WakeAt():
                draft.set(wake=min(decision.at, draft.run.wake or decision.at))
            case Publish():
                publish.carry_out(draft, decision, self.pinner, self.parts)
            case Remember():
                draft.set(memory={**draft.run.memory, **decision.memory})
            case Note():
                draft.tell(decision.text)
            case Finish():
                self._finish(draft, view, decision)

    def _launch_again(self, draft: Draft, view: View, decision: Launch) -> None:
        again, memory = bool(view.placements), draft.run.memory
        by = "" if decision.counted else gave(draft.run)
        at = 0.0 if by else decision.at
        memory = {**memory, **({"pause": at} if at else {})}
        draft.move(
            RunState.QUEUED,
            wake=at,
            waiting=f"gave its place to {by}" if by else decision.why,
            tries=draft.run.tries + (again and decision.counted),
            losses=draft.run.losses + (again and not decision.counted and not by),
            memory={**memory, **({"done": list(decision.done)} if decision.done else {})},
        )

    def _submit(self, draft: Draft, key: str, spec: dict[str, Any]) -> None:
        run = draft.run
        document = self.part(run, spec)
        self.places.notice(str(document.get("pool") or ""))
        child = self.accept(document, now=draft.now, user=run.user, key=key, parent=run)
        if draft.money is None:
            draft.money = family.bequeath(self.store, self.places.facts, run, draft.now)
        draft.children.append(replace(child, queue=run.queue, memory=draft.money))
        body = {"kind": child.kind, "name": child.name, "parent": run.id, "key": key}
        draft.note("run.accepted", child.id, of=child.id, **body)

    @staticmethod
    def part(run: Run, spec: dict[str, Any]) -> dict[str, Any]:
        """A child's document, with its parent's project, code, pool and what it is to survive.
        Raises InvalidSpec."""
        document = {"project": run.project, **spec}
        if run.spec.get("bundle") and document["kind"] in WITH_CODE:
            document.setdefault("bundle", run.spec["bundle"])
        for name in ("pool", "availability", "consistency"):
            if run.spec.get(name) and name in KINDS[document["kind"]].model_fields:
                document.setdefault(name, run.spec[name])
        return to_document(from_document(document))

    def _finish(self, draft: Draft, view: View, decision: Finish) -> None:
        if draft.run.state is RunState.PLANNED:
            draft.move(RunState.RUNNING, started=draft.now)
        usage = bill.usage(view, self.places.neighbours)
        if usage and decision.state is RunState.SUCCEEDED:
            usage |= lessons.paced(self.store.reports, view)
        draft.set(memory={**draft.run.memory, **({"usage": usage} if usage else {})})
        draft.move(
            decision.state,
            result=publish.results(draft, decision.result),
            error=decision.error,
            started=draft.run.started or (view.placement.started if view.placement else 0.0),
        )

    # --- the bill and the end ----------------------------------------------------------------

    def _ended(self, draft: Draft, batch: Batch | None) -> None:
        """Give the place back, end what still goes on below it, settle the promise."""
        run = draft.run
        self.machine.feed([Released(run=run.id)], draft.now)
        view = batch.views[run.id] if batch else View(run=run)
        self.abandon(draft, view)
        made = next(iter(draft.promises), None)
        if made is None and bill.promised(run):
            made = self.store.ledger.promise(run.id)
        if made is not None and not made.settled:
            lines = () if run.plan else family.below(self.store, run.id)
            below = sum(each.price for each in lines)
            draft.promises[:] = [bill.settled(made, run, run.price + below, draft.now)]
        self.parts.forget(run.id)
        if run.state is RunState.SUCCEEDED:
            lessons.learn(self.store.settings, run)

    def abandon(self, draft: Draft, view: View) -> None:
        """End what goes on for a run that broke off; after an ordinary end there is nothing."""
        placement = view.placement
        if placement is not None and placement.state not in PLACEMENT_ENDED:
            self.actions.append(StopPlacement(placement, Stop(way="kill")))
        if draft.run.state is RunState.FAILED:
            draft.stops += [
                each.id for each in view.children if not each.ended and each.kind != "service"
            ]
