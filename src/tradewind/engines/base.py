"""The boundary behind which tasks are launched. Every engine keeps these promises.

`render` is pure: the request can be printed and compared before it is sent, and `launch` sends that
same value. `testing.EngineSuite` is the exam; what an engine cannot do, it declares in `shapes`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from tradewind.base.errors import NotFound
from tradewind.engines.desk import Desk
from tradewind.records.devices import Device
from tradewind.records.load import Load
from tradewind.records.placements import Placement
from tradewind.records.reports import Report
from tradewind.records.tasks import Lot, Resources, Stop
from tradewind.specs import DeviceSpec

Support = Literal["yes", "notimpl", "notyet", "never"]
Request = dict[str, Any]
Handle = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What an engine is made from. `options` are the pool spec's, unread; `python` is the default
    interpreter of this machine; `url` is where tasks elsewhere reach the server, and `desk` where
    they ask it. `classes` are those of devices that are known now; it blocks on the store."""

    name: str
    options: Mapping[str, Any]
    data: Path
    python: str
    url: str
    desk: Desk
    classes: Callable[[], Mapping[str, DeviceSpec]] = dict


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a pool's machines hold together, and the biggest of them alone; in how many zones they
    are. `sizes` are the machines one by one, alike ones together (empty: not told). `parts`: as in
    `PoolFacts`."""

    total: Resources
    largest: Resources
    machines: int
    zones: int = 1
    sizes: tuple[Lot, ...] = ()
    parts: Mapping[str, int] | None = None


class Engine(Protocol):
    """Launches placements on one pool and tells what became of them.

    All methods may raise `errors.Unreachable` (try again) and `errors.Broken`; `launch` may raise
    `errors.UserError` for a request that can never run. Nothing else.
    """

    name: str
    shapes: Mapping[str, Support]

    def render(self, placement: Placement) -> Request:
        """The native request. No I/O; equal placements give equal requests."""

    async def launch(self, request: Request) -> Handle:
        """Send the request. Idempotent by placement id: a second call returns the first's handle.
        Returns when the engine will run it even if this process dies now."""

    async def resize(self, placement: str, width: int, request: Request | None = None) -> None:
        """Change how many run at once (array), are kept (replicas) or make up the gang. `request`
        is the placement rendered anew, for who has to know where its processes are then."""

    async def stop(self, placement: str, stop: Stop) -> None:
        """Begin to stop; the end comes as a report. Unknown or ended placements are no error."""

    async def observe(self, timeout: float) -> Sequence[Report]:
        """Reports not yet acknowledged, in order per placement; waits up to `timeout` seconds for
        the first. A placement that the engine lost is reported `lost`. The same report may come
        again until `acknowledge`."""

    async def acknowledge(self, reports: Sequence[Report]) -> None:
        """These are stored: forget them."""

    async def known(self) -> Sequence[str]:
        """Ids of all placements that are not ended here, for reconciliation after a restart."""

    def logs(
        self, placement: str, role: str, index: int, *, offset: int, follow: bool
    ) -> AsyncIterator[bytes]:
        """Raw log bytes from `offset`; with `follow` until the unit's end is seen."""

    def exec(
        self, placement: str, role: str, index: int, command: Sequence[str]
    ) -> AsyncIterator[bytes | int]:
        """Run a command beside a unit that runs: its output as it comes, its exit status last.
        Raises NotFound when no such unit runs."""

    async def close(self) -> None:
        """Let go of connections. Work goes on."""


class NoSuchPlace(NotFound):
    """Where a pool's work would be does not exist: nothing of ours goes on there. Never raised for
    what does not answer, or does not let us in."""


@runtime_checkable
class Shared(Protocol):
    """What an engine offers besides, whose machine others use as well."""

    async def load(self) -> Load | None:
        """Who else wants its cores now; None where that cannot be known."""


@runtime_checkable
class Showing(Protocol):
    """What an engine offers besides, which shows a process the devices that it holds."""

    def has(self, devices: Sequence[Device]) -> None:
        """From now on these are its machine's, as places number them."""


@runtime_checkable
class Elsewhere(Protocol):
    """What an engine offers besides, whose machines are not this one."""

    async def begin(self) -> None:
        """Connect, check that everything needed is allowed, and become the only one who places
        there. May be called again. Raises what stands in the way: Unauthenticated, NotAllowed,
        NotFound, Conflict, Unreachable; NoSuchPlace."""

    async def capacity(self) -> Capacity:
        """What the machines hold now. Raises NoSuchPlace."""

    def environment(self) -> dict[str, Any]:
        """What the default interpreter of tasks is, for the digest of their environment."""

    def redacted(self, request: Request) -> Request:
        """The request for people's eyes: without its secrets."""
