"""From the cluster's words to ours: what a pod's status means, in a data scientist's words.

Everything native is read here and nowhere else. The words name machines, memory, images and rooms;
the cluster's own are kept under `native`, for operators.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from tradewind.base.units import format_bytes
from tradewind.engines.kubernetes import names

Object = dict[str, Any]
State = Literal["succeeded", "failed", "stopped", "lost"]

MAIN, STAGE = "main", "stage"
_BATCH = "batch.kubernetes.io/"
# Exit status of the pod's own program when nobody of the user's is at fault (pod/__main__.py).
LOST, STOPPED = 75, 143


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why a unit does not run yet. With `fails`, it never will once it has said so for that many
    seconds; `since` is when it began to say so, `worded` when to say it in these very words and
    `heard` when it last did, as far as the cluster knows."""

    words: str
    native: Object
    since: float = 0.0
    worded: float = 0.0
    heard: float = 0.0
    fails: float | None = None
    hint: str = ""

    @property
    def at(self) -> float:
        """When it came to these words."""
        return self.worded or self.since


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a unit ended. `body` is what its own program said, as an attempt's report holds it; with
    `blob`, that stands in the blob store."""

    state: State
    at: float
    exit: Object
    body: Object = field(default_factory=dict)
    blob: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A pod, as far as it matters. `restarts` counts the starts of its process before this one;
    `last` is how the one before ended, after `lasted` seconds. `final`: it is not started again.
    `tries` are earlier pods that stood for the same item, `named` is which replica the engine made
    it. `away` is why the cluster sends it away. `staging`: since when what it needs is brought
    there, while that goes on; `asks` is where it looks for its server. `ready` and `unready`: since
    when it answers or, with its process running, does not. `silent`: its machine is out of reach;
    `noted` is when that was last written down in the pod."""

    name: str
    uid: str
    role: str
    index: int
    epoch: int
    tries: int
    created: float
    placed: bool
    staging: float
    asks: str
    started: float
    ready: float
    unready: float
    silent: Why | None
    noted: float
    restarts: int
    address: str
    leaving: float
    away: Object | None
    why: Why | None
    end: End | None
    final: bool
    last: End | None
    lasted: float
    named: Object


def read(pod: Object) -> Seen:
    """What a pod says of itself."""
    meta, status = pod["metadata"], pod.get("status") or {}
    notes = meta.get("annotations") or {}
    main = _container(status, "containerStatuses", MAIN)
    stage = _container(status, "initContainerStatuses", STAGE)
    state = main.get("state") or {}
    done = state.get("terminated")
    began = (state.get("running") or done or {}).get("startedAt")
    lately = _lately(main) or _lately(stage)
    end = _end(pod, status, done, (stage.get("state") or {}).get("terminated"))
    if lately and (_crashing(main) or _crashing(stage)):
        end, lately = _over(lately, pod), None
    ready = _condition(status, "Ready")
    return Seen(
        name=meta["name"],
        uid=meta["uid"],
        role=notes.get(names.ROLE, ""),
        index=_index(meta),
        epoch=int(notes.get(names.EPOCH, 1)),
        tries=sum(
            int(notes.get(_BATCH + name, 0))
            for name in ("job-index-failure-count", "job-index-ignored-failure-count")
        ),
        created=when(meta.get("creationTimestamp")),
        placed=bool((pod.get("spec") or {}).get("nodeName")),
        staging=when(((stage.get("state") or {}).get("running") or {}).get("startedAt")),
        asks=_asks(pod),
        started=when(began),
        ready=when(ready.get("lastTransitionTime")) if ready.get("status") == "True" else 0.0,
        unready=when(ready.get("lastTransitionTime")) if _up(state, ready) == "False" else 0.0,
        silent=_silent(pod, ready) if _up(state, ready) == "False" else None,
        noted=float(notes.get(names.SILENT, 0.0)),
        restarts=int(main.get("restartCount", 0)) + int(stage.get("restartCount", 0)),
        address=status.get("podIP") or "",
        leaving=when(meta.get("deletionTimestamp")),
        away=_disruption(status),
        why=None if began or end else _waiting(status, pod, main, stage),
        end=end,
        final=status.get("phase") in ("Succeeded", "Failed"),
        last=_over(lately, pod) if lately else None,
        lasted=when(lately["finishedAt"]) - when(lately["startedAt"]) if lately else 0.0,
        named=json.loads(notes.get(names.UNIT, "{}")),
    )


