"""The scheduler as the live road uses it, first come, first fit: whatever happens, in whatever
order, these hold; and what it says when it is asked."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tradewind.records.placements import Seat
from tradewind.records.tasks import Lot, Resources
from tradewind.scheduler import demand
from tradewind.scheduler.answers import Answering
from tradewind.scheduler.events import (
    Decided,
    Occupied,
    Place,
    PoolChanged,
    PoolGone,
    QueuesChanged,
    Reject,
    Released,
    SchedulerEvent,
    Waiting,
    Widened,
    Withdrawn,
)
from tradewind.scheduler.nodes import Ask, Nodes
from tradewind.scheduler.queues import Queue
from tradewind.scheduler.rows import FirstFit

RUNS = [f"r{i}" for i in range(8)]
POOLS = ["one", "two"]
_GPU = st.sampled_from([{}, {}, {"gpu": 1}, {"gpu": 2}])
_PART = st.sampled_from([{}, {}, {"gpu": 1}, {"gpu": 2}, {"gpu": 0.5}, {"gpu": 0.3}])
SIZES = st.builds(
    Resources,
    cpu=st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]),
    memory=st.sampled_from([0, 1, 5, 20]),
    accelerators=_PART,
)
MACHINES = st.lists(
    st.builds(
        Resources,
        cpu=st.sampled_from([0.5, 1.0, 4.0]),
        memory=st.sampled_from([4, 10]),
        accelerators=_GPU,
    ),
    max_size=3,
)


def pool(*machines: Resources, name: str = "one", whole: Resources | None = None,
         firm: bool = True) -> PoolChanged:  # fmt: skip
    nodes = demand.nodes(Lot(each=each, count=1) for each in machines)
    most = demand.limit(whole or total(list(machines)), nodes)
    return PoolChanged(pool=name, nodes=nodes, firm=firm, most=most)


def wants(run: str, each: Resources, count: int = 1, since: float = 0.0, **more: Any) -> Waiting:
    parts = demand.parts([Lot(each=each, count=count)])
    return Waiting(run=run, pool=more.pop("pool", "one"), parts=parts, since=since, **more)


class Machinery(RuleBasedStateMachine):
    """The real machine beside a plain account of who waits and who holds what."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Answering(FirstFit)
        self.log: list[tuple[SchedulerEvent | None, list[Decided]]] = []
        self.pools: dict[str, PoolChanged] = {}
        self.machines: dict[str, dict[str, Resources]] = {}
        self.whole: dict[str, Resources] = {}
        self.waiting: dict[str, tuple[Waiting, Resources, int]] = {}
        self.held: dict[str, tuple[str, Resources, int]] = {}
        # Pools that may hold more than they have, or whose runs are not where they were put.
        self.short: set[str] = set()

    def feed(self, event: SchedulerEvent) -> None:
        self.log.append((event, []))
        self.machine.feed([event])

    @rule(name=st.sampled_from(POOLS), machines=MACHINES, whole=st.none() | SIZES,
          firm=st.booleans())  # fmt: skip
    def pool_changes(
        self, name: str, machines: list[Resources], whole: Resources | None, firm: bool
    ) -> None:
        event = pool(*machines, name=name, whole=whole, firm=firm)
        self.feed(event)
        self.pools[name], self.whole[name] = event, whole or total(machines)
        named: dict[str, Resources] = {}
        for each in machines:  # numbered among those alike
            number = 1 + sum(known.startswith(f"{each} #") for known in named)
            named[f"{each} #{number}"] = each
        self.machines[name] = named
        if any(at == name for at, _, _ in self.held.values()):
            self.short.add(name)

    @rule(name=st.sampled_from(POOLS))
    def pool_goes(self, name: str) -> None:
        self.feed(PoolGone(pool=name))
        self.pools.pop(name, None)

    @rule(run=st.sampled_from(RUNS), name=st.sampled_from(POOLS), each=SIZES,
          since=st.integers(0, 3), count=st.integers(1, 4))  # fmt: skip
    def run_waits(self, run: str, name: str, each: Resources, since: int, count: int) -> None:
        event = wants(run, each, count, float(since), pool=name)
        self.feed(event)
        if run not in self.held:
            self.waiting.setdefault(run, (event, each, count))

    @rule(run=st.sampled_from(RUNS))
    def run_withdraws(self, run: str) -> None:
        self.feed(Withdrawn(run=run))
        self.waiting.pop(run, None)

    @rule(run=st.sampled_from(RUNS), ended=st.booleans())
    def run_releases(self, run: str, ended: bool) -> None:
        self.feed(Released(run=run, ended=ended))
        self.waiting.pop(run, None)
        self.held.pop(run, None)
        assert self.machine.holds(run) == "" and self.machine.why(run) == ""

    @rule(run=st.sampled_from(RUNS), name=st.sampled_from(POOLS), each=SIZES,
          count=st.integers(1, 2))  # fmt: skip
    def run_is_known_to_hold(self, run: str, name: str, each: Resources, count: int) -> None:
        parts = demand.parts([Lot(each=each, count=count)])
        asked = Waiting(run=run, pool=name, parts=parts, since=0.0)
        self.feed(Occupied(asked=asked))
        self.waiting.pop(run, None)
        if run not in self.held:
            self.held[run] = (name, each, count)
            self.short.add(name)

    @rule()
    def decides(self) -> None:
        twin = self.machine.copy()
        decisions = self.machine.decide()
        assert twin.decide() == decisions, "the same state, other decisions"
        self.log.append((None, decisions))
        for decision in decisions:
            self.check(decision)
        for waiting, each, count in self.waiting.values():
            if waiting.pool not in self.pools:
                continue
            could = self.fits(waiting.pool, each, count, ())
            assert could or not self.pools[waiting.pool].firm, "never fits, and was not rejected"
            if waiting.pool not in self.short:
                now = self.fits(waiting.pool, each, count, self.there(waiting.pool))
                assert not now, "it fits, and was not placed"

    def check(self, decision: Decided) -> None:
        waiting, each, count = self.waiting.pop(decision.run)
        if isinstance(decision, Reject):
            assert self.pools[waiting.pool].firm, "it may grow again"
            assert not self.fits(waiting.pool, each, count, ()) and waiting.pool in decision.why
            return
        assert isinstance(decision, Place)
        assert decision.pool == waiting.pool and len(decision.spots) == count
        earlier = [
            other for other, _, _ in self.waiting.values()
            if other.since < waiting.since and (other.pool, other.parts) ==
            (waiting.pool, waiting.parts)
        ]  # fmt: skip
        assert not earlier, "an equal one came before"
        self.held[decision.run] = (waiting.pool, each, count)

    @rule()
    def copies_are_independent(self) -> None:
        twin = self.machine.copy()
        before = {run: (self.machine.holds(run), self.machine.why(run)) for run in RUNS}
        twin.feed([Released(run=run) for run in RUNS])
        twin.feed([pool(Resources(cpu=99.0))])
        twin.decide()
        assert before == {run: (self.machine.holds(run), self.machine.why(run)) for run in RUNS}

    @invariant()
    def it_agrees_with_the_account(self) -> None:
        for run in RUNS:
            assert self.machine.holds(run) == self.held.get(run, ("",))[0]
            assert bool(self.machine.why(run)) == (run in self.waiting)
        for name in POOLS:
            held = {run for run, (at, _, _) in self.held.items() if at == name}
            assert self.machine.holders(name) == held
            used = total([each for at, each, count in self.held.values() if at == name
                          for _ in range(count)])  # fmt: skip
            assert self.machine.used(name) == replace(used, accelerators={
                model: number for model, number in used.accelerators.items() if number
            })  # fmt: skip
            if not held:
                self.short.discard(name)

    @invariant()
    def no_machine_and_no_pool_holds_more_than_it_has(self) -> None:
        for name in self.pools.keys() - self.short:
            there = self.there(name)
            for node, whole in self.machines[name].items():
                assert total([each for at, each in there if at == node]).within(whole)
            assert total([each for _, each in there]).within(self.whole[name])

    def teardown(self) -> None:
        again = Answering(FirstFit)
        for event, decisions in self.log:
            if event is None:
                assert again.decide() == decisions, "the same events, other decisions"
            else:
                again.feed([event])

    def there(self, name: str) -> tuple[tuple[str, Resources], ...]:
        """On which machine each process is."""
        return tuple(
            (seat.node, each)
            for run, (at, each, _) in self.held.items()
            if at == name
            for seat in self.machine.seats(run)
        )

    def fits(
        self, name: str, each: Resources, count: int, there: tuple[tuple[str, Resources], ...]
    ) -> bool:
        """Whether so many can be laid one by one beside these."""
        held = 0
        for node, whole in self.machines[name].items():
            mine, most = [one for at, one in there if at == node], 0
            while most < count and covers([*mine, *[each] * (most + 1)], whole, each):
                most += 1
            held += most
        together = [*(one for _, one in there), *[each] * count]
        return held >= count and covers(together, self.whole[name], each)


