"""What becomes of a run that waits: when it starts, and what would start it now. The scheduler is
asked on a copy of its state, which is taken between two passes of the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tradewind.base.errors import Conflict, InvalidSpec, Location, TradewindError
from tradewind.base.units import format_bytes, parse_bytes
from tradewind.control.foresight import Foresight
from tradewind.control.step import Loop
from tradewind.records.runs import Run
from tradewind.records.states import ENDED
from tradewind.scheduler import whatif
from tradewind.scheduler.amounts import CPU, MEMORY
from tradewind.scheduler.answers import Answering
from tradewind.scheduler.events import Waiting
from tradewind.scheduler.nodes import WHOLE

log = logging.getLogger("tradewind.control")

Json = dict[str, Any]
# More of them is a mistake: bytes, cores, processes.
MOST, CORES, PROCESSES = 1 << 50, 1_000_000, 100_000
# How often an estimate is made unasked, in seconds, and the part of the time that this takes.
LOOK_SECONDS, PART = 1.0, 0.02


@dataclass(slots=True)
class Outlook:
    """One per server."""

    machine: Answering
    loop: Loop
    foresight: Foresight
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def of(self, run: Run) -> Json:
        """What it waits for, when it starts (seconds from now, nine times out of ten between `low`
        and `high`), and the smallest changes of each kind that would start it now."""
        async with self._one:
            twin = await self._copy()
            return await asyncio.to_thread(self._told, twin, run)

    def _told(self, twin: Answering, run: Run) -> Json:
        body: Json = {"run": run.id, "state": run.state.value, "waiting": run.waiting}
        if twin.asked(run.id) is None:
            return {**body, "estimate": None, "changes": []}
        estimate = self.foresight.ask(twin, run.id)
        changes = [_start(each) for each in whatif.smallest(twin, run.id)]
        told = None if estimate is None else {
            "seconds": estimate.wait, "low": estimate.low, "high": estimate.high,
        }  # fmt: skip
        return {**body, "estimate": told, "changes": changes}

    async def would(self, run: Run, changes: Mapping[str, Any]) -> Json:
        """Whether these changes, all at the same time, would start it now, and who would have to
        make room. Raises Conflict for a run that does not wait for a place, InvalidSpec for a
        change that makes no sense."""
        async with self._one:
            twin = await self._copy()
        waiting = twin.asked(run.id)
        if waiting is None:
            why = "has ended" if run.state in ENDED else "does not wait for a place"
            raise Conflict(f"run {run.id} {why}", hint=f"it is {run.state.value}")
        asked = list(_changes(waiting, changes, twin))
        found = await asyncio.to_thread(whatif.would, twin, run.id, whatif.All(tuple(asked)))
        if found is None:
            return {"run": run.id, "starts": False, "change": "; ".join(map(str, asked))}
        return {"run": run.id, "starts": True, **_start(found)}

    async def _copy(self) -> Answering:
        """Also learns who of those that were asked about has started since."""
        twins: list[Answering] = []
        gone: list[str] = []

        def work() -> None:
            self.machine.feed((), self.loop.now())
            gone.extend(self.foresight.gone(self.machine))
            twins.append(self.machine.copy())

        await self.loop.between(work, look=False)
        await asyncio.to_thread(self.foresight.learn, gone)
        return twins[0]

    # --- unasked -----------------------------------------------------------------------------

    async def watch(self) -> None:
        """Ask now and then when one of those that wait starts, for ever: estimates that nobody
        asked for tell as well how far estimates are off. The busier the loop, the less often."""
        clock = asyncio.get_running_loop()
        while True:
            began = clock.time()
            try:
                await self.look()
            except TradewindError as error:
                log.warning("estimates: %s", error.message)
            except Exception:
                log.exception("no estimate could be made; it is tried again")
            await asyncio.sleep(max(LOOK_SECONDS, (clock.time() - began) / PART))

    async def look(self) -> None:
        """One estimate, if anybody waits."""
        async with self._one:
            if not self.machine.line.waiting:
                await asyncio.to_thread(self.foresight.learn, [])
                return
            twin = await self._copy()
            if twin.line.waiting:
                await asyncio.to_thread(self.foresight.ask, twin, self.foresight.one(twin))


def _start(found: whatif.Start) -> Json:
    return {"change": str(found.change), "interrupts": list(found.interrupts)}


def _changes(waiting: Waiting, said: Mapping[str, Any], twin: Answering) -> Iterator[whatif.One]:
    part = whatif.widest(waiting)
    ask, count = waiting.parts[part]
    for name, value in said.items():
        where = Location(field=name)
        match name:
            case "processes":
                yield whatif.Processes(_whole(value, where, 1, PROCESSES), count, part)
            case "cpu":
                yield whatif.Cpu(round(_number(value, where) * WHOLE), ask.cpu, part)
            case "memory":
                yield whatif.Memory(_bytes(value, where), ask.memory, part)
            case "share":
                share = _number(value, where)
                if ask.devices != 1 or share > 1:
                    raise InvalidSpec("a part of a device, up to 1, is asked of a single one",
                                      where=where)  # fmt: skip
                yield whatif.Share(max(1, round(share * WHOLE)), ask.share, part)
            case "priority":
                rank = _whole(value, where, -whatif.HIGHEST, whatif.HIGHEST)
                yield whatif.Priority(rank, waiting.priority)
            case "pool":
                if value not in twin.pools:
                    known = f"pools: {', '.join(sorted(twin.pools))}"
                    raise InvalidSpec(f"there is no pool {value!r}", hint=known, where=where)
                if value == waiting.pool:
                    raise InvalidSpec(f"it waits for pool {value!r} already", where=where)
                yield whatif.OtherPool(str(value), waiting.pool)
            case "any_model":
                models = sorted(model for each, _ in waiting.parts for model in each.models)
                if not models:
                    raise InvalidSpec("it names no model of devices", where=where)
                yield whatif.AnyModel(tuple(models))
            case "preferred":
                if waiting.layout is None or not waiting.layout.binds:
                    raise InvalidSpec("it requires no topology", where=where)
                yield whatif.Preferred(waiting.layout)
            case _:
                known = f"processes, {CPU}, {MEMORY}, share, priority, pool, any_model, preferred"
                raise InvalidSpec(f"{name!r} is nothing to change", hint=known, where=where)


def _number(value: Any, where: Location) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= CORES:
        raise InvalidSpec(f"expected a number above 0, and at most {CORES:,}, not {value!r}",
                          where=where)  # fmt: skip
    return float(value)


def _whole(value: Any, where: Location, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidSpec(f"expected a whole number from {least:,} to {most:,}, not {value!r}",
                          where=where)  # fmt: skip
    return value


def _bytes(value: Any, where: Location) -> int:
    try:
        found = parse_bytes(value)
    except ValueError as error:
        raise InvalidSpec(str(error), where=where) from None
    if not 0 < found < MOST:
        raise InvalidSpec(f"expected a size above 0, and below {format_bytes(MOST)}, "
                          f"not {value!r}", where=where)  # fmt: skip
    return found
