"""The catalogue as this store has it: the package's own list, and what was imported.

An import is kept in the store's settings, so that it survives a restart and every server of the
store sees it, within `LOOK_SECONDS`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Any, NamedTuple, overload

from tradewind.base.clock import Clock
from tradewind.base.errors import InvalidData
from tradewind.base.ids import new_id
from tradewind.compiler import catalogue
from tradewind.compiler.facts import Machine
from tradewind.records import codec
from tradewind.store.base import Store

KEY = "catalogue"
LOOK_SECONDS = 10.0
DAY_SECONDS = 86400.0
Json = dict[str, Any]


class Prices:
    """One per server. Every call may block on the store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._ours = catalogue.parse(
            resources.files("tradewind.compiler").joinpath("prices.csv").read_text("utf-8")
        )
        self._looked = -LOOK_SECONDS
        self._known = _Known("", self._ours, frozenset())
        self._changing = threading.Lock()
        self.all: Sequence[Machine] = Live(self.machines)
        """The machines of now, whenever it is read."""

    def machines(self) -> tuple[Machine, ...]:
        """The whole list, cheapest first."""
        now = self._clock.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._take(self._store.settings.get(KEY) or {})
        return self._known.machines

    def listing(
        self, *, provider: str = "", region: str = "", accelerator: str = "", most: int = 0
    ) -> list[Json]:
        """The rows that fit, cheapest first: `old` marks a price of more than 180 days, `imported`
        one that is not from the package's own list."""
        self._take(self._store.settings.get(KEY) or {})
        known = self._known
        today = datetime.fromtimestamp(self._clock.now(), UTC).date()
        return [
            {
                "name": each.name,
                "provider": each.provider,
                "region": each.region,
                "instance": each.name.partition("/")[2],
                "cpu": each.cpu,
                "memory": each.memory,
                "accelerators": dict(each.accelerators),
                "accelerator_memory": each.accelerator_memory or None,
                "zones": each.zones or None,
                "price": each.price,
                "spot": each.spot or None,
                "as_of": each.as_of,
                "old": catalogue.old(each, today),
                "source": each.source,
                "imported": catalogue.key(each) in known.imported,
            }
            for each in catalogue.chosen(
                known.machines,
                provider=provider,
                region=region,
                accelerator=accelerator,
                most=most,
            )
        ]

    def put(self, text: str, file: str, *, replace: bool) -> Json:
        """Take the rows of a CSV file over, in the place of the same ones, or of the whole list.
        Raises InvalidData with the place of the first fault; then nothing has changed."""
        rows = catalogue.parse(text, file if file.isprintable() else "")
        latest = datetime.fromtimestamp(self._clock.now() + DAY_SECONDS, UTC).date().isoformat()
        for each in rows:
            if each.as_of != catalogue.UNKNOWN and each.as_of > latest:
                raise InvalidData(
                    f"the price of {each.name} in {each.region} was taken on {each.as_of}, which "
                    "is still to come",
                    hint="as_of is the day on which the price was read",
                )
        with self._changing:
            return self._put(rows, replace)

    def _put(self, rows: Sequence[Machine], replace: bool) -> Json:
        before = self._store.settings.get(KEY) or {}
        whole = replace or bool(before.get("whole"))
        kept = () if replace else _rows(before)
        known = {catalogue.key(each) for each in self._ours} if not whole else set()
        known |= {catalogue.key(each) for each in kept}
        merged = catalogue.merged(kept, rows)
        if len(merged) > catalogue.MOST_ROWS:
            raise InvalidData(
                f"with these rows the catalogue would have {len(merged):,}, and "
                f"{catalogue.MOST_ROWS:,} is the limit",
                hint="replace it: tw catalog import FILE --replace",
            )
        self._keep({"rows": [codec.to_json(each) for each in merged], "whole": whole})
        changed = sum(catalogue.key(each) in known for each in rows)
        return {"rows": len(rows), "added": len(rows) - changed, "changed": changed,
                "total": len(self._known.machines)}  # fmt: skip

    def reset(self) -> Json:
        """Back to the package's own list; how many imported rows were dropped."""
        with self._changing:
            dropped = len(_rows(self._store.settings.get(KEY) or {}))
            self._keep({"rows": [], "whole": False})
        return {"dropped": dropped, "total": len(self._known.machines)}

    def _keep(self, told: Json) -> None:
        told = {"number": new_id("c"), **told}
        self._store.settings.put(KEY, told)
        self._take(told)

    def _take(self, told: Json) -> None:
        number = str(told.get("number", ""))
        if number == self._known.number:
            return
        rows = _rows(told)
        machines = catalogue.merged(() if told.get("whole") else self._ours, rows)
        self._known = _Known(number, machines, frozenset(map(catalogue.key, rows)))


class _Known(NamedTuple):
    """What was last read: the import's number, the whole list, what of it was imported."""

    number: str
    machines: tuple[Machine, ...]
    imported: frozenset[tuple[str, str, str]]


def _rows(told: Json) -> tuple[Machine, ...]:
    return tuple(codec.from_json(Machine, each) for each in told.get("rows", ()))


class Live(Sequence[Machine]):
    """A sequence that is asked for anew each time it is read."""

    def __init__(self, now: Callable[[], tuple[Machine, ...]]) -> None:
        self._now = now

    @overload
    def __getitem__(self, index: int) -> Machine: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Machine, ...]: ...
    def __getitem__(self, index: int | slice) -> Machine | tuple[Machine, ...]:
        return self._now()[index]

    def __len__(self) -> int:
        return len(self._now())

    def __iter__(self) -> Iterator[Machine]:
        return iter(self._now())
