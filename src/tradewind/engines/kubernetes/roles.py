"""The roles of a placement as the cluster shows them: who runs, who ended, what is to be done.

The pure half of the engine. A role looks at its pods and its one workload object (a Job or a
Deployment), tells what is new, and says what has to happen. It is asked again after every change
and whenever something it waits for is due; a role made anew from the same objects tells the same,
under the same numbers, so a server that comes back repeats nothing that was stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tradewind.engines.kubernetes import names, render, states
from tradewind.engines.kubernetes.states import End, Object, Seen, Why
from tradewind.records.reports import Report

# A report's number within its attempt's stream: what kind of thing it tells, then when or which.
_PREPARING, _RUNNING, _ENDED = 10**14, 2 * 10**14, 3 * 10**14
STOPPED: Object = {"reason": "stopped", "message": "stopped"}
# A replica that ran this long has settled: its failures count anew.
SETTLED = 60.0
# So many of a replica's last tries are remembered.
_REMEMBERED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Something to do in the cluster about one role. `quiet`: let nothing start, end what runs.
    `width`: run so many at once. `epoch`: begin this epoch of a gang. `name`: say which replica a
    pod is. `tries`: write down how many each replica has had."""

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
    """One role. `over` is its outcome once it has one: state and exit."""

    finite = True

    def __init__(self, placement: str, name: str, spec: Object) -> None:
        self.placement, self.name, self.spec = placement, name, spec
        self.over: tuple[str, Object] | None = None
        self.at = 0.0
        self._told: dict[str, tuple[int, float]] = {}
        self._new: list[Report] = []
        self._orders: list[Order] = []
        self.wake = 0.0

    def look(self, view: View) -> tuple[list[Report], list[Order]]:
        """What is new, and what is to be done."""
        self._new, self._orders, self.wake = [], [], 0.0
        if self.over is None:
            self._look(view)
        return self._new, self._orders

    def _look(self, view: View) -> None:
        raise NotImplementedError

    # -- what the shapes share -------------------------------------------------------------------

    def _tell(self, index: int, attempt: int, seq: int, at: float, body: Object) -> float:
        """Tell it, unless it has been; when it came to be."""
        stream = f"{self.name}/{index}/{attempt}"
        last, then = self._told.get(stream, (0, 0.0))
        if seq <= last:
            return then
        # A unit's own clock knows parts of a second, the cluster's does not.
        at = max(at, then) if seq > _PREPARING + 10**13 else at
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
        body = {"state": "preparing", "why": why.words, "native": why.native}
        # A second has one reason: what changes faster than that is not worth telling.
        self._tell(index, attempt, _PREPARING + int(why.since), why.since, body)
        if why.fails is None:
            return None
        due = why.since + why.fails
        if view.now < due:
            self.wake = min(due, self.wake or due)
            return None
        exit = {"reason": "environment", "message": why.words, "hint": why.hint}
        return End(state="failed", at=view.now, exit={**exit, "native": why.native})

    def _begun(self, index: int, attempt: int, at: float, body: Object, part: int = 0) -> None:
        self._tell(index, attempt, _RUNNING + part, at, {"state": "running", **body})

    def _ended(self, index: int, attempt: int, end: End) -> None:
        body = {**end.body, "state": end.state, "exit": end.exit}
        self.at = max(self.at, self._tell(index, attempt, _ENDED, end.at, body))

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

    def _lost(self, view: View) -> bool:
        """Whether somebody took away the object that keeps this role going."""
        return view.workload is None and view.launched

    def _end(self, view: View, pod: Seen) -> End | None:
        """How a pod ended, once that can be told; one that vanished has ended too."""
        found = view.ends.get((pod.uid, pod.restarts))
        if found is None and pod.uid in view.gone and pod.end is None:
            found = End(state="stopped", at=_left(pod, view), exit=STOPPED)
        if found is not None and found.state == "stopped" and not self._stopping(view):
            words = pod.away or {"reason": "lost", "message": "somebody deleted it from outside"}
            return End(state="lost", at=found.at, exit=words, body=found.body)
        return found


def _first_failure(ends: Iterable[tuple[int, End]]) -> tuple[int, End] | None:
    """The one that failed first; what was lost or stopped in its wake comes after it."""
    bad = [(rank, end) for rank, end in ends if end.state != "succeeded"]
    order = {"failed": 0, "lost": 1, "stopped": 2}
    return min(bad, key=lambda each: (order[each[1].state], each[1].at, each[0]), default=None)


