"""Single units of a pool: which one a pod is, what it tells, its log, commands beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from tradewind.base.errors import Gone, NotFound, TryAgain, UserError
from tradewind.engines.desk import Fact, Unit
from tradewind.engines.kubernetes import names, states, template
from tradewind.engines.kubernetes.api import Api
from tradewind.engines.kubernetes.array import Array
from tradewind.engines.kubernetes.gang import Gang
from tradewind.engines.kubernetes.settle import Settler
from tradewind.engines.kubernetes.states import Seen
from tradewind.engines.kubernetes.track import Track
from tradewind.records.placements import Placement
from tradewind.records.reports import Report
from tradewind.supervisor import logs

if TYPE_CHECKING:
    from tradewind.engines.kubernetes.engine import KubernetesEngine

# A pod may ask before the cluster has told us of it; facts may wait so long for the store.
MEET, STORE = 3.0, 20.0
# So long a member that waits for the others has no answer: less than a server takes to end.
HELD = 2.0
EVERY = 0.1
FACTS = ("metric", "param", "progress", "phase")


class Units:
    """The desk's host for one engine, and the reader of its units."""

    settler: Settler
    cluster: Api

    def __init__(self, engine: KubernetesEngine) -> None:
        self._engine = engine
        self._waiting: dict[tuple[str, str], tuple[int, asyncio.Event]] = {}

    # -- which one -----------------------------------------------------------------------------

    def of(self, track: Track, pod: Seen) -> tuple[str, int, int] | None:
        """Role, index and attempt by which what is kept of a pod is found; None for a replica
        that has not been named yet."""
        role = track.roles.get(pod.role)
        if role is None:
            return None
        if isinstance(role, Array):
            if not 0 <= pod.index < len(role.todo):
                return None
            return pod.role, role.todo[pod.index], role.attempt(pod)
        if role.finite:
            return pod.role, pod.index, pod.epoch
        if "index" not in pod.named:
            return None
        return pod.role, pod.named["index"], pod.named["before"] + pod.restarts + 1

    async def unit(self, placement: Placement, pod: str) -> Unit:
        track, seen = await self._meet(placement, pod)
        track.met.add(pod)
        found = self.of(track, seen)
        if found is None:
            raise TryAgain(f"{pod} has no number yet", after=0.2)
        name, index, attempt = found
        role = track.roles[name]
        width, gang = 1, role.spec["shape"]["shape"] == "gang"
        if gang:
            width = (
                int(track.workloads[name]["spec"]["completions"]) if name in track.workloads else 1
            )
        space = self.cluster.where.namespace
        return {
            "role": name,
            "index": 0 if gang else index,
            "attempt": 1 if gang else attempt,
            "rank": seen.index if gang else 0,
            "width": width,
            "epoch": seen.epoch,
            "master": names.master(placement.id, name, seen.epoch, space) if width > 1 else "",
            "ports": _ports(placement, name),
        }

    async def gate(self, placement: Placement, pod: str) -> bool:
        limit = asyncio.get_running_loop().time() + HELD
        while True:
            track, seen = await self._meet(placement, pod)
            role = track.roles[seen.role]
            if not isinstance(role, Gang) or role.open >= seen.epoch:
                return True
            if role.ending:
                # A process that has just been started may not have heard that it should end.
                raise Gone(f"{placement.id} is being ended")
            if asyncio.get_running_loop().time() >= limit:
                return False
            await asyncio.sleep(EVERY)

    async def _meet(self, placement: Placement, pod: str) -> tuple[Track, Seen]:
        limit = asyncio.get_running_loop().time() + MEET
        while True:
            track = self._engine.track(placement.id)
            if track is not None:
                if track.over:
                    raise Gone(f"{placement.id} has ended")
                for seen in track.pods.values():
                    if seen.name == pod and seen.uid in track.gone:
                        raise Gone(f"{pod} was given up, or deleted")
                    if seen.name == pod and self.of(track, seen) is not None:
                        return track, seen
            if asyncio.get_running_loop().time() > limit:
                raise TryAgain(f"nothing is known of {pod} yet", after=0.5)
            await asyncio.sleep(EVERY / 2)

    async def falls(self, placement: Placement, pod: str) -> None:
        track, fell = await self._meet(placement, pod)
        others = [each for each in track.pods.values() if each.role == fell.role]
        await asyncio.gather(*(self.ahead(track, each) for each in others if each is not fell))

    # -- what it tells -------------------------------------------------------------------------

    async def hear(self, placement: Placement, pod: str, facts: Sequence[Fact]) -> None:
        track, seen = await self._meet(placement, pod)
        found = self.of(track, seen)
        assert found is not None
        name, index, attempt = found
        gang = track.roles[name].spec["shape"]["shape"] == "gang"
        rank = seen.index if gang else 0
        index, attempt = (0, 1) if gang else (index, attempt)
        stream = f"{name}/{index}/{attempt}/{pod}/{seen.restarts}"
        reports = [_report(placement.id, stream, name, index, attempt, rank, f) for f in facts]
        if not reports:
            return
        done = asyncio.Event()
        self._waiting[placement.id, stream] = max(each.seq for each in reports), done
        self._engine.say(reports)
        try:
            async with asyncio.timeout(STORE):
                await done.wait()
        except TimeoutError:
            if self._waiting.get((placement.id, stream), (0, None))[1] is done:
                del self._waiting[placement.id, stream]
            raise TryAgain("the server has not stored this yet", after=1.0) from None

    def stored(self, reports: dict[tuple[str, str], int]) -> None:
        """These are: whoever waits for it may go on."""
        for key, seq in reports.items():
            waiting = self._waiting.get(key)
            if waiting is not None and seq >= waiting[0]:
                del self._waiting[key]
                waiting[1].set()

    # -- its log -------------------------------------------------------------------------------

    async def logs(
        self, placement: str, role: str, index: int, offset: int, follow: bool
    ) -> AsyncIterator[bytes]:
        """Bytes from `offset`. The tries of a unit follow each other in one count."""
        before, number = 0, 1
        while True:
            folder = self.settler.folder(placement, role, index, number)
            if logs.exists(folder):
                for after, data in logs.read(folder, max(0, offset - before)):
                    offset = before + after
                    yield data
                before += logs.length(folder)
                offset, number = max(offset, before), number + 1
                continue
            track = self._engine.track(placement)
            pod = None if track is None else self._pod(track, role, index, number)
            if pod is not None and pod.started and pod.end is None:
                async for data in self._live(pod, max(0, offset - before), follow):
                    offset += len(data)
                    yield data
            if not follow or track is None or track.over:
                return
            await asyncio.sleep(EVERY)

    async def ahead(self, track: Track, pod: Seen) -> None:
        """Before a pod is made to end: see to it that what it prints is kept."""
        if found := self.of(track, pod):
            folder = self.settler.folder(track.placement, *found)
            await self.settler.keeper.ahead(pod, folder)

    def follow(self, track: Track) -> list[Seen]:
        """See to it of all that somebody has sent away; those that have been given up since."""
        for pod in track.pods.values():
            if pod.leaving and pod.uid not in track.gone and (found := self.of(track, pod)):
                self.settler.keeper.follow(pod, self.settler.folder(track.placement, *found))
        stuck = (track.pods[uid] for uid in track.stuck)
        return [pod for pod in stuck if self.settler.keeper.follows(pod)]

    async def keep(self, track: Track, pod: Seen) -> None:
        """Of a pod that is gone, or given up, and never told its end, keep what can be had."""
        if found := self.of(track, pod):
            folder = self.settler.folder(track.placement, *found)
            await self.settler.keeper.keep(pod, folder)

    async def _live(self, pod: Seen, skip: int, follow: bool) -> AsyncIterator[bytes]:
        """A running container's output. The cluster counts no bytes, so they are counted here."""
        try:
            async with self.cluster.log(
                pod.name, states.MAIN, follow=follow, previous=False
            ) as chunks:
                async for data in chunks:
                    if len(data) > skip:
                        yield data[skip:]
                    skip = max(0, skip - len(data))
        except (NotFound, TryAgain):
            return

    def _pod(self, track: Track, role: str, index: int, attempt: int) -> Seen | None:
        wanted = (role, index, attempt)
        live = [pod for pod in track.pods.values() if pod.uid not in track.gone]
        return next((pod for pod in live if self.of(track, pod) == wanted), None)

    # -- beside it -----------------------------------------------------------------------------

    async def exec(
        self, placement: str, role: str, index: int, command: Sequence[str]
    ) -> AsyncIterator[bytes | int]:
        """Run a command in the container of a unit that runs."""
        track = self._engine.track(placement)
        live = [] if track is None else [
            pod for pod in track.pods.values()
            if pod.started and not pod.end and pod.uid not in track.gone
            and (self.of(track, pod) or ("", 0, 0))[:2] == (role, index)
        ]  # fmt: skip
        if not live:
            raise NotFound(f"no unit {role} {index} of {placement} runs now")
        beside = [*template.PROGRAM, "beside", "--", *command]
        async for part in self.cluster.exec(live[-1].name, states.MAIN, beside):
            yield part


def _ports(placement: Placement, role: str) -> dict[str, int]:
    return next(template.ports(each) for each in placement.task.roles if each.name == role)


def _report(
    placement: str, stream: str, role: str, index: int, attempt: int, rank: int, fact: Fact
) -> Report:
    """A fact as a report. It comes from user code's side: what has no form is refused."""
    try:
        kind, body = str(fact["kind"]), dict(fact["body"])
        seq, at = int(fact["seq"]), float(fact["at"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"this is no fact: {error!r}") from None
    if kind not in FACTS or not 0 < seq < 2**62:
        raise UserError(f"a task cannot tell {kind!r} number {seq}")
    if rank:
        body["rank"] = rank
    return Report(placement=placement, stream=stream, seq=seq, at=at, kind=kind, role=role,
                  index=index, attempt=attempt, body=body)  # fmt: skip
