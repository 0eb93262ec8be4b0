"""What the engine does in the cluster: create a placement's objects, quieten, widen, take away.

Every act may be done twice. Objects have names of ours, so what is there already is ours, and what
is gone already was meant to go.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable

from tradewind.base.errors import Conflict, Denied, NotFound, TradewindError, TryAgain, Unreachable
from tradewind.engines.base import Request
from tradewind.engines.kubernetes import api, names, refusals, render, states
from tradewind.engines.kubernetes.api import Api, Full, Kind, Object, Taken
from tradewind.engines.kubernetes.roles import Order
from tradewind.engines.kubernetes.states import Seen
from tradewind.engines.kubernetes.track import Track

log = logging.getLogger("tradewind.kubernetes")

# What a pod's own program needs, after the time that its unit is given, to say how it ended.
LAST_WORDS = 3
WORKLOADS = (api.JOBS, api.DEPLOYMENTS)


class Hands:
    """Acts on one cluster; `gate` bounds how much at the same time."""

    def __init__(self, cluster: Api, ahead: Callable[[Track, Seen], Awaitable[None]]) -> None:
        """`ahead` is what is done about a pod before it is made to end."""
        self._cluster, self._ahead = cluster, ahead
        self._gate = asyncio.Semaphore(24)

    # -- creating ------------------------------------------------------------------------------

    async def create(self, request: Request, track: Track) -> None:
        """Make what is not there yet of a placement, and tell the track. What runs already goes on,
        and while it does, a refusal is waited out; a launch of which nothing runs and that is
        refused leaves nothing behind."""
        first, *others = request["objects"]
        running = _running(track)
        works = [each for each in others if _kind(each) in WORKLOADS]
        try:
            if running and track.root is not None:
                # What is there is not asked for again: a cluster may refuse even that.
                root, fresh, needed = track.root, False, []
                works = [each for each in works if _note(each, names.ROLE) not in running]
            else:
                root, fresh = await self._root(first)
                track.take_root(root, gone=False)
                needed = [each for each in others if each not in works]
            # A workload comes after all that it needs: where one is, nothing else is missing.
            try:
                await self._children(needed, root, track)
            except Full:
                if not fresh:
                    await self._begin_anew(root, track)
                raise
            await self._children(works, root, track)
        except TryAgain:
            raise
        except Denied as error:
            raise passing(error) from error
        except TradewindError as error:
            if running:
                raise passing(error) from error
            # Also a root that was made unheard.
            made = await self.find(track.placement)
            if made is not None:
                await self.remove(made)
            raise

    async def _children(self, wanted: list[Object], root: Object, track: Track) -> None:
        """All are waited for: what comes after the root is gone would stay."""
        works = (self._child(each, root, track) for each in wanted)
        done = await asyncio.gather(*works, return_exceptions=True)
        for each in done:
            if isinstance(each, dict) and _kind(each) in WORKLOADS:
                track.take_workload(each, gone=False)
        failed = [each for each in done if isinstance(each, BaseException)]
        # What can never be goes before what may pass.
        failed.sort(key=lambda error: isinstance(error, TryAgain | Denied))
        for error in failed:
            raise error

    async def _begin_anew(self, root: Object, track: Track) -> None:
        """Take away a placement of which nothing runs. What an earlier server made of it, or we
        unheard, we may not look at: it may be what fills the quota."""
        uid = root["metadata"]["uid"]
        track.discarded.add(uid)
        try:
            await self.remove(root)
        except BaseException:
            track.discarded.discard(uid)
            raise
        track.root, track.root_gone = None, False

    async def _root(self, wanted: Object) -> tuple[Object, bool]:
        """The root, and whether it was not there before."""
        name = wanted["metadata"]["name"]
        async with self._gate:
            try:
                return await self._cluster.create(api.ROOTS, wanted), True
            except (Taken, Full) as error:
                refused = error
            try:
                found = await self._cluster.get(api.ROOTS, name)
            except NotFound:
                if isinstance(refused, Full):
                    raise refused from None
                raise TryAgain(f"{name} was just deleted", after=0.5) from None
        if _note(found, names.PLACEMENT) != _note(wanted, names.PLACEMENT):
            raise _foreign(name)
        if found["metadata"].get("deletionTimestamp"):
            raise TryAgain(f"{name} is being deleted", after=0.5)
        return found, False

    async def find(self, placement: str) -> Object | None:
        """The root of a placement, if there is one."""
        try:
            found = await self._cluster.get(api.ROOTS, names.base(placement))
        except NotFound:
            return None
        return found if _note(found, names.PLACEMENT) == placement else None

    async def _child(self, wanted: Object, root: Object, track: Track) -> Object:
        kind = _kind(wanted)
        owner = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": root["metadata"]["name"],
            "uid": root["metadata"]["uid"],
        }
        body = {**wanted, "metadata": {**wanted["metadata"], "ownerReferences": [owner]}}
        made = (root["metadata"]["uid"], f"{kind.plural}/{wanted['metadata']['name']}")
        async with self._gate:
            try:
                child = await self._cluster.create(kind, body)
            except Taken as error:
                child = await self._there(kind, body, root, error)
            except Full as error:
                if kind not in WORKLOADS and made not in track.made:
                    raise
                child = await self._there(kind, body, root, error)
        track.made.add(made)
        return child

    async def _there(self, kind: Kind, wanted: Object, root: Object, refused: Exception) -> Object:
        """What has this name already, if it belongs to the root. Of kinds that we may not look
        at, the name is enough: it holds the placement."""
        if kind not in WORKLOADS:
            return wanted
        name = wanted["metadata"]["name"]
        found, _ = await self._cluster.items(kind, fieldSelector=f"metadata.name={name}")
        for each in found:
            if _note(each, names.PLACEMENT) != _note(wanted, names.PLACEMENT):
                raise _foreign(name)
            if not _owns(root, each):
                raise TryAgain(f"{name} of an earlier root is being deleted", after=0.5)
            return {"apiVersion": wanted["apiVersion"], "kind": wanted["kind"], **each}
        if isinstance(refused, Full):
            raise refused
        raise TryAgain(f"{name} was just deleted", after=0.5)

    async def remove(self, root: Object) -> None:
        """Delete a placement with all that belongs to it."""
        meta = root["metadata"]
        await self._cluster.delete(api.ROOTS, meta["name"], uid=meta["uid"])

    async def note(self, root: Object, key: str, value: Object) -> Object | None:
        """Write down in the root what was asked for; the root as it is then. One that is gone is no
        error."""
        text = json.dumps(value, separators=(",", ":"))
        body = {"metadata": {"uid": root["metadata"]["uid"], "annotations": {key: text}}}
        try:
            return await self._cluster.patch(api.ROOTS, root["metadata"]["name"], body)
        except (NotFound, Conflict):
            return None

    # -- orders --------------------------------------------------------------------------------

    async def obey(self, order: Order, track: Track) -> None:
        """Carry out what a role wants."""
        try:
            match order.do:
                case "quiet":
                    await self._quiet(order, track)
                case "width":
                    await self._width(order, track)
                case "epoch":
                    await self._epoch(order, track)
                case "name":
                    await self._name(order)
                case "silent":
                    notes = {names.SILENT: str(order.unit["since"])}
                    await self._cluster.patch(
                        api.PODS, order.pod, {"metadata": {"annotations": notes}}
                    )
                case "tries":
                    await self._tries(order, track)
                case "drop":
                    await self._cluster.delete(api.PODS, order.pod, uid=order.unit["uid"])
        except (NotFound, Conflict) as error:
            # Gone, or changed since: the role looks again and wants what is still to be done.
            log.debug("%s %s: %s", track.placement, order.do, error.message)

    async def _quiet(self, order: Order, track: Track) -> None:
        # Once its Job is suspended, nothing holds a pod back that has ended.
        await asyncio.gather(*(self._ahead(track, pod) for pod in _live(order.role, track)))
        workload = track.workloads.get(order.role)
        if workload is not None and not _is_quiet(workload):
            kind = _kind(workload)
            spec = {"suspend": True} if kind is api.JOBS else {"replicas": 0}
            await self._cluster.patch(kind, workload["metadata"]["name"], {"spec": spec})
        live = [
            pod
            for pod in _live(order.role, track)
            # A suspended Job takes away what has no machine yet, and at once: it holds on to what
            # somebody else deletes.
            if (pod.placed or workload is None or _kind(workload) is not api.JOBS)
        ]
        await asyncio.gather(*(self._end(pod, order.grace) for pod in live))

    async def _end(self, pod: Seen, grace: float | None) -> None:
        seconds = None if grace is None else max(1, math.ceil(grace) + (LAST_WORDS if grace else 0))
        if pod.leaving and (seconds is None or pod.leaving <= time.time() + seconds + 1):
            return
        async with self._gate:
            await self._cluster.delete(api.PODS, pod.name, uid=pod.uid, grace=seconds)

    async def _width(self, order: Order, track: Track) -> None:
        workload = track.workloads[order.role]
        kind = _kind(workload)
        width = order.width
        spec = {"parallelism": width, "suspend": False} if kind is api.JOBS else {"replicas": width}
        await self._cluster.patch(kind, workload["metadata"]["name"], {"spec": spec})

    async def _epoch(self, order: Order, track: Track) -> None:
        """The next Job of a gang before the last one goes: so there is always one."""
        old = track.workloads[order.role]
        name = names.child(track.placement, order.role, order.epoch)
        following = render.gang_epoch(old, order.epoch, order.width, name)
        with contextlib.suppress(Taken):
            await self._cluster.create(api.JOBS, following)
        await self._cluster.delete(api.JOBS, old["metadata"]["name"], uid=old["metadata"]["uid"])

    async def _name(self, order: Order) -> None:
        notes = {
            names.UNIT: json.dumps(order.unit, separators=(",", ":")),
            # Which replica goes first when there are too many: the one with the highest index.
            "controller.kubernetes.io/pod-deletion-cost": str(-order.unit["index"]),
        }
        await self._cluster.patch(api.PODS, order.pod, {"metadata": {"annotations": notes}})

    async def _tries(self, order: Order, track: Track) -> None:
        if track.root is not None and not track.root_gone:
            tries = {**track.tries, order.role: order.unit}
            root = await self.note(track.root, names.TRIES, tries)
            if root is not None:
                track.take_root(root, gone=False)

    async def blocked(self, workload: Object) -> states.Why | None:
        """Why the cluster makes no pods of it, as far as it says."""
        meta = workload["metadata"]
        if (ending := await self._ending(meta["name"])) is not None:
            return ending  # of this it says nothing anywhere: it makes no events there any more
        selector = f"involvedObject.uid={meta['uid']}"
        events, _ = await self._cluster.items(api.EVENTS, fieldSelector=selector)
        events.sort(key=lambda each: each.get("lastTimestamp") or "")
        for each in (workload.get("status") or {}).get("conditions") or ():
            if each["type"] == "ReplicaFailure" and each["status"] == "True":
                began = each.get("lastTransitionTime")
                told = {"message": each.get("message"), "firstTimestamp": began}
                events.append({"reason": "FailedCreate", **told})
        return refusals.blocked(events, states.when(meta.get("creationTimestamp")))

    async def _ending(self, name: str) -> states.Why | None:
        """Whether the namespace takes nothing in any more: we may create there, and not ask."""
        probe = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        try:
            await self._cluster.create(api.ROOTS, probe, dry=True)
        except api.Ending as error:
            return refusals.ending(error.message, error.hint, time.time())
        except TradewindError:
            pass  # a rule or a quota of its own
        return None


def _live(role: str, track: Track) -> list[Seen]:
    return [
        pod
        for pod in track.pods.values()
        if pod.role == role and pod.uid not in track.gone and pod.end is None
    ]


def passing(error: TradewindError) -> Unreachable:
    """What stands in the way until somebody mends it, to those who can only try again."""
    return Unreachable(error.message, hint=error.hint, after=error.after or 5.0)


def _running(track: Track) -> set[str]:
    """The roles whose work is in the cluster."""
    root = track.root
    if root is None or track.root_gone:
        return set()
    return {role for role, each in track.workloads.items() if _owns(root, each)}


def _owns(root: Object, found: Object) -> bool:
    owners = found["metadata"].get("ownerReferences") or ()
    return root["metadata"]["uid"] in {each["uid"] for each in owners}


def _foreign(name: str) -> Conflict:
    return Conflict(
        f"somebody else has an object called {name!r} where this would go",
        hint="delete or rename it, or give the pool a namespace of its own",
    )


def _kind(found: Object) -> Kind:
    # What a list or watch brings of a Job does not always say that it is one.
    if "kind" in found:
        return api.BY_NAME[found["apiVersion"], found["kind"]]
    return api.JOBS if "parallelism" in found["spec"] else api.DEPLOYMENTS


def _is_quiet(workload: Object) -> bool:
    spec = workload["spec"]
    return bool(spec.get("suspend")) or spec.get("replicas") == 0 or bool(states.finished(workload))


def _note(found: Object, key: str) -> str:
    return str((found["metadata"].get("annotations") or {}).get(key, ""))
