"""How processes stand to each other: in one domain, spread, near their data, on linked devices."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scheduler.test_cluster import History, asks, started
from tradewind.records.placements import Seat
from tradewind.records.tasks import Layout
from tradewind.scheduler import whatif
from tradewind.scheduler.amounts import Parts, each
from tradewind.scheduler.answers import Answering
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import (
    Decided,
    Occupied,
    Place,
    PoolChanged,
    Preempt,
    Reject,
    Released,
    Waiting,
    Withdrawn,
)
from tradewind.scheduler.nodes import WHOLE, Ask, Node, Nodes, Spot
from tradewind.scheduler.order import Shortest
from tradewind.scheduler.pool import Pool
from tradewind.scheduler.rows import FirstFit
from tradewind.scheduler.value import Value

LEVELS = ("zone", "rack", "node")
ONE = Ask(cpu=1000, devices=1)


def a_node(name: str, *where: str, devices: int = 4, **more: Any) -> Node:
    told = tuple(zip(LEVELS, where, strict=False))
    return Node(name=name, cpu=8000, memory=64, devices=(("T4", devices),), where=told, **more)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[Node, ...]:
    """Some nodes tell no rack, some nothing at all; racks of two zones may have one name."""
    found = []
    for at in range(draw(st.integers(1, 7))):
        zone, rack = draw(st.sampled_from("ab")), draw(st.sampled_from("123"))
        where = draw(st.sampled_from([(zone, rack), (zone, rack), (zone, rack), (zone,), ()]))
        found.append(a_node(f"n{at}", *where, devices=draw(st.integers(0, 4))))
    return tuple(found)


levels = st.sampled_from(["zone", "rack", "node"])
sizes = st.sampled_from([ONE, Ask(devices=2), Ask(cpu=3000), Ask(devices=1, share=300)])
busy = st.lists(st.tuples(sizes, st.integers(0, 6)), max_size=6)
placers = st.sampled_from([FirstFit, Value])


def a_pool(nodes: tuple[Node, ...], taken: list[tuple[Ask, int]], make: Any) -> Pool:
    """With something on some nodes."""
    state = Nodes(nodes)
    pool = Pool(state, make(state))
    for ask, row in taken:
        if row < len(nodes) and state.fit(ask)[row]:
            pool.hold(((ask, 1),), (state.at(row, ask),))
    return pool


def domain(node: Node, level: str) -> tuple[tuple[str, str], ...]:
    """What a node tells up to a level; nothing where it does not tell that."""
    if level == "node":
        return (("node", node.name),)
    told = [name for name, _ in node.where]
    return node.where[: told.index(level) + 1] if level in told else ()


def domains(nodes: tuple[Node, ...], level: str) -> dict[Any, list[int]]:
    found: dict[Any, list[int]] = {}
    for row, node in enumerate(nodes):
        if name := domain(node, level):
            found.setdefault(name, []).append(row)
    return found


def sound(pool: Pool, parts: Parts, spots: tuple[Spot, ...], layout: Layout) -> None:
    """It stands as it must."""
    nodes, empty = pool.nodes.nodes, Nodes(pool.nodes.nodes)
    there = [*range(len(nodes))]
    if layout.together:
        [inside] = {domain(nodes[spot.node], layout.together) for spot in spots}
        assert inside
        there = [row for row in there if domain(nodes[row], layout.together) == inside]
    if layout.spread:
        able = {
            domain(nodes[row], layout.spread)
            for row in there
            if any(empty.fit(ask)[row] for ask, _ in parts)
        } - {()}
        counts = Counter(domain(nodes[spot.node], layout.spread) for spot in spots)
        assert counts.keys() <= able
        every = [counts[name] for name in able]
        assert max(every) - min(every) <= 1


@given(clusters(), busy, sizes, st.integers(1, 9), levels, placers)
@settings(deadline=None, max_examples=200)
def test_a_gang_that_must_be_in_one_domain_is_and_waits_only_if_none_holds_it(
    nodes: Any, taken: Any, ask: Ask, count: int, level: str, make: Any
) -> None:
    pool, parts = a_pool(nodes, taken, make), ((ask, count),)
    layout = Layout(together=level, strictly=True)
    room = pool.nodes.counts(ask)
    able = [sum(int(room[row]) for row in rows) for rows in domains(nodes, level).values()]
    spots = pool.lay(parts, layout=layout)
    assert (spots is not None) == (max([0, *able]) >= count)
    if spots is not None:
        sound(pool, parts, spots, layout)
    whole = Nodes(nodes).counts(ask)
    ever = [sum(int(whole[row]) for row in rows) for rows in domains(nodes, level).values()]
    assert pool.could(parts, layout) == (max([0, *ever]) >= count)
    if not pool.could(parts, layout):
        assert pool.never("one", parts, layout)


@given(clusters(), busy, sizes, st.integers(1, 9), st.sampled_from(["", "zone"]), levels, placers)
@settings(deadline=None, max_examples=200)
def test_a_gang_that_must_be_spread_is_and_waits_only_if_it_cannot(
    nodes: Any, taken: Any, ask: Ask, count: int, together: str, level: str, make: Any
) -> None:
    pool, parts = a_pool(nodes, taken, make), ((ask, count),)
    layout = Layout(together=together, spread=level, strictly=True)
    room, whole = pool.nodes.counts(ask), Nodes(nodes).counts(ask)
    outer = [*domains(nodes, together).values()] if together else [[*range(len(nodes))]]

    def may(rows: list[int]) -> bool:
        """Each domain that could hold one gets as many as the others, or one more."""
        inner = [[row for row in some if row in rows] for some in domains(nodes, level).values()]
        able = [some for some in inner if sum(int(whole[row]) for row in some)]
        most = [sum(int(room[row]) for row in some) for some in able]
        least, more = divmod(count, len(able) or 1)
        enough = all(each >= least for each in most)
        return bool(able) and enough and sum(each > least for each in most) >= more

    spots = pool.lay(parts, layout=layout)
    assert (spots is not None) == any(map(may, outer))
    if spots is not None:
        sound(pool, parts, spots, layout)


gangs = st.lists(st.tuples(sizes, st.integers(1, 4)), min_size=1, max_size=3).map(tuple)
wishes = st.builds(
    Layout,
    together=st.sampled_from(["", "zone", "rack", "node", "row"]),
    spread=st.sampled_from(["", "zone", "rack", "node", "row"]),
    near=st.sampled_from([(), ("n1",), ("1", "gone")]),
)


@given(clusters(), busy, gangs, wishes, placers)
@settings(deadline=None, max_examples=200)
def test_what_is_only_preferred_never_waits_where_there_is_room(
    nodes: Any, taken: Any, parts: Parts, layout: Layout, make: Any
) -> None:
    plain, pool = a_pool(nodes, taken, make), a_pool(nodes, taken, make)
    spots = pool.lay(parts, layout=layout)
    assert spots is not None or plain.lay(parts) is None
    assert pool.could(parts, layout) == pool.could(parts)
    if spots is not None:
        pool.free(parts, spots)
    fresh = a_pool(nodes, taken, make).nodes
    assert (pool.nodes.devices == fresh.devices).all() and (pool.nodes.cpu == fresh.cpu).all()


@given(clusters(), busy, sizes, st.integers(1, 9), levels)
@settings(deadline=None, max_examples=200)
def test_what_is_preferred_is_done_where_it_can_be(
    nodes: Any, taken: Any, ask: Ask, count: int, level: str
) -> None:
    for layout in (Layout(together=level, strictly=True), Layout(spread=level, strictly=True)):
        parts = ((ask, count),)
        spots = a_pool(nodes, taken, FirstFit).lay(parts, layout=layout)
        if spots is not None:
            pool = a_pool(nodes, taken, FirstFit)
            found = pool.lay(parts, layout=replace(layout, strictly=False))
            assert found is not None
            sound(pool, parts, found, layout)


RACKS = tuple(a_node(f"n{at}", "a" if at < 4 else "b", f"r{at // 2}") for at in range(6))


class Standing(History):
    """Random histories of runs that must or would like to stand in some way."""

    nodes = RACKS[:3]
    layouts: ClassVar = [
        None,
        Layout(together="rack", strictly=True),
        Layout(spread="rack", strictly=True),
        Layout(together="zone", spread="rack"),
        Layout(together="node", strictly=True),
        Layout(spread="node", strictly=True, near=("n2",)),
    ]

    def check(self, decision: Decided) -> None:
        waiting = self.waiting.get(decision.run)
        super().check(decision)
        layout = waiting.layout if waiting is not None else None
        if waiting is None or layout is None or not layout.strictly:
            return
        if isinstance(decision, Place):
            sound(self.cluster.pools["one"], waiting.parts, decision.spots, layout)

    def refused(self, waiting: Waiting, decision: Reject) -> None:
        assert decision.why
        empty = Nodes(self.nodes)
        assert not Pool(empty, FirstFit(empty)).could(waiting.parts, waiting.layout)


TestStanding: Any = Standing.TestCase
TestStanding.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


lives = st.lists(st.tuples(sizes, st.integers(0, 3), st.sampled_from([0, 0, 0, 2])), max_size=20)


@given(clusters(), lives, sizes, st.integers(1, 6), levels, st.booleans())
@settings(deadline=None, max_examples=300)
def test_others_make_room_in_one_domain_and_only_for_what_then_starts(
    nodes: Any, going: Any, ask: Ask, count: int, level: str, even: bool
) -> None:
    layout = Layout(spread=level, strictly=True) if even else Layout(together=level, strictly=True)
    cluster, higher = a_cluster(nodes, Shortest()), []
    for at, (each_, many, priority) in enumerate(going):
        cluster.feed([Waiting(run=f"r{at}", pool="one", parts=((each_, many),), since=0.0,
                              priority=priority)], at)  # fmt: skip
        if not started(cluster.decide(at)):
            cluster.feed([Withdrawn(run=f"r{at}")])
        elif priority:
            higher.append(f"r{at}")
    pool, parts = cluster.pools["one"], ((ask, count),)
    if not pool.could(parts, layout):
        return
    left = Nodes(nodes)
    for run in higher:
        for spot, size in zip(cluster.held[run].spots, each(cluster.held[run].asked.parts),
                              strict=True):  # fmt: skip
            left.take(spot, size)
    mine = Waiting(run="gang", pool="one", parts=parts, since=99.0, priority=1, layout=layout)
    cluster.feed([mine], 99.0)
    found = [each for each in cluster.decide(99.0) if each.run == "gang" or
             (isinstance(each, Preempt) and each.by == "gang")]  # fmt: skip
    assert bool(found) == pool.holds(parts, left, layout)
    cluster.feed([Released(run=each.run, ended=False) for each in found
                  if isinstance(each, Preempt)], 100.0)  # fmt: skip
    if found:
        places = [*found, *cluster.decide(100.0)]
        [spots] = [each.spots for each in places if isinstance(each, Place) and each.run == "gang"]
        sound(pool, parts, spots, layout)


def a_cluster(nodes: tuple[Node, ...] = RACKS, order: Shortest | None = None) -> Answering:
    cluster = Answering(FirstFit, order)
    cluster.feed([PoolChanged(pool="one", nodes=nodes)])
    return cluster


def rows(cluster: Cluster, run: str) -> list[int]:
    return [spot.node for spot in cluster.held[run].spots]


IN_A_RACK = Layout(together="rack", strictly=True)


def test_the_domain_with_the_least_left_over_is_taken_and_the_narrowest() -> None:
    cluster = a_cluster()
    cluster.feed([asks("a", 4, layout=Layout(near=("n3",)))])
    cluster.feed([asks("small", 1, 4, layout=IN_A_RACK)])
    cluster.decide()
    assert rows(cluster, "a") == [3]
    assert rows(cluster, "small") == [0] * 4, "one node holds it"
    cluster.feed([asks("gang", 2, 2, layout=IN_A_RACK), asks("wide", 4, 2, layout=IN_A_RACK)])
    cluster.decide()
    assert rows(cluster, "gang") == [1, 1] and rows(cluster, "wide") == [4, 5]


def test_where_no_domain_holds_it_the_fewest_are_taken_of_one_that_is_wider() -> None:
    cluster = a_cluster()
    cluster.feed([asks("a", 4, layout=Layout(near=("n4",)))])
    cluster.feed([asks("gang", 4, 3, layout=Layout(together="rack"))])
    cluster.decide()
    assert sorted(rows(cluster, "gang")) == [0, 1, 2], "all in one zone, of two racks"


def test_data_draws_a_run_and_holds_nobody_back() -> None:
    cluster = a_cluster()
    cluster.feed([asks("a", 2, 4, layout=Layout(near=("r2", "n9")))])
    cluster.decide()
    assert rows(cluster, "a") == [4, 4, 5, 5]
    cluster.feed([asks("b", 4, 2, layout=Layout(together="rack", near=("n4",)))])
    cluster.decide()
    assert rows(cluster, "b") == [0, 1]


def test_a_gang_larger_than_any_domain_is_refused_with_the_largest_that_could_be() -> None:
    cluster = a_cluster()
    row = Layout(together="row", strictly=True)
    even = Layout(spread="zone", strictly=True)
    cluster.feed([asks("a", 4, 3, layout=IN_A_RACK), asks("b", 4, 6, layout=even)])
    cluster.feed([asks("c", 4, 2, layout=row), asks("d", 4, 5, layout=even)])
    why = {each.run: each.why for each in cluster.decide() if isinstance(each, Reject)}
    assert why == {
        "a": "pool 'one': no rack has room for all 3 processes of this; the largest room is in "
             "'r0', for 2 processes",
        "b": "pool 'one': no room for all 6 processes of this evenly over every zone, for 5 at "
             "most",
        "c": "pool 'one': no machine tells its row",
    }  # fmt: skip


def test_why_names_the_domain_and_what_would_start_it_is_that_it_need_not() -> None:
    cluster = a_cluster(RACKS[:4])
    cluster.feed([asks("a", 4, layout=Layout(near=("n0",)))])
    cluster.feed([asks("b", 4, layout=Layout(near=("n2",)))])
    cluster.feed([asks("gang", 4, 2, layout=IN_A_RACK)])
    assert started(cluster.decide()) == ["a", "b"]
    assert cluster.why("gang") == (
        "pool 'one': no rack has room for all 2 processes of this; the largest room is in 'r0', "
        "for 1 processes"
    )
    found = whatif.smallest(cluster, "gang")
    assert "with its processes in one rack where there is room, not only so" in map(str, found)
    for start in found:
        twin = cluster.copy()
        twin.feed([Released(run="gang"), start.change.of(cluster.line.waiting["gang"])])
        assert "gang" in started(twin.decide())


def test_room_is_made_in_the_domain_where_least_is_lost() -> None:
    cluster = a_cluster(RACKS[:4], Shortest())
    for at, node in ((0.0, "n0"), (10.0, "n2"), (20.0, "n3"), (25.0, "n1")):
        cluster.feed([asks(node, 4, left=1e4, layout=Layout(near=(node,)))], at)
        assert started(cluster.decide(at)) == [node]
    cluster.feed([asks("gang", 4, 2, priority=1, layout=IN_A_RACK)], 100.0)
    found = cluster.decide(100.0)
    # n1 and n3 are the youngest, and not of one rack: in one 175 seconds are lost, in one 170.
    assert {each.run for each in found if isinstance(each, Preempt)} == {"n2", "n3"}
    cluster.feed([Released(run="n2", ended=False), Released(run="n3", ended=False)], 101.0)
    assert started(cluster.decide(101.0)) == ["gang"] and sorted(rows(cluster, "gang")) == [2, 3]


def test_nobody_goes_where_no_domain_would_be_free() -> None:
    cluster = a_cluster(RACKS[:4], Shortest())
    for node, priority in (("n0", 2), ("n1", 0), ("n2", 2), ("n3", 0)):
        cluster.feed([asks(node, 4, priority=priority, layout=Layout(near=(node,)))])
        cluster.decide(0.0)
    cluster.feed([asks("gang", 4, 2, priority=1, layout=IN_A_RACK)], 1.0)
    assert cluster.decide(1.0) == []


def test_room_is_kept_in_one_domain() -> None:
    cluster = a_cluster(RACKS[:4])
    for node, left in (("n0", 500.0), ("n1", 5000.0), ("n2", 600.0), ("n3", 700.0)):
        cluster.feed([asks(node, 4, left=left, layout=Layout(near=(node,)))])
        cluster.decide(0.0)
    cluster.feed([asks("gang", 4, 2, left=100.0, layout=IN_A_RACK)], 1.0)
    cluster.decide(1.0)
    cluster.decide(400.0)
    cluster.feed([Released(run="n0")], 500.0)
    cluster.feed([asks("long", 4, left=9e3)], 500.0)
    assert started(cluster.decide(500.0)) == ["long"], "the other rack is kept"
    cluster.feed([Released(run="n2"), asks("next", 4, left=9e3)], 600.0)
    assert cluster.decide(600.0) == []
    cluster.feed([Released(run="n3")], 700.0)
    assert started(cluster.decide(700.0)) == ["gang"] and rows(cluster, "gang") == [2, 3]


def test_what_must_be_spread_is_also_where_it_may_not_be_everywhere() -> None:
    spread = Layout(spread="rack", strictly=True)
    parts = ((Ask(cpu=8000), 2),)
    nodes = Nodes(RACKS[:3])
    assert Pool(nodes, FirstFit(nodes)).lay(parts, np.array([True, True, False]), spread) is None
    cluster = a_cluster(RACKS[:3], Shortest())
    one = replace(asks("one", 1, priority=1), parts=((ONE, 1),), layout=Layout(near=("n2",)))
    cluster.feed([one, asks("low", 4, layout=Layout(near=("n0",)))])
    assert started(cluster.decide(0.0)) == ["one", "low"]
    cluster.feed([replace(asks("even", 1, priority=1), parts=parts, layout=spread)])
    assert cluster.decide(1.0) == []


def test_a_gang_grows_in_its_domain_and_evenly() -> None:
    for layout, wanted in (
        (IN_A_RACK, {"r0": 4}),
        (Layout(together="zone", spread="rack", strictly=True), {"r0": 4, "r1": 4}),
        (Layout(spread="zone", strictly=True), {"r0": 4, "r1": 1, "r2": 4}),
    ):
        cluster = a_cluster(RACKS, Shortest())
        cluster.feed([asks("gang", 2, 2, grows=9, keeps=True, layout=layout)])
        cluster.decide(0.0)
        cluster.decide(1e4)
        more = [rows(cluster, each)[0] for each in cluster.held["gang"].grown]
        assert Counter(f"r{row // 2}" for row in rows(cluster, "gang") + more) == wanted


def test_a_gang_that_is_known_to_be_there_grows_where_it_is() -> None:
    cluster = a_cluster(RACKS, Shortest())
    seats = (Seat("n4", (0, 1)), Seat("n5", (0, 1)))
    asked = asks("gang", 2, 2, grows=9, keeps=True, layout=IN_A_RACK)
    cluster.feed([Occupied(asked=asked, seats=seats)])
    cluster.decide(1e4)
    grown = [rows(cluster, more)[0] for more in cluster.held["gang"].grown]
    assert sorted(grown) == [4, 5]


ISLANDS = ((0, 2, 4, 6), (1, 3, 5, 7))


@given(st.sets(st.integers(0, 7)), st.integers(1, 8))
@settings(deadline=None)
def test_linked_devices_go_together_and_whole_islands_stay_whole(
    taken: set[int], count: int
) -> None:
    nodes = Nodes([a_node("n", devices=8, links=ISLANDS)])
    nodes.take(Spot(0, tuple(sorted(taken))), Ask(devices=len(taken)))
    ask = Ask(devices=count)
    if not nodes.fit(ask)[0]:
        return
    found = {*nodes.at(0, ask).devices}
    assert len(found) == count and not found & taken
    idle = [{*island} - taken for island in ISLANDS]
    holds = [island for island in idle if len(island) >= count]
    if holds:
        [mine] = [island for island in holds if found <= island]
        assert len(mine) == min(map(len, holds))
    else:
        assert max(idle, key=len) <= found or min(idle, key=len) <= found


def test_of_two_nodes_that_is_taken_where_links_join_all() -> None:
    for make in (FirstFit, Value):
        cluster = Cluster(make)
        nodes = [a_node(f"n{at}", devices=8, links=ISLANDS) for at in range(2)]
        cluster.feed([PoolChanged(pool="one", nodes=tuple(nodes))])
        pool = cluster.pools["one"]
        pool.hold(((Ask(devices=2), 1),), (Spot(0, (0, 1)),))
        cluster.feed([asks("four", 4), asks("three", 3), asks("half", 0)])
        cluster.decide()
        [four] = cluster.held["four"].spots
        assert four.node == 1 and {*four.devices} in [{*island} for island in ISLANDS]
        [three] = cluster.held["three"].spots
        assert any({*three.devices} <= {*island} for island in ISLANDS)


def test_a_share_of_a_device_breaks_up_the_smallest_island() -> None:
    nodes = Nodes([a_node("n", devices=8, links=ISLANDS)])
    nodes.take(Spot(0, (3,)), Ask(devices=1))
    share = Ask(devices=1, share=WHOLE // 2)
    spot = nodes.at(0, share)
    assert spot.devices[0] in (1, 5, 7)
    nodes.take(spot, share)
    assert nodes.at(0, share).devices == spot.devices


def test_nodes_that_contradict_themselves() -> None:
    for wrong in ({"where": (("rack", "a"), ("rack", "b"))}, {"where": (("node", "a"),)},
                  {"links": ((0, 1), (1, 2))}, {"links": ((0, 9),)}):  # fmt: skip
        try:
            Node(name="n", cpu=1, devices=(("T4", 4),), **wrong)
        except ValueError as error:
            assert "'n'" in str(error)
        else:
            raise AssertionError(wrong)


def test_a_gang_of_nothing_has_its_place() -> None:
    pool = a_pool(RACKS, [], FirstFit)
    for layout in (IN_A_RACK, Layout(together="zone", spread="rack", strictly=True)):
        assert pool.lay((), layout=layout) == () and pool.could((), layout)
