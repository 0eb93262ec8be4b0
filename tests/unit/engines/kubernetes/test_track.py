"""One placement as its objects tell it: whatever order they come in, however often the server
starts anew in between, the end is the same and nothing is told twice in two ways."""

from __future__ import annotations

import copy
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engines.kubernetes.cases import placement, role
from tests.unit.engines.kubernetes.watched import (
    NOW,
    Object,
    fresh,
    look,
    objects,
    over,
    pod,
    running,
    stamped,
    told,
)
from tradewind.engines.kubernetes import names
from tradewind.engines.kubernetes.track import Track
from tradewind.records.placements import Placement
from tradewind.records.reports import Report
from tradewind.records.tasks import Array, Gang, Replicas, Restart


def test_an_end_is_not_before_its_start() -> None:
    track, work = fresh(placement(role("main", Gang())))
    done = over(0, at=1)
    track.take_pod(pod(work, "a", **done), gone=False)
    reports = look(track).reports
    assert [each.body["state"] for each in reports] == ["running", "succeeded", "succeeded"]
    assert [each.at for each in reports] == sorted(each.at for each in reports)


def test_a_pod_that_vanishes_ended_when_it_was_asked_to_or_now() -> None:
    track, work = fresh(placement(role("main", Gang())))
    late = pod(work, "a", **running())
    late["metadata"]["deletionTimestamp"] = "2026-01-01T01:00:00Z"
    track.take_pod(late, gone=True)
    assert {each.at for each in look(track).reports if each.body["state"] == "lost"} == {NOW}


def test_a_member_that_was_replaced_is_not_made_good() -> None:
    track, work = fresh(placement(role("main", Gang())))
    track.take_pod(pod(work, "b", **over(0)), gone=False)
    track.take_pod(pod(work, "a", **running()), gone=True)
    assert told(look(track))[-1] == ("", "lost")


def test_what_only_left_our_sight_is_taken_away() -> None:
    track, work = fresh(placement(role("main", Gang())))
    track.take_pod(pod(work, "a", **running()), gone=True)
    assert ("drop", "pod-a") in [(each.do, each.pod) for each in look(track).orders]


def test_an_index_that_nobody_can_read_is_nobodys() -> None:
    track, work = fresh(placement(role("main", Array(count=2))))
    stray = pod(work, "a", index=-1, **over(0))
    track.take_pod(stray, gone=False)
    assert not look(track).reports


def test_two_replicas_never_get_one_index() -> None:
    track, work = fresh(placement(role("main", Replicas(count=2))))
    track.take_pod(pod(work, "z", **running()), gone=False)
    first = [each for each in look(track).orders if each.do == "name"]
    track.take_pod(pod(work, "a", **running()), gone=False)
    second = [each for each in look(track).orders if each.do == "name"]
    given = {(each.pod, each.unit["index"]) for each in first + second}
    assert given == {("pod-z", 0), ("pod-a", 1)}


def test_a_role_that_lasts_for_months_remembers_little() -> None:
    track, work = fresh(placement(role("main", Replicas(count=1))))
    for number in range(300):
        each = pod(work, f"u{number}", **running())
        each["metadata"]["annotations"][names.UNIT] = json.dumps({"index": 0, "before": number})
        track.take_pod(each, gone=False)
        assert [state for _, state in told(look(track))] == ["running"]
        track.take_pod(each, gone=True)
        assert [state for _, state in told(look(track))] == ["lost"]
    main = track.roles["main"]
    assert len(track.pods) + len(track.gone) + len(track.ends) + len(main._told) < 10
    each = pod(work, "new", **running())
    track.take_pod(each, gone=False)
    (order,) = [order for order in look(track).orders if order.do == "name"]
    assert order.unit == {"index": 0, "before": 300}


def test_tries_that_were_written_down_count_for_who_comes_back() -> None:
    placed = placement(role("main", Replicas(count=1)))
    root, work = objects(placed)
    root["metadata"]["annotations"][names.TRIES] = json.dumps({"main": {"0": 7}})
    track = Track(placed.id)
    track.take_root(root, gone=False)
    track.take_workload(work, gone=False)
    track.take_pod(pod(work, "a", **running()), gone=False)
    (order,) = [order for order in look(track).orders if order.do == "name"]
    assert order.unit == {"index": 0, "before": 7}


