"""Which pods a controller would rather lose."""

from tests.kube.double.objects import (
    Object,
    annotations_of,
    condition,
    holds,
    name_of,
    node_of,
    phase_of,
    seconds,
)  # fmt: skip

_PHASES = {"Pending": 0, "": 1, "Unknown": 1, "Running": 2}


def rank(pod: Object) -> tuple[object, ...]:
    """The lowest goes first: no node, pending, not ready, cheap, not long ready, young."""
    ready = condition(pod, "Ready") if holds(pod, "Ready") else None
    since = seconds(ready["lastTransitionTime"]) if ready else 0.0
    restarts = [one.get("restartCount", 0) for one in pod["status"].get("containerStatuses") or []]
    return (
        bool(node_of(pod)),
        _PHASES.get(phase_of(pod), 3),
        ready is not None,
        int(annotations_of(pod).get("controller.kubernetes.io/pod-deletion-cost", 0)),
        -since,
        -max(restarts, default=0),
        -seconds(pod["metadata"]["creationTimestamp"]),
        -int(pod["metadata"]["resourceVersion"]),
        name_of(pod),
    )