class Gang(Role):
    """All members or none, one epoch after the other, as one attempt."""

    def _look(self, view: View) -> None:
        job = view.workload
        epoch = int(_note(job, names.EPOCH) or 1) if job else int(view.wanted.get("epoch", 1))
        width = int(job["spec"]["completions"]) if job else int(self.spec["shape"]["least"])
        pods = sorted(
            (pod for pod in view.pods if pod.epoch == epoch and pod.index >= 0),
            key=lambda pod: (pod.created, pod.name),
        )
        # A member that somebody took away may have been replaced: its first end counts.
        over = [(pod.index, end) for pod in pods if (end := self._end(view, pod))]
        ends = dict(reversed(over))
        live = [pod for pod in view.pods if self._end(view, pod) is None]
        resizing = int(view.wanted.get("epoch", 1)) > epoch and not self._stopping(view)
        self._members_begun(view, pods, epoch, width)
        failed = _first_failure(
            (rank, end)
            for rank, end in over
            if not ((resizing or self._stopping(view)) and end.state in ("stopped", "lost"))
        )
        waiting = [(pod.index, pod.why) for pod in live] or [(0, view.blocked)]
        waiting.sort(key=lambda each: each[0])
        given_up = [(rank, end) for rank, why in waiting if (end := self._waits(view, why, 0, 1))]
        if given_up and failed is None:
            failed = given_up[0]
            ends[failed[0]] = failed[1]
        if (
            failed is None
            and len(ends) == width
            and all(end.state == "succeeded" for _rank, end in over)
        ):
            self._conclude("succeeded", {"reason": "ok"}, ends)
        elif failed is not None:
            self._quiet(view, 0.0)
            if not live or given_up:
                self._fail(failed, ends, width)
        elif resizing:
            self._next_epoch(view, live)
        elif self._stopping(view):
            self._quiet(view)
            if not live:
                self._conclude("stopped", STOPPED, ends, view.now)
        else:
            self._mend(view, width)
            if self._lost(view):
                self._quiet(view)
            if not live:
                self._without_pods(view, ends)

    def _members_begun(self, view: View, pods: list[Seen], epoch: int, width: int) -> None:
        began: dict[int, float] = {}
        for pod in pods:
            if pod.started:
                began.setdefault(pod.index, pod.started)
        if len(began) == width:
            wide = {"epoch": epoch, "width": width} if width > 1 or epoch > 1 else {}
            self._begun(0, 1, max(began.values()), wide, epoch)

    def _fail(self, failed: tuple[int, End], ends: dict[int, End], width: int) -> None:
        rank, end = failed
        exit = dict(end.exit)
        if width > 1:
            words = exit.get("message", exit["reason"])
            exit |= {"rank": rank, "message": f"member {rank} of {width}: {words}"}
        state = "lost" if end.state == "stopped" else end.state
        self._conclude(state, exit, ends, end.at)

    def _conclude(self, state: Any, exit: Object, ends: dict[int, End], at: float = 0.0) -> None:
        """One attempt: the first member's outputs, everybody's usage."""
        body = dict(ends[0].body) if 0 in ends and state == "succeeded" else {}
        usages = [end.body.get("usage") or {} for end in ends.values()]
        if any(usages):
            body["usage"] = {
                "cpu": round(sum(each.get("cpu", 0.0) for each in usages), 6),
                "memory": sum(each.get("memory", 0) for each in usages),
                "wall": max(each.get("wall", 0.0) for each in usages),
            }
        latest = max([end.at for end in ends.values()], default=at) or at
        if state == "succeeded" and 0 in ends:
            exit = ends[0].exit
        self._ended(0, 1, End(state=state, at=latest, exit=exit, body=body))
        self._finish(state, exit, latest)

    def _next_epoch(self, view: View, live: list[Seen]) -> None:
        self._quiet(view, float(self.spec["stop"]["grace"]))
        if not live:
            self._orders.append(
                Order(
                    do="epoch",
                    role=self.name,
                    epoch=int(view.wanted["epoch"]),
                    width=int(view.wanted["width"]),
                )
            )

    def _without_pods(self, view: View, ends: dict[int, End]) -> None:
        if self._lost(view):
            exit = {"reason": "lost", "message": "somebody deleted it from outside"}
            self._conclude("lost", exit, ends, view.now)
            return
        ended = states.finished(view.workload) if view.workload else None
        if ended is not None:
            exit = states.job_exit(ended[1])
            state = "lost" if exit["reason"] == "lost" else "failed"
            self._conclude(state, exit, ends, states.when(ended[1].get("lastTransitionTime")))


