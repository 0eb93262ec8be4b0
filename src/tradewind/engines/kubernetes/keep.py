"""What a unit printed, kept whatever ends it.

A log is read once its container has ended. A pod that is taken away may be gone by then, and its
log with it, so of one that is about to go the log is read on from before it is told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from dataclasses import dataclass, field

from tradewind.base.errors import NotFound, TradewindError, Unauthenticated, Unreachable
from tradewind.engines.kubernetes.api import PODS, Api
from tradewind.engines.kubernetes.states import MAIN, STAGE, Seen
from tradewind.supervisor import logs

log = logging.getLogger("tradewind.kubernetes")

# How long a log is asked for again while the cluster, or the node, does not give it.
PATIENCE = 8.0
# How long a pod's end waits until its log is being read: one that printed nothing does not say so.
AHEAD = 1.0
# So many logs are read on at once, each over a connection of its own; of others, what is there.
FOLLOWED = 48


@dataclass(slots=True)
class _Follow:
    """A log that is being read; the task's result is whether to its end."""

    task: asyncio.Task[bool] | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    patience: float = AHEAD


class Keeper:
    """Keeps logs of one pool. A unit's folder says that its log is kept."""

    def __init__(self, cluster: Api) -> None:
        self._cluster = cluster
        self._gate = asyncio.Semaphore(16)
        self._reading: set[asyncio.Task[bool]] = set()
        self._follows: dict[tuple[str, int], _Follow] = {}

    # -- before it ends ------------------------------------------------------------------------

    def follow(self, pod: Seen, folder: str) -> None:
        """From now on read what it prints, unless that is being done."""
        key = (pod.uid, pod.restarts)
        if key in self._follows or not pod.started or pod.end is not None or os.path.isdir(folder):
            return
        found = self._follows[key] = _Follow()
        if len(self._reading) < FOLLOWED:
            found.task = asyncio.create_task(self._read_on(pod, folder, found))
            self._reading.add(found.task)
            found.task.add_done_callback(self._reading.discard)
        else:
            found.patience = PATIENCE
            found.task = asyncio.create_task(self._so_far(pod, folder, found))

    async def ahead(self, pod: Seen, folder: str) -> None:
        """Follow it, and wait until it may be told to end."""
        self.follow(pod, folder)
        found = self._follows.get((pod.uid, pod.restarts))
        if found is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(found.patience):
                    await found.begun.wait()

    def follows(self, pod: Seen) -> bool:
        return (pod.uid, pod.restarts) in self._follows

    async def close(self) -> None:
        """Read no more; what was read stays for whoever comes."""
        tasks = [each.task for each in self._follows.values() if each.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _so_far(self, pod: Seen, folder: str, found: _Follow) -> bool:
        try:
            async with self._gate:
                await self._copy(pod, _live(folder, pod))
        except TradewindError as error:
            log.debug("the log of %s cannot be had yet: %s", pod.name, error.message)
        finally:
            found.begun.set()
        return False  # there may be more

    async def _read_on(self, pod: Seen, folder: str, found: _Follow) -> bool:
        """Begun anew where a connection breaks: the cluster sends all of it each time."""
        writer: logs.LogWriter | None = None
        had, pause = 0, 0.2
        try:
            while True:
                try:
                    async with self._cluster.log(
                        pod.name, MAIN, follow=True, previous=False
                    ) as chunks:
                        writer = writer or _writer(_live(folder, pod))
                        found.begun.set()
                        skip = had
                        async for data in chunks:
                            if fresh := data[skip:]:
                                writer.write(fresh)
                                had += len(fresh)
                            skip = max(0, skip - len(data))
                    return True
                except NotFound:
                    return False
                except TradewindError as error:
                    log.debug("the log of %s broke off: %s", pod.name, error.message)
                await asyncio.sleep(pause)
                pause = min(2.0, 2 * pause)
        finally:
            found.begun.set()
            if writer is not None:
                writer.close()

    # -- when it has ended ---------------------------------------------------------------------

    async def keep(self, pod: Seen, folder: str) -> None:
        """All of it or, if it cannot be had for long, what was had, and a word that it is not
        all. While the cluster is away or accepts no sign-in, nothing is lost yet: it is waited
        for."""
        loop = asyncio.get_running_loop()
        until, there, pause, why = loop.time() + PATIENCE, False, 0.2, ""
        while not os.path.isdir(folder):
            try:
                async with self._gate:
                    await self._copy(pod, _part(folder, pod))
            except NotFound as error:
                why = error.message
            except TradewindError as error:
                late = loop.time() + pause >= until
                if late and there:
                    why = error.message
                else:
                    # Asked for once more in any case: the cluster may be back just now.
                    there = late and await self._answers(pod)
                    until = loop.time() + PATIENCE if late and not there else until
                    await asyncio.sleep(pause)
                    pause = min(2.0, 2 * pause)
                    continue
            whole = await self._followed(pod, wait=bool(why)) or not why
            if os.path.isdir(folder):
                break  # of another pod that stood for the same unit
            self._place(pod, folder, "" if whole else why)
        await self._followed(pod, wait=False)
        for rest in (_part(folder, pod), _live(folder, pod)):
            logs.move(rest, "")

    async def _answers(self, pod: Seen) -> bool:
        """Whether the cluster itself is there for us, so that it is the log that is not."""
        try:
            await self._cluster.items(PODS, fieldSelector=f"metadata.name={pod.name}")
        except TradewindError as error:
            return not isinstance(error, Unauthenticated | Unreachable)
        return True

    async def _copy(self, pod: Seen, to: str) -> None:
        container = MAIN if pod.started else STAGE
        async with self._cluster.log(pod.name, container, follow=False, previous=False) as chunks:
            writer = _writer(to)
            try:
                async for data in chunks:
                    writer.write(data)
            finally:
                writer.close()

    async def _followed(self, pod: Seen, wait: bool) -> bool:
        """End its being followed; whether that came to the log's end."""
        found = self._follows.get((pod.uid, pod.restarts))
        done: bool | BaseException = False
        if found is not None and found.task is not None:
            if wait:
                await asyncio.wait({found.task}, timeout=PATIENCE)
            found.task.cancel()
            (done,) = await asyncio.gather(found.task, return_exceptions=True)
        # Not before: whoever closes ends those that are known.
        self._follows.pop((pod.uid, pod.restarts), None)
        return done is True

    def _place(self, pod: Seen, folder: str, why: str) -> None:
        os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
        had = max((_part(folder, pod), _live(folder, pod)), key=logs.length)
        if why and pod.started:
            log.warning("the log of %s cannot be had: %s", pod.name, why)
            _own_up(had)
        logs.move(folder, "")
        logs.move(had, folder)
        os.makedirs(folder, mode=0o700)


def _own_up(unit: str) -> None:
    """Say in the log itself that it is not all."""
    writer = logs.LogWriter(unit)
    writer.total = logs.length(unit)
    if writer.total:
        words = "\n[tradewind: the cluster does not have the rest of this log, if there was more]\n"
    else:
        words = "[tradewind: the cluster does not have this log any more]\n"
    writer.write(words.encode())
    writer.close()


def _writer(unit: str) -> logs.LogWriter:
    """Instead of what a server that died, or a connection that broke, left half done."""
    os.makedirs(os.path.dirname(unit), mode=0o700, exist_ok=True)
    logs.move(unit, "")
    return logs.LogWriter(unit)


# Several pods may come to stand for one unit.
def _part(folder: str, pod: Seen) -> str:
    return f"{folder}.{pod.uid}.part"


def _live(folder: str, pod: Seen) -> str:
    return f"{folder}.{pod.uid}.live"
