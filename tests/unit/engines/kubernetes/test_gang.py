"""A gang as its objects tell it: all members or none."""

from __future__ import annotations

from dataclasses import replace

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
from tradewind.engines.kubernetes import gang, names, states
from tradewind.engines.kubernetes.roles import Order
from tradewind.engines.kubernetes.track import Look, Track
from tradewind.records.tasks import Gang

THREE = placement(role("main", Gang(least=3, most=3)))
FULL = states.Why(
    words="no room", native={"reason": "FailedCreate"}, since=states.when(START.format(0))
)
UNPLACED: Object = {
    "phase": "Pending",
    "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu.",
        "lastTransitionTime": START.format(1),
    }],
}  # fmt: skip


def opened(track: Track) -> int:
    main = track.roles["main"]
    assert isinstance(main, gang.Gang)
    return main.open


def whys(found: Look) -> list[str]:
    return [each.body["why"] for each in found.reports if each.body["state"] == "preparing"]


def does(found: Look) -> set[str]:
    return {each.do for each in found.orders}


# -- who begins ------------------------------------------------------------------------------------


def test_nobody_begins_before_all_are_set_up() -> None:
    track, work = fresh(THREE)
    for rank in range(3):
        assert not opened(track)
        track.take_pod(pod(work, f"m{rank}", rank, **running(rank)), gone=False)
        found = look(track)
        assert told(found)[-1:] == ([("main/0/1", "running")] if rank == 2 else told(found)[-1:])
    assert opened(track) == 1
    assert found.reports[-1].body == {"state": "running", "epoch": 1, "width": 3}
    assert found.reports[-1].at == states.when(START.format(2)), "the last one's start"


def test_once_open_open() -> None:
    """For who asks late: another may have done its work and gone by then."""
    track, work = fresh(THREE)
    members = [pod(work, f"m{rank}", rank, **running()) for rank in range(3)]
    for each in members:
        track.take_pod(each, gone=False)
    look(track)
    track.take_pod(pod(work, "m0", 0, **over(0)), gone=False)
    look(track)
    assert opened(track) == 1
    # And for a server that comes back meanwhile.
    again, _ = fresh(THREE)
    for each in (pod(work, "m0", 0, **over(0)), *members[1:]):
        again.take_pod(each, gone=False)
    look(again)
    assert opened(again) == 1


def test_a_gang_that_a_member_of_died_does_not_begin() -> None:
    track, work = fresh(THREE)
    track.take_pod(pod(work, "m0", 0, **running()), gone=False)
    track.take_pod(pod(work, "m1", 1, **over(75)), gone=False)
    track.take_pod(pod(work, "m2", 2, **running()), gone=False)
    found = look(track)
    assert not opened(track) and does(found) == {"quiet"}
    track.take_pod(pod(work, "m0", 0, **over(143, 9)), gone=False)
    track.take_pod(pod(work, "m2", 2, **over(143, 9)), gone=False)
    found = look(track)
    assert not opened(track) and told(found)[-1] == ("", "lost")
    assert found.reports[-1].body["reason"]["rank"] == 1


def test_a_gang_that_is_stopped_does_not_begin() -> None:
    track, work = fresh(THREE)
    root = noted(objects(THREE)[0], {names.STOP: '{"way":"drain","grace":5.0}'})
    track.take_root(stamped(root, "root", 2), gone=False)
    for rank in range(3):
        track.take_pod(pod(work, f"m{rank}", rank, **running()), gone=False)
    found = look(track)
    assert not opened(track)
    assert Order(do="quiet", role="main", grace=5.0) in found.orders
    for rank in range(3):
        track.take_pod(pod(work, f"m{rank}", rank, **over(143)), gone=False)
    assert told(look(track))[-1] == ("", "stopped")


def test_another_width_is_another_epoch_with_a_barrier_of_its_own() -> None:
    placed = placement(role("main", Gang(least=1, most=3)))
    track, work = fresh(placed)
    track.take_pod(pod(work, "a", 0, **running()), gone=False)
    look(track)
    assert opened(track) == 1
    root = noted(objects(placed)[0], {names.WANTED: '{"width":2,"epoch":2}'})
    track.take_root(stamped(root, "root", 2), gone=False)
    assert does(look(track)) == {"quiet"}
    track.take_pod(pod(work, "a", 0, **over(143)), gone=False)
    assert Order(do="epoch", role="main", epoch=2, width=2) in look(track).orders
    second = stamped(noted(work, {names.EPOCH: "2"}), "work2", 3)
    second["spec"] = {**work["spec"], "completions": 2, "parallelism": 2}
    track.take_workload(second, gone=False)
    for rank in range(2):
        assert opened(track) == 1
        member = noted(pod(work, f"b{rank}", rank, **running(9)), {names.EPOCH: "2"})
        track.take_pod(member, gone=False)
        found = look(track)
    assert opened(track) == 2
    assert found.reports[-1].body == {"state": "running", "epoch": 2, "width": 2}


