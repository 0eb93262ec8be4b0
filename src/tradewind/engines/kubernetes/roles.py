"""The roles of a placement as the cluster shows them: who runs, who ended, what is to be done.

The pure half of the engine. A role looks at its pods and its one workload object (a Job or a
Deployment), tells what is new, and says what has to happen. It is asked again after every change
and whenever something it waits for is due; a role made anew from the same objects tells the same,
under the same numbers, so a server that comes back repeats nothing that was stored. Here is what
the shapes share; each has a file of its own (`gang.py`, `array.py`, `replicas.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tradewind.engines.kubernetes import states
from tradewind.engines.kubernetes.states import End, Object, Seen, Why
from tradewind.records.reports import Report

# A report's number within its attempt's stream: what kind of thing it tells, then when or which.
PREPARING, RUNNING, ENDED = 10**14, 2 * 10**14, 3 * 10**14
# What is told with its time has so many numbers for each second: the steps of a wait, and last of
# all that a unit runs, is ready, is not any more, is out of reach, is there again.
STEPS = 1000
BEGUN, READY, UNREADY, SILENT, BACK = 900, 995, 996, 997, 998
STOPPED: Object = {"reason": "stopped", "message": "stopped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Something to do in the cluster about one role. `quiet`: let nothing start, end what runs.
    `width`: run so many at once. `epoch`: begin this epoch of a gang. `name`: say which replica a
    pod is. `tries`: write down how many each replica has had. `silent`: write down in a pod since
    when nothing is heard of its machine."""

    do: str
    role: str
    width: int = 0
    epoch: int = 0
    grace: float | None = None
    pod: str = ""
    unit: Object = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class View:
    """What a role is looked at with. `ends` holds the ends that are ready to be told, by pod and
    start; `wanted` is what was last asked for: `width`, `epoch`. `launched`: everything has been
    created once. `tried` is how many tries each replica has had, as far as that was written down;
    `stuck` are the pods that should be gone and are not. `stop` is what somebody asked for;
    `ending` is the time left, in seconds, to a role that ends for another one's sake. `blocked` is
    why the cluster makes no pods of it."""

    now: float
    pods: list[Seen]
    gone: frozenset[str]
    workload: Object | None
    ends: dict[tuple[str, int], End]
    wanted: Object
    launched: bool
    stop: Object | None
    ending: float | None = None
    blocked: Why | None = None
    tried: Mapping[str, int] = field(default_factory=dict)
    stuck: frozenset[str] = frozenset()


