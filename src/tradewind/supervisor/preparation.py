"""The slow way to a unit's start, in a helper process: unpack archives, build the environment."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from tradewind.supervisor import environments, layout, staging

if TYPE_CHECKING:
    from tradewind.supervisor.main import Settings


def prepare(settings: Settings, request: dict[str, Any]) -> dict[str, Any]:
    """Bring everything to the place. Raises helper.Failure with words for the user."""
    places, blobs = layout.Layout(settings.data), request["blobs"]
    made: dict[str, Any] = {"bundle": "", "phases": {}}
    began = time.monotonic()
    if request.get("bundle"):
        made["bundle"] = staging.unpack(places, blobs, request["bundle"], "the code bundle")
        made["phases"]["bundle"] = time.monotonic() - began
    environment = request["environment"]
    if environment.get("lock"):
        began = time.monotonic()
        lock = staging.need(blobs, environment["lock"], "the environment's lock")
        python = environment.get("base") or settings.python
        folder = places.environment(environment["digest"])
        environments.build(folder, lock, python, settings.uv)
        made["python"] = os.path.join(folder, "bin", "python")
        made["phases"]["environment"] = time.monotonic() - began
    began = time.monotonic()
    slots = [slot for role in request["roles"] for slot in role.get("inputs", {}).values()]
    folders = [slot for slot in slots if slot["kind"] == "folder"]
    for slot in folders:
        staging.bring_folder(places, blobs, slot)
    if folders:
        made["phases"]["inputs"] = time.monotonic() - began
    return made
