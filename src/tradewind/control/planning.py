"""Plan: what a run could be, at which price, and which of it is held to.

The compiler is asked here with all that it may know; what it answers is checked against what a pool
may take, what an accepted quote said, and what the result is worth.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from tradewind import kinds
from tradewind.base.errors import NotAllowed, Refused
from tradewind.base.ids import new_id
from tradewind.base.units import format_duration, format_money
from tradewind.compiler import availability, refusals
from tradewind.compiler.quote import Objective
from tradewind.compiler.quote import quote as quote_of
from tradewind.control import bill, family, lessons, probing, topology
from tradewind.control.gather import Batch
from tradewind.control.places import Places
from tradewind.records import pinned
from tradewind.records.pinned import Pinned
from tradewind.records.plans import Option, Plan, ProbesWanted, Quote
from tradewind.records.runs import Run
from tradewind.specs import from_document
from tradewind.specs.common import Spec, Workload
from tradewind.store.base import Store

# Before the id of a run whose people said that it may cost more than it is worth, among settings.
APPROVED = "approved:"


@dataclass(slots=True)
class Planner:
    """Asks the compiler for one server."""

    store: Store
    places: Places
    projects: dict[str, str] = field(default_factory=dict)

    def quote(
        self,
        made: Pinned,
        batch: Batch,
        run: Run,
        now: float,
        found: dict[str, Any] | None = None,
    ) -> Quote | ProbesWanted | None:
        """The quote for a pinned spec; None for a kind that only steers child runs. By what probes
        have `found` alone, and whatever the objective, where that is given."""
        options = kinds.load(made.kind).lower.options(made)
        if not options:
            return None
        pool = str(made.spec.get("pool") or "")
        elastic = any(each.elastic for each in options)
        measurable = elastic or any(each.measurable for each in options)
        asked = run.memory.get("ask") or {}
        level = str(made.spec.get("availability") or "process")
        places = self.places.choice(pool)
        named = [each for each in places if each.name == pool]
        pools = availability.allowed(level, named or places)
        facts, known = batch.facts(run), None
        objective = _objective(made, run, now) if found is None else Objective()
        if measurable:
            given = pinned.apart_from_rows(made)
            alike = tuple(each for each in facts.history if each.given == given)
            # What is measured is not taken from runs that were given something else.
            if elastic or objective.said or asked:
                facts = replace(facts, history=alike, style=str(made.spec.get("style") or ""))
            known = probing.before(run, batch.history(run), seen=bool(alike))
        if found is not None:
            known, facts = found, replace(facts, history=())
        rows = int(asked.get("rows", 0))
        soft = made.kind == "function" and made.spec.get("consistency") == "soft"
        answer = _asked(
            options,
            soft and bool(objective.said or asked),
            facts=replace(
                facts,
                pools=tuple(
                    self.places.now(topology.within(made.spec, each) if elastic else each)
                    for each in pools
                ),
                probed=probing.facts(known) if known else None,
                outcomes=lessons.learned(self.store.settings) if measurable else (),
                rows=bill.rows(run),
                paced=lessons.alike(made, facts.history),
            ),
            quote_id=new_id("q"),
            pinned=pinned.digest(made),
            now=now,
            pool=pool,
            first=self.places.first(),
            objective=objective,
            rows=rows,
            probe=bool(asked),
        )
        if isinstance(answer, ProbesWanted):
            return answer
        answer = availability.told(replace(answer, of=_of(made.spec), rows=rows), level, pools)
        return availability.softly(answer) if soft else answer

    def in_time(
        self, made: Pinned, batch: Batch, run: Run, now: float
    ) -> Quote | ProbesWanted | None:
        """The quote for a run that is to begin. Where its people were asked whether it may, its
        deadline goes on: a refusal says that it waited for them."""
        spec = from_document(made.spec)
        asked = spec.performance if isinstance(spec, Workload) else None
        try:
            answer = self.quote(made, batch, run, now)
            waits = answer is None and asked is not None and run.memory.get("question")
            if waits and asked is not None and now >= run.created + asked:
                raise Refused("its deadline is over")  # no plan of its own says so
            return answer
        except Refused as error:
            if asked is None or not run.memory.get("question"):
                raise
            waited = f"it waited for `tw approve {run.id}` until its deadline"
            hint = "answer sooner, or give it a longer `performance` or a higher `value`"
            if now >= run.created + asked:
                text = f"{waited} of {format_duration(asked)} was over"
            else:
                text = f"{waited} could not be kept any more: {error.message}"
            raise Refused(text, hint=hint, needs=error.needs) from error

    def held_to(self, run: Run) -> Quote:
        """The quote that the user accepted. Raises Refused when it is not of this, or was too old
        when the run was accepted."""
        quote = self.held(run)
        if quote.pinned != run.pinned_digest:
            raise Refused(
                f"quote {quote.id} is of another spec, code or data",
                hint="it holds for what was asked, with the same code, parameters and data: ask "
                "again with `tw quote`",
            )
        if quote.expires < run.created:
            raise Refused(f"quote {quote.id} has expired", hint="ask again with `tw quote`")
        if quote.rows and (rows := bill.rows(run)) and rows != quote.rows:
            raise Refused(
                f"quote {quote.id} is of {quote.rows:,} rows, and the tables of this have {rows:,}",
                hint="ask for one of all of them: `tw quote` without --rows",
            )
        return quote

    def held(self, run: Run) -> Quote:
        """The same as far as it is known before names are digests, and that the plan keeps to what
        the run asks for. Raises Refused and NotFound."""
        quote = self.store.ledger.quote(run.quote)
        if quote.of and quote.of != _of(run.spec):
            raise Refused(
                f"quote {quote.id} is of {quote.of}, not of {_of(run.spec)}",
                hint="ask for one of this with `tw quote`",
            )
        if not 0 <= (plan := int(run.memory.get("plan", 0))) < len(quote.plans):
            raise Refused(
                f"quote {quote.id} has no plan {plan}",
                hint=f"its plans are 0 to {len(quote.plans) - 1}, as `tw quote` numbered them",
            )
        spec = from_document(run.spec)
        if isinstance(spec, Workload):
            refusals.check_held(
                quote, plan, Objective(seconds=spec.performance, budget=spec.budget)
            )
        return quote

    def worth(self, run: Run, plan: Plan, spec: Spec, batch: Batch, now: float) -> str:
        """What its people are asked before it costs more than they said that it is worth, or makes
        a pipeline above it cost more than that is."""
        if "ask" in run.memory:
            return ""
        question = self._question(run, plan, spec, batch, now)
        # Asked of the store last: of most runs there is nothing to approve.
        return "" if question and self._approved(run) else question

    def _question(self, run: Run, plan: Plan, spec: Spec, batch: Batch, now: float) -> str:
        value = spec.value if isinstance(spec, Workload) else None
        if value is None or plan.price is None or plan.price.p90 <= value or run.quote:
            return self._worth_to_pipelines(run, plan, batch, now)
        paid = f" besides the {format_money(run.price)} of its samples" if run.price else ""
        return (
            f"expected to cost {format_money(round(plan.price.p50))} to "
            f"{format_money(round(plan.price.p90))}{paid}, and worth {format_money(value)}: "
            f"`tw approve {run.id}` lets it run, `tw stop {run.id}` does not"
        )

    def _worth_to_pipelines(self, run: Run, plan: Plan, batch: Batch, now: float) -> str:
        known = plan.price is not None and run.kind != "service"
        cost = plan.price.p90 if plan.price is not None and known else 0.0
        for above in family.ancestors(self.store, run):
            value = family.said(above, "value")
            if value is None or self._approved(above):
                continue
            total = family.summed(self.store, self.places.facts, above, now, batch.begun)
            left = value - total.gone - total.expected
            if cost <= left and (known or left > 0):
                continue
            price = f"up to {format_money(round(cost))}" if known else "a price that is not known"
            return (
                f"expected to cost {price}, and {format_money(max(0, left))} are left of what its "
                f"pipeline is worth: `tw approve {run.id}` lets this step run, `tw approve "
                f"{above.id}` the whole pipeline, `tw stop {above.id}` does not"
            )
        return ""

    def worth_of_all(self, made: Pinned, batch: Batch, run: Run) -> str:
        """The same of a run that only steers others, by what its earlier runs cost in whole."""
        value = family.said(run, "value")
        if value is None or "ask" in run.memory or self._approved(run):
            return ""
        bills = family.bills(self.store, made, run, batch.history(run))
        if not bills or max(bills) <= value:
            return ""
        runs = "its last run" if len(bills) == 1 else f"its last {len(bills)} runs"
        return (
            f"expected to cost {format_money(round(median(bills)))} to {format_money(max(bills))} "
            f"as {runs} did, and worth {format_money(value)}: "
            f"`tw approve {run.id}` lets it run, `tw stop {run.id}` does not"
        )

    def _approved(self, run: Run) -> bool:
        return bool(self.store.settings.get(APPROVED + run.id))

    def may_share(self, run: Run, plan: Plan) -> None:
        """Processes of one machine's user can read each other: such a pool has one project, the
        first that ran there, unless its spec says otherwise. Raises NotAllowed for another."""
        facts = self.places.facts.get(plan.pool)
        if plan.engine != "local" or (facts is not None and facts.shared):
            return
        if run.project == self.projects.get(plan.pool):
            return
        key = f"project:{plan.pool}"
        first = self.store.settings.get(key)
        if first is None:
            self.store.settings.put(key, first := run.project)
        self.projects[plan.pool] = first
        if run.project != first:
            raise NotAllowed(
                f"pool {plan.pool!r} works for project {first!r}, and what runs there could read "
                "the data of a second one",
                hint=f"give project {run.project!r} a data folder of its own (TRADEWIND_HOME), or "
                "a pool that isolates its tasks; or let an operator apply the pool with "
                "`shared: true`, where all of them may read all data",
            )


def _of(spec: dict[str, Any]) -> str:
    """What a quote of this spec is made for, in words."""
    return f"{spec['kind']} {pinned.output(str(spec['name']), spec)}"


def _asked(options: Sequence[Option], parts: bool, **more: Any) -> Quote | ProbesWanted:
    """The quote; with `parts` that of what has parts, which can appear one by one, if anything of
    it keeps to the objective."""
    several = [each for each in options if each.backend == "partitions"] if parts else []
    if several:
        with contextlib.suppress(Refused):
            return quote_of(several, **more)
    return quote_of(options, **more)


def _objective(made: Pinned, run: Run, now: float) -> Objective:
    """How well, from now on: what passed since it was accepted counts, waiting and probes too, and
    what was paid for these. Who asks about several deadlines wants to see them all."""
    spec = from_document(made.spec)
    asked = run.memory.get("ask")
    if not isinstance(spec, Workload) or (asked and asked.get("deadlines")):
        return Objective()
    passed, paid = (now - run.created, run.price) if asked is None else (0.0, 0)
    return Objective(
        seconds=None if spec.performance is None else spec.performance - passed,
        budget=None if spec.budget is None else spec.budget - paid,
        value=spec.value,
        passed=passed,
        paid=paid,
        measured="probes" in run.memory,
    )
