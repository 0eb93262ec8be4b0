"""What the API asks about runs that are not to be: their price, and what would be sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tradewind import kinds
from tradewind.base.clock import Clock
from tradewind.base.errors import Unreachable, UserError
from tradewind.base.ids import new_id
from tradewind.compiler.accounts import Account
from tradewind.compiler.facts import Machine, PastRun
from tradewind.control import gather, places, promises, versions
from tradewind.control.pin import ImportFirst, NotYet
from tradewind.control.places import NoPlace
from tradewind.control.road import Road
from tradewind.engines.base import Elsewhere, Request
from tradewind.records import codec, pinned
from tradewind.records.pinned import Pinned
from tradewind.records.placements import Placement, placement_id
from tradewind.records.plans import ProbesWanted, Quote
from tradewind.records.runs import Run
from tradewind.records.states import RunState
from tradewind.records.steering import Submit, View
from tradewind.specs import from_document, to_document
from tradewind.specs.function import BY_ROWS
from tradewind.store.base import Store
from tradewind.store.rows import Claim


class WorkFirst(Exception):
    """Something must be imported or measured before there is a quote: that takes a run."""


def ask(rows: int = 0, deadlines: Sequence[float] = ()) -> dict[str, Any]:
    """What a run that ends at its plan remembers of the question."""
    asked: dict[str, Any] = {"rows": rows} if rows else {}
    return {**asked, "deadlines": list(deadlines)} if deadlines else asked


def _bound(made: Pinned, history: Sequence[PastRun]) -> None:
    """Raise UserError, in the words of the run that would fail, for a function that reads a table
    and is given none. An expression may read none, unless its earlier runs did."""
    style = made.spec.get("style")
    reads = style in BY_ROWS or (style == "expression" and any(each.rows for each in history))
    if reads and not any(each.kind == "table" for each in made.inputs.values()):
        raise UserError(
            f"a function of the style {style!r} reads a table, and the run has none",
            hint="bind one: input: {data: NAME}, or --data NAME=DATASET",
        )


class Offers:
    """One per server. Every call blocks, for as long as resolving dependencies takes."""

    def __init__(self, store: Store, road: Road, machines: Sequence[Machine], clock: Clock) -> None:
        self._store = store
        self._road = road
        self._machines = machines
        self._clock = clock

    def quote(
        self, document: Any, user: str, rows: int = 0, deadlines: Sequence[float] = ()
    ) -> Quote:
        """The quote of a spec for so many rows (0: all of its inputs), kept so that a run can be
        held to it. For `deadlines` it is measured what the work takes. Raises UserError, and
        WorkFirst."""
        try:
            run, quote = self._quoted(document, user, ask(rows, deadlines))
        except ImportFirst:
            raise WorkFirst from None
        if isinstance(quote, ProbesWanted):
            raise WorkFirst
        if quote is None:
            raise UserError(
                f"a {run.kind} has no price of its own", hint="quote its steps one by one"
            )
        self._store.ledger.put_quote(run.project, quote)
        return quote

    def against(self, document: Any, wanted: dict[str, Any]) -> dict[str, Any]:
        """What a question about a change remembers of the earlier version. Raises UserError."""
        return versions.find(self._store, self._road.pinner.blobs, document, wanted)

    def promises(self, project: str = "") -> list[Account]:
        """How often quotes were right, by function and backend; last all together."""
        return promises.kept(self._store, project)

    def _quoted(
        self, document: Any, user: str, asked: dict[str, Any] | None = None
    ) -> tuple[Run, Quote | ProbesWanted | None]:
        now = self._clock.now()
        run = Road.accept(to_document(from_document(document)), now=now, user=user)
        run = run if asked is None else replace(run, memory={"ask": asked})
        claim = Claim(run=run, token="", until=0.0, pokes=0)
        made = self._pinned(run)
        batch = gather.batch(self._store, [claim], self._machines)
        run = replace(run, pinned=codec.to_json(made), pinned_digest=pinned.digest(made))
        if asked is not None:
            _bound(made, batch.facts(run).history)
        try:
            return run, self._road.planner.quote(made, batch, run, now)
        except NoPlace as wait:
            raise Unreachable(wait.why, after=places.GUARD_SECONDS) from None

    def _pinned(self, run: Run) -> Pinned:
        while True:
            try:
                return self._road.pinner.pin(run, {})
            except NotYet as wait:
                wait.work()

    def render(self, document: Any, user: str) -> tuple[list[Request], dict[str, str]]:
        """The native requests that a run of this spec would send, without secrets; and for each
        step of a pipeline that cannot be rendered yet, why."""
        try:
            run, quote = self._quoted(document, user)
        except ImportFirst as first:
            raise UserError(
                f"{first.spec['source']} is not imported yet",
                hint="import it as a dataset first, then render",
            ) from None
        if quote is None:
            return self._rendered_steps(run, user)
        if isinstance(quote, ProbesWanted):
            raise UserError("its plan is not known yet", hint="ask for it first: tw quote")
        plan = quote.plans[0]
        run = replace(run, id=new_id("r"), plan=codec.to_json(plan))
        task = self._road.task(run)
        placement = Placement(
            id=placement_id(run.id, task.name, 1),
            run=run.id,
            task=task,
            number=1,
            pool=plan.pool,
            engine=plan.engine,
            lease=self._road.places.leases.get(plan.pool, 0),
            demand=task.demand(),
        )
        engine = self._road.places.engine(plan.pool)
        request = engine.render(placement)
        return [engine.redacted(request) if isinstance(engine, Elsewhere) else request], {}

    def _rendered_steps(self, run: Run, user: str) -> tuple[list[Request], dict[str, str]]:
        """Those steps that begin at once; what the others are given is not known before."""
        view = View(run=replace(run, state=RunState.PLANNED))
        decided = kinds.load(run.kind).steer.next(view, self._clock.now())
        begin = {each.key: each.spec for each in decided if isinstance(each, Submit)}
        found: list[Request] = []
        later: dict[str, str] = {}
        for key, spec in begin.items():
            try:
                requests, inner = self.render(self._road.part(run, spec), user)
            except UserError as error:
                later[key] = error.message
                continue
            found += requests
            later |= {f"{key}/{name}": why for name, why in inner.items()}
        names = {key.partition("#")[0].partition("~")[0] for key in begin}
        for step in run.spec.get("steps", ()):
            if step["name"] not in names:
                later[step["name"]] = "it begins when the steps before it have ended"
        return found, later