# -- what it waits for -----------------------------------------------------------------------------


def test_a_gang_of_one_says_its_own_reason() -> None:
    track, work = fresh(placement(role("main", Gang())))
    track.take_pod(pod(work, "a", **UNPLACED), gone=False)
    found = look(track)
    assert whys(found) == ["no machine has enough CPU free now"]
    assert not look(track).reports, "said once"


def test_those_who_are_there_wait_for_those_who_are_not() -> None:
    track, work = fresh(THREE)
    assert track.lacks("main")
    track.take_pod(pod(work, "m0", 0, **running()), gone=False)
    track.blocked["main"] = FULL
    assert whys(look(track)) == ["waiting for 2 of 3 members: no room"]
    track.take_pod(pod(work, "m1", 1, **running()), gone=False)
    # In the same second as the first: it is news all the same.
    assert whys(look(track)) == ["waiting for 1 of 3 members: no room"]
    assert track.lacks("main")
    late = pod(work, "m2", 2, **UNPLACED)
    late["metadata"]["creationTimestamp"] = START.format(9)
    track.take_pod(late, gone=False)
    assert not track.lacks("main")
    found = look(track, NOW + 1)
    assert whys(found) == ["waiting for 1 of 3 members: no machine has enough CPU free now"]
    assert found.reports[0].body["native"]["reason"] == "Unschedulable"
    assert not look(track).reports


def test_members_that_take_a_moment_longer_are_no_news() -> None:
    track, work = fresh(THREE)
    now = states.when(START.format(4))
    for rank in range(2):
        track.take_pod(pod(work, f"m{rank}", rank, **running(3)), gone=False)
    found = look(track, now)
    assert not found.reports and found.wake == states.when(START.format(3)) + gang.MOMENT
    found = look(track, found.wake)
    assert whys(found) == ["waiting for 1 of 3 members, which are not set up yet"]


def test_a_member_that_never_comes_ends_all_of_it() -> None:
    track, work = fresh(THREE)
    track.take_pod(pod(work, "m0", 0, **running()), gone=False)
    track.blocked["main"] = replace(FULL, words="a rule of the cluster refuses it", fails=59.0)
    found = look(track, NOW - 1)
    assert whys(found) and not does(found) and found.wake == NOW
    found = look(track, NOW)
    assert does(found) == {"quiet"}
    told_last = found.reports[-1].body["reason"]
    assert told_last["message"] == "member 1 of 3: a rule of the cluster refuses it"
    assert told_last["reason"] == "environment"


def test_of_several_reasons_one_is_told_until_its_words_change() -> None:
    track, work = fresh(THREE)
    track.take_pod(pod(work, "m0", 0, **UNPLACED), gone=False)
    track.blocked["main"] = FULL
    first = whys(look(track))
    assert len(first) == 1 and not look(track).reports
    track.blocked["main"] = replace(FULL, words="a rule of the cluster refuses it", since=NOW)
    assert whys(look(track)) == ["a rule of the cluster refuses it"]
    track.blocked["main"] = replace(FULL, words="no room", since=NOW)
    assert whys(look(track)) == ["no room"] and not look(track).reports


def test_a_reason_that_has_passed_ends_nothing() -> None:
    track, work = fresh(placement(role("main", Gang())))
    track.blocked["main"] = replace(FULL, fails=20.0)
    track.take_pod(pod(work, "a", **over(0)), gone=False)
    assert told(look(track, NOW + 100))[-1] == ("", "succeeded")


# -- any order -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0, 0, 0, 1, 75]), min_size=2, max_size=4), st.data())
def test_it_opens_when_all_are_there_and_nothing_is_told_twice(
    codes: list[int], data: st.DataObject
) -> None:
    """As the barrier makes it: nobody ends well before all have begun."""
    width = len(codes)
    placed = placement(role("main", Gang(least=width, most=width)))
    track, work = fresh(placed)
    queue = {rank: [UNPLACED, running(), over(code)] for rank, code in enumerate(codes)}
    begun: set[int] = set()
    failed = False
    numbers: dict[str, int] = {}
    while any(queue.values()):
        may = [
            rank
            for rank, left in queue.items()
            if left and (len(left) > 1 or codes[rank] or len(begun) == width)
        ]
        rank = data.draw(st.sampled_from(may or [r for r, left in queue.items() if left]))
        status = queue[rank].pop(0)
        for _ in range(data.draw(st.integers(1, 2))):
            track.take_pod(pod(work, f"m{rank}", rank, **status), gone=False)
        was = opened(track)
        for report in look(track).reports:
            assert report.seq > numbers.get(report.stream, 0), "nothing is told twice"
            numbers[report.stream] = report.seq
        if "containerStatuses" in status:
            begun.add(rank)
        failed = failed or (not queue[rank] and codes[rank] != 0)
        assert opened(track) == (1 if was or (len(begun) == width and not failed) else 0)
    assert track.over