def covers(held: list[Resources], whole: Resources, wanted: Resources) -> bool:
    """Whether all this is there, of what is wanted."""
    found = total(held)
    return (
        found.cpu <= whole.cpu
        and (not wanted.memory or found.memory <= whole.memory)
        and all(found.accelerators[name] <= whole.accelerators.get(name, 0)
                for name in wanted.accelerators)
    )  # fmt: skip


def total(found: list[Resources]) -> Resources:
    gpus: dict[str, int | float] = {}
    for each in found:
        for name, count in each.accelerators.items():
            gpus[name] = round(gpus.get(name, 0) + count, 3)
    return Resources(
        cpu=float(sum(each.cpu for each in found)),
        memory=sum(each.memory for each in found),
        accelerators=gpus,
    )


TestMachinery: Any = Machinery.TestCase
TestMachinery.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def a_machine(cpu: float = 2.0, *more: Resources) -> Answering:
    machine = Answering(FirstFit)
    machine.feed([pool(Resources(cpu=cpu, memory=100), *more)])
    return machine


def core(cpu: float, gpu: float = 0) -> Resources:
    return Resources(cpu=cpu, accelerators={"gpu": gpu} if gpu else {})


def placed(decisions: list[Decided]) -> list[str]:
    return [each.run for each in decisions if isinstance(each, Place)]