def _index(meta: Object) -> int:
    """Which completion of a Job a pod stands for; -1 for one of a Deployment."""
    for where in ("annotations", "labels"):
        found = str((meta.get(where) or {}).get(_BATCH + "job-completion-index", ""))
        if found.isdecimal():
            return int(found)
    return -1


def _lately(container: Object) -> Object | None:
    found: Object | None = (container.get("lastState") or {}).get("terminated")
    return found


def _crashing(container: Object) -> bool:
    """Whether it waits, after a crash, to be started again: no start of it is under way."""
    waiting = (container.get("state") or {}).get("waiting") or {}
    return waiting.get("reason") == "CrashLoopBackOff"


def _asks(pod: Object) -> str:
    """Where the pod looks for its server: the server may listen elsewhere by now."""
    containers = (pod.get("spec") or {}).get("containers") or [{}]
    return next(
        (str(each.get("value")) for each in containers[0].get("env") or ()
         if each["name"] == "TRADEWIND_SERVER"), "",
    )  # fmt: skip


def when(stamp: str | None) -> float:
    """Seconds since 1970 of a timestamp; 0 for none."""
    return datetime.fromisoformat(stamp).timestamp() if stamp else 0.0


def _container(status: Object, key: str, name: str) -> Object:
    return next((each for each in status.get(key) or () if each["name"] == name), {})


def _condition(status: Object, kind: str) -> Object:
    return next((each for each in status.get("conditions") or () if each["type"] == kind), {})


# -- how it ended ----------------------------------------------------------------------------------

# Conditions `DisruptionTarget` and reasons of a whole pod: the machine's fault, not the user's.
_DISRUPTIONS = {
    "PreemptionByScheduler": "had to make room for something more important",
    "DeletionByTaintManager": "its machine does not answer any more",
    "EvictionByEvictionAPI": "its machine was being emptied",
    "DeletionByPodGC": "its machine is gone",
    "TerminationByKubelet": "its machine had to end it",
    "Evicted": "its machine ran short of memory or disk and sent it away",
    "NodeLost": "its machine does not answer any more",
    "NodeShutdown": "its machine was shut down",
    "Shutdown": "its machine was shut down",
    "Terminated": "its machine was shut down",
    "Preempting": "had to make room for something more important",
    "NodeAffinity": "its machine no longer takes it",
    "UnexpectedAdmissionError": "its machine would not take it",
}


def _end(pod: Object, status: Object, main: Object | None, stage: Object | None) -> End | None:
    """How a pod that is not started again ended."""
    if main:
        return _over(main, pod)
    if stage and stage.get("exitCode"):
        return _over(stage, pod)
    if status.get("phase") in ("Failed", "Succeeded"):
        return _over({"exitCode": 1}, pod)
    return None


def _over(ended: Object, pod: Object) -> End:
    """How one container ended, with the pod around it."""
    status = pod.get("status") or {}
    code = int(ended.get("exitCode", 0))
    at = when(ended.get("finishedAt")) or _sent_away(pod["metadata"])
    said = _said(ended.get("message"))
    if said and said.get("state") == "succeeded" and code == 0:
        return _told(said)
    disrupted = _disruption(status)
    if disrupted:
        return End(state="lost", at=at, exit=disrupted)
    if status.get("reason") == "DeadlineExceeded":
        words = "ran longer than it may"
        return End(state="failed", at=at, exit={"reason": "timeout", "message": words})
    if said:
        return _told(said)
    return _unsaid(ended, code, at, pod)


def _sent_away(meta: Object) -> float:
    """When somebody asked for the end of a pod; of one that nobody did, when it came to be."""
    due = when(meta.get("deletionTimestamp"))
    grace = float(meta.get("deletionGracePeriodSeconds") or 0)
    return due - grace if due else when(meta.get("creationTimestamp"))


def _said(message: str | None) -> Object | None:
    """What the pod's program wrote at its end (pod/run.py), if it came to that."""
    try:
        found = json.loads(message or "")
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("exit"), dict) else None


