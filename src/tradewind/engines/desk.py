"""The door for tasks that run on other machines: their code, inputs, results and facts.

A task elsewhere knows its server's address and an attempt token; with it, it asks what to do,
fetches and stores bytes, and tells facts (docs/rooms/pod.md). The engine of its pool says which
unit asks and takes the facts; what the token does not name, nobody gets through here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tradewind.base.errors import Gone, NotAllowed, TryAgain, Unauthenticated
from tradewind.records import codec
from tradewind.records.placements import Placement

Unit = dict[str, Any]
Fact = dict[str, Any]


class Host(Protocol):
    """The engine of a pool, as the desk sees it."""

    async def unit(self, placement: Placement, pod: str) -> Unit:
        """Which unit the pod of this name is (docs/rooms/pod.md). Raises Gone, TryAgain."""

    async def gate(self, placement: Placement, pod: str) -> bool:
        """Whether user code of this member of a gang may begin: all members are set up. Answers
        when they are, or after a short while. Raises Gone, TryAgain."""

    async def falls(self, placement: Placement, pod: str) -> None:
        """A gang is about to end with this member; returns when the others' logs are being read.
        Raises Gone, TryAgain."""

    async def hear(self, placement: Placement, pod: str, facts: Sequence[Fact]) -> None:
        """Take facts; returns when they are stored. Raises Gone, TryAgain."""


class Desk:
    """One per server. `key` signs attempt tokens: it must outlive the server. `look_up` finds a
    live placement by id, or None. `beside` makes, for a token, the host of what other servers of
    this database place."""

    def __init__(
        self,
        key: bytes,
        blobs: Path,
        look_up: Callable[[str], Placement | None],
        beside: Callable[[str], Host] | None = None,
    ) -> None:
        self._key = key
        self.blobs = blobs
        self._look_up = look_up
        self._beside = beside
        self._hosts: dict[str, Host] = {}

    def serve(self, pool: str, host: Host) -> None:
        """From now on this is the pool's engine."""
        self._hosts[pool] = host

    def leave(self, pool: str, host: Host) -> None:
        """That engine has been closed."""
        if self._hosts.get(pool) is host:
            del self._hosts[pool]

    @property
    def store(self) -> str:
        """Whose placements these are, short and no secret: all servers of a database say the same,
        those of another database something else."""
        return hmac.new(self._key, b"store", hashlib.sha256).hexdigest()[:16]

    def token(self, placement: str) -> str:
        """The attempt token of a placement."""
        name = base64.urlsafe_b64encode(placement.encode()).decode().rstrip("=")
        return f"{name}.{self._sign(placement)}"

    def _sign(self, placement: str) -> str:
        text = b"attempt:" + placement.encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()

    def placement(self, token: str) -> Placement:
        """Whose token this is. Raises Unauthenticated, Gone. Blocks on the store."""
        name, _, signature = token.partition(".")
        try:
            padded = name + "=" * (-len(name) % 4)
            placement = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
        except (binascii.Error, ValueError):
            raise Unauthenticated("this is no attempt token") from None
        if not hmac.compare_digest(signature.encode(), self._sign(placement).encode()):
            raise Unauthenticated("the attempt token is not of this server")
        found = self._look_up(placement)
        if found is None:
            raise Gone(f"{placement} has ended, or was started anew")
        return found

    def find(self, placement: str) -> Placement | None:
        """A live placement. Blocks on the store."""
        return self._look_up(placement)

    async def work(self, placement: Placement, pod: str) -> dict[str, Any]:
        """What the pod has to do."""
        return {"request": request(placement), "unit": await self.unit(placement, pod)}

    async def unit(self, placement: Placement, pod: str) -> Unit:
        """Which unit the pod is."""
        return await self._host(placement).unit(placement, pod)

    async def gate(self, placement: Placement, pod: str) -> bool:
        """Whether the pod's user code may begin; asked again until it may."""
        return await self._host(placement).gate(placement, pod)

    async def falls(self, placement: Placement, pod: str) -> None:
        """The gang ends with this member."""
        await self._host(placement).falls(placement, pod)

    async def hear(self, placement: Placement, pod: str, facts: Sequence[Fact]) -> None:
        """Facts from a pod; returns when they are stored."""
        await self._host(placement).hear(placement, pod, facts)

    def _host(self, placement: Placement) -> Host:
        host = self._hosts.get(placement.pool)
        if host is None and self._beside is not None:
            host = self._beside(self.token(placement.id))
        if host is None:
            raise TryAgain(f"pool {placement.pool!r} is not connected here yet", after=1.0)
        return host

    @staticmethod
    def check_may_read(placement: Placement, digest: str) -> None:
        """Raise NotAllowed for bytes that are no business of this task."""
        if digest not in _digests(placement):
            raise NotAllowed(f"{digest} is no input of {placement.id}")


def request(placement: Placement) -> dict[str, Any]:
    """A placement as the supervisor beside its task gets it; places of this machine left out."""
    task = placement.task
    environment = {"digest": task.environment.digest}
    if task.environment.lock:
        environment["lock"] = task.environment.lock
    return {
        "placement": placement.id,
        "run": placement.run,
        "task": task.name,
        "number": placement.number,
        "lease": placement.lease,
        "bundle": task.bundle,
        "environment": environment,
        "done": list(placement.done),
        "roles": [codec.to_json(role) for role in task.roles],
    }


def _digests(placement: Placement) -> frozenset[str]:
    task = placement.task
    found = {task.bundle, task.environment.lock}
    for role in task.roles:
        for slot in role.inputs.values():
            found |= {slot.digest, *slot.files, *_named(slot.meta)}
    return frozenset(found - {""})


def _named(value: Any) -> Iterator[str]:
    """Digests anywhere in what an input says of itself, such as a model's manifest."""
    if isinstance(value, str) and value.startswith("sha256:"):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _named(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _named(each)
