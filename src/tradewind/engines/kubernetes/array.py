"""An array in the cluster: items that are tried again one by one."""

from __future__ import annotations

from itertools import count

from tradewind.engines.kubernetes import names, render, states
from tradewind.engines.kubernetes.roles import STOPPED, Role, View, unsettled
from tradewind.engines.kubernetes.states import End, Object, Seen


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

    def lacks(self, pods: list[Seen], workload: Object) -> bool:
        """Pods that have ended are no reason to make no more: the cluster may hold them for as long
        as it has made none in their place."""
        return not states.finished(workload) and all(pod.end is not None for pod in pods)

    def _look(self, view: View) -> None:
        last: dict[int, tuple[int, End]] = {}
        live = False
        behind: set[int] = set()
        # The clock of the cluster knows whole seconds; of one that was put in another's place, that
        # other has ended.
        for pod in sorted(view.pods, key=lambda pod: (pod.tries, pod.created, _lives(pod, view))):
            if not 0 <= pod.index < len(self.todo):
                continue
            item, attempt = self.todo[pod.index], self.attempt(pod)
            if item in behind:  # first comes the end of the try before
                live = True
                continue
            if _lives(pod, view) or unsettled(pod, view):
                behind.add(item)
            given_up = self._waits(view, pod.why, item, attempt)
            if given_up is not None:  # what holds for one of them holds for all
                self._quiet(view, 0.0)
                self._ended(item, attempt, given_up)
                self._finish("failed", given_up.exit, given_up.at)
                return
            if pod.started:
                self._begun(item, attempt, pod.started, {})
                self._reach([pod], item, attempt, {"state": "running"})
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
        elif live or not self._refused(view, last):
            wide = int(view.wanted.get("width", self.spec["shape"]["at_once"]))
            self._mend(view, render.at_once(wide, len(self.todo)))

    def _refused(self, view: View, last: dict[int, End]) -> bool:
        """Whether it is given up because the cluster makes no pod of the item that comes next."""
        why = view.blocked
        if why and 0 < why.heard < max((pod.created for pod in view.pods), default=0.0):
            return False  # since then it has made one
        status = (view.workload or {}).get("status") or {}
        over = {
            n
            for key in ("completed", "failed")
            for n in names.items(status.get(f"{key}Indexes", ""))
        }
        place = next(
            (
                place
                for place, item in enumerate(self.todo)
                if place not in over and (item not in last or last[item].state != "succeeded")
            ),
            0,
        )
        item, attempt = self.todo[place], max(self._attempts.get(place, {}).values(), default=0) + 1
        end = self._waits(view, why, item, attempt)
        if end is not None:
            self._quiet(view, 0.0)
            self._ended(item, attempt, end)
            self._finish("failed", end.exit, end.at)
        return end is not None

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


def _lives(pod: Seen, view: View) -> bool:
    """Whether it has not ended, as far as we were told: of one that is gone that is told when its
    log is kept."""
    return pod.end is None and pod.uid not in view.gone