def test_among_those_of_one_moment_the_first_to_come_is_first() -> None:
    machine = a_machine()
    machine.feed([wants(run, core(1.0)) for run in ("z", "a", "m")])
    assert placed(machine.decide()) == ["z", "a"]
    machine.feed([Released(run="z")])
    assert placed(machine.decide()) == ["m"]


def test_a_smaller_one_may_pass_one_that_does_not_fit() -> None:
    machine = a_machine()
    machine.feed(
        [wants("a", core(1.5)), wants("b", core(1.0), 1, 1.0), wants("c", core(0.5), 1, 2.0)]
    )
    assert placed(machine.decide()) == ["a", "c"]
    assert machine.why("b") == "pool 'one': needs 1 CPU, 0 free"


def test_a_pool_that_shrank_below_what_it_holds_says_nothing_negative() -> None:
    machine = a_machine()
    machine.feed([wants("a", core(2.0))])
    machine.decide()
    machine.feed([pool(core(1.0)), wants("b", core(1.0))])
    assert machine.decide() == []
    assert machine.why("b") == "pool 'one': needs 1 CPU, 0 free"
    assert machine.free("one").cpu == 0.0 and machine.used("one").cpu == 2.0


def test_what_stands_is_known_and_named_where_only_that_is_in_the_way() -> None:
    machine = a_machine()
    machine.feed(
        [wants("web", core(0.25), stands=True), wants("a", core(1.0)), wants("b", core(2.0))]
    )
    assert placed(machine.decide()) == ["web", "a"]
    assert (machine.standing("one"), machine.used("one").cpu) == (core(0.25), 1.25)
    words = "what services hold (0.25 CPU) is free when they are stopped"
    assert words in machine.why("b") and words in machine.copy().why("b")
    machine.feed([wants("c", core(1.5))])
    assert words not in machine.why("c"), "that one waits for a"
    machine.feed([Released(run="web")])
    assert machine.standing("one") == core(0.0) and words not in machine.why("b")
    machine.feed([Occupied(asked=wants("old", core(0.5), stands=True))])
    assert machine.standing("one").cpu == 0.5


