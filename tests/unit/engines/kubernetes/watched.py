"""A placement as a cluster shows it: its objects in the states that matter, and a look at them."""

from __future__ import annotations

import copy
import json
from typing import Any

from tests.unit.engines.kubernetes.cases import CONTEXT
from tradewind.engines.kubernetes import names, states
from tradewind.engines.kubernetes.render import render
from tradewind.engines.kubernetes.track import Look, Track
from tradewind.records.placements import Placement

Object = dict[str, Any]
START = "2026-01-01T00:00:{:02d}Z"
NOW = states.when(START.format(59))
BATCH = "batch.kubernetes.io/"


def stamped(found: Object, uid: str, version: int = 1, **meta: Any) -> Object:
    found = copy.deepcopy(found)
    born = {"uid": uid, "resourceVersion": str(version), "creationTimestamp": START.format(0)}
    found["metadata"] |= {**born, **meta}
    return found


def objects(placed: Placement) -> tuple[Object, Object]:
    """The root and the workload."""
    root, *others = render(placed, CONTEXT)["objects"]
    workload = next(each for each in others if each["kind"] in ("Job", "Deployment"))
    return stamped(root, "root"), stamped(workload, "work")


def pod(workload: Object, uid: str, index: int = 0, tries: int = 0, **status: Any) -> Object:
    meta = copy.deepcopy(workload["spec"]["template"]["metadata"])
    meta["annotations"] |= {
        BATCH + "job-completion-index": str(index),
        BATCH + "job-index-failure-count": str(tries),
    }
    found = {"metadata": meta, "spec": workload["spec"]["template"]["spec"], "status": status}
    return stamped(found, uid, name=f"pod-{uid}")


def running(at: int = 2) -> Object:
    row = {"name": "main", "state": {"running": {"startedAt": START.format(at)}}, "restartCount": 0}
    return {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [row]}


def over(code: int, at: int = 5, **said: Any) -> Object:
    state = {0: "succeeded", 75: "lost", 143: "stopped"}.get(code, "failed")
    message = {"state": state, "at": states.when(START.format(at)), "exit": {"reason": state}}
    done = {
        "exitCode": code, "startedAt": START.format(2), "finishedAt": START.format(at),
        "message": json.dumps({**message, **said}),
    }  # fmt: skip
    row = {"name": "main", "state": {"terminated": done}, "restartCount": 0}
    return {"phase": "Failed" if code else "Succeeded", "containerStatuses": [row]}


def named(found: Object, index: int, before: int = 0) -> Object:
    """The pod as the replica that the engine has made it."""
    unit = json.dumps({"index": index, "before": before})
    return noted(found, {names.UNIT: unit})


def noted(found: Object, notes: dict[str, str]) -> Object:
    """The object with these annotations."""
    found = copy.deepcopy(found)
    found["metadata"].setdefault("annotations", {}).update(notes)
    return found


def look(track: Track, now: float = NOW) -> Look:
    """Look until nothing is new; every end is ready to be told at once."""
    whole = Look()
    for _ in range(5):
        seen = track.look(now)
        whole.reports += seen.reports
        whole.orders += seen.orders
        whole.wake = seen.wake
        for each in seen.ended:
            assert each.end is not None
            track.take_end(each, each.end)
        if not seen.ended:
            return whole
    raise AssertionError("it never comes to rest")


def fresh(placed: Placement) -> tuple[Track, Object]:
    root, workload = objects(placed)
    track = Track(placed.id)
    track.take_root(root, gone=False)
    track.take_workload(workload, gone=False)
    track.launched = True
    return track, workload


def told(found: Look) -> list[tuple[str, str]]:
    return [(each.stream, each.body["state"]) for each in found.reports]