def _told(said: Object) -> End:
    return End(
        state=said.get("state", "failed"),
        at=float(said.get("at") or 0.0),
        exit=said["exit"],
        body={key: said[key] for key in ("usage", "outputs", "phases") if key in said},
        blob=str(said.get("body") or ""),
    )


def _disruption(status: Object) -> Object | None:
    found = _condition(status, "DisruptionTarget")
    reason, native = str(status.get("reason") or ""), str(status.get("message") or "")
    if found.get("status") == "True":
        reason, native = str(found.get("reason")), str(found.get("message") or "")
    elif reason not in _DISRUPTIONS and not reason.startswith("OutOf"):
        return None
    words = _DISRUPTIONS.get(reason, "its machine had no room for it after all")
    return {"reason": "lost", "message": words, "native": {"reason": reason, "message": native}}


def _unsaid(ended: Object, code: int, at: float, pod: Object) -> End:
    """The words for an end of which the pod's own program could not tell."""
    reason = str(ended.get("reason") or "")
    native = {"reason": reason, "exitCode": code, "message": str(ended.get("message") or "")[:500]}
    told: Object = {"native": native, "status": code}
    if reason == "OOMKilled":
        limit = _memory(pod)
        text = (
            f"used all of its {format_bytes(limit)}" if limit else "its machine had no memory left"
        )
        hint = "raise resources.memory or read the data in parts"
        return End(state="failed", at=at, exit={
            **told, "reason": "memory", "message": f"{text}; {hint}", "hint": hint})  # fmt: skip
    if code == LOST:
        return End(state="lost", at=at, exit={
            **told, "reason": "lost", "message": "could not reach its server"})  # fmt: skip
    if reason in ("StartError", "ContainerCannotRun") or code in (126, 127, 128):
        image = pod["spec"]["containers"][0]["image"]
        return End(state="failed", at=at, exit={
            **told, "reason": "environment",
            "message": f"the image {image} cannot run this: it has no Tradewind in it",
            "hint": "the pool's `image` must be Tradewind's, or built on it"})  # fmt: skip
    if code in (STOPPED, 130):
        return End(state="stopped", at=at, exit={
            **told, "reason": "stopped", "message": "stopped"})  # fmt: skip
    if pod["metadata"].get("deletionTimestamp"):
        return End(state="stopped", at=at, exit={
            **told, "reason": "stopped", "message": "killed while stopping"})  # fmt: skip
    if code == 137:
        return End(state="lost", at=at, exit={
            **told, "reason": "lost", "message": "somebody killed it from outside"})  # fmt: skip
    if code == 0:
        return End(state="succeeded", at=at, exit={**told, "reason": "ok"})
    return End(state="failed", at=at, exit={
        **told, "reason": "error", "message": f"exit status {code}"})  # fmt: skip


def _memory(pod: Object) -> int:
    limits = (pod["spec"]["containers"][0].get("resources") or {}).get("limits") or {}
    text = str(limits.get("memory", "0"))
    return int(text) if text.isdigit() else 0


# -- why it does not run yet -----------------------------------------------------------------------

_INSUFFICIENT = re.compile(r"Insufficient ([\w/-]+(?:\.[\w/-]+)*)")
_LOST_CAUSES = ("not found", "manifest unknown", "denied", "unauthorized", "does not exist")
# Seconds after which what may still pass is given up.
_PULL, _CONFIG = 300.0, 60.0