def test_older_news_changes_nothing() -> None:
    placed = placement(role("main", Gang(least=1, most=3)))
    root, _work = objects(placed)
    track = Track(placed.id)
    newer = stamped(root, "root", 5)
    newer["metadata"]["annotations"][names.WANTED] = '{"width":2,"epoch":2}'
    track.take_root(newer, gone=False)
    track.take_root(stamped(root, "root", 4), gone=False)
    assert track.wanted == {"width": 2, "epoch": 2}


# -- any order, any number of starts ---------------------------------------------------------------

Course = list[tuple[str, list[Object]]]


def gang(codes: list[int]) -> tuple[Placement, Course, str]:
    placed = placement(role("main", Gang(least=len(codes), most=len(codes))))
    work = objects(placed)[1]
    course = [
        (
            f"m{rank}",
            [pod(work, f"m{rank}", rank, **status) for status in ({}, running(), over(code))],
        )
        for rank, code in enumerate(codes)
    ]
    bad = [code for code in codes if code]
    return placed, course, ("failed" if 1 in bad else "lost") if bad else "succeeded"


def array(tries: list[list[int]]) -> tuple[Placement, Course, str]:
    shape = Array(count=len(tries), at_once=len(tries))
    placed = placement(role("main", shape, restart=Restart(most=2)))
    work = objects(placed)[1]
    course = [
        (f"i{item}t{number}", [
            pod(work, f"i{item}t{number}", item, number, **status)
            for status in ({}, running(), over(code))
        ])
        for item, codes in enumerate(tries) for number, code in enumerate(codes)
    ]  # fmt: skip
    return placed, course, "succeeded" if all(codes[-1] == 0 for codes in tries) else "failed"


GANGS = st.lists(st.sampled_from([0, 0, 0, 1, 75]), min_size=1, max_size=4).map(gang)
TRIES = st.sampled_from([[0], [1, 0], [1, 1, 0], [1, 1, 1]])
ARRAYS = st.lists(TRIES, min_size=1, max_size=4).map(array)


@settings(max_examples=200, deadline=None)
@given(st.one_of(GANGS, ARRAYS), st.data())
def test_the_end_is_the_same_however_it_is_told(
    case: tuple[Placement, Course, str], data: st.DataObject
) -> None:
    placed, course, outcome = case
    root, work = objects(placed)
    track, known = Track(placed.id), dict[str, Object]()
    stored: dict[tuple[str, int], str] = {}
    highest: dict[str, int] = {}
    end: list[str] = []

    def hear(reports: list[Report]) -> None:
        """As the store does: what rises is applied once."""
        for each in reports:
            state = each.body["state"]
            if state == "preparing":
                continue
            if each.seq > highest.get(each.stream, 0):
                highest[each.stream] = each.seq
                stored[each.stream, each.seq] = state
                if each.kind == "placement":
                    end.append(state)
            else:
                assert stored.get((each.stream, each.seq), state) == state

    def start() -> Track:
        new = Track(placed.id)
        new.take_root(root, gone=False)
        new.take_workload(work, gone=False)
        for each in known.values():
            new.take_pod(each, gone=False)
        new.launched = True
        return new

    track = start()
    left = {name: list(states) for name, states in course}
    while left:
        name = data.draw(st.sampled_from(sorted(left)))
        skip = data.draw(st.integers(0, len(left[name]) - 1))
        known[name] = left[name][skip]
        del left[name][: skip + 1]
        if not left[name]:
            del left[name]
        for _ in range(data.draw(st.integers(1, 2))):
            track.take_pod(known[name], gone=False)
        if data.draw(st.booleans()):
            hear(look(track).reports)
        if data.draw(st.integers(0, 3)) == 0:
            track = start()
    state = "Complete" if outcome == "succeeded" else "Failed"
    finished = copy.deepcopy(work)
    finished["metadata"]["resourceVersion"] = "9"
    finished["status"] = {"conditions": [{"type": state, "status": "True"}]}
    track.take_workload(finished, gone=False)
    hear(look(track).reports)
    hear(look(start()).reports)
    assert end[:1] == [outcome]
