"""One placement in the cluster: its root, its workloads, its pods; the course of its roles.

Pure: objects and the time come in, reports and orders go out.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import Any

from tradewind.engines.kubernetes import names, states
from tradewind.engines.kubernetes.array import Array
from tradewind.engines.kubernetes.gang import Gang
from tradewind.engines.kubernetes.replicas import Replicas
from tradewind.engines.kubernetes.roles import Order, Role, View
from tradewind.engines.kubernetes.states import End, Object, Seen, Why
from tradewind.records.reports import Report

# What is missing in a placement so old, in seconds, was not just about to be created.
LAUNCHING = 60.0
OVERDUE = states.OVERDUE
_PLACED_END = 2
_MANY = 20
_SHAPES: dict[str, type[Role]] = {"gang": Gang, "array": Array, "replicas": Replicas}


@dataclass(slots=True)
class Look:
    """What is new: reports, orders, pods whose end is to be prepared for telling, and when to look
    again though nothing changes (0: never)."""

    reports: list[Report] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    ended: list[Seen] = field(default_factory=list)
    wake: float = 0.0


class Track:
    """What is known of one placement. `over` once its end has been told."""

    def __init__(self, placement: str, server: str = "") -> None:
        self.placement = placement
        self._server = server
        # Pods that have asked for their work; those that began before we looked may have, too.
        self.met: set[str] = set()
        self._since = 0.0
        self.root: Object | None = None
        self.root_gone = False
        # What we made for it, by its root and name; roots that we took away to begin anew.
        self.made: set[tuple[str, str]] = set()
        self.discarded: set[str] = set()
        self.launched = False
        self.over = False
        self.roles: dict[str, Role] = {}
        self.workloads: dict[str, Object] = {}
        self.pods: dict[str, Seen] = {}
        self.gone: set[str] = set()
        self.stuck: set[str] = set()
        # Held while its objects are created, and while they are taken away.
        self.hands = asyncio.Lock()
        # When it was last tried to create it.
        self.tried = 0.0
        self._strays: list[Seen] = []
        self.ends: dict[tuple[str, int], End] = {}
        self.blocked: dict[str, Why] = {}

    # -- what comes in ---------------------------------------------------------------------------

    def take_root(self, root: Object, gone: bool) -> None:
        """The root as it is now."""
        if root["metadata"]["uid"] in self.discarded:
            return
        if not gone and not _newer(root, self.root):
            return
        self.root_gone = gone or "deletionTimestamp" in root["metadata"]
        self.root = root
        if not self.roles:
            for name, spec in json.loads(_notes(root)[names.ROLES]).items():
                self.roles[name] = _SHAPES[spec["shape"]["shape"]](self.placement, name, spec)

    def take_workload(self, found: Object, gone: bool) -> None:
        """A Job or Deployment. Of a gang's several Jobs the newest epoch's counts."""
        role = _notes(found).get(names.ROLE, "")
        known = self.workloads.get(role)
        other = known is not None and known["metadata"]["uid"] != found["metadata"]["uid"]
        if other and (gone or _epoch(known or {}) > _epoch(found)):
            return
        if gone:
            self.workloads.pop(role, None)
            self.launched = True  # it was there once
        elif other or _newer(found, known):
            self.workloads[role] = found

    def take_pod(self, pod: Object, gone: bool) -> None:
        """A pod; one that is gone is remembered in its last state."""
        seen = states.read(pod)
        self.pods[seen.uid] = seen
        self.stuck.discard(seen.uid)
        if gone:
            self.gone.add(seen.uid)
            if not seen.leaving and not seen.final:
                # It may only have been taken out of our sight.
                self._strays.append(seen)
        else:
            self.gone.discard(seen.uid)

    def take_end(self, pod: Seen, end: End) -> None:
        """The end of a pod's start has been prepared: now it may be told."""
        self.ends[pod.uid, pod.restarts] = end
        self.ends.pop((pod.uid, pod.restarts - 2 * _MANY), None)

    @property
    def orphaned(self) -> bool:
        """Whether nothing is there of it and never will be."""
        left = any(uid not in self.gone for uid in self.pods)
        return self.root is None and not self.tried and not self.workloads and not left

    # -- what was asked for ----------------------------------------------------------------------

    @property
    def stop(self) -> Object | None:
        """How somebody asked for the end."""
        return self._asked(names.STOP)

    @property
    def wanted(self) -> Object:
        """The width that was asked for last, and a gang's epoch."""
        return self._asked(names.WANTED) or {}

    @property
    def tries(self) -> Object:
        """How many tries each replica of each role has had."""
        return self._asked(names.TRIES) or {}

    def _asked(self, key: str) -> Object | None:
        """What was written down in the root; somebody else may have spoilt it."""
        try:
            found = json.loads(_notes(self.root or {}).get(key, "null"))
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    @property
    def first(self) -> Role:
        """The role whose width is meant."""
        return next(iter(self.roles.values()))

    def lacks(self, role: str) -> bool:
        """Whether the cluster should have made pods for a role by now and has not."""
        if role not in self.roles or (workload := self.workloads.get(role)) is None:
            return False
        pods = [pod for pod in self.pods.values() if pod.role == role and pod.uid not in self.gone]
        return self.roles[role].lacks(pods, workload)

    # -- what comes out --------------------------------------------------------------------------

    def look(self, now: float) -> Look:
        """What is new, and what is to be done."""
        out = Look()
        if self.over or self.root is None:
            return out
        self._since = self._since or now
        born = states.when(self.root["metadata"].get("creationTimestamp"))
        # Who comes back launches anew what was put off before.
        age = now - max(born, self.tried, self._since)
        if not self.launched:
            self.launched = age > LAUNCHING
            out.wake = now - age + LAUNCHING + 1.0
        self._overdue(now, out)
        silent = [pod.staging + states.SILENT for pod in self.pods.values() if self._silent(pod)]
        if later := [due for due in silent if due > now]:
            out.wake = min([*later, *filter(None, [out.wake])])
        out.orders = [
            Order(do="drop", role=pod.role, pod=pod.name, unit={"uid": pod.uid})
            for pod in self._strays
        ]
        self._strays = []
        out.ended = [
            pod
            for pod in self.pods.values()
            if pod.end is not None and (pod.uid, pod.restarts) not in self.ends
        ]
        for role in self.roles.values():
            self._look_at(role, now, out)
        # The end of one role may be the end of the others.
        for role in self.roles.values():
            self._look_at(role, now, out)
        self._conclude(out, now)
        self._forget(now)
        return out

    def _overdue(self, now: float, out: Look) -> None:
        for pod in self.pods.values():
            if pod.leaving and pod.end is None and pod.uid not in self.gone:
                due = pod.leaving + OVERDUE
                if now >= due:
                    self.gone.add(pod.uid)
                    self.stuck.add(pod.uid)
                else:
                    out.wake = min(due, out.wake or due)

    def _silent(self, pod: Seen) -> bool:
        """Whether it sets itself up and has not asked us for its work."""
        ours = bool(self._server and pod.staging) and pod.staging > self._since - 1.0
        return ours and pod.end is None and pod.name not in self.met

    def _heard(self, pod: Seen, now: float) -> Seen:
        """The pod, with the reason if it does not get on because it cannot reach us."""
        if pod.why is None and self._silent(pod) and now >= pod.staging + states.SILENT:
            return replace(pod, why=states.unheard(pod.staging, pod.asks or self._server))
        return pod

    def _look_at(self, role: Role, now: float, out: Look) -> None:
        if self.root_gone:
            self.launched = True
        view = self._view(role, now)
        reports, orders = role.look(view)
        out.reports += reports
        out.orders += [order for order in orders if order not in out.orders]
        if role.wake:
            out.wake = min(role.wake, out.wake or role.wake)

    def _forget(self, now: float) -> None:
        """Pods of replicas come and go for as long as they are wanted."""
        gone = [self.pods[uid] for uid in self.gone - self.stuck if uid in self.pods]
        for pod in gone:
            role = self.roles.get(pod.role)
            if isinstance(role, Replicas) and role.told(self._view(role, now), pod):
                del self.pods[pod.uid]
                self.gone.discard(pod.uid)
                for key in [key for key in self.ends if key[0] == pod.uid]:
                    del self.ends[key]

    def _view(self, role: Role, now: float) -> View:
        if not self.lacks(role.name):
            self.blocked.pop(role.name, None)  # it has passed
        return View(
            now=now,
            pods=[self._heard(pod, now) for pod in self.pods.values() if pod.role == role.name],
            gone=frozenset(self.gone),
            workload=None if self.root_gone else self.workloads.get(role.name),
            ends=self.ends,
            wanted=self.wanted if role is self.first else {},
            launched=self.launched,
            stop=self.stop,
            ending=self._ending(role),
            blocked=self.blocked.get(role.name),
            tried=self.tries.get(role.name) or {},
            stuck=frozenset(self.stuck),
        )

    def _ending(self, role: Role) -> float | None:
        """Whether the others' ends end this role: at once if one failed, in good order if all that
        it was there for is done."""
        others = [each for each in self.roles.values() if each is not role]
        if any(each.over and each.over[0] in ("failed", "lost") for each in others):
            return 0.0
        finite = [each for each in self.roles.values() if each.finite]
        if not role.finite and finite and all(each.over for each in finite):
            return float(role.spec["stop"]["grace"])
        return None

    def _conclude(self, out: Look, now: float) -> None:
        if not self.roles or any(role.over is None for role in self.roles.values()):
            return
        state, exit = self._outcome()
        self.over = True
        at = max(role.at for role in self.roles.values()) or now
        out.reports.append(
            Report(
                placement=self.placement,
                seq=_PLACED_END,
                at=at,
                kind="placement",
                body={"state": state, "reason": exit},
            )
        )

    def _outcome(self) -> tuple[str, Object]:
        roles = list(self.roles.values())
        finite = [role for role in roles if role.finite] or roles
        for state in ("failed", "lost", "stopped"):
            for role in finite if state == "stopped" else roles:
                if role.over is not None and role.over[0] == state:
                    return role.over
        return "succeeded", {"reason": "ok"}


def _notes(found: Object) -> dict[str, Any]:
    return (found.get("metadata") or {}).get("annotations") or {}


def _newer(found: Object, known: Object | None) -> bool:
    """Whether this is no older state of the same object."""
    if known is None or known["metadata"]["uid"] != found["metadata"]["uid"]:
        return True
    return int(found["metadata"]["resourceVersion"]) >= int(known["metadata"]["resourceVersion"])


def _epoch(found: Object) -> int:
    return int(_notes(found).get(names.EPOCH, 1))