def _waiting(status: Object, pod: Object, main: Object, stage: Object) -> Why | None:
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return _unplaced(scheduled)
    since = when(scheduled.get("lastTransitionTime"))
    for each in (stage, main):
        waiting = (each.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return _held_up(waiting, pod, since)
    return None


def _unplaced(condition: Object) -> Why:
    reason, message = str(condition.get("reason") or ""), str(condition.get("message") or "")
    lacking = sorted({_plain(name) for name in _INSUFFICIENT.findall(message)})
    words = "no machine has room for it now"
    if lacking:
        words = f"no machine has enough {' and '.join(lacking)} free now"
    elif "taint" in message or "affinity" in message or "selector" in message:
        words = "the machines there are reserved for others"
    elif reason == "SchedulingGated":
        words = "the cluster's operators hold it back"
    at = when(condition.get("lastTransitionTime"))
    return Why(words=words, native={"reason": reason, "message": message}, since=at)


def _plain(resource: str) -> str:
    return {"cpu": "CPU", "memory": "memory", "ephemeral-storage": "disk"}.get(resource, resource)


def _held_up(waiting: Object, pod: Object, since: float) -> Why | None:
    reason, message = str(waiting["reason"]), str(waiting.get("message") or "")
    native = {"reason": reason, "message": message}
    image = pod["spec"]["containers"][0]["image"]
    if reason in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"):
        for_good = reason == "InvalidImageName" or any(each in message for each in _LOST_CAUSES)
        return Why(
            words=f"the image {image} cannot be had"
            + (": there is none of this name, or no right to it" if for_good else ""),
            native=native,
            since=since,
            fails=0.0 if for_good else _PULL,
            hint="set `image` in the pool's options to one that its machines can pull",
        )
    if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        return Why(
            words=f"its machine cannot set it up: {message or reason}",
            native=native,
            since=since,
            fails=_CONFIG,
            hint="show this to the cluster's operators",
        )
    return None


# A pod that should be gone for so long is on a machine that no longer answers.
OVERDUE = 45.0
_UNREACHABLE = "node.kubernetes.io/unreachable"


def _up(state: Object, ready: Object) -> str:
    """What is said of the answers of a pod whose process runs: `True`, `False`, nothing."""
    return str(ready.get("status", "")) if "running" in state else ""


def _silent(pod: Object, ready: Object) -> Why | None:
    """Why nothing is heard of a pod whose process is said to run. Its machine gives a reason when
    the pod does not answer; the cluster, when the machine does not, gives none."""
    if ready.get("reason"):
        return None
    spec, since = pod["spec"], when(ready.get("lastTransitionTime"))
    wait = next(
        (float(each.get("tolerationSeconds", 0)) for each in spec.get("tolerations") or ()
         if each.get("key") == _UNREACHABLE), 0.0,
    )  # fmt: skip
    if spec.get("restartPolicy") == "Never":
        # A Job puts another in its place only when it is sure that this one runs no more.
        wait += float(spec.get("terminationGracePeriodSeconds", 30)) + OVERDUE
    machine = spec.get("nodeName", "")
    words = f"its machine {machine} stopped answering; begins elsewhere after {wait:g} s of that"
    native = {"reason": "NodeNotReady", "message": f"node {machine} is not ready"}
    return Why(words=words, native=native, since=since)


# A pod asks its server for its work first of all. One that has not asked for so long cannot reach
# it: a wrong address, or a network that is shut. It is given up later.
SILENT, _DUMB = 15.0, 180.0


def unheard(staging: float, server: str) -> Why:
    """Why a pod that has begun to set itself up does not get on."""
    return Why(
        words=f"its machine has not reached this server at {server} yet",
        native={"reason": "Unheard", "message": f"no request from the pod to {server}"},
        since=staging + SILENT,
        fails=_DUMB,
        hint="set `server` in the pool's options to an address of this server that the pool's "
        "machines reach",
    )


# -- a Job's own words -----------------------------------------------------------------------------


def finished(job: Object) -> tuple[str, Object] | None:
    """`Complete` or `Failed` with the condition, once a Job is over."""
    for each in (job.get("status") or {}).get("conditions") or ():
        if each["type"] in ("Complete", "Failed") and each["status"] == "True":
            return each["type"], each
    return None


def suspended(job: Object) -> Object | None:
    """What says that a Job is held back, or was: then the cluster has ended its pods."""
    found = _condition(job.get("status") or {}, "Suspended")
    if not found and not job["spec"].get("suspend"):
        return None
    return {"reason": str(found.get("reason") or "Suspended"), "message": "spec.suspend was set"}


def job_exit(condition: Mapping[str, Any]) -> Object:
    """The words for a Job that failed although none of its pods said why."""
    native = {"reason": condition.get("reason"), "message": condition.get("message")}
    if condition.get("reason") == "DeadlineExceeded":
        return {"reason": "timeout", "message": "ran longer than it may", "native": native}
    return {
        "reason": "lost",
        "message": "the cluster gave it up before it could tell why",
        "native": native,
    }
