"""What a Job's pods add up to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tests.kube.double.controllers import indexes
from tests.kube.double.controllers.failures import IGNORED, count_of, gives_up, index_of, judge
from tests.kube.double.controllers.ranking import rank
from tests.kube.double.objects import (
    Object,
    annotations_of,
    condition,
    deleting,
    ended,
    finalizers_of,
    holds,
    phase_of,
    seconds,
    uid_of,
    version_of,
)  # fmt: skip

TRACKED = "batch.kubernetes.io/job-tracking"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a job is bound to; without a reason it goes on."""

    fails: bool = False
    reason: str = ""
    message: str = ""

    def condition(self, kind: str) -> Object:
        return {"type": kind, "status": "True", "reason": self.reason, "message": self.message}


_REACHED = Verdict(False, "CompletionsReached", "Reached expected number of succeeded pods")


@dataclass(slots=True)
class Counted:
    """Ended pods that the job's status is about to count."""

    succeeded: list[Object] = field(default_factory=list)
    failed: list[Object] = field(default_factory=list)
    ignored: list[Object] = field(default_factory=list)

    @property
    def all(self) -> list[Object]:
        return [*self.succeeded, *self.failed, *self.ignored]


class Tally:
    def __init__(self, job: Object, pods: list[Object], now: float) -> None:
        self.spec, self.now = job["spec"], now
        self.indexed = self.spec["completionMode"] == "Indexed"
        self.per_index = self.spec.get("backoffLimitPerIndex") is not None
        self.suspended = bool(self.spec["suspend"])
        self.waits = self.spec["podReplacementPolicy"] == "Failed"
        self.refresh(job, pods)

    def refresh(self, job: Object, pods: list[Object]) -> None:
        """Looks at the job and its pods as they are now."""
        self.job, self.status, self.pods = job, job["status"], pods
        self.active = [one for one in pods if not ended(one) and not deleting(one)]
        self.terminating = [one for one in pods if not ended(one) and deleting(one)]
        # Ended, and not yet in the job's status.
        fresh = [one for one in pods if TRACKED in finalizers_of(one)]
        self.succeeded = [one for one in fresh if phase_of(one) == "Succeeded"]
        # Where no pod is replaced before it has ended, one that terminates has not failed yet.
        self.failed = [
            one
            for one in fresh
            if phase_of(one) == "Failed" or (not self.waits and deleting(one) and not ended(one))
        ]
        for name in ("completed", "failed_indexes"):
            self.__dict__.pop(name, None)

    @cached_property
    def completed(self) -> set[int]:
        found = indexes.read(self.status.get("completedIndexes", ""))
        found |= {index_of(one) for one in self.succeeded}
        return {index for index in found if 0 <= index < self.spec["completions"]}

    @cached_property
    def failed_indexes(self) -> set[int]:
        if not self.per_index:
            return set()
        found = indexes.read(self.status.get("failedIndexes", ""))
        found |= {index_of(one) for one in self.failed if gives_up(self.job, one)}
        return {one for one in found - self.completed if 0 <= one < self.spec["completions"]}

    def verdict(self) -> Verdict:
        for kind, fails in (("FailureTarget", True), ("SuccessCriteriaMet", False)):
            if holds(self.job, kind):
                found = condition(self.job, kind) or {}
                return Verdict(fails, found["reason"], found["message"])
        matches = [judge(self.job, one) for one in self.failed]
        for one in matches:
            if one.action == "FailJob":
                return Verdict(True, "PodFailurePolicy", one.message)
        failed = self.status.get("failed", 0) + sum(one.action != "Ignore" for one in matches)
        if failed > self.spec["backoffLimit"]:
            words = "Job has reached the specified backoff limit"
            return Verdict(True, "BackoffLimitExceeded", words)
        if (left := self.left()) is not None and left <= 0:
            words = "Job was active longer than specified deadline"
            return Verdict(True, "DeadlineExceeded", words)
        most = self.spec.get("maxFailedIndexes")
        if most is not None and len(self.failed_indexes) > most:
            words = "Job has exceeded the specified maximal number of failed indexes"
            return Verdict(True, "MaxFailedIndexesExceeded", words)
        if self.per_index and self.failed_indexes and self._remaining() == 0:
            return Verdict(True, "FailedIndexes", "Job has failed indexes")
        return Verdict()

    def success(self) -> Verdict:
        """Whether enough pods have succeeded."""
        if self.suspended:
            return Verdict()
        if self.spec.get("completions") is None:
            done = bool(self._succeeded()) and not self.active and not self.terminating
            return _REACHED if done else Verdict()
        if self._succeeded() >= self.spec["completions"]:
            return _REACHED
        return Verdict()

    def left(self) -> float | None:
        """Returns how long the job may still be active."""
        limit, start = self.spec.get("activeDeadlineSeconds"), self.status.get("startTime")
        if limit is None or self.suspended:
            return None
        began = seconds(start) if start else self.now
        return began + float(limit) - self.now

    def _succeeded(self) -> int:
        if self.indexed:
            return len(self.completed)
        return int(self.status.get("succeeded", 0)) + len(self.succeeded)

    def _remaining(self) -> int:
        return int(self.spec["completions"]) - len(self.completed) - len(self.failed_indexes)

    def wanted(self) -> int:
        """Returns how many pods should be active."""
        if self.suspended:
            return 0
        parallelism = int(self.spec["parallelism"])
        if self.indexed:
            return min(parallelism, self._remaining())
        if self.spec.get("completions") is None:
            return len(self.active) if self._succeeded() else parallelism
        return min(parallelism, int(self.spec["completions"]) - self._succeeded())

    def surplus(self, wanted: int) -> list[Object]:
        """Returns the active pods that are too many."""
        if self.indexed:
            last = self.spec["completions"]
            beyond = [one for one in self.active if index_of(one) >= last]
        else:
            beyond = []
        rest = sorted((one for one in self.active if one not in beyond), key=rank)
        return beyond + rest[: max(0, len(rest) - wanted)]

    def lacking(self) -> int:
        held = len(self.terminating) if self.waits else 0
        return self.wanted() - len(self.active) - held

    def pending(self) -> list[int | None]:
        """Returns the indexes that wait for a pod, lowest first."""
        if not self.indexed:
            return [None] * max(0, self.lacking())
        taken = self.completed | self.failed_indexes | {index_of(one) for one in self.active}
        if self.waits:
            taken |= {index_of(one) for one in self.terminating}
        return [index for index in range(self.spec["completions"]) if index not in taken]

    def last_failed(self, index: int | None) -> Object | None:
        """Returns the failed pod that the next one of its index replaces."""
        found = [one for one in self.failed if index_of(one) == index]
        return max(found, key=lambda one: (sum(_counts(one)), version_of(one)), default=None)

    def counted(self, verdict: Verdict) -> Counted:
        """Returns the pods that may be counted; the last failure of an index waits for the next."""
        found = Counted()
        failed = {uid_of(one) for one in self.failed}
        latest: dict[int, int] = {}
        for pod in self.pods:
            latest[index_of(pod)] = max(latest.get(index_of(pod), 0), sum(_counts(pod)))
        for pod in self.pods:
            if TRACKED not in finalizers_of(pod):
                continue
            if phase_of(pod) == "Succeeded":
                found.succeeded.append(pod)
            elif uid_of(pod) in failed or (verdict.reason and deleting(pod)):
                if not verdict.reason and self._held(pod, latest[index_of(pod)]):
                    continue
                ignored = judge(self.job, pod).action == "Ignore"
                (found.ignored if ignored else found.failed).append(pod)
        return found

    def _held(self, pod: Object, latest: int) -> bool:
        """Whether a failed pod waits for the one that replaces it."""
        if not self.per_index or index_of(pod) in self.completed | self.failed_indexes:
            return False
        return latest <= sum(_counts(pod))

    def describe(self, status: Object, counted: Counted, *, settled: bool) -> None:
        """Writes the tally into a status: ended pods by uid, and then (settled) as numbers."""
        old = status.get("uncountedTerminatedPods") or {}
        failed, succeeded = int(status.get("failed", 0)), int(status.get("succeeded", 0))
        fresh: Object = {}
        if settled:
            failed += len(old.get("failed") or ())
            succeeded += len(old.get("succeeded") or ())
        else:
            fresh["failed"] = [uid_of(one) for one in counted.failed]
            if not self.indexed:
                fresh["succeeded"] = [uid_of(one) for one in counted.succeeded]
        if self.indexed:
            succeeded = len(self.completed)
        status["uncountedTerminatedPods"] = {key: row for key, row in fresh.items() if row}
        if self.indexed:
            _set(status, {"completedIndexes": indexes.write(self.completed)})
        if self.per_index:
            status["failedIndexes"] = indexes.write(self.failed_indexes)
        _set(status, {"failed": failed, "succeeded": succeeded})
        self.counts(status)

    def counts(self, status: Object) -> None:
        """Writes what the pods do now into a status."""
        _set(status, {"active": len(self.active)})
        status["terminating"] = len(self.terminating)
        status["ready"] = sum(holds(one, "Ready") for one in self.active)


def _set(status: Object, values: Mapping[str, int | str]) -> None:
    """What is nought stands in no status."""
    for name, value in values.items():
        if value:
            status[name] = value
        else:
            status.pop(name, None)


def _counts(pod: Object) -> tuple[int, int]:
    return count_of(pod), int(annotations_of(pod).get(IGNORED, 0))
