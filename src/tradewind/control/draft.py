"""One claimed run while it walks: everything that will be written of it, in one place.

A stage never writes to the store; it adds to the draft, and the whole draft becomes one `Change`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tradewind.base.errors import TradewindError
from tradewind.records.events import Event
from tradewind.records.placements import Placement
from tradewind.records.plans import Quote
from tradewind.records.runs import Run
from tradewind.records.states import ENDED, RunState, check_move
from tradewind.store.rows import (
    Alias,
    Change,
    Claim,
    DatasetVersion,
    Edge,
    ModelVersion,
    Promise,
    Usage,
)


@dataclass(slots=True)
class Draft:
    """Mutable until `change` is called; lives for one pass of the loop."""

    claim: Claim
    run: Run
    now: float
    events: list[Event] = field(default_factory=list)
    placements: dict[str, Placement] = field(default_factory=dict)
    children: list[Run] = field(default_factory=list)
    datasets: list[DatasetVersion] = field(default_factory=list)
    models: list[ModelVersion] = field(default_factory=list)
    aliases: list[Alias] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    quotes: list[Quote] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)
    pokes: list[str] = field(default_factory=list)
    # What each child that begins in this pass remembers of the money, once that is known.
    money: dict[str, int] | None = None

    @classmethod
    def of(cls, claim: Claim, now: float) -> Draft:
        """A draft that changes nothing yet."""
        # The wake that made it due has been heard; a stage that wants another asks anew.
        return cls(claim, replace(claim.run, wake=0.0), now)

    def move(self, state: RunState, **fields: Any) -> None:
        """Take the run to another state of the table and say so in an event."""
        check_move(self.run.state, state)
        if state in ENDED:
            fields.setdefault("ended", self.now)
            fields.setdefault("waiting", "")
        self.run = replace(self.run, state=state, updated=self.now, **fields)
        body = {key: fields[key] for key in ("waiting", "error", "cached_from") if fields.get(key)}
        self.note(f"run.{state}", **body)

    def set(self, **fields: Any) -> None:
        """Change fields without moving."""
        self.run = replace(self.run, updated=self.now, **fields)

    def fail(self, error: TradewindError) -> None:
        """End the run with this error. What this pass had begun for it does not come about."""
        for begun in (self.children, self.datasets, self.models, self.aliases, self.edges):
            begun.clear()
        self.events = [event for event in self.events if event.run == self.run.id]
        self.move(RunState.FAILED, error=error.to_json())

    def note(self, what: str, subject: str = "", /, *, of: str = "", **body: Any) -> None:
        """Append an event about this run, or about the new child `of`."""
        self.events.append(
            Event(
                type=what,
                at=self.now,
                project=self.run.project,
                subject=subject or self.run.id,
                run=of or self.run.id,
                body=body,
            )
        )

    def tell(self, text: str) -> None:
        """Something that people should know of the run; said once."""
        told = list(self.run.memory.get("notes", ()))
        if text not in told:
            self.set(memory={**self.run.memory, "notes": [*told, text]})
            self.note("run.noted", text=text)

    def change(self) -> Change:
        """Everything as one write."""
        return Change(
            claim=self.claim,
            run=self.run,
            placements=tuple(self.placements.values()),
            events=tuple(self.events),
            children=tuple(self.children),
            datasets=tuple(self.datasets),
            models=tuple(self.models),
            aliases=tuple(self.aliases),
            edges=tuple(self.edges),
            quotes=tuple(self.quotes),
            promises=tuple(self.promises),
            usage=tuple(self.usage),
            pokes=tuple(self.pokes),
            stops=tuple(self.stops),
            stop_by="parent" if self.stops else "",
        )
