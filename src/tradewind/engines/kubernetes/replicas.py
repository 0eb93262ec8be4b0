"""Replicas in the cluster: interchangeable, numbered by us, kept alive until stopped."""

from __future__ import annotations

from collections.abc import Iterator

from tradewind.engines.kubernetes.roles import (
    ENDED,
    READY,
    RUNNING,
    STEPS,
    STOPPED,
    UNREADY,
    Order,
    Role,
    View,
    left,
    unsettled,
)
from tradewind.engines.kubernetes.states import End, Object, Seen, Why

# A replica that ran this long has settled: its failures count anew.
SETTLED = 60.0
_UNREADY: Object = {"reason": "ContainersNotReady", "message": "its readiness probe fails"}
# So many of a replica's last tries are remembered.
_REMEMBERED = 20


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
        live += [pod for pod in view.pods if pod.uid in view.gone and unsettled(pod, view)]
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
        if unsettled(pod, view):
            return False
        if "index" in pod.named and self.over is None:
            index, last = int(pod.named["index"]), _attempt(pod)
            if self._told.get(f"{self.name}/{index}/{last}", (0, 0.0))[0] < ENDED:
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
            end = None if unsettled(pod, view) else self._gone(view, pod, count)
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
        body = {"state": "running", "address": address}
        if (
            self.spec.get("probed")
            and pod.unready > pod.started
            and not (pod.silent or pod.leaving)
        ):
            why = Why(words="it does not answer now", native=_UNREADY, since=pod.unready)
            self._says(why, index, attempt, UNREADY, "running")
        elif self.spec.get("probed") and pod.ready >= pod.started:
            body = {"state": "ready", "address": address}
            self._tell(index, attempt, RUNNING + int(pod.ready) * STEPS + READY, pod.ready, body)
        self._reach([pod], index, attempt, body)

    def _unseen(self, index: int, before: int, restarts: int) -> Iterator[int]:
        """Earlier starts of this pod whose end has not been told."""
        for start in range(max(0, restarts - _REMEMBERED), restarts):
            stream = f"{self.name}/{index}/{before + start + 1}"
            if self._told.get(stream, (0, 0.0))[0] < ENDED:
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
        at = found.at if found else left(pod, view)
        body = found.body if found else {}
        if self._stopping(view) or surplus or self._given_up is not None:
            return End(state="stopped", at=at, exit=found.exit if found else STOPPED, body=body)
        if found is None or found.state == "stopped":
            words = {"reason": "lost", "message": "it was sent away; another takes its place"}
            return End(state="lost", at=at, exit=pod.away or words, body=body)
        return found


def _attempt(pod: Seen) -> int:
    return int(pod.named["before"]) + pod.restarts + 1
