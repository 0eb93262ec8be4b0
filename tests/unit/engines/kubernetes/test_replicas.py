"""Replicas as their objects tell it: numbered by us, kept alive, given up together."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engines.kubernetes.cases import placement, role
from tests.unit.engines.kubernetes.watched import (
    NOW,
    START,
    Object,
    fresh,
    look,
    named,
    noted,
    objects,
    over,
    pod,
    running,
    stamped,
    told,
)
from tradewind.engines.kubernetes import names, states
from tradewind.engines.kubernetes.roles import Order
from tradewind.engines.kubernetes.track import Look, Track
from tradewind.records.tasks import Readiness, Replicas, Restart

ADDRESS = "10.0.0.1:8080"


def replicas(count: int, probed: bool = True) -> tuple[Track, Object]:
    ready = Readiness(timeout=30.0) if probed else None
    shape = Replicas(count=count)
    return fresh(placement(role("main", shape, readiness=ready, restart=Restart(most=1))))


def answers(at: int, status: str = "True", **more: Any) -> Object:
    found = running(2)
    row = {"type": "Ready", "status": status, "lastTransitionTime": START.format(at), **more}
    return {**found, "conditions": [row]}


def unit(index: int) -> Object:
    return {"index": index, "before": 0}


def bodies(found: Look) -> list[Object]:
    return [each.body for each in found.reports if each.kind == "attempt"]


def test_each_gets_the_lowest_number_that_is_free() -> None:
    track, work = replicas(3)
    for uid in "ba":
        track.take_pod(pod(work, uid, **running()), gone=False)
    orders = {each.pod: each.unit for each in look(track).orders if each.do == "name"}
    assert orders == {"pod-a": unit(0), "pod-b": unit(1)}
    track.take_pod(named(pod(work, "b", **running()), 1), gone=False)
    track.take_pod(pod(work, "c", **running()), gone=False)
    orders = {each.pod: each.unit for each in look(track).orders if each.do == "name"}
    assert orders == {"pod-a": unit(0), "pod-c": unit(2)}


def test_nobody_is_told_of_before_it_has_a_number() -> None:
    track, work = replicas(1)
    track.take_pod(pod(work, "a", **answers(3)), gone=False)
    assert not look(track).reports
    track.take_pod(named(pod(work, "a", **answers(3)), 0), gone=False)
    assert bodies(look(track)) == [
        {"state": "running", "address": ADDRESS},
        {"state": "ready", "address": ADDRESS},
    ]


def test_who_stops_answering_is_not_ready_until_it_answers_again() -> None:
    track, work = replicas(1)
    track.take_pod(named(pod(work, "a", **answers(3)), 0), gone=False)
    look(track)
    failing = answers(9, "False", reason="ContainersNotReady")
    track.take_pod(named(pod(work, "a", **failing), 0), gone=False)
    (body,) = bodies(look(track))
    assert (body["state"], body["why"]) == ("running", "it does not answer now")
    track.take_pod(named(pod(work, "a", **answers(12)), 0), gone=False)
    assert bodies(look(track)) == [{"state": "ready", "address": ADDRESS}]


@pytest.mark.parametrize("probed", [True, False])
@pytest.mark.parametrize("again", [True, False])
def test_a_machine_that_is_silent_is_told_and_its_return_is(probed: bool, again: bool) -> None:
    """Also to a server that comes back between the two. The times of the pod are then as before."""
    track, work = replicas(1, probed)
    track.take_pod(named(pod(work, "a", **answers(3)), 0), gone=False)
    look(track)
    silent = named(pod(work, "a", **answers(40, "False")), 0)
    silent["spec"] = {**silent["spec"], "nodeName": "n7"}
    track.take_pod(silent, gone=False)
    since = states.when(START.format(40))
    found = look(track)
    order = Order(do="silent", role="main", pod="pod-a", unit={"since": since})
    assert order in found.orders and not found.reports, "written down first"
    track.take_pod(noted(silent, {names.SILENT: str(since)}), gone=False)
    (body,) = bodies(look(track))
    assert body["state"] == "running"
    assert body["why"] == "its machine n7 stopped answering; begins elsewhere after 30 s of that"
    newest = track.roles["main"]._told["main/0/1"][0]
    if again:
        track, _ = replicas(1, probed)
    back = noted(named(pod(work, "a", **answers(3)), 0), {names.SILENT: str(since)})
    track.take_pod(back, gone=False)
    last = look(track).reports[-1]
    assert last.seq > newest
    assert last.body == {"state": "ready" if probed else "running", "address": ADDRESS}
    assert not look(track).reports


def test_one_that_takes_the_place_of_another_is_another_try() -> None:
    track, work = replicas(1)
    track.take_pod(named(pod(work, "a", **running()), 0), gone=False)
    assert Order(do="tries", role="main", unit={"0": 1}) in look(track).orders
    track.take_pod(named(pod(work, "a", **running()), 0), gone=True)
    assert told(look(track)) == [("main/0/1", "lost")]
    track.take_pod(pod(work, "b", **running()), gone=False)
    (order,) = [each for each in look(track).orders if each.do == "name"]
    assert order.unit == {"index": 0, "before": 1}


def crashed(restarts: int, last: str = "") -> Object:
    """A pod that waits to be started again."""
    done = {"exitCode": 1, "startedAt": START.format(2), "finishedAt": START.format(5)}
    row = {
        "name": "main", "restartCount": restarts, "lastState": {"terminated": done},
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    }  # fmt: skip
    return {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [row]}


def test_who_fails_too_often_in_a_row_is_given_up() -> None:
    track, work = replicas(1)
    track.take_pod(named(pod(work, "a", **crashed(0)), 0), gone=False)
    assert told(look(track)) == [("main/0/1", "failed")]
    track.take_pod(named(pod(work, "a", **crashed(1)), 0), gone=False)
    found = look(track)
    assert ("main/0/2", "failed") in told(found) and [o.do for o in found.orders][-1] == "quiet"
    track.take_pod(named(pod(work, "a", **crashed(1)), 0), gone=True)
    found = look(track)
    assert told(found)[-1] == ("", "failed")
    assert found.reports[-1].body["reason"]["message"].startswith("no replica is left; replica 0:")


def test_one_that_goes_on_keeps_all_going() -> None:
    track, work = replicas(2)
    track.take_pod(named(pod(work, "a", **crashed(5)), 0), gone=False)
    track.take_pod(named(pod(work, "b", **answers(3)), 1), gone=False)
    look(track)
    assert not track.over and not any(order.do == "quiet" for order in look(track).orders)


def test_a_stop_ends_all_and_nobody_is_lost() -> None:
    track, work = replicas(2)
    for index, uid in enumerate("ab"):
        track.take_pod(named(pod(work, uid, **answers(3)), index), gone=False)
    look(track)
    root = objects(placement(role("main", Replicas(count=2))))[0]
    stop = {names.STOP: json.dumps({"way": "drain", "grace": 7.0})}
    track.take_root(stamped(noted(root, stop), "root", 2), gone=False)
    assert Order(do="quiet", role="main", grace=7.0) in look(track).orders
    for index, uid in enumerate("ab"):
        track.take_pod(named(pod(work, uid, **over(143)), index), gone=True)
    assert told(look(track)) == [("main/0/1", "stopped"), ("main/1/1", "stopped"), ("", "stopped")]


LIVES = [running(), answers(3), answers(9, "False", reason="X"), answers(12), over(143, 20)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_nothing_is_told_twice_whatever_comes_how_often(data: st.DataObject) -> None:
    """Several pods live one after the other in two places; a server may come back at any time."""
    track, work = replicas(2)
    heard: dict[str, int] = {}
    applied: list[tuple[str, str]] = []
    pods: dict[str, Object] = {}
    queue = {
        f"r{index}n{number}": list(LIVES) for index in range(2) for number in range(2)
    }  # fmt: skip

    def hear(found: Look) -> None:
        fresh_ones = [each for each in found.reports if each.seq > heard.get(each.stream, 0)]
        for each in fresh_ones:
            heard[each.stream] = each.seq
            applied.append((each.stream, each.body["state"]))

    while any(queue.values()):
        index = data.draw(st.sampled_from(sorted({k[1] for k, left in queue.items() if left})))
        uid = next(k for k, left in sorted(queue.items()) if k[1] == index and left)
        status = queue[uid].pop(0)
        pods[uid] = named(pod(work, uid, **status), int(index), int(uid[-1]))
        for _ in range(data.draw(st.integers(1, 2))):
            track.take_pod(pods[uid], gone=not queue[uid])
        hear(look(track, NOW))
        if not queue[uid]:
            del pods[uid]
        if data.draw(st.integers(0, 3)) == 0:
            track, _ = replicas(2)
            for each in pods.values():
                track.take_pod(each, gone=False)
            hear(look(track, NOW))
    assert not track.over
    lived = ["running", "ready", "running", "ready", "lost"]
    for stream in [f"main/{place}/{attempt}" for place in range(2) for attempt in (1, 2)]:
        assert [state for teller, state in applied if teller == stream] == lived
