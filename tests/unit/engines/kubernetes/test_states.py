"""What a pod's status means, in a data scientist's words."""

from __future__ import annotations

from typing import Any

import pytest

from tradewind.engines.kubernetes import states

Object = dict[str, Any]
BATCH = "batch.kubernetes.io/job-completion-index"


def a_pod(status: Object, **meta: Any) -> Object:
    born = {"name": "p", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    spec = {"containers": [{"name": "main", "image": "corp/x:1", "resources": {}}]}
    return {"metadata": {**born, **meta}, "spec": spec, "status": status}


def ended(**how: Any) -> Object:
    row = {"name": "main", "state": {"terminated": how}, "restartCount": 0}
    return {"phase": "Failed", "containerStatuses": [row]}


@pytest.mark.parametrize(
    ("meta", "index"),
    [
        ({"annotations": {BATCH: "3"}}, 3),
        ({"annotations": {}, "labels": {BATCH: "4"}}, 4),
        ({"annotations": {BATCH: "x"}}, -1),
        ({}, -1),
    ],
)
def test_which_completion_it_is(meta: Object, index: int) -> None:
    assert states.read(a_pod({}, **meta)).index == index


def test_what_lacks_is_named_without_the_full_stop() -> None:
    words = "0/1 nodes are available: 1 Insufficient corp.com/gpu, 1 Insufficient cpu. preemption:"
    row = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    why = states.read(a_pod({"conditions": [row]})).why
    assert why is not None and why.words == "no machine has enough CPU and corp.com/gpu free now"


def test_an_end_without_a_time_was_when_it_was_asked_for() -> None:
    """The time of a deletion in the object is when it is due."""
    meta = {"deletionTimestamp": "2026-01-01T00:00:40Z", "deletionGracePeriodSeconds": 30}
    end = states.read(a_pod(ended(exitCode=1), **meta)).end
    assert end is not None and end.at == states.when("2026-01-01T00:00:10Z")


@pytest.mark.parametrize("code", [126, 127, 128])
def test_an_image_without_us(code: int) -> None:
    end = states.read(a_pod(ended(exitCode=code))).end
    assert end is not None and end.exit["reason"] == "environment"
    assert "corp/x:1" in end.exit["message"] and "image" in end.exit["hint"]


SILENT = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:01:00Z"}
UP = {"name": "main", "state": {"running": {"startedAt": "2026-01-01T00:00:05Z"}}}


@pytest.mark.parametrize(
    ("spec", "after"),
    [
        ({"restartPolicy": "Always"}, 30),
        # Until it is sure that it runs no more: its grace, and some time besides.
        ({"restartPolicy": "Never", "terminationGracePeriodSeconds": 12}, 87),
    ],
)
def test_a_machine_that_is_silent_has_a_name(spec: Object, after: int) -> None:
    found = a_pod({"phase": "Running", "containerStatuses": [UP], "conditions": [SILENT]})
    toleration = {"key": "node.kubernetes.io/unreachable", "tolerationSeconds": 30}
    found["spec"] |= {"nodeName": "n7", "tolerations": [toleration], **spec}
    seen = states.read(found)
    words = f"its machine n7 stopped answering; begins elsewhere after {after} s of that"
    assert seen.silent is not None and seen.silent.words == words
    assert seen.silent.since == seen.unready == states.when("2026-01-01T00:01:00Z")
    assert (seen.ready, seen.why) == (0.0, None)


@pytest.mark.parametrize(
    "status",
    [
        {"containerStatuses": [UP], "conditions": [{**SILENT, "status": "True"}]},
        {"containerStatuses": [UP], "conditions": [{**SILENT, "reason": "ContainersNotReady"}]},
        {"containerStatuses": [UP], "conditions": []},
        {**ended(exitCode=0), "conditions": [SILENT]},
    ],
)
def test_a_machine_that_speaks_is_not_silent(status: Object) -> None:
    assert states.read(a_pod(status)).silent is None


def test_who_is_sent_away_says_why() -> None:
    row = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
    seen = states.read(a_pod({"phase": "Running", "conditions": [row]}))
    assert seen.away is not None and seen.away["message"] == "its machine does not answer any more"
