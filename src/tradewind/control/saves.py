"""Which trainings have written a checkpoint, and when: whoever loses least makes room for others.

A checkpoint is files, and nobody tells of them: their times are looked at. A file that has rested
is whole, and so is one after which another has been written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from tradewind.base.errors import TradewindError
from tradewind.blobs.checkpoints import Checkpoints
from tradewind.control.step import Loop
from tradewind.scheduler.answers import Answering
from tradewind.scheduler.events import Saved
from tradewind.store.base import Store

log = logging.getLogger("tradewind.control")

LOOK_SECONDS = 10.0
# As those who bring checkpoints of other machines see it (`pod/checkpoints.py`), in seconds.
REST = 2.0
# Other kinds keep parts of what they do, or nothing: only a training goes on from its checkpoint.
KIND = "training"
# When, and which file: what takes the place of another by its name is another one.
_Written = tuple[float, int]


@dataclass(slots=True)
class Saves:
    """One per server. Tasks of this machine save in folders of `here`, those of others `there`."""

    store: Store
    machine: Answering
    loop: Loop
    here: Path
    there: Checkpoints
    _known: dict[str, float] = field(default_factory=dict)
    _last: dict[Path, _Written] = field(default_factory=dict)

    async def watch(self) -> None:
        """Look now and then, for ever."""
        while True:
            try:
                await self.look()
            except (TradewindError, OSError) as error:
                log.warning("checkpoints cannot be looked at: %s", error)
            except Exception:
                log.exception("checkpoints could not be looked at; it is tried again")
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Tell the scheduler what is new, and have it decide again: others may have its place now,
        or it may grow."""
        saved = await asyncio.to_thread(self._saved)

        def work() -> None:
            self.machine.feed([Saved(run=run, at=at) for run, at in saved.items()], self.loop.now())
            self.store.runs.poke([*self.machine.line.waiting, *self.machine.due, *saved][:1])

        if saved:
            await self.loop.between(work, look=False)

    def _saved(self) -> dict[str, float]:
        """By run that has a place here, when its newest checkpoint was written, where that is
        news."""
        until, found = self.loop.now() - REST, dict[str, float]()
        last, self._last = self._last, {}
        for folder in self.here.iterdir() if self.here.is_dir() else ():
            run = folder.name.rpartition("-")[0]  # RUN-TASK
            if self.machine.holds(run):
                written = _written(folder)
                newest = self._last[folder] = max(written, default=(0.0, 0))
                found[run] = max((at for at, _ in written if at <= until), default=0.0)
                at, file = last.get(folder, newest)
                if file != newest[1]:
                    found[run] = max(found[run], at)
        for run in self.there.runs():
            if self.machine.holds(run):
                found[run] = max(found.get(run, 0.0), self.there.written(run))
        news = {run: at for run, at in found.items() if at > self._known.get(run, 0.0)}
        self._known = {run: at for run, at in self._known.items() if run in found} | news
        kinds = self.store.runs.get_many(news)
        return {run: at for run, at in news.items() if run in kinds and kinds[run].kind == KIND}


def _written(folder: Path) -> list[_Written]:
    found = []
    for where, _folders, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                told = os.lstat(os.path.join(where, name))
                found.append((told.st_mtime, told.st_ino))
    return found