class Array(Role):
    """Each item by itself; the cluster tries a failed one again."""

    def __init__(self, placement: str, name: str, spec: Object) -> None:
        super().__init__(placement, name, spec)
        done = set(names.items(spec.get("done", "")))
        self.count = int(spec["shape"]["count"])
        self.todo = [item for item in range(self.count) if item not in done]
        self._attempts: dict[int, dict[str, int]] = {}

    def attempt(self, pod: Seen) -> int:
        """Which try of its item a pod is. The cluster does not count one that was taken away
        without having failed."""
        known = self._attempts.setdefault(pod.index, {})
        if pod.uid not in known:
            taken = set(known.values())
            known[pod.uid] = next(n for n in count(pod.tries + 1) if n not in taken)
        return known[pod.uid]

    def _look(self, view: View) -> None:
        last: dict[int, tuple[int, End]] = {}
        live = False
        if (
            not view.pods
            and self.todo
            and (end := self._waits(view, view.blocked, self.todo[0], 1))
        ):
            self._quiet(view, 0.0)
            self._ended(self.todo[0], 1, end)
            self._finish("failed", end.exit, end.at)
            return
        behind: set[int] = set()
        for pod in sorted(view.pods, key=lambda pod: (pod.tries, pod.created)):
            if not 0 <= pod.index < len(self.todo):
                continue
            item, attempt = self.todo[pod.index], self.attempt(pod)
            if item in behind:  # first comes the end of the try before
                live = True
                continue
            if _unsettled(pod, view):
                behind.add(item)
            given_up = self._waits(view, pod.why, item, attempt)
            if given_up is not None:  # what holds for one of them holds for all
                self._quiet(view, 0.0)
                self._ended(item, attempt, given_up)
                self._finish("failed", given_up.exit, given_up.at)
                return
            if pod.started:
                self._begun(item, attempt, pod.started, {})
            end = self._end(view, pod)
            if end is None:
                live = True
                continue
            self._ended(item, attempt, end)
            if item not in last or last[item][0] < attempt:
                last[item] = attempt, end
        self._conclude(view, {item: end for item, (_try, end) in last.items()}, live)

    def _conclude(self, view: View, last: dict[int, End], live: bool) -> None:
        wins = sum(1 for end in last.values() if end.state == "succeeded")
        if wins == len(self.todo):
            self._finish("succeeded", {"reason": "ok"}, self.at or view.now)
        elif self._stopping(view):
            self._quiet(view)
            if not live:
                self._finish("stopped", STOPPED, self.at or view.now)
        elif not live and (self._lost(view) or (view.workload and states.finished(view.workload))):
            self._lose_or_fail(view, last)
        elif self._lost(view):
            self._quiet(view)
        elif not live and view.stuck:
            # The cluster puts no other in its place before it is sure that it runs no more.
            words = "a machine does not answer any more"
            self._finish("lost", {"reason": "lost", "message": words}, self.at or view.now)
        else:
            wide = int(view.wanted.get("width", self.spec["shape"]["at_once"]))
            self._mend(view, render.at_once(wide, len(self.todo)))

    def _lose_or_fail(self, view: View, last: dict[int, End]) -> None:
        """The Job has given up some items, or is gone: what the user's code failed at has failed,
        what nobody saw the end of is lost."""
        failed = {item: end for item, end in last.items() if end.state == "failed"}
        if len(failed) + sum(end.state == "succeeded" for end in last.values()) < len(self.todo):
            words = "the cluster lost some items before their end"
            self._finish("lost", {"reason": "lost", "message": words}, self.at or view.now)
            return
        item = min(failed)
        exit = failed[item].exit
        why = exit.get("message", exit["reason"])
        text = f"{len(failed)} of {self.count} items failed; item {item}: {why}"
        told = {**exit, "message": text, "items": sorted(failed)[:1000]}
        self._finish("failed", told, self.at or view.now)