class Role:
    """One role. `over` is its outcome once it has one: state and exit; `ending` while its pods are
    being ended."""

    finite = True

    def __init__(self, placement: str, name: str, spec: Object) -> None:
        self.placement, self.name, self.spec = placement, name, spec
        self.over: tuple[str, Object] | None = None
        self.ending = False
        self.at = 0.0
        self._told: dict[str, tuple[int, float]] = {}
        # The last words about a wait, and their number: of streams that tell of one now.
        self._said: dict[str, tuple[int, str]] = {}
        self._now = 0.0
        self._new: list[Report] = []
        self._orders: list[Order] = []
        self.wake = 0.0

    def look(self, view: View) -> tuple[list[Report], list[Order]]:
        """What is new, and what is to be done."""
        self._new, self._orders, self.wake, self._now = [], [], 0.0, view.now
        if self.over is None:
            self._look(view)
            self.ending = any(order.do == "quiet" for order in self._orders)
        return self._new, self._orders

    def _look(self, view: View) -> None:
        raise NotImplementedError

    def lacks(self, pods: list[Seen], workload: Object) -> bool:
        """Whether the cluster should have made pods for it by now and has not."""
        return not pods

    # -- what the shapes share -------------------------------------------------------------------

    def _tell(self, index: int, attempt: int, seq: int, at: float, body: Object) -> float:
        """Tell it, unless it has been; when it came to be."""
        stream = f"{self.name}/{index}/{attempt}"
        last, then = self._told.get(stream, (0, 0.0))
        if seq <= last:
            return then
        # A unit's own clock knows parts of a second, the cluster's does not.
        at = max(at, then) if seq > PREPARING + 10**13 else at
        self._told[stream] = seq, at
        self._new.append(
            Report(
                placement=self.placement,
                stream=stream,
                seq=seq,
                at=at,
                kind="attempt",
                role=self.name,
                index=index,
                attempt=attempt,
                body=body,
            )
        )
        return at

    def _waits(self, view: View, why: Why | None, index: int, attempt: int) -> End | None:
        """Tell why a unit does not run yet; its end, if it is to be given up for it."""
        if why is None:
            return None
        self._says(why, index, attempt)
        return self._hopeless(view, why)

    def _says(
        self, why: Why, index: int, attempt: int, step: int = 0, state: str = "preparing"
    ) -> None:
        """Tell what a unit waits for, as often as the words change. Their number is when they came
        to be, as far as the cluster says so; else, for whoever has told others, when they were
        seen, so that a server that comes back goes on from there."""
        stream = f"{self.name}/{index}/{attempt}"
        last, _ = self._told.get(stream, (0, 0.0))
        number, words = self._said.get(stream, (0, ""))
        if last and (number, words) == (last, why.words):
            return
        base, at = PREPARING if state == "preparing" else RUNNING, why.at
        seq = base + int(at) * STEPS + step
        if number == last >= seq and state == "preparing":
            at = max(at, self._now)
            seq = max(base + int(at) * STEPS + step, last + 1)
        elif number == last >= seq and last % STEPS < BEGUN - 1:
            seq = last + 1  # what has begun comes after it, by the cluster's clock
        if seq > last:
            body = {"state": state, "why": why.words, "native": why.native}
            self._tell(index, attempt, seq, at, body)
            self._said[stream] = seq, why.words

    def _hopeless(self, view: View, why: Why) -> End | None:
        """The end of a unit that has waited for this for too long."""
        if why.fails is None:
            return None
        due = why.since + why.fails
        if view.now < due:
            self.wake = min(due, self.wake or due)
            return None
        exit = {"reason": "environment", "message": why.words, "hint": why.hint}
        return End(state="failed", at=view.now, exit={**exit, "native": why.native})

    def _begun(self, index: int, attempt: int, at: float, body: Object, part: int = 0) -> None:
        seq = RUNNING + int(at) * STEPS + BEGUN + min(part, READY - BEGUN - 1)
        self._tell(index, attempt, seq, at, {"state": "running", **body})

    def _reach(
        self, pods: list[Seen], index: int, attempt: int, body: Object, whose: str = ""
    ) -> None:
        """Tell that nothing is heard of a unit's machine, and later that it is there again. The one
        is written down in the pod first: a server that comes back between the two tells the other.
        """
        noted = max((pod.noted for pod in pods), default=0.0)
        silent = False
        for pod in pods:
            if (why := pod.silent) is None:
                continue
            silent = True
            if pod.noted != why.since:
                unit = {"since": why.since}
                self._orders.append(Order(do="silent", role=self.name, pod=pod.name, unit=unit))
            elif why.since == noted:
                why = replace(why, words=whose + why.words)
                self._says(why, index, attempt, SILENT, "running")
        if noted and not silent:
            seq = RUNNING + int(noted) * STEPS + BACK
            self._tell(index, attempt, seq, noted, body)

    def _ended(self, index: int, attempt: int, end: End) -> None:
        body = {**end.body, "state": end.state, "exit": end.exit}
        self._said.pop(f"{self.name}/{index}/{attempt}", None)
        self.at = max(self.at, self._tell(index, attempt, ENDED, end.at, body))

    def _finish(self, state: str, exit: Object, at: float = 0.0) -> None:
        self.over = (state, exit)
        self.at = max(self.at, at)

    def _quiet(self, view: View, grace: float | None = None) -> None:
        if grace is None and view.stop is not None:
            grace = 0.0 if view.stop["way"] == "kill" else float(view.stop["grace"])
        elif grace is None:
            grace = view.ending
        self._orders.append(Order(do="quiet", role=self.name, grace=grace))

    def _stopping(self, view: View) -> bool:
        return view.stop is not None or view.ending is not None

    def _mend(self, view: View, width: int) -> None:
        """Somebody else may have changed how much runs, or nobody has yet."""
        job = view.workload
        if job is None or self._stopping(view) or states.finished(job):
            return
        spec = job["spec"]
        if spec.get("parallelism", spec.get("replicas")) != width or spec.get("suspend"):
            self._orders.append(Order(do="width", role=self.name, width=width))

    def _taken(self, view: View) -> Object:
        """Who takes away pods that nobody here has ended."""
        held = states.suspended(view.workload) if view.workload else None
        if held is None:
            return {"reason": "lost", "message": "somebody deleted it from outside"}
        return {"reason": "lost", "message": "somebody suspended it in the cluster", "native": held}

    def _lost(self, view: View) -> bool:
        """Whether somebody took away the object that keeps this role going."""
        return view.workload is None and view.launched

    def _end(self, view: View, pod: Seen) -> End | None:
        """How a pod ended, once that can be told; one that vanished has ended too."""
        found = view.ends.get((pod.uid, pod.restarts))
        if found is None and pod.uid in view.gone and pod.end is None:
            found = End(state="stopped", at=left(pod, view), exit=STOPPED)
        if found is not None and found.state == "stopped" and not self._stopping(view):
            words = pod.away or self._taken(view)
            return End(state="lost", at=found.at, exit=words, body=found.body)
        return found


def left(pod: Seen, view: View) -> float:
    """When a pod of which nothing more is known has ended; it had time until `leaving`."""
    return min(pod.leaving or view.now, view.now)


def unsettled(pod: Seen, view: View) -> bool:
    """Whether it has ended and its end cannot be told yet."""
    return pod.end is not None and (pod.uid, pod.restarts) not in view.ends
