"""One server places in a namespace's pool at a time: a Lease there says which.

The store's lease keeps apart the servers of one store. This one keeps apart those of different
stores. It runs out when a server is away for long; what that one has launched is still its own then
(`check_others`), and goes on until it is back.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from tradewind.base.errors import Broken, Conflict, NotFound, TradewindError, TryAgain, Unreachable
from tradewind.engines.base import NoSuchPlace
from tradewind.engines.kubernetes import names
from tradewind.engines.kubernetes.api import LEASES, ROOTS, Api, Object, Stale, Taken
from tradewind.engines.kubernetes.states import when

SECONDS, RENEW = 30, 10.0


class Lease:
    """The lease of one pool. `holder` is where this server is and, after the last slash, who: the
    same after it has been restarted, here or elsewhere."""

    def __init__(self, cluster: Api, pool: str, holder: str) -> None:
        self._cluster, self._pool, self._holder = cluster, pool, holder
        self._name = names.lease(pool)
        self._until = 0.0
        # Why it could not be taken or renewed when that was tried last.
        self.trouble: TradewindError | None = None

    @property
    def held(self) -> bool:
        """Whether no other server can have it now. Nobody waits for one that was not renewed."""
        return time.monotonic() < self._until

    def missing(self) -> Unreachable:
        """What stands in the way of placing while it is not held, to those who try again."""
        if self.trouble is not None:
            return Unreachable(self.trouble.message, hint=self.trouble.hint, after=5.0)
        why = (
            f"the lease of pool {self._pool!r} was not renewed in time; another server may have it"
        )
        return Unreachable(why, after=5.0)

    def check(self) -> None:
        """Raise Unreachable, NoSuchPlace, or Broken when another server has it, once it was not
        renewed."""
        if isinstance(self.trouble, TryAgain | NoSuchPlace):
            raise self.trouble
        if self.trouble is not None:
            raise Broken(self.trouble.message, hint=self.trouble.hint)

    async def take(self) -> None:
        """Become or stay the holder. Raises Conflict while another server is."""
        try:
            if self._until:
                await self._cluster.version()  # the rest is patient, and people shall know soon
            await self._take()
        except TradewindError as error:
            self.trouble = error
            raise
        self.trouble = None

    async def _take(self) -> None:
        for last in (False, True):
            began = time.monotonic()
            try:
                found = await self._cluster.get(LEASES, self._name)
            except NotFound:
                found = await self._create()
            spec = found.get("spec") or {}
            ours = self._is_us(spec)
            if not ours and spec.get("holderIdentity") and not _over(spec):
                self._until = 0.0
                raise self._elsewhere(str(spec["holderIdentity"]))
            try:
                await self._cluster.patch(LEASES, self._name, self._claim(found, ours))
            except (Stale, NotFound):
                # Somebody else was faster; or we were, and did not hear of it.
                if last:
                    self._until = 0.0
                    raise self._elsewhere("another") from None
            else:
                self._until = began + SECONDS
                return

    async def release(self) -> None:
        """Take it away, so that the next one may have it at once and nothing is left of ours."""
        self._until = 0.0
        try:
            found = await self._cluster.get(LEASES, self._name)
            if self._is_us(found.get("spec") or {}):
                version = found["metadata"]["resourceVersion"]
                await self._cluster.delete(LEASES, self._name, version=version)
        except TradewindError:
            return  # it runs out by itself

    def _is_us(self, spec: Object) -> bool:
        holder = str(spec.get("holderIdentity") or "")
        return holder.rpartition("/")[2] == self._holder.rpartition("/")[2]

    async def _create(self) -> Object:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self._name,
                "labels": {names.MANAGED_BY: names.OURS, names.PART_OF: names.OURS},
                "annotations": {names.POOL: self._pool},
            },
            "spec": {},
        }
        try:
            return await self._cluster.create(LEASES, body)
        except Taken:
            return await self._cluster.get(LEASES, self._name)

    def _claim(self, found: Object, ours: bool) -> Object:
        spec = found.get("spec") or {}
        now = _stamp()
        changed = {"leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        return {
            # Whoever wrote since we read goes first.
            "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
            "spec": {
                "holderIdentity": self._holder,
                "leaseDurationSeconds": SECONDS,
                "renewTime": now,
                **({} if ours else {"acquireTime": now, **changed}),
            },
        }

    def _elsewhere(self, holder: str) -> Conflict:
        where = self._cluster.where
        return Conflict(
            f"another server ({holder}) places tasks of a pool {self._pool!r} in namespace "
            f"{where.namespace!r} of context {where.context!r}",
            hint=f"stop that one, or wait {SECONDS} s if it died; or give this pool another name "
            "or namespace",
        )


async def check_others(cluster: Api, pool: str, store: str) -> None:
    """Raise Conflict while placements of another store live in this pool."""
    selector = names.others(pool, store)
    roots, _ = await cluster.items(ROOTS, labelSelector=selector)
    notes = [each["metadata"].get("annotations") or {} for each in roots]
    if not notes:
        return
    where = cluster.where
    servers = sorted({str(each[names.URL]) for each in notes if each.get(names.URL)})
    runs = sorted({str(each.get(names.RUN, "")) for each in notes})
    shown = ", ".join(runs[:3]) + (", …" if len(runs) > 3 else "")
    raise Conflict(
        f"{len(notes)} placements of another server ({', '.join(servers) or 'unknown'}) are in "
        f"pool {pool!r} of namespace {where.namespace!r} of context {where.context!r}, and this "
        f"one knows nothing of them: runs {shown}",
        hint="give this pool another name or namespace; or wait until that server has ended them. "
        "If it is gone for good, this stops and deletes them: "
        f"kubectl -n {where.namespace} delete configmaps -l '{selector}'",
    )


def _over(spec: Object) -> bool:
    return time.time() > when(spec.get("renewTime")) + int(spec.get("leaseDurationSeconds") or 0)


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
