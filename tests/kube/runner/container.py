"""One container of a pod: its state as the API tells it, its process, its logs."""

import asyncio
import signal
import time
import uuid
from pathlib import Path
from typing import Any

from tests.kube.runner import images
from tests.kube.runner.logs import Log
from tests.kube.runner.process import Process

Json = dict[str, Any]
MESSAGE = 4096  # bytes of a termination message
UNKNOWN = "The container could not be located when the pod was terminated"


def stamp(at: float | None = None) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


class Container:
    """What a pod knows of one of its containers."""

    def __init__(self, spec: Json, folder: Path, waiting: str) -> None:
        self.spec, self.name = spec, str(spec["name"])
        self.folder = folder  # its termination message, its logs, where its root is mounted
        self.process: Process | None = None
        self.log: Log | None = None
        self.previous: Log | None = None
        self.restarts = 0
        self.ready = self.started = False
        self.oom = False
        self._id = ""
        self._begun = 0.0
        self._state: Json = {"waiting": {"reason": waiting}}
        self._last: Json = {}
        self._kill: asyncio.TimerHandle | None = None

    @property
    def message_path(self) -> Path:
        return self.folder / "message"

    @property
    def exit_code(self) -> int | None:
        """Of the last end, if it does not run now."""
        ended = self._state.get("terminated") or (
            self._last.get("terminated") if "waiting" in self._state else None
        )
        return int(ended["exitCode"]) if ended else None

    @property
    def running(self) -> bool:
        return "running" in self._state

    @property
    def waits(self) -> str:
        """What for; "" if it does not wait."""
        return str(self._state.get("waiting", {}).get("reason", ""))

    @property
    def over(self) -> bool:
        """Has ended and is not to be started again."""
        return "terminated" in self._state

    def recall(self, status: Json) -> None:
        """It ran under an earlier runner."""
        self.restarts = int(status.get("restartCount") or 0)
        self._id = status.get("containerID") or ""
        if self._id:
            ended = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": UNKNOWN}
            now = stamp()
            times = {"startedAt": now, "finishedAt": now, "containerID": self._id}
            self._last = {"terminated": ended | times}

    def wait(self, reason: str, message: str = "") -> bool:
        """It waits for this now; was that another state before."""
        if "terminated" in self._state:
            self._last = self._state
        new: Json = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
        changed, self._state = self._state != new, new
        return changed

    def new_log(self) -> Log:
        """For its next process."""
        return Log(self.folder / f"log-{uuid.uuid4().hex[:8]}")

    def begin(self, process: Process, log: Log) -> None:
        """It runs. One log before this one is kept."""
        if self.previous is not None:
            self.previous.drop()
        self.previous, self.log = self.log, log
        if "terminated" in self._state:
            self._last = self._state
        if self._last:
            self.restarts += 1
        self.process, self._begun = process, time.time()
        self._id = f"containerd://{uuid.uuid4().hex}{uuid.uuid4().hex}"
        self._state = {"running": {"startedAt": stamp(self._begun)}}
        self.oom = False
        self.started = not self.spec.get("startupProbe")
        self.ready = self.started and not self.spec.get("readinessProbe")

    def ended(self, code: int, reason: str = "", message: str = "") -> None:
        reason = reason or ("OOMKilled" if self.oom else "Error" if code else "Completed")
        begun = self._begun or time.time()
        message = message or self._message(code)
        if self._kill is not None:
            self._kill.cancel()
            self._kill = None
        self._state = {
            "terminated": {
                "exitCode": code,
                "reason": reason,
                "startedAt": stamp(begun),
                "finishedAt": stamp(),
                "containerID": self._id,
            }
            | ({"message": message} if message else {})
        }
        self.process, self._begun = None, 0.0
        self.ready = self.started = False

    def lost(self) -> None:
        """The pod ends while it waits."""
        if "waiting" in self._state and self._last:
            self._state = self._last
        elif "terminated" not in self._state:
            self.ended(137, "ContainerStatusUnknown", UNKNOWN)

    def stop(self, grace: float) -> None:
        """SIGTERM to its first process, SIGKILL to all after the grace; again only sooner."""
        process = self.process
        if process is None:
            return
        loop = asyncio.get_running_loop()
        if grace <= 0:
            process.signal(signal.SIGKILL)
        elif self._kill is None:
            process.signal(signal.SIGTERM)
            self._kill = loop.call_later(grace, process.signal, signal.SIGKILL)
        elif self._kill.when() > loop.time() + grace:
            self._kill.cancel()
            self._kill = loop.call_later(grace, process.signal, signal.SIGKILL)

    def out_of_memory(self) -> None:
        self.oom = True
        if self.process is not None:
            self.process.signal(signal.SIGKILL)

    def _message(self, code: int) -> str:
        """What it left at its terminationMessagePath, or the end of its log if it is to be that."""
        try:
            data = self.message_path.read_bytes()
        except OSError:
            data = b""
        text = data[-MESSAGE:].decode(errors="replace")
        policy = self.spec.get("terminationMessagePolicy")
        if not text and code and policy == "FallbackToLogsOnError" and self.log is not None:
            text = self.log.tail(80, 2048)
        return text

    def drop(self) -> None:
        for log in (self.log, self.previous):
            if log is not None:
                log.drop()

    def status(self) -> Json:
        full = images.full_name(self.spec["image"]) or self.spec["image"]
        return {
            "name": self.name,
            "image": full,
            "imageID": f"{full.partition('@')[0]}@sha256:{'0' * 64}" if self._id else "",
            "containerID": self._id,
            "state": self._state,
            "lastState": self._last,
            "restartCount": self.restarts,
            "ready": self.ready,
            "started": self.started,
        }