def test_reasons_of_many_are_those_of_each() -> None:
    machine = a_machine()
    machine.feed([wants(f"r{i}", core(1.5), 1, float(i)) for i in range(5)])
    machine.decide()
    runs = [f"r{i}" for i in range(5)]
    assert machine.reasons(runs) == {run: machine.why(run) for run in runs if machine.why(run)}
    assert machine.why("r3").endswith("; 2 ahead of it")


def test_reasons_of_ten_thousand_are_there_at_once() -> None:
    machine = a_machine()
    runs = [f"r{i}" for i in range(10_000)]
    machine.feed([wants(run, core(1.0 + at % 50 / 50), 1, float(at))
                  for at, run in enumerate(runs)])  # fmt: skip
    machine.decide()
    took = []
    for _ in range(3):
        began = time.perf_counter()
        assert len(machine.reasons(runs)) == 9_998
        took.append(time.perf_counter() - began)
    assert min(took) < 0.1


def test_it_is_asked_while_it_changes() -> None:
    machine, over = a_machine(), threading.Event()
    runs = [f"r{i}" for i in range(200)]
    wrong: list[Exception] = []

    def ask() -> None:
        try:
            while not over.is_set():
                machine.reasons(runs), machine.used("one"), machine.standing("one")
                machine.free("one"), machine.holders("one"), machine.room("one", core(1.0))
        except Exception as error:
            wrong.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    for turn in range(30):
        machine.feed([wants(run, core(0.5 + turn % 3), project=f"p{turn}") for run in runs])
        machine.decide(float(turn))
        machine.feed([pool(core(2.0)), *(Released(run=run) for run in runs)])
    over.set()
    asking.join()
    assert not wrong


def test_one_process_is_never_spread_over_machines() -> None:
    two = Resources(cpu=2.0, memory=100)
    machine = Answering(FirstFit)
    machine.feed([pool(two, two, two, two), wants("a", core(3.0)), wants("b", core(1.5), 2)])
    rejected, started = machine.decide()
    assert isinstance(rejected, Reject) and rejected.why == (
        "no machine of pool 'one' can hold one process of this: it needs 3 CPU, the largest "
        "machine has 2 CPU, 100 B"
    )
    assert isinstance(started, Place) and started.run == "b"
    assert [seat.node for seat in machine.seats("b")] == ["2 CPU, 100 B #1", "2 CPU, 100 B #2"]


def test_what_is_free_in_pieces_is_said_to_be() -> None:
    machine = a_machine(2.0, Resources(cpu=2.0, memory=100))
    machine.feed([wants("a", core(1.5), 2), wants("b", core(1.0)), wants("c", core(0.5), 3),
                  wants("d", core(0.25), 4)])  # fmt: skip
    assert placed(machine.decide()) == ["a", "d"]
    machine.feed([Released(run="d")])
    assert machine.why("b") == ("pool 'one': needs 1 CPU on one machine, and none has so much free")
    assert machine.why("c").startswith("pool 'one': needs 1.5 CPU, 1 free")
    machine.feed([wants("e", core(0.3), 3)])
    assert machine.why("e") == (
        "pool 'one': needs 3 times 0.3 CPU, and there is room for 2 of them now; 2 ahead of it"
    )


def test_what_fits_the_pool_but_not_its_machines_never_starts() -> None:
    eight = Resources(cpu=8.0, memory=100)
    gang = wants("a", core(5.0), 3)
    machine = Answering(FirstFit)
    machine.feed([pool(eight, eight), gang])
    why = (
        "the machines of pool 'one' hold 2 processes of this at the same time, not 3: each needs "
        "5 CPU, all on one machine"
    )
    assert machine.decide() == [Reject(run="a", why=why)]

    machine.feed([pool(eight, eight, firm=False), gang])
    assert machine.decide() == []
    assert machine.why("a") == f"{why}; it waits until there is more"
    machine.feed([pool(eight, eight, eight, firm=False)])
    assert placed(machine.decide()) == ["a"]


