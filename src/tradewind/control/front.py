"""What the API asks about runs: accept them, look at them, follow them, stop them.

Calls come from the event loop; what touches the store runs in threads. Runs that arrive at the same
moment are accepted in one transaction, since each of these waits for the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tradewind.base.clock import Clock
from tradewind.base.errors import Conflict, NotFound, TradewindError, TryAgain, UserError
from tradewind.blobs.base import Blobs
from tradewind.control import costs, details, family, late, statement, versions
from tradewind.control.planning import APPROVED
from tradewind.control.pulse import Pulse
from tradewind.control.road import Road
from tradewind.control.services import readiness
from tradewind.control.step import Loop, Stepper
from tradewind.records import codec
from tradewind.records.events import Event
from tradewind.records.placements import Placement
from tradewind.records.runs import Run
from tradewind.records.states import ENDED, PLACEMENT_ENDED, RunState
from tradewind.specs import from_document, to_document
from tradewind.store.base import Store
from tradewind.store.rows import Pruned, RunFilter, RunLine, RunPage

_Asked = tuple[list[Run], asyncio.Future[list[Run]]]

# In these states a run may ask, or may come to ask, whether it is worth its price.
_MAY_ASK = frozenset({RunState.ACCEPTED, RunState.PINNED, RunState.PROBING})
_BEGUN = frozenset({RunState.PLACED, RunState.RUNNING})
# What such runs wait for is not what one of their units waits for.
_WHOLE = frozenset({"pipeline", "service"})
MAX_KEY = 500
FOLLOW_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 15.0


def _asked(question: Any) -> dict[str, Any]:
    """What a run that ends at its plan is asked. Raises UserError."""
    rows = question.get("rows", 0) if isinstance(question, dict) else None
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 0:
        raise UserError("`ask` is what a quote is asked: {} or {rows: a whole number}")
    if "against" in question:
        versions.check(question["against"])
    return dict(question)


class Front:
    """One per server."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        road: Road,
        stepper: Stepper,
        loop: Loop,
        pulse: Pulse,
        clock: Clock,
        kept: Callable[[str, str, int, int, bool], AsyncIterator[bytes]],
    ) -> None:
        """`kept` reads what is kept here of an ended placement's log: placement, role, index,
        offset, follow."""
        self._store = store
        self._kept = kept
        self._blobs = blobs
        self._road = road
        self._stepper = stepper
        self._loop = loop
        self._pulse = pulse
        self._places = road.places
        self._clock = clock
        self._waiting: list[tuple[list[Run], asyncio.Future[list[Run]]]] = []
        self._flushing: asyncio.Task[None] | None = None

    # --- accept ------------------------------------------------------------------------------

    async def accept(self, requests: Sequence[dict[str, Any]], user: str) -> list[Run]:
        """Valid, stored, flushed; in the order of the requests. All or none.

        A request is {"spec": document, "request_key": …}. Raises InvalidSpec, NotFound, and
        Refused for a quote that cannot be of it.
        """
        runs = [self._request(each, user) for each in requests]
        done: asyncio.Future[list[Run]] = asyncio.get_running_loop().create_future()
        self._waiting.append((runs, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return await done

    def _request(self, request: dict[str, Any], user: str) -> Run:
        document = to_document(from_document(request.get("spec")))
        bundle = document.get("bundle")
        if bundle and not self._blobs.exists(bundle):
            raise NotFound(
                "the code of this run has not been sent", hint=f"PUT /api/v1/blobs/{bundle} first"
            )
        key = request.get("request_key") or ""
        if not isinstance(key, str) or not key.isprintable() or len(key) > MAX_KEY:
            raise UserError(f"`request_key` is a text of at most {MAX_KEY} printable characters")
        run = Road.accept(document, now=self._clock.now(), user=user, key=key)
        self._places.notice(str(document.get("pool") or ""))
        self._road.quotas.check(run.queue)
        if "ask" in request:
            return replace(run, memory={"ask": _asked(request["ask"])})
        chosen, plan = request.get("quote"), request.get("plan") or 0
        if not chosen:
            return run
        if not isinstance(chosen, str) or not isinstance(plan, int) or isinstance(plan, bool):
            raise UserError(
                "`quote` is the id of a quote, and `plan` the number of one of its plans"
            )
        run = replace(run, quote=chosen, memory={"plan": plan})
        self._road.planner.held(run)
        return run

    async def _flush(self) -> None:
        """Accept all that waits, in one transaction after the other, until none waits."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            await self._flush_batch(batch)

    async def _flush_batch(self, batch: list[_Asked]) -> None:
        runs = [run for each, _ in batch for run in each]
        events = [
            Event(type="run.accepted", at=run.created, project=run.project, subject=run.id,
                  run=run.id, body={"kind": run.kind, "name": run.name})
            for run in runs
        ]  # fmt: skip
        try:
            stored = await asyncio.to_thread(self._store.runs.accept, runs, events)
        except Exception as error:
            await self._one_by_one(batch, error)
            return
        start = 0
        for each, done in batch:
            if not done.done():
                done.set_result(stored[start : start + len(each)])
            start += len(each)
        if any(one.id == run.id for one, run in zip(stored, runs, strict=True)):
            self._loop.wake()
            self._pulse.beat()

    async def _one_by_one(self, batch: list[_Asked], error: Exception) -> None:
        """Who shared a transaction with a request that cannot be stored shall not suffer for it."""
        if len(batch) == 1:
            [(_, done)] = batch
            if not done.done():
                done.set_exception(error)
            return
        for asked in batch:
            await self._flush_batch([asked])

    async def close(self) -> None:
        """Let what was begun be finished."""
        if self._flushing is not None:
            await asyncio.gather(self._flushing, return_exceptions=True)

    def service_key(self, document: dict[str, Any], revision: int) -> str:
        """What makes two requests for a service the same: its revision, and the model version that
        its reference means now. Raises NotFound."""
        key = f"service/{document['name']}/{revision}"
        if not document.get("model"):
            return key
        project = str(document.get("project") or "default")
        return f"{key}/{self._road.pinner.model(project, str(document['model'])).number}"

    # --- look --------------------------------------------------------------------------------

    def find(self, prefix: str) -> Run:
        """By id or unique prefix. Raises NotFound, Conflict."""
        run = self._store.runs.find(prefix)
        return self._explained(run)

    def _explained(self, run: Run) -> Run:
        why = self._why([run]).get(run.id, "")
        pool = str(run.plan.get("pool") or run.spec.get("pool") or "")
        if run.state is RunState.ACCEPTED and pool and pool not in self._places.mine():
            why = self._places.why(pool)
        return replace(run, waiting=late.beside(run.waiting, why))

    def _why(self, runs: Sequence[Run | RunLine]) -> dict[str, str]:
        """What these wait for now: for a place, or on their place for what must be there first."""
        queued = [each.id for each in runs if each.state is RunState.QUEUED]
        placed = [each.id for each in runs if each.state in _BEGUN and each.kind not in _WHOLE]
        served = [each.id for each in runs if each.state in _BEGUN and each.kind == "service"]
        found = self._road.machine.reasons(queued) if queued else {}
        found |= self._store.reports.waits(placed) if placed else {}
        if served:
            found |= {run: each.text for run, each in readiness(self._store, served).items()}
        return found

    def page(self, where: RunFilter, limit: int, cursor: str) -> RunPage:
        """Newest first; what waits says why."""
        page = self._store.runs.page(where, limit, cursor)
        why = self._why(page.runs)
        lines = (
            replace(each, waiting=late.beside(each.waiting, why.get(each.id, "")))
            for each in page.runs
        )
        return replace(page, runs=tuple(lines)) if why else page

    def details(self, run: Run) -> dict[str, Any]:
        """A run with everything that hangs on it, for people and machines."""
        body = details.of(self._store, self._stepper.machines, run, self._why)
        hint = "" if run.state in ENDED else self._places.hint(run.waiting)
        return {**body, "waiting_hint": hint} if hint else body

    def cost(self, run: Run, before: Run | None = None) -> dict[str, Any]:
        """A run's bill in the margin of its code, and what changed since another run of it."""
        known = costs.Costs(self._store, self._blobs, self._road.places.facts)
        return known.of(run, self._clock.now(), before)

    def bill(self, since: float, until: float) -> list[statement.Statement]:
        """What each pool cost between these times, and who pays for it. Raises UserError."""
        return statement.told(self._store, since, until, self._clock.now())

    async def wait(self, run_id: str, seconds: float) -> Run:
        """The run when it has ended, or as it is after that long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            with self._pulse.end_of(run_id) as end:
                run = await asyncio.to_thread(self.find, run_id)
                left = until - loop.time()
                if run.state in ENDED or left <= 0:
                    return run
                await asyncio.wait({end}, timeout=min(left, 2.0))

    async def stop(self, run_id: str, user: str) -> Run:
        """Ask a run to stop; an ended one stays as it is."""
        run = await asyncio.to_thread(self._store.runs.find, run_id)
        await asyncio.to_thread(self._store.runs.ask_stop, [run.id], user)
        self._loop.wake()
        return await asyncio.to_thread(self._store.runs.get, run.id)

    async def approve(self, run_id: str, user: str) -> tuple[Run, str]:
        """Let a run go on that is expected to cost more than it is worth; with why there was
        nothing to let go on, if so."""
        run = await asyncio.to_thread(self._store.runs.find, run_id)
        key = APPROVED + run.id
        if run.state in ENDED:
            return run, "it has ended"
        if await asyncio.to_thread(self._store.settings.get, key):
            return run, "it was approved before"
        asking = [run.id] if run.state in _MAY_ASK else []
        if run.kind == "pipeline" and run.spec.get("value"):
            lines = await asyncio.to_thread(lambda: list(family.below(self._store, run.id)))
            asking += [run.id, *(line.id for line in lines if line.state in _MAY_ASK)]
        if not asking:
            return run, "it goes on without"
        await asyncio.to_thread(self._store.settings.put, key, user)
        await asyncio.to_thread(self._store.runs.poke, asking)
        self._loop.wake()
        return await asyncio.to_thread(self._store.runs.get, run.id), ""

    def files(self, run: Run, slot: str) -> list[Path]:
        """The files of an output: Parquet of a table, or the file itself. Raises NotFound."""
        body = run.result.get(slot)
        if body is None:
            known = ", ".join(run.result) or "none"
            raise NotFound(f"{run.id} has no output {slot!r}", hint=f"its outputs: {known}")
        if body.get("kind") == "dataset":
            version = self._store.registry.dataset(run.project, body["name"], body["version"])
            return [self._blobs.path(each) for each in version.files]
        if body.get("kind") == "model":
            model = self._store.registry.model(run.project, body["name"], body["version"])
            return [self._blobs.path(each["digest"]) for each in model.meta.get("files", ())]
        parts = body.get("parts") or [body]
        return [
            self._blobs.path(each["digest"]) for part in parts for each in part.get("files", ())
        ]

    def forget(self, run_id: str) -> Pruned:
        """Delete an ended run and everything below it. Raises Conflict for a live or a child
        run."""
        run = self._store.runs.find(run_id)
        if run.parent:
            raise Conflict(
                f"{run.id} is a part of run {run.parent}", hint=f"delete {run.root} as a whole"
            )
        removed = self._store.forget([run.id])
        if not removed.runs:
            raise Conflict(f"{run.id} has not ended", hint=f"stop it first: tw stop {run.id}")
        return removed

    # --- follow ------------------------------------------------------------------------------

    async def events(
        self, after: int, *, run: str, project: str, follow: bool
    ) -> AsyncIterator[Event | None]:
        """Events with a higher seq; None now and then while nothing happens. With `run`, those of
        its whole tree, and following ends when it has ended."""
        loop = asyncio.get_running_loop()
        spoken = loop.time()
        # The tree of a child run is told by its own events: only a topmost run has a tree.
        top = await asyncio.to_thread(self._is_top, run)
        root, one = (run, "") if top else ("", run)
        while True:
            ended = bool(run) and self._ended(await asyncio.to_thread(self._store.runs.get, run))
            found = await asyncio.to_thread(
                partial(self._store.events.after, after, project=project, run=one, root=root)
            )
            for event in found:
                yield event
                after = event.seq
            if found:
                spoken = loop.time()
                continue
            if not follow or ended:
                return
            await self._pulse.wait(FOLLOW_SECONDS)
            if loop.time() - spoken > KEEP_ALIVE_SECONDS:
                spoken = loop.time()
                yield None

    def _is_top(self, run: str) -> bool:
        return not run or not self._store.runs.get(run).parent

    @staticmethod
    def _ended(run: Run) -> bool:
        return run.state in ENDED

    def check_logs(self, run: Run, follow: bool) -> None:
        """Raise why the log of a run cannot be read by this server now. Whoever follows it waits
        for what passes. Blocks on the store."""
        for each in self._store.placements.of([run.id])[run.id]:
            if each.state not in PLACEMENT_ENDED:
                try:
                    self._places.engine(each.pool)
                except TryAgain:
                    if not follow:
                        raise

    async def logs(
        self, run: Run, *, role: str, index: int, offset: int, follow: bool
    ) -> AsyncIterator[bytes]:
        """Raw log bytes of one unit from `offset`: all its placements, one after the other. With
        `follow` until the run has ended, and nothing that was written is left out."""
        # Which placement we are at, and where in it; how much of all the caller has already.
        number, at, known = 0, 0, offset
        while True:
            current = await asyncio.to_thread(self._store.runs.get, run.id)
            ended = not follow or current.state in ENDED
            found = (await asyncio.to_thread(self._store.placements.of, [run.id]))[run.id]
            if number < len(found):
                placement = found[number]
                # What was there when we looked is read; only then is an end an end.
                over = ended or placement.state in PLACEMENT_ENDED
                if len(found) == 1 and known:  # all of it is here: no need to read up to there
                    at, known = known, 0
                try:
                    async for chunk in self._chunks(placement, role, index, at, not over):
                        at += len(chunk)
                        if len(chunk) > known:
                            yield chunk[known:]
                        known = max(0, known - len(chunk))
                except TryAgain:
                    if ended:
                        raise
                    over = False  # its pool cannot be heard now; it will be
                if over and number + 1 < len(found):
                    number, at = number + 1, 0
                    continue
            if ended:
                return
            await self._pulse.wait(FOLLOW_SECONDS)

    def _chunks(
        self, placement: Placement, role: str, index: int, offset: int, follow: bool
    ) -> AsyncIterator[bytes]:
        role = role or placement.task.roles[0].name
        try:
            engine = self._places.engine(placement.pool)
        except TradewindError:
            if placement.state not in PLACEMENT_ENDED:
                raise
            # The pool may be gone for good; what its tasks said was kept.
            return self._kept(placement.id, role, index, offset, False)
        return engine.logs(placement.id, role, index, offset=offset, follow=follow)

    async def exec(
        self, run: Run, role: str, index: int, command: Sequence[str]
    ) -> AsyncGenerator[bytes | int, None]:
        """Run a command beside a unit of this run: its output as it comes, its exit status last.
        Raises NotFound when no such unit runs."""
        if not command:
            raise UserError("no command is named", hint="tw exec RUN -- COMMAND…")
        found = (await asyncio.to_thread(self._store.placements.of, [run.id]))[run.id]
        live = [each for each in found if each.state not in PLACEMENT_ENDED]
        if not live:
            raise NotFound(
                f"nothing of {run.id} runs: it is {run.state}",
                hint="of a pipeline, name one of its steps' runs" if run.kind == "pipeline" else "",
            )
        roles = {each.name: each for each in live[-1].task.roles}
        if role and role not in roles:
            raise NotFound(f"{run.id} has no role {role!r}", hint=f"its roles: {', '.join(roles)}")
        engine = await asyncio.to_thread(self._places.engine, live[-1].pool)
        told = engine.exec(live[-1].id, role or next(iter(roles)), index, command)
        try:
            async for part in told:
                yield part
        finally:
            close = getattr(told, "aclose", None)
            if close is not None:
                await close()

    async def top(self) -> list[dict[str, Any]]:
        """What runs now: live placements with what their engine says of their usage."""
        live = await asyncio.to_thread(self._store.placements.live)
        runs = await asyncio.to_thread(self._store.runs.get_many, {each.run for each in live})
        usage: dict[str, Any] = {}
        for engine in tuple(self._places.engines.values()):
            status = getattr(engine, "status", None)
            if status is not None:
                told = await status()
                usage |= {key: each["usage"] for key, each in told["placements"].items()}
        return [
            {
                "placement": each.id,
                "run": each.run,
                "name": runs[each.run].name,
                "kind": runs[each.run].kind,
                "project": runs[each.run].project,
                "pool": each.pool,
                "state": str(each.state),
                "started": each.started or each.placed,
                "demand": codec.to_json(each.demand),
                "usage": usage.get(each.id, {}),
            }
            for each in live
            if each.run in runs
        ]
