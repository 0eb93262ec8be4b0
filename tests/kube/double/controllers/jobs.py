"""The Job controller."""

import copy
import time
from collections import defaultdict
from collections.abc import Hashable, Iterable

from tests.kube.double.controllers import templates
from tests.kube.double.controllers.events import tell
from tests.kube.double.controllers.failures import (
    COUNT,
    IGNORED,
    INDEX,
    counts_after,
    ended_at,
)  # fmt: skip
from tests.kube.double.controllers.loop import Controller
from tests.kube.double.controllers.ranking import rank
from tests.kube.double.controllers.tally import TRACKED, Counted, Tally, Verdict
from tests.kube.double.objects import (
    Object,
    condition,
    controller_of,
    deleting,
    finalizers_of,
    holds,
    name_of,
    namespace_of,
    seconds,
    set_condition,
    stamp,
    uid_of,
)  # fmt: skip
from tests.kube.double.registry import Registry
from tests.kube.double.resources import JOBS, PODS
from tests.kube.double.settings import Settings
from tests.kube.double.statuses import Refusal
from tests.kube.double.storage import Event

_SOURCE = "job-controller"
Key = tuple[str, str, str]


class Jobs(Controller):
    def __init__(self, registry: Registry, settings: Settings) -> None:
        self.registry, self.settings, self.clock = registry, settings, registry.clock
        # By the job's uid: how often in a row its pods failed, and which were seen.
        self._failed: dict[str, list[float]] = defaultdict(list)
        self._seen: dict[str, set[str]] = defaultdict(set)
        self._refused: dict[str, int] = defaultdict(int)
        self._took = 0.0

    @property
    def patience(self) -> float:
        # A large job is looked at less often, so that its looks leave time for others.
        return max(self.settings.job_batch, min(1.0, 4 * self._took))

    def concerns(self, event: Event) -> Iterable[Hashable]:
        obj = event.object
        if event.resource is JOBS:
            yield namespace_of(obj), name_of(obj), uid_of(obj)
        elif event.resource is PODS:
            owner = controller_of(obj) or (event.before and controller_of(event.before))
            if owner and owner["kind"] == "Job":
                yield namespace_of(obj), owner["name"], owner["uid"]

    def sync(self, key: Hashable) -> float | None:
        assert isinstance(key, tuple)
        began = time.perf_counter()
        again = self._sync(*key)
        self._took = time.perf_counter() - began
        return again

    def _sync(self, namespace: str, name: str, uid: str) -> float | None:
        job = self.registry.storage.get(JOBS, namespace, name)
        pods = [obj for resource, obj in self.registry.storage.owned(uid) if resource is PODS]
        if job is None or uid_of(job) != uid:
            self._release(pods)
            return None
        if finished(job):
            self._release(pods)
            return self._expire(job)
        if deleting(job):
            self._release(pods)
            tally = Tally(job, self._pods(job), self.clock.now())
            self.registry.edit(JOBS, job, lambda new: tally.counts(new["status"]), "status")
            return None
        return self._advance(job, pods)

    def _advance(self, job: Object, pods: list[Object]) -> float | None:
        """One look at an unfinished job."""
        tally = Tally(job, pods, self.clock.now())
        self._note(job, tally)
        verdict = tally.verdict()
        waits: list[float] = []
        if verdict.fails:
            for pod in tally.active:
                self._delete(job, pod)
        else:
            waits += self._manage(job, tally)
            verdict = verdict if verdict.reason else tally.success()
        if (left := tally.left()) is not None:
            waits.append(left)
        tally.refresh(job, self._pods(job))
        counted = tally.counted(verdict)
        job = self._write(job, tally, verdict, counted) or job
        self._release(counted.all)
        self._settle(job, tally, verdict)
        return min(waits) if waits else None

    def _pods(self, job: Object) -> list[Object]:
        owned = self.registry.storage.owned(uid_of(job))
        return [obj for resource, obj in owned if resource is PODS]

    def _write(
        self, job: Object, tally: Tally, verdict: Verdict, counted: Counted
    ) -> Object | None:
        """The first of two writes: what ended, and where the job is bound to."""

        def change(new: Object) -> None:
            status = new["status"]
            tally.describe(status, counted, settled=False)
            self._conditions(job, new, tally, verdict)

        return self.registry.edit(JOBS, job, change, "status")

    def _settle(self, job: Object, tally: Tally, verdict: Verdict) -> None:
        """The second: the ended pods are counted; the job ends once no pod is left to end."""
        tally.refresh(job, self._pods(job))
        over = bool(verdict.reason) and not tally.active and not tally.terminating
        now = self.clock.now()

        def change(new: Object) -> None:
            tally.describe(new["status"], tally.counted(verdict), settled=True)
            if over:
                kind = "Failed" if verdict.fails else "Complete"
                if kind == "Complete":
                    new["status"]["completionTime"] = stamp(now)
                set_condition(new, verdict.condition(kind), now)

        self.registry.edit(JOBS, job, change, "status")
        if over:
            reason = verdict.reason if verdict.fails else "Completed"
            words = verdict.message if verdict.fails else "Job completed"
            tell(self.registry, self.clock, _SOURCE, job, reason, words, warning=verdict.fails)
            self._failed.pop(uid_of(job), None)

    def _conditions(self, job: Object, new: Object, tally: Tally, verdict: Verdict) -> None:
        now = self.clock.now()
        if verdict.reason:
            kind = "FailureTarget" if verdict.fails else "SuccessCriteriaMet"
            set_condition(new, verdict.condition(kind), now)
            return
        if tally.suspended:
            new["status"].pop("startTime", None)
            if not holds(new, "Suspended"):
                self._suspension(new, "True", "Suspended", "Job suspended")
        else:
            new["status"].setdefault("startTime", stamp(now))
            if holds(new, "Suspended"):
                self._suspension(new, "False", "Resumed", "Job resumed")
                new["status"]["startTime"] = stamp(now)

    def _suspension(self, job: Object, status: str, word: str, message: str) -> None:
        new = {"type": "Suspended", "status": status, "reason": f"Job{word}", "message": message}
        set_condition(job, new, self.clock.now())
        tell(self.registry, self.clock, _SOURCE, job, word, message)

    def _manage(self, job: Object, tally: Tally) -> list[float]:
        """Makes as many pods active as are wanted; returns after how long to look again."""
        surplus = tally.surplus(tally.wanted())
        for pod in sorted(surplus, key=rank):
            self._release([pod])
            self._delete(job, pod)
        lacking = tally.lacking()
        if surplus or lacking <= 0:
            return []
        if (wait := self._backoff(job)) > 0 and not tally.per_index:
            return [wait]
        return self._create(job, tally, lacking)

    def _create(self, job: Object, tally: Tally, lacking: int) -> list[float]:
        waits: list[float] = []
        chosen: list[int | None] = []
        for index in tally.pending():
            if len(chosen) == lacking:
                break
            wait = self._index_backoff(job, tally, index) if tally.per_index else 0.0
            if wait > 0:
                waits.append(wait)
            else:
                chosen.append(index)
        for index in chosen:
            try:
                pod = self.registry.create(PODS, self._pod(job, tally, index))
            except Refusal as error:
                words = f"Error creating: {error.message}"
                tell(self.registry, self.clock, _SOURCE, job, "FailedCreate", words, warning=True)
                self._refused[uid_of(job)] += 1
                wait = self.settings.create_backoff * 2.0 ** min(self._refused[uid_of(job)] - 1, 30)
                return [*waits, min(wait, self.settings.create_backoff_most)]
            self._refused.pop(uid_of(job), None)
            words = f"Created pod: {name_of(pod)}"
            tell(self.registry, self.clock, _SOURCE, job, "SuccessfulCreate", words)
        return waits

    def _pod(self, job: Object, tally: Tally, index: int | None) -> Object:
        prefix = f"{name_of(job)}-" if index is None else f"{name_of(job)}-{index}-"
        pod = templates.pod(job, prefix)
        pod["metadata"]["finalizers"] = [*finalizers_of(pod), TRACKED]
        if index is None:
            return pod
        pod["metadata"].setdefault("labels", {})[INDEX] = str(index)
        marks = pod["metadata"].setdefault("annotations", {})
        marks[INDEX] = str(index)
        pod["spec"]["hostname"] = f"{name_of(job)}-{index}"
        field = {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}
        row = {"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": field}}
        for kind in ("initContainers", "containers"):
            for container in pod["spec"].get(kind) or []:
                container["env"] = [*(container.get("env") or []), copy.deepcopy(row)]
        if tally.per_index:
            last = tally.last_failed(index)
            failed, ignored = counts_after(job, last) if last else (0, 0)
            marks[COUNT] = str(failed)
            if ignored:
                marks[IGNORED] = str(ignored)
        return pod

    def _delete(self, job: Object, pod: Object) -> None:
        found = self.registry.storage.get(PODS, namespace_of(pod), name_of(pod))
        if found is None or deleting(found):
            return
        self.registry.delete(PODS, namespace_of(pod), name_of(pod))
        words = f"Deleted pod: {name_of(pod)}"
        tell(self.registry, self.clock, _SOURCE, job, "SuccessfulDelete", words)

    def _release(self, pods: Iterable[Object]) -> None:
        for pod in pods:
            if TRACKED in finalizers_of(pod):
                self.registry.edit(PODS, pod, _untrack)

    def _note(self, job: Object, tally: Tally) -> None:
        """Remembers new failures in a row; a success ends the row."""
        seen, row = self._seen[uid_of(job)], self._failed[uid_of(job)]
        for pod in tally.succeeded:
            if uid_of(pod) not in seen:
                seen.add(uid_of(pod))
                row.clear()
        for pod in tally.failed:
            if uid_of(pod) not in seen:
                seen.add(uid_of(pod))
                row.append(ended_at(pod))

    def _backoff(self, job: Object) -> float:
        row = self._failed[uid_of(job)]
        return self._delay(len(row)) - (self.clock.now() - max(row)) if row else 0.0

    def _index_backoff(self, job: Object, tally: Tally, index: int | None) -> float:
        last = tally.last_failed(index)
        if last is None:
            return 0.0
        return self._delay(sum(counts_after(job, last))) - (self.clock.now() - ended_at(last))

    def _delay(self, failures: int) -> float:
        wait = self.settings.job_backoff * 2.0 ** min(failures - 1, 30)
        return min(wait, self.settings.job_backoff_most)

    def _expire(self, job: Object) -> float | None:
        seconds_left = job["spec"].get("ttlSecondsAfterFinished")
        end = condition(job, "Complete") or condition(job, "Failed")
        if seconds_left is None or deleting(job) or end is None:
            return None
        left = seconds(end["lastTransitionTime"]) + float(seconds_left) - self.clock.now()
        if left > 0:
            return left
        options = {"propagationPolicy": "Foreground"}
        self.registry.delete(JOBS, namespace_of(job), name_of(job), options)
        return None


def finished(job: Object) -> bool:
    return holds(job, "Complete") or holds(job, "Failed")


def _untrack(pod: Object) -> None:
    kept = [one for one in finalizers_of(pod) if one != TRACKED]
    pod["metadata"]["finalizers"] = kept