def test_no_more_is_given_out_than_the_pool_may() -> None:
    machine = Answering(FirstFit)
    four = Resources(cpu=4.0, memory=100)
    machine.feed([pool(four, four, whole=Resources(cpu=5.0, memory=200))])
    machine.feed([wants("a", core(3.0)), wants("b", core(3.0)), wants("c", core(2.0))])
    assert placed(machine.decide()) == ["a", "c"]
    assert machine.why("b") == "pool 'one': needs 3 CPU, 0 free"
    assert machine.free("one").cpu == 0.0 and machine.room("one", core(1.0)) == 0
    machine.feed([wants("d", core(3.0), 2)])
    assert machine.decide() == [Reject(run="d", why="pool 'one': needs 6 CPU, 5 free")]
    machine.feed([Released(run="c")])
    assert machine.room("one", core(1.0)) == 2


def test_what_may_grow_again_is_waited_for() -> None:
    machine = a_machine(4.0)
    machine.feed([pool(core(1.0), firm=False), wants("a", core(2.0))])
    assert machine.decide() == []
    assert machine.why("a") == (
        "no machine of pool 'one' can hold one process of this: it needs 2 CPU, the largest "
        "machine has 1 CPU; it waits until there is more"
    )
    machine.feed([pool(firm=False)])
    assert machine.why("a") == (
        "pool 'one' has no machine that takes work now; it waits until there is more"
    )
    machine.feed([PoolGone(pool="one", why="cannot be reached: no answer")])
    assert machine.why("a") == "pool 'one': cannot be reached: no answer"
    machine.feed([pool(core(2.0), firm=False)])
    assert placed(machine.decide()) == ["a"]


def test_a_full_queue_says_so() -> None:
    machine = Answering(FirstFit)
    t4 = Resources(cpu=1.0, accelerators={"T4": 1})
    two = replace(t4, accelerators={"T4": 2})
    machine.feed([
        pool(Resources(cpu=64.0, accelerators={"T4": 16})),
        QueuesChanged(queues=(Queue(name="vision", borrow=(("T4", 8000),)), Queue(name="rest"))),
        wants("a", t4, 7, queue="vision"), wants("b", two, queue="vision"),
        wants("c", t4, queue="vision"), wants("d", t4, 9, queue="vision"),
    ])  # fmt: skip
    first, last, never = machine.decide()
    assert [first.run, last.run, never.run] == ["a", "c", "d"] and isinstance(never, Reject)
    assert machine.why("b") == "queue 'vision' holds all 8 T4 that it may use"
    machine.feed([Released(run="c")])
    assert machine.why("b") == ("queue 'vision' holds 7 of the 8 T4 that it may use, this needs 2")


def test_what_was_written_down_is_held_in_the_very_same_places() -> None:
    four = Resources(cpu=4.0, accelerators={"T4": 4})
    two = wants("a", Resources(cpu=1.0, accelerators={"T4": 1}), 2)
    there = (Seat("4 CPU, 4 T4 #2", (3,)), Seat("4 CPU, 4 T4 #1", (1,)))
    held = Occupied(asked=two, seats=there)
    began = pool(four, four)
    again: list[SchedulerEvent] = [began, held, PoolGone(pool="one"), pool(four, four, four)]
    nobody = pool(firm=False)
    orders: list[list[SchedulerEvent]] = [
        [began, held], [held, began], [nobody, held, began], [began, held, nobody, began], again
    ]  # fmt: skip
    for events in orders:
        machine = Answering(FirstFit)
        machine.feed(events)
        assert machine.seats("a") == there
    machine.feed([pool(four)])
    assert machine.seats("a") == (Seat("4 CPU, 4 T4 #1", (0,)), there[1])


