"""What is done once about a unit that ended, before its end is told: its log is kept, a long word
of its program is fetched, and its tables become versions of their datasets.

After this nothing of the unit is needed in the cluster any more.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace

from tradewind.base.errors import NotFound
from tradewind.blobs.folder import FolderBlobs
from tradewind.engines.desk import Desk
from tradewind.engines.kubernetes import names
from tradewind.engines.kubernetes.api import Api
from tradewind.engines.kubernetes.keep import Keeper
from tradewind.engines.kubernetes.states import End, Object, Seen
from tradewind.records import codec
from tradewind.records.placements import Placement
from tradewind.supervisor import layout, tables
from tradewind.supervisor.helper import Failure


class Settler:
    """Settles units of one pool."""

    def __init__(self, cluster: Api, desk: Desk, places: layout.Layout) -> None:
        self._desk, self._places = desk, places
        self.keeper = Keeper(cluster)
        self._gate = asyncio.Semaphore(16)

    async def settle(
        self, placement: str, pod: Seen, unit: tuple[str, int, int], publishes: bool
    ) -> End:
        """The end as it may be told. `unit` is role, index and attempt for the files' names;
        `publishes` says whether its outputs count."""
        assert pod.end is not None
        folder = self.folder(placement, *unit)
        await self.keeper.keep(pod, folder)
        async with self._gate:
            return await asyncio.to_thread(
                self._told, placement, unit[0], pod.end, folder, publishes
            )

    def folder(self, placement: str, role: str, index: int, attempt: int) -> str:
        """Where what is kept of a unit stands, as for tasks of this machine."""
        # What a cluster takes as a label, a folder takes as a name.
        past = self._places.past(names.label(placement))
        return os.path.join(past, layout.unit(names.label(role), index, attempt))

    def _told(self, placement: str, role: str, end: End, folder: str, publishes: bool) -> End:
        try:
            if end.blob:
                end = self._long(end)
            if end.state == "succeeded" and publishes:
                body = {**end.body, "outputs": self._published(placement, role, end.body, folder)}
                end = replace(end, body=body)
        except Failure as failure:
            told = failure.result
            exit = {"reason": told["reason"], "message": told["error"], "hint": told["hint"]}
            return replace(end, state="lost" if told["reason"] == "lost" else "failed", exit=exit)
        return end

    def _long(self, end: End) -> End:
        try:
            said = json.loads(FolderBlobs(self._desk.blobs).path(end.blob).read_bytes())
        except (NotFound, ValueError, OSError) as error:
            raise Failure("lost", f"what the task said at its end is not here: {error}") from error
        body = {key: said[key] for key in ("usage", "outputs", "phases") if key in said}
        return replace(end, exit=said["exit"], body=body, blob="")

    def _published(self, placement: str, role: str, body: Object, folder: str) -> Object:
        """Outputs, those that are tables of a dataset committed to it. The same again is no error:
        the commit carries the attempt."""
        stored: Object = dict(body.get("outputs") or {})
        found = self._desk.find(placement)
        declared = _declared(found, role) if found is not None else {}
        for slot in tables.wanted(declared, stored):
            request = {
                "placement": placement,
                "tables": os.path.join(self._places.data, "tables"),
                "blobs": str(self._desk.blobs),
            }
            stored[slot] = {
                **stored[slot],
                **tables.commit(slot, stored[slot], declared, request, folder),
            }
        return stored


def _declared(placement: Placement, role: str) -> Object:
    return next(
        ({slot: codec.to_json(output) for slot, output in each.outputs.items()}
         for each in placement.task.roles if each.name == role), {},
    )  # fmt: skip
