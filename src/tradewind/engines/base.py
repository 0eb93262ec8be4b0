"""The boundary behind which tasks are launched. Every engine keeps these promises.

`render` is pure: the request can be printed and compared before it is sent, and `launch` sends that
same value. `testing.EngineSuite` is the exam; what an engine cannot do, it declares in `shapes`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from tradewind.records.placements import Placement
from tradewind.records.reports import Report
from tradewind.records.tasks import Stop

Support = Literal["yes", "notimpl", "notyet", "never"]
Request = dict[str, Any]
Handle = dict[str, Any]


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

    async def resize(self, placement: str, width: int) -> None:
        """Change how many run at once (array), are kept (replicas) or make up the gang."""

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

    async def close(self) -> None:
        """Let go of connections. Work goes on."""