class Replicas(Role):
    """Interchangeable, kept alive until stopped. The cluster starts them again; a pod that comes in
    another's place takes its index. When each has failed too often in a row, all are given up."""

    finite = False

    def __init__(self, placement: str, name: str, spec: Object) -> None:
        super().__init__(placement, name, spec)
        self._given_up: tuple[int, End] | None = None
        self._tries: dict[int, int] = {}
        self._named: dict[str, Object] = {}

    def _look(self, view: View) -> None:
        count = int(view.wanted.get("width", self.spec["shape"]["count"]))
        live = [pod for pod in view.pods if pod.uid not in view.gone]
        self._count(view)
        self._name(live, count)
        live += [pod for pod in view.pods if pod.uid in view.gone and _unsettled(pod, view)]
        failing: dict[int, End] = {}
        up = False
        if not view.pods and (blocked := self._waits(view, view.blocked, 0, 1)):
            failing[0] = blocked
        for pod in view.pods:
            end = self._replica(view, pod, count) if "index" in pod.named else None
            if end is not None:
                failing[int(pod.named["index"])] = end
            elif pod.uid not in view.gone:
                up = True
        if failing and not up and not self._stopping(view) and self._given_up is None:
            self._given_up = min(failing.items())
        if self._given_up is not None:
            self._quiet(view, 0.0)
            if not live:
                self._give_up(view, *self._given_up)
        elif self._stopping(view) or count == 0:
            self._quiet(view)
            if not live:
                self._finish("stopped", STOPPED, self.at or view.now)
        elif self._lost(view):
            self._quiet(view)
            if not live:
                words = "somebody deleted it from outside"
                self._finish("lost", {"reason": "lost", "message": words}, self.at or view.now)
        else:
            self._mend(view, count)

    def _give_up(self, view: View, index: int, end: End) -> None:
        why = end.exit.get("message", end.exit["reason"])
        text = f"no replica is left; replica {index}: {why}"
        self._finish("failed", {**end.exit, "message": text}, self.at or view.now)

    def _count(self, view: View) -> None:
        """How many tries each has had. Written down, because pods that are gone tell it no more,
        and two tries under one number would be one to whoever hears of them."""
        for number, most in view.tried.items():
            self._tries[int(number)] = max(most, self._tries.get(int(number), 0))
        for pod in view.pods:
            if "index" in pod.named:
                index, used = int(pod.named["index"]), _attempt(pod)
                self._tries[index] = max(used, self._tries.get(index, 0))
        known = {str(index): most for index, most in sorted(self._tries.items())}
        if known != dict(view.tried) and not self._stopping(view):
            self._orders.append(Order(do="tries", role=self.name, unit=known))

    def _name(self, live: list[Seen], count: int) -> None:
        """Give new pods the lowest index that is free, and the number of tries before them. What
        was given once stays: the pod may not show it yet."""
        # One that is on its way out has been replaced: who comes takes its place.
        stays = [p for p in live if "index" in p.named and not p.leaving and not p.final]
        new = [pod for pod in live if "index" not in pod.named and not pod.leaving]
        self._named = {pod.uid: self._named[pod.uid] for pod in new if pod.uid in self._named}
        taken = {int(pod.named["index"]) for pod in stays}
        taken |= {int(unit["index"]) for unit in self._named.values()}
        free = (index for index in range(count + len(live)) if index not in taken)
        for pod in sorted(new, key=lambda pod: (pod.created, pod.name)):
            if pod.uid not in self._named:
                index = next(free)
                self._named[pod.uid] = {"index": index, "before": self._tries.get(index, 0)}
            unit = self._named[pod.uid]
            self._orders.append(Order(do="name", role=self.name, pod=pod.name, unit=unit))

    def told(self, view: View, pod: Seen) -> bool:
        """Whether all has been told of a pod that is gone; what was remembered of it is forgotten
        then, but for the number of its tries: a role may last for months."""
        if _unsettled(pod, view):
            return False
        if "index" in pod.named and self.over is None:
            index, last = int(pod.named["index"]), _attempt(pod)
            if self._told.get(f"{self.name}/{index}/{last}", (0, 0.0))[0] < _ENDED:
                return False
            for attempt in range(int(pod.named["before"]) + 1, last + 1):
                self._told.pop(f"{self.name}/{index}/{attempt}", None)
        return True

    def _replica(self, view: View, pod: Seen, count: int) -> End | None:
        """Tell of one replica; its end, if it is given up."""
        index, before = int(pod.named["index"]), int(pod.named["before"])
        attempt = _attempt(pod)
        self._told.pop(f"{self.name}/{index}/{attempt - _REMEMBERED - 1}", None)
        given_up = self._waits(view, pod.why, index, attempt)
        for start in self._unseen(index, before, pod.restarts):
            past = view.ends.get((pod.uid, start)) or pod.last
            self._ended(index, before + start + 1, self._failed(past, view))
        if pod.started and pod.end is None:
            self._lives(pod, index, attempt)
        end = None
        if pod.uid in view.gone:
            end = None if _unsettled(pod, view) else self._gone(view, pod, count)
        elif pod.end is not None and (settled := view.ends.get((pod.uid, pod.restarts))):
            sent_away = pod.leaving > 0
            end = self._gone(view, pod, count) if sent_away else self._failed(settled, view)
        if end is not None:
            self._ended(index, attempt, end)
        if given_up is not None:
            return given_up
        # Being sent away is no failure of its own.
        failures = pod.restarts + (end is not None and end.state != "lost")
        if failures > int(self.spec["restart"]["most"]) and pod.lasted <= SETTLED:
            return end or self._failed(pod.last, view)
        return None

    def _lives(self, pod: Seen, index: int, attempt: int) -> None:
        port = self.spec.get("port") or 8080
        address = f"[{pod.address}]:{port}" if ":" in pod.address else f"{pod.address}:{port}"
        self._begun(index, attempt, pod.started, {"address": address})
        if pod.ready and pod.ready >= pod.started and self.spec.get("probed"):
            body = {"state": "ready", "address": address}
            # Later starts of this pod are attempts of their own, so one number will do.
            self._tell(index, attempt, _RUNNING + 1, pod.ready, body)

    def _unseen(self, index: int, before: int, restarts: int) -> Iterator[int]:
        """Earlier starts of this pod whose end has not been told."""
        for start in range(max(0, restarts - _REMEMBERED), restarts):
            stream = f"{self.name}/{index}/{before + start + 1}"
            if self._told.get(stream, (0, 0.0))[0] < _ENDED:
                yield start

    def _failed(self, end: End | None, view: View) -> End:
        if end is None:
            exit = {"reason": "lost", "message": "it ended while nobody looked"}
            return End(state="failed", at=view.now, exit=exit)
        if end.state == "stopped" and not self._stopping(view):
            seconds = float(self.spec.get("timeout") or 0)
            words = f"not ready after {seconds:g} s" if seconds else "it was ended from outside"
            exit = {"reason": "timeout", "message": words}
            return End(state="failed", at=end.at, exit=exit, body=end.body)
        if end.state == "succeeded":
            exit = {**end.exit, "message": "ended by itself; a replica is kept alive"}
            return End(state="succeeded", at=end.at, exit=exit, body=end.body)
        return end

    def _gone(self, view: View, pod: Seen, count: int) -> End:
        surplus = int(pod.named["index"]) >= count
        found = view.ends.get((pod.uid, pod.restarts))
        at = found.at if found else _left(pod, view)
        body = found.body if found else {}
        if self._stopping(view) or surplus or self._given_up is not None:
            return End(state="stopped", at=at, exit=found.exit if found else STOPPED, body=body)
        if found is None or found.state == "stopped":
            words = {"reason": "lost", "message": "it was sent away; another takes its place"}
            return End(state="lost", at=at, exit=pod.away or words, body=body)
        return found


def _left(pod: Seen, view: View) -> float:
    """When a pod of which nothing more is known has ended; it had time until `leaving`."""
    return min(pod.leaving or view.now, view.now)


def _attempt(pod: Seen) -> int:
    return int(pod.named["before"]) + pod.restarts + 1


def _unsettled(pod: Seen, view: View) -> bool:
    return pod.end is not None and (pod.uid, pod.restarts) not in view.ends


def _note(found: Object, key: str) -> str:
    return str((found["metadata"].get("annotations") or {}).get(key, ""))


SHAPES: dict[str, type[Role]] = {"gang": Gang, "array": Array, "replicas": Replicas}
