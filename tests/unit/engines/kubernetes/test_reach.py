"""Tasks that cannot reach their server: refused when it is plain, told when it shows."""

import json
from typing import Any

import pytest

from tradewind.base.errors import Refused
from tradewind.engines.kubernetes import names
from tradewind.engines.kubernetes.connect import check_server
from tradewind.engines.kubernetes.track import Track

ROLE = {"shape": {"shape": "gang", "least": 1, "most": 1}, "restart": {"most": 0},
        "stop": {"way": "kill", "grace": 0.0}, "timeout": 0.0, "port": 0, "probed": False,
        "done": ""}  # fmt: skip
BEGAN = 1_700_000_000.0


@pytest.mark.parametrize(
    ("server", "cluster", "good"),
    [
        ("http://127.0.0.1:7433", "https://10.0.0.1:6443", False),
        ("http://localhost:7433", "https://cluster.example:6443", False),
        ("http://127.0.0.1:7433", "https://127.0.0.1:6443", True),
        ("https://tradewind.example", "https://10.0.0.1:6443", True),
        ("http://tradewind.tradewind:7433", "https://127.0.0.1:6443", True),
    ],
)
def test_the_address_of_ones_own_machine_leads_nowhere_elsewhere(
    server: str, cluster: str, good: bool
) -> None:
    if good:
        check_server(server, cluster)
        return
    with pytest.raises(Refused, match="would not reach") as told:
        check_server(server, cluster)
    assert "`server`" in told.value.hint


def placement(since: float) -> Track:
    """One that has just been launched, with a pod that sets itself up since `BEGAN`."""
    track = Track("r1-main-1", "http://10.9.9.9:7433")
    root: dict[str, Any] = {"metadata": {
        "name": "r1", "uid": "u0", "resourceVersion": "1", "creationTimestamp": stamp(BEGAN - 1),
        "annotations": {names.ROLES: json.dumps({"worker": ROLE})}}}  # fmt: skip
    track.take_root(root, gone=False)
    notes = {names.ROLE: "worker", names.EPOCH: "1",
             "batch.kubernetes.io/job-completion-index": "0"}  # fmt: skip
    job = {"metadata": {"name": "j", "uid": "u2", "resourceVersion": "1", "annotations": notes},
           "spec": {"completions": 1}, "status": {}}  # fmt: skip
    track.take_workload(job, gone=False)
    track.look(since)
    stage = {"name": "stage", "state": {"running": {"startedAt": stamp(BEGAN)}}}
    track.take_pod(
        {
            "metadata": {"name": "p", "uid": "u1", "resourceVersion": "2",
                         "creationTimestamp": stamp(BEGAN - 1), "annotations": notes},
            "spec": {"containers": [{"image": "i"}]},
            "status": {"phase": "Pending", "initContainerStatuses": [stage]},
        },
        gone=False,
    )  # fmt: skip
    return track


def stamp(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).isoformat()


def test_a_pod_that_never_asks_says_where_it_looks_and_is_given_up() -> None:
    track = placement(BEGAN - 1)
    look = track.look(BEGAN + 10)
    assert look.reports == [] and look.wake == BEGAN + 15, "it is looked at again in time"
    [waits] = track.look(BEGAN + 16).reports
    assert "not reached this server at http://10.9.9.9:7433" in waits.body["why"]
    ended = [each for each in track.look(BEGAN + 400).reports if each.kind == "attempt"]
    assert ended[-1].body["exit"]["reason"] == "environment"
    assert "`server`" in ended[-1].body["exit"]["hint"]


def test_a_pod_that_has_asked_may_take_its_time() -> None:
    track = placement(BEGAN - 1)
    track.met.add("p")
    assert track.look(BEGAN + 4000).reports == []


def test_one_that_began_before_this_server_did_may_have_asked_the_last() -> None:
    assert placement(BEGAN + 30).look(BEGAN + 4000).reports == []
