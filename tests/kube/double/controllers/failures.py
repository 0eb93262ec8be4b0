"""What a Job makes of its failed pods: its failure policy, and how long it waits."""

from dataclasses import dataclass

from tests.kube.double.objects import (
    Object,
    annotations_of,
    name_of,
    namespace_of,
    phase_of,
    seconds,
    status_of,
)  # fmt: skip

INDEX = "batch.kubernetes.io/job-completion-index"
COUNT = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"


@dataclass(frozen=True, slots=True)
class Match:
    """What the policy says about a pod; without a rule that fits: Count."""

    action: str = "Count"
    message: str = ""


def judge(job: Object, pod: Object) -> Match:
    rules = (job["spec"].get("podFailurePolicy") or {}).get("rules") or []
    if phase_of(pod) != "Failed":
        return Match()
    for number, rule in enumerate(rules):
        where = f"matching {rule['action']} rule at index {number}"
        pod_name = f"{namespace_of(pod)}/{name_of(pod)}"
        codes = rule.get("onExitCodes")
        if codes and (found := _exit(codes, pod)):
            message = f"Container {found[0]} for pod {pod_name} failed with exit code {found[1]}"
            return Match(rule["action"], f"{message} {where}")
        for pattern in rule.get("onPodConditions") or []:
            for one in status_of(pod).get("conditions") or []:
                if (one["type"], one["status"]) == (pattern["type"], pattern["status"]):
                    message = f"Pod {pod_name} has condition {one['type']} {where}"
                    return Match(rule["action"], message)
    return Match()


def _exit(codes: Object, pod: Object) -> tuple[str, int] | None:
    status = status_of(pod)
    for one in [
        *(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])
    ]:  # fmt: skip
        ended = (one.get("state") or {}).get("terminated")
        if not ended or not ended["exitCode"]:
            continue
        if codes.get("containerName") not in (None, "", one["name"]):
            continue
        if (ended["exitCode"] in codes["values"]) is (codes["operator"] == "In"):
            return one["name"], ended["exitCode"]
    return None


def index_of(pod: Object) -> int:
    return int(annotations_of(pod).get(INDEX, -1))


def count_of(pod: Object) -> int:
    return int(annotations_of(pod).get(COUNT, 0))


def counts_after(job: Object, pod: Object) -> tuple[int, int]:
    """Returns how often the pod's index has failed with it, and how often that was ignored."""
    failed, ignored = count_of(pod), int(annotations_of(pod).get(IGNORED, 0))
    if judge(job, pod).action == "Ignore":
        return failed, ignored + 1
    return failed + 1, ignored


def gives_up(job: Object, pod: Object) -> bool:
    """Whether this failed pod fails its index."""
    limit = job["spec"]["backoffLimitPerIndex"]
    return judge(job, pod).action == "FailIndex" or counts_after(job, pod)[0] > limit


def ended_at(pod: Object) -> float:
    rows = status_of(pod).get("containerStatuses") or []
    times = [
        found["finishedAt"]
        for one in rows
        if (found := (one.get("state") or {}).get("terminated")) and found.get("finishedAt")
    ]
    if times:
        return max(seconds(one) for one in times)
    metadata = pod["metadata"]
    if "deletionTimestamp" in metadata:
        grace = float(metadata.get("deletionGracePeriodSeconds", 0))
        return seconds(metadata["deletionTimestamp"]) - grace
    return seconds(metadata["creationTimestamp"])
