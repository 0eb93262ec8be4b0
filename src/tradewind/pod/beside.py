"""A command beside the unit, as it would be on any machine: in its working folder, with its
variables and its interpreter. Someone asked for it through the cluster, in the same container."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from tradewind.pod import alone
from tradewind.pod.place import Place
from tradewind.pod.run import STARTS
from tradewind.supervisor import beside, layout

# As a shell says it: there is no such program, or it is none.
NOT_THERE = 127


def main(place: Place, command: Sequence[str]) -> int:
    """Become the command; the status of one that could not be started."""
    os.umask(0o022)  # what stands in the pod's own folders is private, what people make is theirs
    work = place.recall("work.json")
    try:
        if work is not None:
            os.environ.update(_enter(place, work))
        os.execvp(command[0], list(command))
    except (OSError, ValueError, IndexError) as error:
        sys.stderr.write(f"{' '.join(command[:1])!r} cannot be started there: {error}\n")
    return NOT_THERE


def _enter(place: Place, work: dict[str, object]) -> dict[str, str]:
    """Go to the unit's working folder; what is in its environment."""
    places = layout.Layout(place.home)
    request, role, unit = alone.request(work, place.blobs), alone.role_of(work), work["unit"]
    assert isinstance(unit, dict)
    gang = role["shape"]["shape"] == "gang"
    index = int(unit.get("rank" if gang else "index", 0))
    starts = max(1, int(place.recall(STARTS, 1)))
    attempt = int(unit.get("attempt", 1)) + starts - 1
    home = os.path.join(
        places.attempt(request["placement"]), layout.unit(role["name"], index, attempt)
    )
    os.chdir(home)
    told = beside.environment(places, request, role["name"], index, attempt, home)
    for name in [each for each in os.environ if each.startswith("TRADEWIND_")]:
        del os.environ[name]
    return {**told, **alone.variables(role, unit, place.address)}
