"""The client of the node. It holds no state that matters: make another, and it knows as much."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tradewind import __version__
from tradewind.base import errors
from tradewind.engines.base import Handle, Request, Support
from tradewind.engines.local import beside, daemon, reading, render, states
from tradewind.engines.local.client import Client
from tradewind.records.devices import Device
from tradewind.records.load import Load
from tradewind.records.placements import Placement
from tradewind.records.reports import Report
from tradewind.records.tasks import Stop
from tradewind.supervisor import layout

# How long a node may take to come back, in seconds.
PATIENCE = 10.0
# Seconds that the node may take to say whether it has work, when we go.
CLOSING = 2.0


class LocalEngine:
    """Runs tasks as processes of this machine. One data folder has one node; it starts when it is
    needed and is not there. `python` is the interpreter of tasks without dependencies of their own;
    `options` go to the node (see `node.main`); `blobs` are those of the data folder, unless another
    folder is named."""

    name = "local"
    shapes: Mapping[str, Support] = {"gang": "yes", "array": "yes", "replicas": "yes"}

    def __init__(
        self,
        data: Path | str,
        python: str | None = None,
        options: dict[str, Any] | None = None,
        blobs: Path | None = None,
    ) -> None:
        self._places = layout.Layout(str(data))
        self._python = python or sys.executable
        self._options = options or {}
        self._context = render.Context(
            blobs=str(blobs or os.path.join(self._places.data, "blobs")),
            tables=os.path.join(self._places.data, "tables"),
            python=self._python,
        )
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._acknowledged: dict[str, int] = {}

    def render(self, placement: Placement) -> Request:
        return render.render(placement, self._context)

    async def launch(self, request: Request) -> Handle:
        return await self._ask("launch", request=request)

    async def resize(self, placement: str, width: int, request: Request | None = None) -> None:
        shown = {"devices": request["devices"]} if request and "devices" in request else {}
        await self._ask("resize", placement=placement, width=width, **shown)

    async def stop(self, placement: str, stop: Stop) -> None:
        await self._ask("stop", placement=placement, stop=asdict(stop))

    async def observe(self, timeout: float) -> Sequence[Report]:
        found = await self._ask("observe", timeout + 30.0, timeout=timeout)
        return [states.report(body) for body in found["reports"]]

    async def acknowledge(self, reports: Sequence[Report]) -> None:
        highest: dict[str, int] = {}
        for report in reports:
            highest[report.placement] = max(report.seq, highest.get(report.placement, 0))
        if highest:
            await self._ask("acknowledge", reports=highest)

    async def known(self) -> Sequence[str]:
        found = await self._ask("known")
        return list(found["placements"])

    def logs(
        self, placement: str, role: str, index: int, *, offset: int, follow: bool
    ) -> AsyncIterator[bytes]:
        return reading.read(self._places, placement, role, index, offset, follow)

    def exec(
        self, placement: str, role: str, index: int, command: Sequence[str]
    ) -> AsyncIterator[bytes | int]:
        return beside.run(self._places, placement, role, index, command)

    async def close(self) -> None:
        """A node with nothing to do ends with us; any other goes on with its work."""
        if self._client is not None:
            with contextlib.suppress(errors.TradewindError):
                found = await self._client.ask("known", CLOSING)
                if not found["placements"]:
                    await self._client.ask("shutdown", CLOSING, stop=False)
            await self._client.close()
            self._client = None

    def has(self, devices: Sequence[Device]) -> None:
        """From now on these are the machine's (`engines.base.Showing`)."""
        self._context = replace(self._context, devices=tuple(devices))

    # -- beyond the boundary: this machine's own ---------------------------------------------------

    async def begin(self) -> dict[str, Any]:
        """Start the node if it is not there; returns who it is."""
        return await self._ask("hello")

    async def status(self) -> dict[str, Any]:
        """Usage, limits that hold here and how, warm interpreters."""
        return await self._ask("status")

    async def load(self) -> Load | None:
        """Who else wants this machine's cores (`engines.base.Shared`)."""
        told = await self._ask("load")
        return Load(**told) if told else None

    async def shutdown(self, *, stop: bool = False) -> None:
        """End the node. The supervisors go on, unless `stop`. Nothing happens if there is none."""
        with contextlib.suppress(OSError, errors.Unreachable):
            client = self._client or await Client.connect(self._places.socket)
            await client.ask("shutdown", stop=stop)
            await client.close()
        self._client = None

    async def _ask(self, verb: str, patience: float = 30.0, /, **fields: Any) -> dict[str, Any]:
        """Every verb may be said twice; so a node that dies is started again and asked again."""
        limit = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                client = await self._connected()
                return await client.ask(verb, patience, **fields)
            except errors.Unreachable as error:
                if error.after is None or asyncio.get_running_loop().time() > limit:
                    raise
            if self._client is not None:
                await self._client.close()
            await asyncio.sleep(0.01)

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is not None and self._client.alive:
                return self._client
            self._client = await self._reach()
            if (await self._client.ask("hello"))["version"] != __version__:
                await self._replace(self._client)
            return self._client

    async def _reach(self) -> Client:
        """Connect to the node; start one where none listens. One that is dying may still hold the
        folder: that takes a moment."""
        limit = asyncio.get_running_loop().time() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                return await Client.connect(self._places.socket)
            if asyncio.get_running_loop().time() > limit:
                raise errors.Unreachable("the node does not answer", after=1.0)
            await daemon.start(self._places, self._python, self._options)
            with contextlib.suppress(OSError):
                return await Client.connect(self._places.socket)
            await asyncio.sleep(0.02)

    async def _replace(self, old: Client) -> None:
        """A node of another version: let it go, start ours, which adopts what runs."""
        with contextlib.suppress(errors.TradewindError):
            await old.ask("shutdown", stop=False)
        await old.close()
        for _try in range(100):
            client = await self._reach()
            with contextlib.suppress(errors.Unreachable):
                if (await client.ask("hello"))["version"] == __version__:
                    self._client = client
                    return
            await client.close()
            await asyncio.sleep(0.05)
        raise errors.Broken("a node of another version does not let go of this data folder")
