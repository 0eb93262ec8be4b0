"""The init container: ask what there is to do, and bring it here, checked, unpacked, built."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

from tradewind.inside import pack
from tradewind.pod import alone, checkpoints, ending
from tradewind.pod.desk import Desk, Trouble, together
from tradewind.pod.place import Place
from tradewind.supervisor import environments, layout, preparation
from tradewind.supervisor import main as supervisor
from tradewind.supervisor.helper import Failure


def main(place: Place) -> int:
    """The status; of a failure the termination message has the words."""
    ending.stop_at_once(place.termination)
    try:
        _bring(place)
        return 0
    except Trouble as error:
        made = error.ending()
    except Failure as error:
        said = error.result
        made = ending.made("failed", said["reason"], said["error"], said["hint"])
    except OSError as error:
        made = ending.made("failed", **alone.disk_exit(error))
    except Exception as error:
        made = ending.made("lost", "lost", f"{type(error).__name__}: {error}")
    return ending.write(place.termination, made)


def _bring(place: Place) -> None:
    places = layout.Layout(place.home)
    places.make()
    desk = Desk(place.server, place.token, place.pod)
    work = desk.work()
    request = alone.request(work, place.blobs)
    began = time.monotonic()
    together(partial(desk.fetch, digest, place.blobs) for digest in needed(request))
    phases = {"fetch": time.monotonic() - began}
    settings = supervisor.Settings(
        data=place.home,
        inside=pack.install(places.node),
        python=sys.executable,
        uv=environments.uv_binary() if request["environment"].get("lock") else "",
    )
    phases |= preparation.prepare(settings, request)["phases"]
    checkpoints.bring(desk, place, work)
    place.remember("work.json", {**work, "inside": settings.inside, "phases": phases})


def needed(request: dict[str, Any]) -> list[str]:
    """The digests of all blobs that this unit reads."""
    found = [request["bundle"], request["environment"].get("lock", "")]
    for role in request["roles"]:
        for slot in role.get("inputs", {}).values():
            found += slot.get("files", ())
            # The digest of a table or a value, and that of a folder which is told file by file, is
            # no blob's.
            whole = slot["kind"] == "folder" and "paths" not in (slot.get("meta") or {})
            if whole or slot["kind"] == "file":
                found.append(slot.get("digest", ""))
    return sorted({digest for digest in found if digest})
