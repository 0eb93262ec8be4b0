"""A run in a user's hands: wait for it, read its logs, take its result."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tradewind.base import errors, units
from tradewind.base.errors import Conflict, Refused, TradewindError, TryAgain
from tradewind.records.runs import Run
from tradewind.sdk.readout import record
from tradewind.sdk.runs import ENDED

if TYPE_CHECKING:
    from tradewind.sdk.client import Client

Json = dict[str, Any]


class RunFailed(errors.UserError):
    """A run ended without a result. `cause` is the error as the run keeps it."""

    def __init__(self, message: str, *, hint: str = "", **more: Any) -> None:
        """Made by `failure`."""
        super().__init__(message, hint=hint)
        self.traceback = str(more.get("traceback", ""))
        self.cause = dict(more.get("cause", {}))

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}\n\n{self.traceback.rstrip()}" if self.traceback else text


class RunHandle:
    """One run. What it shows is what was known when it was last asked; `refresh` asks again."""

    def __init__(self, client: Client, body: Json) -> None:
        """Made by `run`, `spawn`, `map`; `RunHandle.of(client, id)` finds one that is there."""
        self._client = client
        self._body = body

    @classmethod
    def of(cls, client: Client, run: str) -> RunHandle:
        """The run of this id."""
        return cls(client, client.runs.get(run))

    @property
    def id(self) -> str:
        """Its id."""
        return str(self._body["id"])

    @property
    def name(self) -> str:
        """The name of its spec."""
        return str(self._body["name"])

    @property
    def state(self) -> str:
        """Its state, as last seen."""
        return str(self._body["state"])

    @property
    def ended(self) -> bool:
        """Whether it had ended, as last seen."""
        return self.state in ENDED

    @property
    def body(self) -> Json:
        """All that is known of it, as the API writes it."""
        return self._body

    def refresh(self) -> RunHandle:
        """Ask the server how it is now."""
        self._body = self._client.runs.get(self.id)
        return self

    def status(self) -> Run:
        """How it is now, as a record."""
        return record(self.refresh()._body)

    def wait(self, timeout: float | None = None, *, show: bool | None = None) -> RunHandle:
        """Until it has ended; shows progress in a notebook and in a terminal. Raises TryAgain when
        the timeout (s) passes first."""
        from tradewind.sdk import display

        until = None if timeout is None else time.monotonic() + timeout
        with display.progress(self, show) as update:
            while not self.ended:
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    raise TryAgain(f"{self.id} is still {self.state} after {timeout:g} s")
                held = update.period if left is None else min(update.period, left)
                self._body = self._client.runs.wait(self.id, held)
                update()
        return self

    def result(
        self,
        slot: str = "",
        *,
        as_: str = "",
        timeout: float | None = None,
        show: bool | None = None,
    ) -> Any:
        """Wait for it and give back what it made: the JSON value, or a frame (pandas if installed,
        else polars, else Arrow; `as_` says which). Raises RunFailed when it did not succeed."""
        from tradewind.sdk import results

        self.wait(timeout, show=show)
        self.check()
        return results.read(self._client, self.id, slot, as_)

    def check(self) -> RunHandle:
        """Raise if it has ended without success."""
        if self.state in {"failed", "stopped"}:
            raise failure(self._body)
        return self

    def logs(self, *, follow: bool = False, **which: Any) -> Iterator[str]:
        """The lines of its log; `task`, `role`, `index` choose whose."""
        rest = b""
        for chunk in self._client.runs.logs(self.id, follow=follow, **which):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace")
        if rest:
            yield rest.decode(errors="replace")

    @property
    def metrics(self) -> list[Json]:
        """Every point that was logged: name, value, step, at."""
        return self._client.runs.metrics(self.id)

    @property
    def explain(self) -> str:
        """Why it is where it is: what it waits for, why it was not cached, why it failed."""
        return "\n".join(lines_of(self.refresh()._body.get("explain")))

    @property
    def price(self) -> str:
        """What it has cost so far."""
        return units.format_money(int(self._body.get("price") or 0))

    def stop(self) -> RunHandle:
        """Ask it to stop."""
        self._body = {**self._body, **self._client.runs.stop(self.id)}
        return self

    def as_input(self) -> str:
        """The dataset that its result became, for the input of another run."""
        self.wait()
        self.check()
        made = self._client.runs.results(self.id)
        for body in made.values():
            if body.get("name") and body.get("version"):
                return f"{body['name']}@{body['version']}"
        raise Refused(
            f"the result of {self.id} is no dataset", hint="hand on its value: run.result()"
        )

    def __repr__(self) -> str:
        return f"<run {self.id} {self.name}: {self.state}>"

    def _repr_html_(self) -> str:
        from tradewind.sdk import display

        return display.html(self._body)


def lines_of(told: Any) -> list[str]:
    """An explanation as lines: the API gives one text or several."""
    return [told] if isinstance(told, str) and told else [str(line) for line in told or ()]


def failure(body: Json) -> TradewindError:
    """The error of a run that ended without success."""
    name, run = body.get("name"), body.get("id")
    if body.get("state") == "stopped":
        return Conflict(
            f"the run {run} ({name}) was stopped", hint=f"start it again: tw run … {name}"
        )
    error = dict(body.get("error") or {})
    message = str(error.get("message") or "it failed and left no reason")
    if error.get("type"):
        message = f"{error['type']}: {message}"
    hint = str(error.get("hint") or f"`tw logs {run}` shows what it said")
    failed = RunFailed(
        f"{name} failed ({run}): {message}",
        hint=hint,
        traceback=error.get("traceback", ""),
        cause=error,
    )
    failed.where = errors.from_json(error).where if error.get("where") else None
    return failed
