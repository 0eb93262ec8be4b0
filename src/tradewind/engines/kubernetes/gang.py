"""A gang in the cluster: all members or none, one epoch after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tradewind.engines.kubernetes import names, states
from tradewind.engines.kubernetes.roles import BEGUN, STOPPED, Order, Role, View
from tradewind.engines.kubernetes.states import End, Object, Seen, Why

# So many seconds apart all members begin; before, nobody is told that they wait for each other.
MOMENT = 3.0


class Gang(Role):
    """All members or none, one epoch after the other, as one attempt.

    A member whose process runs has been set up, and waits for the others before it begins user code
    (`pod/gate.py`). `open` is the last epoch whose members may begin.
    """

    open = 0
    # What it is called while it waits: one that has another width now ran before.
    _moved = "preparing"

    def lacks(self, pods: list[Seen], workload: Object) -> bool:
        """Of a gang, each member is wanted."""
        epoch = _epoch(workload)
        there = {pod.index for pod in pods if pod.epoch == epoch}
        return len(there) < int(workload["spec"]["completions"])

    def _look(self, view: View) -> None:
        job = view.workload
        epoch = _epoch(job) if job else int(view.wanted.get("epoch", 1))
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
        self._moved = "preparing" if epoch == 1 else "running"
        began = self._members_begun(pods, epoch, width)
        failed = _first_failure(
            (rank, end)
            for rank, end in over
            if not ((resizing or self._stopping(view)) and end.state in ("stopped", "lost"))
        )
        given_up = self._wait(view, pods, began, width) if len(began) < width else None
        if given_up and failed is None:
            failed = given_up
            ends[failed[0]] = failed[1]
        whole = len(began) == width and not any(_fell(pod, view) for pod in pods)
        if whole and not resizing and not self._stopping(view):
            self.open = epoch
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

    def _members_begun(self, pods: list[Seen], epoch: int, width: int) -> dict[int, float]:
        """Who has been set up, and when; once all are, the gang runs."""
        began: dict[int, float] = {}
        for pod in pods:
            if pod.started:
                began.setdefault(pod.index, pod.started)
        if len(began) == width:
            wide = {"epoch": epoch, "width": width} if width > 1 or epoch > 1 else {}
            self._begun(0, 1, max(began.values()), wide, epoch)
            rank = next((pod.index for pod in pods if pod.silent), 0)
            whose = f"member {rank} of {width}: " if width > 1 else ""
            self._reach(pods, 0, 1, {"state": "running", **wide}, whose)
        return began

    def _wait(
        self, view: View, pods: list[Seen], began: dict[int, float], width: int
    ) -> tuple[int, End] | None:
        """Tell what the members wait for; the one that is given up, if one is."""
        held = {pod.index: pod.why for pod in pods if pod.why and self._end(view, pod) is None}
        absent = set(range(width)) - {pod.index for pod in pods}
        if absent and view.blocked:
            held[min(absent)] = view.blocked
        if began:
            whys = [held[rank] for rank in sorted(held)]
            self._waits_for_others(view, pods, began, width, whys)
        elif held:  # of several reasons the newest, always the same one
            self._says(max(held.values(), key=lambda why: why.at), 0, 1, state=self._moved)
        for rank in sorted(held):
            if end := self._hopeless(view, held[rank]):
                return rank, end
        return None

    def _waits_for_others(
        self,
        view: View,
        pods: list[Seen],
        began: dict[int, float],
        width: int,
        held: list[Why],
    ) -> None:
        """Tell that some are there, and what the others lack."""
        made = [pod.created for pod in pods if pod.index not in began]
        since = max([*began.values(), *made, *(why.at for why in held)])
        words = f"waiting for {width - len(began)} of {width} members"
        if held:
            words, native = f"{words}: {held[0].words}", held[0].native
        elif view.now >= since + MOMENT:
            words, native = f"{words}, which are not set up yet", {}
        else:
            self.wake = since + MOMENT
            return
        why = Why(words=words, native=native, since=since)
        step = min(2 * len(began) + bool(held), BEGUN - 1)
        self._says(why, 0, 1, step, self._moved)

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


def _first_failure(ends: Iterable[tuple[int, End]]) -> tuple[int, End] | None:
    """The one that failed first; what was lost or stopped in its wake comes after it."""
    bad = [(rank, end) for rank, end in ends if end.state != "succeeded"]
    order = {"failed": 0, "lost": 1, "stopped": 2}
    return min(bad, key=lambda each: (order[each[1].state], each[1].at, each[0]), default=None)


def _fell(pod: Seen, view: View) -> bool:
    """Whether a member has ended without having done its work, told or not."""
    return pod.uid in view.gone if pod.end is None else pod.end.state != "succeeded"


def _epoch(job: Object) -> int:
    return int((job["metadata"].get("annotations") or {}).get(names.EPOCH) or 1)
