"""Tasks as pods of a cluster. What goes on there is the truth; this object is a view of it.

It follows the cluster's objects, keeps a `Track` of each placement, and turns what they tell into
reports; another engine object on the same namespace learns the same from the same objects. What
has ended, and whose end is stored, is deleted with everything that belongs to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from tradewind.base.errors import Conflict, Denied, TradewindError, TryAgain, Unreachable, UserError
from tradewind.base.ids import new_id
from tradewind.engines.base import Capacity, Handle, Place, Request, Support
from tradewind.engines.kubernetes import api, connect, names, nodes, render, rules, states
from tradewind.engines.kubernetes.api import Api, Kind, Object
from tradewind.engines.kubernetes.hands import Hands, passing
from tradewind.engines.kubernetes.lease import RENEW, Lease, check_others
from tradewind.engines.kubernetes.mirror import Mirror
from tradewind.engines.kubernetes.options import Options
from tradewind.engines.kubernetes.roles import Order
from tradewind.engines.kubernetes.settle import Settler
from tradewind.engines.kubernetes.states import Seen
from tradewind.engines.kubernetes.track import Look, Track
from tradewind.engines.kubernetes.units import Units
from tradewind.records.placements import Placement
from tradewind.records.reports import Report
from tradewind.records.tasks import Stop
from tradewind.specs import DeviceSpec
from tradewind.supervisor import layout

log = logging.getLogger("tradewind.kubernetes")

# How long nothing may be heard of a kind of object before the pool counts as out of reach.
DEAF = 10.0
# A workload without a pod after this long is asked why, and again after as long.
SLOW = 3.0
# And so often at most, in seconds, the longer nothing changes.
SELDOM = 60.0
# At least so often everything is looked at, in seconds.
EVERY = 5.0
AGAIN = 1.0
# How long letting go may take, in seconds, when the cluster does not answer.
LETTING_GO = 2.0


class KubernetesEngine:
    """One namespace of one cluster, seen through one pool."""

    name = "kubernetes"
    shapes: Mapping[str, Support] = {"gang": "yes", "array": "yes", "replicas": "yes"}

    def __init__(self, place: Place) -> None:
        self._place = place
        self._options = Options.of(place)
        self._places = layout.Layout(str(place.data))
        self._desk = place.desk
        self._classes: tuple[DeviceSpec, ...] = ()
        self._cluster: Api | None = None
        self._hands: Hands
        self._settler: Settler
        self._lease: Lease
        self._mirrors: list[Mirror] = []
        self._beginning = asyncio.Lock()
        self._tracks: dict[str, Track] = {}
        self._rooted: dict[str, str] = {}
        self._past: dict[str, Handle] = {}
        self._queue: list[Report] = []
        self._news = asyncio.Event()
        self._dirty: set[str] = set()
        self._work = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._doing: set[Any] = set()
        self._said: dict[str, str] = {}
        self._removals: dict[str, Track] = {}
        self._asked: dict[str, tuple[float, float]] = {}
        self._units = Units(self)

    # -- the boundary --------------------------------------------------------------------------

    def render(self, placement: Placement) -> Request:
        context = self._options.context(self._desk.token(placement.id))
        return render.render(placement, replace(context, classes=self._classes))

    async def launch(self, request: Request) -> Handle:
        placement: str = request["placement"]
        handle = {"namespace": request["namespace"], "root": names.base(placement)}
        if placement in self._past:
            return handle
        await self._begun()
        if not self._lease.held:
            raise self._lease.missing()
        if placement in self._past:  # its end was stored meanwhile
            return handle
        track = self._track(placement)
        async with track.hands:
            if placement not in self._past and not track.launched:
                await self._create(track, request)
        return handle

    async def resize(self, placement: str, width: int, request: Request | None = None) -> None:
        track = await self._met(placement)
        if track is None:
            return
        shape, wanted = track.first.spec["shape"], dict(track.wanted)
        if shape["shape"] == "gang":
            width = max(int(shape["least"]), min(int(shape["most"]), width))
            if width == int(wanted.get("width", shape["least"])):
                return
            wanted["epoch"] = int(wanted.get("epoch", 1)) + 1
        wanted["width"] = max(0 if shape["shape"] == "replicas" else 1, width)
        await self._note(track, names.WANTED, wanted)

    async def stop(self, placement: str, stop: Stop) -> None:
        track = await self._met(placement)
        if track is not None:
            await self._note(track, names.STOP, asdict(stop))

    async def _met(self, placement: str) -> Track | None:
        """A placement that has not ended; what the cluster has not told of yet, it is asked."""
        if placement in self._past:
            return None
        await self._begun()
        track = self._tracks.get(placement)
        if track is None or track.root is None:
            root = await self._hands.find(placement)
            if root is None:
                return None
            self._told(api.ROOTS, root, False)
            track = self._tracks.get(placement)
        return None if track is None or track.root is None or track.over else track

    async def _note(self, track: Track, key: str, value: Object) -> None:
        """Write it down, and act by it at once."""
        assert track.root is not None
        root = await self._hands.note(track.root, key, value)
        if root is not None:
            self._told(api.ROOTS, root, False)

    async def observe(self, timeout: float) -> Sequence[Report]:
        await self._begun()
        if self._queue:
            # Whoever asks again and again without storing must leave us time to hear more.
            await asyncio.sleep(0.005)
        elif timeout > 0:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._news.wait()
            if not self._queue:
                self._check_hearing()
        return list(self._queue)

    async def acknowledge(self, reports: Sequence[Report]) -> None:
        stored = {(each.placement, each.stream): each.seq for each in reports}
        self._queue = [
            each for each in self._queue if each.seq > stored.get((each.placement, each.stream), 0)
        ]
        self._units.stored(stored)
        for report in reports:
            track = self._tracks.get(report.placement)
            if report.kind == "placement" and track is not None and track.over:
                self._forget(track)

    async def known(self) -> Sequence[str]:
        await self._begun()
        return [
            track.placement
            for track in self._tracks.values()
            if track.root is not None and not track.over
        ]

    def logs(
        self, placement: str, role: str, index: int, *, offset: int, follow: bool
    ) -> AsyncIterator[bytes]:
        return self._units.logs(placement, role, index, offset, follow)

    def exec(
        self, placement: str, role: str, index: int, command: Sequence[str]
    ) -> AsyncIterator[bytes | int]:
        return self._units.exec(placement, role, index, command)

    async def close(self) -> None:
        self._desk.leave(self._place.name, self._units)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for mirror in self._mirrors:
            await mirror.close()
        if self._cluster is not None:
            await self._settler.keeper.close()
            # What was acknowledged and not yet taken away would have to be found again.
            left = [self._remove(track) for track in list(self._removals.values())]
            for work in (asyncio.gather(*left, return_exceptions=True), self._lease.release()):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(work, LETTING_GO)
            await self._cluster.close()
            self._cluster = None

    # -- a pool elsewhere ----------------------------------------------------------------------

    async def begin(self) -> None:
        async with self._beginning:
            if self._cluster is not None:
                return
            cluster = connect.connect(self._options.given)
            try:
                await cluster.version()  # the rest is patient
                connect.check_server(self._options.server, cluster.where.server)
                await rules.check(cluster)
                self._lease = Lease(cluster, self._place.name, self._holder())
                await check_others(cluster, self._place.name, self._options.store)
                await self._lease.take()
                await self._follow(cluster)
            except BaseException:
                for mirror in self._mirrors:
                    await mirror.close()
                self._mirrors = []
                await cluster.close()
                raise
            self._cluster = cluster
            self._desk.serve(self._place.name, self._units)
            self._go(self._keep_lease())
            self._go(self._keep_looking())

    async def _begun(self) -> None:
        """`begin`, for those to whom nothing is wrong that does not pass."""
        try:
            await self.begin()
        except (Denied, UserError) as error:
            raise passing(error) from error

    async def _follow(self, cluster: Api) -> None:
        """List everything, then follow it."""
        self._hands = Hands(cluster, self._units.ahead)
        self._settler = Settler(cluster, self._desk, self._places)
        self._units.settler, self._units.cluster = self._settler, cluster
        selector = names.selector(self._place.name)
        for kind in (api.ROOTS, api.JOBS, api.DEPLOYMENTS, api.PODS):
            mirror = Mirror(cluster, kind, selector, self._told)
            self._mirrors.append(mirror)
            await mirror.begin()

    def _holder(self) -> str:
        """Who this server is: its machine, for people, and what stays with its data folder wherever
        that goes."""
        path = self._place.data / "server-id"
        if not path.exists():
            fresh = path.with_suffix(".new")
            fresh.write_text(new_id("s"), encoding="ascii")
            fresh.replace(path)
        return f"{socket.gethostname()}/{path.read_text('ascii').strip()}"

    async def capacity(self) -> Capacity:
        await self._begun()
        self._lease.check()
        known = await asyncio.to_thread(self._place.classes)
        self._classes = nodes.clustered(known.values())
        found, _ = await self.connected().items(api.NODES)
        return nodes.capacity(found, self._classes, self._options.rack)

    def environment(self) -> dict[str, Any]:
        return {"image": self._options.image}

    def redacted(self, request: Request) -> Request:
        return render.redacted(request)

    # -- what comes in -------------------------------------------------------------------------

    def track(self, placement: str) -> Track | None:
        """What is known of a placement."""
        return self._tracks.get(placement)

    def _track(self, placement: str) -> Track:
        self._rooted[names.base(placement)] = placement
        return self._tracks.setdefault(placement, Track(placement, self._options.server))

    def _drop(self, track: Track) -> None:
        """Remember nothing of it."""
        self._tracks.pop(track.placement, None)
        self._rooted.pop(names.base(track.placement), None)
        for workload in track.workloads.values():
            self._asked.pop(workload["metadata"]["uid"], None)

    def _told(self, kind: Kind, found: Object, gone: bool) -> None:
        """A mirror has something new."""
        meta = found["metadata"]
        if (meta.get("labels") or {}).get(names.STORE, self._options.store) != self._options.store:
            return  # of another database's server: not told of, not touched
        placement = (meta.get("annotations") or {}).get(names.PLACEMENT)
        # Somebody may have taken the annotation away, or spoilt it: then the label says whose it
        # is, or it is not told of.
        label = (meta.get("labels") or {}).get(names.INSTANCE, "")
        if not placement or (label and names.base(placement) != label):
            placement = self._rooted.get(label)
        if placement is None or placement in self._past:
            return
        if placement not in self._tracks and gone:
            return
        track = self._track(placement)
        try:
            if kind is api.ROOTS:
                track.take_root(found, gone)
            elif kind is api.PODS and gone and self._unseen(seen := states.read(found)):
                self._go(self._parted(track, seen, found))
            elif kind is api.PODS:
                track.take_pod(found, gone)
            else:
                track.take_workload(found, gone)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # Whoever may write there may spoil it; the others go on.
            log.warning("%s %s cannot be read: %r", kind.plural, meta.get("name"), error)
        if track.orphaned:
            self._drop(track)
        self._look_again(placement)

    @staticmethod
    def _unseen(pod: Seen) -> bool:
        """Whether it ran, and we have not been told how it ended."""
        return bool(pod.started) and pod.end is None

    async def _parted(self, track: Track, pod: Seen, found: Object) -> None:
        """One that is gone with its end unseen has ended once its log is kept."""
        try:
            await self._units.keep(track, pod)
        except Exception:
            log.exception("%s: the log of %s cannot be kept", track.placement, pod.name)
        track.take_pod(found, gone=True)
        self._look_again(track.placement)

    def say(self, reports: Sequence[Report]) -> None:
        """Reports for whoever observes."""
        if reports:
            self._queue += reports
            self._news.set()

    # -- looking -------------------------------------------------------------------------------

    def _look_again(self, placement: str) -> None:
        self._dirty.add(placement)
        self._work.set()

    async def _keep_looking(self) -> None:
        """Look at what has changed as soon as it has, at everything now and then."""
        wakes: dict[str, float] = {}
        while True:
            pause = min([EVERY, *(at - time.time() for at in wakes.values())])
            try:
                # Not wait_for: in Python 3.11 it may swallow the cancelling of this task.
                async with asyncio.timeout(max(0.01, pause)):
                    await self._work.wait()
            except TimeoutError:
                now = time.time()
                self._dirty |= {name for name, at in wakes.items() if at <= now}
            self._work.clear()
            dirty, self._dirty = self._dirty, set()
            for placement in dirty:
                wakes.pop(placement, None)
                try:
                    wake = self._look(placement)
                except Exception:
                    log.exception("%s cannot be looked at", placement)
                    wake = time.time() + EVERY
                if wake:
                    wakes[placement] = wake

    def _look(self, placement: str) -> float:
        """One placement; when to look at it again, or 0."""
        track = self._tracks.get(placement)
        if track is None:
            return 0.0
        now = time.time()
        if any(mirror.trouble for mirror in self._mirrors):
            return now + AGAIN  # one would be ahead of another: a Job that is over without its pods
        look = track.look(now)
        self.say(look.reports)
        for pod in self._units.follow(track):
            kept = ("keep", pod.uid)
            self._once(kept, placement, lambda pod=pod: self._units.keep(track, pod))  # type: ignore[misc]
        for pod in look.ended:
            key = (pod.uid, pod.restarts)
            self._once(key, placement, lambda pod=pod: self._settle(track, pod))  # type: ignore[misc]
        for order in look.orders:
            self._once((placement, order), placement, lambda o=order: self._obey(o, track))  # type: ignore[misc]
        return self._wake(track, look, now)

    def _wake(self, track: Track, look: Look, now: float) -> float:
        """When it is due again; workloads without pods are asked why."""
        if track.over or track.stop is not None:
            return look.wake
        wake = look.wake
        for role, workload in track.workloads.items():
            if not track.lacks(role):
                continue
            uid = workload["metadata"]["uid"]
            due, pause = self._asked.setdefault(uid, (now + SLOW, EVERY))
            if now >= due:
                due = now + pause
                self._asked[uid] = due, min(SELDOM, 1.5 * pause)
                self._once(uid, track.placement, lambda r=role, w=workload: self._ask(track, r, w))  # type: ignore[misc]
            wake = min(due, wake or due)
        return wake

    def _once(
        self, key: Any, placement: str, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Do this unless it is being done; look again afterwards, later if it failed."""
        key = repr(key)
        if key in self._doing:
            return
        self._doing.add(key)

        async def whole() -> None:
            try:
                await work()
                self._said.pop(key, None)
            except TradewindError as error:
                if self._said.get(key) != error.message:  # as long as it lasts: once
                    log.warning("%s: %s", placement, error.message)
                self._said[key] = error.message
                await asyncio.sleep(error.after or AGAIN)
            except Exception:
                log.exception("%s: what it wants cannot be done; it is tried again", placement)
                await asyncio.sleep(AGAIN)
            finally:
                self._doing.discard(key)
            self._look_again(placement)

        self._go(whole())

    async def _settle(self, track: Track, pod: Seen) -> None:
        unit = self._units.of(track, pod)
        if unit is None:
            if pod.uid in track.gone and pod.end is not None:
                track.take_end(pod, pod.end)  # a replica that was gone before it had an index
            await asyncio.sleep(0.05)
            return
        publishes = track.roles[pod.role].spec["shape"]["shape"] != "gang" or pod.index == 0
        end = await self._settler.settle(track.placement, pod, unit, publishes)
        track.take_end(pod, end)

    async def _obey(self, order: Order, track: Track) -> None:
        await self._hands.obey(order, track)
        # What was done shows in the cluster's objects a moment later; until then it is not
        # wanted again.
        await asyncio.sleep(0.25)

    async def _ask(self, track: Track, role: str, workload: Object) -> None:
        why = await self._hands.blocked(workload)
        if why is not None:
            track.blocked[role] = why

    async def _create(self, track: Track, request: Request) -> None:
        track.tried = time.time()
        try:
            await self._hands.create(request, track)
        except TryAgain:
            raise
        except TradewindError:
            self._drop(track)  # whoever asked tells its end
            raise
        track.launched = True
        self._look_again(track.placement)

    # -- the end -------------------------------------------------------------------------------

    def _forget(self, track: Track) -> None:
        """Its end is stored: take it away from the cluster."""
        self._drop(track)
        self._past[track.placement] = {}
        while len(self._past) > 10_000:
            del self._past[next(iter(self._past))]
        self._removals[track.placement] = track
        self._once(("remove", track.placement), track.placement, lambda: self._remove(track))

    async def _remove(self, track: Track) -> None:
        # A launch said again after a restart would create anew what is being taken away.
        async with track.hands:
            if track.root is not None and not track.root_gone:
                await self._hands.remove(track.root)
        self._removals.pop(track.placement, None)

    # -- keeping on ----------------------------------------------------------------------------

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(min(RENEW, AGAIN) if self._lease.trouble else RENEW)
            before = self._lease.trouble
            try:
                await self._lease.take()
            except TradewindError as error:
                if before is None or before.message != error.message:  # as long as it lasts: once
                    level = logging.ERROR if isinstance(error, Conflict) else logging.INFO
                    log.log(level, "the lease of pool %s: %s", self._place.name, error.message)
            if self._lease.trouble is not None:
                self._news.set()  # whoever observes shall hear of it
            for placement in list(self._removals):
                track = self._removals[placement]
                self._once(("remove", placement), placement, lambda t=track: self._remove(t))  # type: ignore[misc]

    def _check_hearing(self) -> None:
        """Raise what keeps the cluster from being heard, once it has for a while, and what keeps
        the lease from being renewed."""
        self._lease.check()
        for mirror in self._mirrors:
            if mirror.trouble is not None and mirror.deaf() > DEAF:
                raise mirror.trouble

    def connected(self) -> Api:
        """The cluster. Raises Unreachable before `begin`."""
        if self._cluster is None:
            raise Unreachable(f"pool {self._place.name!r} is not connected", after=1.0)
        return self._cluster

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
