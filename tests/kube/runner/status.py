"""A pod's status as its node tells it."""

import asyncio
import copy
from typing import Any

from tests.kube.runner.container import Container, stamp

Json = dict[str, Any]


class Status:
    """Made from what the containers are; remembers when each condition changed, and what was
    sent."""

    def __init__(self, pod: Json, inits: list[Container], mains: list[Container]) -> None:
        self._uid = pod["metadata"]["uid"]
        self._inits, self._mains = inits, mains
        self.ip = ""
        self.initialized = not inits
        self.failed = False  # an init container, for good
        self.over = False
        self.verdict: Json = {}  # reason and message when not its containers ended it
        self.sending = asyncio.Lock()
        self._begun = stamp()
        self._sent: Json = {}
        status = pod.get("status") or {}
        self.ended_before = status.get("phase") in ("Succeeded", "Failed")
        statuses = [*(status.get("initContainerStatuses") or [])]
        statuses += status.get("containerStatuses") or []
        self.before = {one["name"]: one for one in statuses}
        self.ran_before = any(one.get("containerID") for one in statuses)
        self._conditions: dict[str, Json] = {}
        known = {one["type"] for one in status.get("conditions") or []}
        if "PodScheduled" not in known:  # no scheduler has bound it
            self._set("PodScheduled", True)

    def news(self, policy: str) -> Json:
        """A patch of the status; {} when nothing changed."""
        status = self._status(policy)
        if status == self._sent:
            return {}
        self._sent = copy.deepcopy(status)
        return {"metadata": {"uid": self._uid}, "status": status}

    def overruled(self, pod: Json) -> bool:
        """Whether somebody has taken back that it is ready, as is done when a node is silent. What
        a node knows better it says again, with the times as they were."""
        rows = (pod.get("status") or {}).get("conditions") or []
        there: Json = next((one for one in rows if one["type"] == "Ready"), {})
        ours = self._conditions.get("Ready", {})
        taken = ours.get("status") == "True" and there.get("status") == "False"
        if taken and not there.get("reason"):
            self._sent = {}
            return True
        return False

    def _status(self, policy: str) -> Json:
        phase = self.phase(policy)
        self._conclude(phase)
        status: Json = {
            "phase": phase,
            "hostIP": "127.0.0.1",
            "hostIPs": [{"ip": "127.0.0.1"}],
            "startTime": self._begun,
            "conditions": list(self._conditions.values()),
            "containerStatuses": [one.status() for one in self._mains],
        }
        if self.ip:
            status |= {"podIP": self.ip, "podIPs": [{"ip": self.ip}]}
        if self._inits:
            status["initContainerStatuses"] = [one.status() for one in self._inits]
        if phase == "Failed":
            status |= self.verdict
        return status

    def phase(self, policy: str) -> str:
        codes = [one.exit_code for one in self._mains]
        if self.over and self.verdict:
            return "Failed"
        if self.over or (policy != "Always" and all(one.over for one in self._mains)):
            if self.failed or any(codes) or None in codes:
                retried = policy == "OnFailure" and not self.over
                return "Running" if retried else "Failed"
            return "Succeeded"
        fresh = any(one.exit_code is None and not one.running for one in self._mains)
        return "Pending" if fresh or not self.initialized else "Running"

    def _conclude(self, phase: str) -> None:
        ended = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "")
        waiting = [one.name for one in self._inits if one.exit_code != 0]
        unready = [one.name for one in self._mains if not one.ready]
        why, names = ended or "ContainersNotReady", " ".join(unready)
        message = "" if ended else f"containers with unready status: [{names}]"
        ready = self.initialized and not unready and not ended
        self._set("PodReadyToStartContainers", bool(self.ip) and not ended)
        if ended == "PodCompleted" or self.initialized:
            self._set("Initialized", True, ended if ended == "PodCompleted" else "")
        else:
            text = f"containers with incomplete status: [{' '.join(waiting)}]"
            self._set("Initialized", False, "ContainersNotInitialized", text)
        for kind in ("Ready", "ContainersReady"):
            self._set(kind, ready, "" if ready else why, "" if ready else message)

    def _set(self, kind: str, true: bool, reason: str = "", message: str = "") -> None:
        before = self._conditions.get(kind, {})
        new: Json = {"type": kind, "status": str(true)}
        same = before.get("status") == new["status"]
        new["lastTransitionTime"] = before["lastTransitionTime"] if same else stamp()
        for key, value in (("reason", reason), ("message", message)):
            if value or before.get(key):
                new[key] = value or None  # null takes away what a strategic merge would keep
        self._conditions[kind] = new