def test_who_is_widened_stays_where_it_is() -> None:
    machine = a_machine(2.0, core(2.0))
    each = core(0.5)
    machine.feed([wants("x", core(1.5)), wants("a", each, 2)])
    machine.decide()
    before = machine.seats("a")
    machine.feed([Released(run="x")])
    machine.feed([Widened(run="a", parts=demand.parts([Lot(each=each, count=4)]))])
    assert machine.seats("a")[:2] == before and machine.used("one").cpu == 2.0
    machine.feed([Widened(run="a", parts=demand.parts([Lot(each=each, count=1)]))])
    assert machine.seats("a") == before[:1] and machine.free("one").cpu == 3.5


def test_parts_of_a_device_are_shared_out_to_the_thousandth() -> None:
    machine = a_machine(0.5, core(8.0, gpu=2))
    third = core(0.5, gpu=0.333)
    machine.feed([wants("a", third, 6), wants("b", core(0.5, gpu=0.001)),
                  wants("c", core(0.5, gpu=0.002))])  # fmt: skip
    assert [each.run for each in machine.decide()] == ["a", "b"]
    assert sorted(seat.devices for seat in machine.seats("a")) == [(0,)] * 3 + [(1,)] * 3
    assert machine.used("one").accelerators == {"gpu": 1.999}
    assert machine.free("one").accelerators == {"gpu": 0.001}
    assert "needs 0.002 gpu, 0.001 free" in machine.why("c")
    machine.feed([Released(run="a"), Released(run="b")])
    assert machine.free("one").accelerators == {"gpu": 2}


MILLI = st.integers(1, 999).map(lambda milli: milli / 1000)


@given(MILLI | st.integers(1, 4), st.integers(0, 4))
def test_a_quote_and_the_scheduler_see_as_many_on_a_machine(need: float, have: int) -> None:
    each, machine = core(0.001, gpu=need), core(1000.0, gpu=have)
    nodes = Nodes(demand.nodes([Lot(each=machine, count=1)]))
    assert each.fits(machine) == nodes.room(demand.ask(each))


def test_what_a_process_wants_in_whole_numbers() -> None:
    part = Resources(cpu=1.0, accelerators={"a100": 0.1 + 0.2, "nic": 1})
    assert demand.ask(part) == Ask(cpu=1000, devices=1, share=300, models=frozenset({"a100"}),
                                   others=(("nic", 1),))  # fmt: skip
    assert demand.ask(core(1 / 3)) == Ask(cpu=334)
    assert demand.ask(core(0.1 + 0.2)) == Ask(cpu=300)
    gpu = Resources(cpu=1.0, memory=5, accelerators={"a100": 2})
    assert demand.ask(gpu) == Ask(cpu=1000, memory=5, devices=2, models=frozenset({"a100"}))
    both = replace(gpu, accelerators={"nic": 1, "a100": 2, "fpga": 0})
    assert demand.ask(both) == Ask(cpu=1000, memory=5, others=(("a100", 2), ("nic", 1)))
    [node] = demand.nodes([Lot(each=replace(both, cpu=3.9996), count=1)])
    assert (node.cpu, node.devices) == (3999, (("a100", 2), ("nic", 1)))
    assert demand.parts([Lot(each=gpu, count=0)]) == ()


def test_neighbours_of_a_class_that_are_linked() -> None:
    has = Resources(cpu=1.0, accelerators={"a": 3, "b": 5, "c": 2})
    (node,) = demand.nodes([Lot(each=has, count=1)], linked={"b": 2, "c": 8})
    assert node.links == ((3, 4), (5, 6), (7,), (8, 9))
    (node,) = demand.nodes([Lot(each=has, count=1)])
    assert node.links == ()


def test_machines_keep_their_names_when_others_come_and_go() -> None:
    big, small = Lot(each=core(8.0), count=2), Lot(each=core(2.0), count=3)
    before = {node.name for node in demand.nodes([big, small])}
    after = {node.name for node in demand.nodes([replace(big, count=1), small])}
    assert before - after == {"8 CPU #2"} and not after - before
