"""An array as its objects tell it: each item by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engines.kubernetes.cases import placement, role
from tests.unit.engines.kubernetes.watched import (
    NOW,
    START,
    Object,
    fresh,
    look,
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
from tradewind.records.tasks import Array, Restart


def array(count: int, at_once: int = 9, **more: Any) -> tuple[Track, Object]:
    shape = Array(count=count, at_once=at_once)
    return fresh(placement(role("main", shape, restart=Restart(most=1)), **more))


def finished(work: Object, kind: str = "Failed", version: int = 9) -> Object:
    done = stamped(work, "work", version)
    return {**done, "status": {"conditions": [{"type": kind, "status": "True"}]}}


def ends(found: Look) -> list[tuple[int, int, str]]:
    """(item, try, state) of what ended."""
    return [
        (each.index, each.attempt, each.body["state"])
        for each in found.reports
        if each.kind == "attempt" and "exit" in each.body
    ]


def test_items_that_were_done_before_are_left_out() -> None:
    track, work = array(5, done=(0, 2))
    for place in range(3):
        track.take_pod(pod(work, f"p{place}", place, **over(0)), gone=False)
    found = look(track)
    assert ends(found) == [(1, 1, "succeeded"), (3, 1, "succeeded"), (4, 1, "succeeded")]
    assert told(found)[-1] == ("", "succeeded")


def test_a_try_follows_the_end_of_the_one_before() -> None:
    """The pods may be heard of in another order, and an end may take time to be told."""
    track, work = array(1)
    track.take_pod(pod(work, "b", 0, tries=1, **running(9)), gone=False)
    track.take_pod(pod(work, "a", 0, **over(1)), gone=False)
    first = track.look(NOW)
    assert [(each.attempt, each.body["state"]) for each in first.reports] == [(1, "running")]
    (left,) = first.ended
    assert left.end is not None
    track.take_end(left, left.end)
    second = track.look(NOW)
    assert [(e.attempt, e.body["state"]) for e in second.reports] == [(1, "failed"), (2, "running")]


def test_a_try_follows_one_whose_going_is_not_told_yet() -> None:
    """That it is gone is told when its log is kept, and its substitute may run by then."""
    track, work = array(1)
    first = pod(work, "b", 0, **running(5))
    track.take_pod(first, gone=False)
    track.take_pod(pod(work, "a", 0, **running(9)), gone=False)
    assert told(look(track)) == [("main/0/1", "running")]
    track.take_pod(first, gone=True)
    assert told(look(track)) == [("main/0/1", "lost"), ("main/0/2", "running")]


def test_what_the_cluster_took_away_is_no_try_of_its_own() -> None:
    track, work = array(1)
    track.take_pod(pod(work, "a", 0, **over(75)), gone=False)
    look(track)
    track.take_pod(pod(work, "b", 0, **over(0)), gone=False)  # the same number of failures: none
    assert ends(look(track)) == [(0, 2, "succeeded")]


def test_all_failures_are_counted_and_the_first_has_the_word() -> None:
    track, work = array(3)
    for item, code in enumerate((0, 1, 1)):
        track.take_pod(pod(work, f"p{item}", item, **over(code)), gone=False)
    assert not track.look(NOW).orders
    look(track)
    track.take_workload(finished(work), gone=False)
    reason = look(track).reports[-1].body["reason"]
    assert reason["message"].startswith("2 of 3 items failed; item 1:")
    assert reason["items"] == [1, 2]


def test_what_nobody_saw_the_end_of_is_lost() -> None:
    track, work = array(2)
    track.take_pod(pod(work, "a", 0, **over(1)), gone=False)
    track.take_workload(finished(work), gone=False)
    found = look(track)
    assert told(found)[-1] == ("", "lost")
    assert found.reports[-1].body["reason"]["message"] == (
        "the cluster lost some items before their end"
    )


def test_how_many_run_is_as_it_was_asked_for() -> None:
    track, work = array(6, at_once=2)
    track.take_pod(pod(work, "a", 0, **running()), gone=False)
    assert not look(track).orders
    root = noted(objects(placement(role("main", Array(count=6, at_once=2))))[0], {
        names.WANTED: '{"width":4}',
    })  # fmt: skip
    track.take_root(stamped(root, "root", 2), gone=False)
    assert Order(do="width", role="main", width=4) in look(track).orders


def test_a_job_that_was_suspended_by_hand_goes_on_and_that_is_told() -> None:
    track, work = array(1)
    track.take_pod(pod(work, "a", 0, **running()), gone=False)
    held = stamped(work, "work", 2)
    held["spec"] = {**work["spec"], "suspend": True}
    track.take_workload(held, gone=False)
    assert Order(do="width", role="main", width=1) in look(track).orders
    track.take_pod(pod(work, "a", 0, **over(143)), gone=False)
    (lost,) = [each for each in look(track).reports if "exit" in each.body]
    assert lost.body["state"] == "lost"
    assert lost.body["exit"]["message"] == "somebody suspended it in the cluster"
    assert lost.body["exit"]["native"]["message"] == "spec.suspend was set"


def test_what_holds_for_one_holds_for_all() -> None:
    track, work = array(3)
    waiting = {"reason": "InvalidImageName", "message": "no such"}
    row = {"name": "main", "state": {"waiting": waiting}, "restartCount": 0}
    track.take_pod(pod(work, "a", 1, phase="Pending", containerStatuses=[row]), gone=False)
    found = look(track)
    assert [each.do for each in found.orders] == ["quiet"]
    assert (1, 1, "failed") in ends(found) and told(found)[-1] == ("", "failed")


def test_no_pod_at_all_says_why_and_is_given_up() -> None:
    track, _work = array(3)
    why = states.Why(words="refused", native={}, since=NOW - 30, fails=20.0)
    track.blocked["main"] = replace(why, fails=None)
    assert told(look(track)) == [("main/0/1", "preparing")] and not track.over
    track.blocked["main"] = why
    assert told(look(track))[-1] == ("", "failed")


def test_pods_that_are_held_are_no_reason_to_make_no_more() -> None:
    track, work = array(2)
    track.take_pod(pod(work, "a", 0, **over(0)), gone=False)
    track.take_pod(pod(work, "b", 1, **over(143)), gone=False)
    assert track.lacks("main")
    look(track)
    track.blocked["main"] = states.Why(words="refused", native={}, since=NOW - 30)
    found = look(track)
    assert [(e.index, e.attempt, e.body["state"]) for e in found.reports] == [(1, 2, "preparing")]
    track.take_pod(pod(work, "c", 1, **running()), gone=False)
    assert not track.lacks("main") and (1, 2, "preparing") not in ends(look(track))
    assert not track.blocked, "it has passed"
    track.take_workload(finished(work), gone=False)
    assert not track.lacks("main")


def test_a_refusal_before_the_newest_pod_has_passed() -> None:
    track, work = array(2)
    track.take_pod(pod(work, "a", 0, **over(1)), gone=False)
    look(track)
    early = states.when(START.format(0)) - 5
    why = states.Why(words="refused", native={}, since=early, heard=early + 1, fails=1.0)
    track.blocked["main"] = why
    assert not look(track).reports and not track.over
    track.blocked["main"] = replace(why, heard=NOW)
    assert told(look(track))[-1] == ("", "failed")


def test_every_reason_is_told_whenever_the_words_change() -> None:
    """Also by one who comes back and has told nothing yet."""
    track, _work = array(2)
    stored: list[tuple[int, str]] = []

    def hear(track: Track, words: str, now: float) -> None:
        track.blocked["main"] = states.Why(words=words, native={}, since=NOW - 50)
        for report in [*look(track, now).reports, *look(track, now).reports]:
            if report.seq > max(stored, default=(0, ""))[0]:
                stored.append((report.seq, report.body["why"]))

    for number, words in enumerate(["quota", "quota", "rule", "quota", "quota", "account"]):
        hear(track, words, NOW + number // 2)
    assert [words for _, words in stored] == ["quota", "rule", "quota", "account"]
    again, _work = array(2)
    hear(again, "account", NOW + 10)
    hear(again, "quota", NOW + 11)
    assert [words for _, words in stored][4:] == ["quota"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_order_and_any_repetition_tells_the_same(data: st.DataObject) -> None:
    """Every state of every pod, again and again, older ones after newer ones of other pods."""
    tries = data.draw(st.lists(st.sampled_from([(0,), (1, 0), (75, 0), (1, 1)]), min_size=1,
                               max_size=4))  # fmt: skip
    track, work = array(len(tries))
    queue = {}
    for item, codes in enumerate(tries):
        failures = 0
        for number, code in enumerate(codes):
            uid = f"i{item}t{number}"
            queue[uid] = [
                pod(work, uid, item, failures, **status) for status in ({}, running(), over(code))
            ]
            failures += code == 1
            for each in queue[uid]:
                each["metadata"]["creationTimestamp"] = START.format(number)
    heard: dict[str, int] = {}
    reported: dict[tuple[str, str], int] = {}
    while any(queue.values()):
        uid = data.draw(st.sampled_from(sorted(uid for uid, left in queue.items() if left)))
        before = uid[:-1] + "0"
        if queue[before]:
            uid = before  # the cluster makes no second before the first has ended
        state = queue[uid].pop(0)
        for _ in range(data.draw(st.integers(1, 3))):
            track.take_pod(state, gone=False)
        for report in look(track).reports if data.draw(st.booleans()) else ():
            assert report.seq > heard.get(report.stream, 0)
            heard[report.stream] = report.seq
            reported[report.stream, report.body["state"]] = 1
    kind = "Failed" if (1, 1) in tries else "Complete"
    track.take_workload(finished(work, kind), gone=False)
    for report in look(track).reports:
        assert report.seq > heard.get(report.stream, 0)
        reported[report.stream, report.body["state"]] = 1
    words = {0: "succeeded", 1: "failed", 75: "lost"}
    wanted = {
        (f"main/{item}/{number + 1}", state)
        for item, codes in enumerate(tries)
        for number, code in enumerate(codes)
        for state in ("running", words[code])
    }
    outcome = "failed" if kind == "Failed" else "succeeded"
    assert set(reported) == {*wanted, ("", outcome)}
