"""The scheduler as a machine: whatever happens, in whatever order, these hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tradewind.records.tasks import Lot, Resources
from tradewind.scheduler.machine import (
    Machine,
    Occupied,
    Place,
    PoolChanged,
    PoolGone,
    Reject,
    Released,
    SchedulerEvent,
    Waiting,
    Withdrawn,
)

RUNS = [f"r{i}" for i in range(8)]
POOLS = ["one", "two"]
_GPU = st.sampled_from([{}, {}, {"gpu": 1}, {"gpu": 2}])
DEMANDS = st.builds(
    Resources,
    cpu=st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]),
    memory=st.sampled_from([0, 1, 5, 20]),
    accelerators=_GPU,
)
CAPACITIES = st.builds(
    Resources,
    cpu=st.sampled_from([0.5, 1.0, 4.0]),
    memory=st.sampled_from([4, 10]),
    accelerators=_GPU,
)


def fits(demand: Resources, capacity: Resources) -> bool:
    return (
        demand.cpu <= capacity.cpu + 1e-9
        and demand.memory <= capacity.memory
        and all(n <= capacity.accelerators.get(k, 0) for k, n in demand.accelerators.items())
    )


class Machinery(RuleBasedStateMachine):
    """The real machine beside a plain account of who waits and who holds what."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine()
        self.log: list[tuple[SchedulerEvent | None, list[Place | Reject]]] = []
        self.pools: dict[str, Resources] = {}
        self.waiting: dict[str, Waiting] = {}
        self.held: dict[str, tuple[str, Resources]] = {}
        self.largest: dict[str, Resources] = {}
        self.firm: dict[str, bool] = {}
        self.machines: dict[str, int] = {}
        self.shrunk: set[str] = set()

    def feed(self, event: SchedulerEvent) -> None:
        self.log.append((event, []))
        self.machine.feed([event])

    @rule(pool=st.sampled_from(POOLS), capacity=CAPACITIES,
          largest=st.one_of(st.none(), CAPACITIES), firm=st.booleans(),
          machines=st.integers(0, 3))  # fmt: skip
    def pool_changes(
        self, pool: str, capacity: Resources, largest: Resources | None, firm: bool, machines: int
    ) -> None:
        sizes = (Lot(each=largest or capacity, count=machines),) if machines else ()
        self.feed(
            PoolChanged(pool=pool, capacity=capacity, largest=largest, sizes=sizes, firm=firm)
        )
        self.pools[pool], self.machines[pool] = capacity, machines
        self.largest[pool], self.firm[pool] = largest or capacity, firm
        if not fits(self.used(pool), capacity):
            self.shrunk.add(pool)

    @rule(pool=st.sampled_from(POOLS))
    def pool_goes(self, pool: str) -> None:
        self.feed(PoolGone(pool=pool))
        self.pools.pop(pool, None)

    @rule(run=st.sampled_from(RUNS), pool=st.sampled_from(POOLS), demand=DEMANDS,
          since=st.integers(0, 3), crowd=st.integers(0, 3))  # fmt: skip
    def run_waits(self, run: str, pool: str, demand: Resources, since: int, crowd: int) -> None:
        """Some equal processes, or a crowd of such that each fits anywhere."""
        each = (Lot(each=demand, count=crowd),) if crowd else ()
        together = total([demand] * (crowd or 1))
        event = Waiting(run=run, pool=pool, demand=together, since=float(since), each=each)
        self.feed(event)
        if run not in self.held:
            self.waiting.setdefault(run, event)

    @rule(run=st.sampled_from(RUNS))
    def run_withdraws(self, run: str) -> None:
        self.feed(Withdrawn(run=run))
        self.waiting.pop(run, None)

    @rule(run=st.sampled_from(RUNS))
    def run_releases(self, run: str) -> None:
        self.feed(Released(run=run))
        self.waiting.pop(run, None)
        self.held.pop(run, None)
        assert self.machine.holds(run) == "" and self.machine.why(run) == ""

    @rule(run=st.sampled_from(RUNS), pool=st.sampled_from(POOLS), demand=DEMANDS)
    def run_is_known_to_hold(self, run: str, pool: str, demand: Resources) -> None:
        self.feed(Occupied(run=run, pool=pool, demand=demand))
        self.waiting.pop(run, None)
        self.held.setdefault(run, (pool, demand))
        if pool in self.pools and not fits(self.used(pool), self.pools[pool]):
            self.shrunk.add(pool)

    @rule()
    def decides(self) -> None:
        twin = self.machine.copy()
        decisions = self.machine.decide()
        assert twin.decide() == decisions, "the same state, other decisions"
        self.log.append((None, decisions))
        for decision in decisions:
            self.check(decision)
        for waiting in self.waiting.values():
            pool = self.pools.get(waiting.pool)
            if pool is None:
                continue
            could = self.could(waiting)
            assert could or not self.firm[waiting.pool], "never fits, and was not rejected"
            free = could and fits(self.with_(waiting), pool)
            assert not free, "it fits, and was not placed"

    def check(self, decision: Place | Reject) -> None:
        waiting = self.waiting.pop(decision.run)
        capacity = self.pools[waiting.pool]
        if isinstance(decision, Reject):
            assert self.firm[waiting.pool], "it may grow again"
            assert not self.could(waiting) and waiting.pool in decision.why
            return
        assert decision.pool == waiting.pool and self.could(waiting)
        earlier = [
            each for each in self.waiting.values()
            if each.since < waiting.since and (each.pool, each.demand, each.each) ==
            (waiting.pool, waiting.demand, waiting.each)
        ]  # fmt: skip
        assert not earlier, "an equal one came before"
        assert fits(self.with_(waiting), capacity), "over capacity"
        self.held[decision.run] = (waiting.pool, waiting.demand)

    @rule()
    def copies_are_independent(self) -> None:
        twin = self.machine.copy()
        before = {run: (self.machine.holds(run), self.machine.why(run)) for run in RUNS}
        twin.feed([Released(run=run) for run in RUNS])
        twin.feed([PoolChanged(pool="one", capacity=Resources(cpu=99.0))])
        twin.decide()
        assert before == {run: (self.machine.holds(run), self.machine.why(run)) for run in RUNS}

    @invariant()
    def it_agrees_with_the_account(self) -> None:
        for run in RUNS:
            assert self.machine.holds(run) == self.held.get(run, ("",))[0]
            assert bool(self.machine.why(run)) == (run in self.waiting)
        for pool in POOLS:
            held = {run for run, (at, _) in self.held.items() if at == pool}
            assert self.machine.holders(pool) == held
            assert self.machine.used(pool).cpu == self.used(pool).cpu

    def teardown(self) -> None:
        again = Machine()
        for event, decisions in self.log:
            if event is None:
                assert again.decide() == decisions, "the same events, other decisions"
            else:
                again.feed([event])

    def could(self, waiting: Waiting) -> bool:
        """Whether it fits if nothing else is there."""
        apart = all(self.packed(lot, waiting.pool) for lot in waiting.each)
        return apart and fits(waiting.demand, self.pools[waiting.pool])

    def packed(self, lot: Lot, pool: str) -> bool:
        """Whether these can be laid one by one on the machines of a pool, or on the one."""
        most = 0
        while most < lot.count and fits(total([lot.each] * (most + 1)), self.largest[pool]):
            most += 1
        machines = self.machines[pool]
        return most > 0 and (not machines or most * machines >= lot.count)

    def used(self, pool: str) -> Resources:
        return total([demand for at, demand in self.held.values() if at == pool])

    def with_(self, waiting: Waiting) -> Resources:
        """What would be held of all that it asks for: a pool that shrank may lack the rest."""
        asked, used = waiting.demand, self.used(waiting.pool)
        return Resources(
            cpu=used.cpu + asked.cpu,
            memory=used.memory + asked.memory if asked.memory else 0,
            accelerators={
                name: count + used.accelerators.get(name, 0)
                for name, count in asked.accelerators.items()
            },
        )


def total(demands: list[Resources]) -> Resources:
    gpus: dict[str, int] = {}
    for each in demands:
        for name, count in each.accelerators.items():
            gpus[name] = gpus.get(name, 0) + count
    return Resources(
        cpu=sum(each.cpu for each in demands),
        memory=sum(each.memory for each in demands),
        accelerators=gpus,
    )


TestMachinery: Any = Machinery.TestCase
TestMachinery.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def waiting(run: str, cpu: float, since: float = 0.0) -> Waiting:
    return Waiting(run=run, pool="one", demand=Resources(cpu=cpu), since=since)


def a_machine(cpu: float = 2.0) -> Machine:
    machine = Machine()
    machine.feed([PoolChanged(pool="one", capacity=Resources(cpu=cpu, memory=100))])
    return machine


def test_among_those_of_one_moment_the_first_to_come_is_first() -> None:
    machine = a_machine()
    machine.feed([waiting(run, 1.0) for run in ("z", "a", "m")])
    assert [each.run for each in machine.decide()] == ["z", "a"]
    machine.feed([Released(run="z")])
    assert [each.run for each in machine.decide()] == ["m"]


def test_a_smaller_one_may_pass_one_that_does_not_fit() -> None:
    machine = a_machine()
    machine.feed([waiting("a", 1.5), waiting("b", 1.0, 1.0), waiting("c", 0.5, 2.0)])
    assert [each.run for each in machine.decide()] == ["a", "c"]
    assert machine.why("b") == "pool 'one': needs 1 CPU, 0 free"


def test_a_pool_that_shrank_below_what_it_holds_says_nothing_negative() -> None:
    machine = a_machine()
    machine.feed([waiting("a", 2.0)])
    machine.decide()
    machine.feed([PoolChanged(pool="one", capacity=Resources(cpu=1.0)), waiting("b", 1.0)])
    assert machine.decide() == []
    assert machine.why("b") == "pool 'one': needs 1 CPU, 0 free"


def test_what_stands_is_known_and_named_where_only_that_is_in_the_way() -> None:
    machine = a_machine()
    service = replace(waiting("web", 0.25), stands=True)
    machine.feed([service, waiting("a", 1.0), waiting("b", 2.0)])
    assert [each.run for each in machine.decide()] == ["web", "a"]
    assert (machine.standing("one"), machine.used("one").cpu) == (Resources(cpu=0.25), 1.25)
    words = "what services hold (0.25 CPU) is free when they are stopped"
    assert words in machine.why("b") and words in machine.copy().why("b")
    machine.feed([waiting("c", 1.5)])
    assert words not in machine.why("c"), "that one waits for a"
    machine.feed([Released(run="web")])
    assert machine.standing("one") == Resources(cpu=0.0) and words not in machine.why("b")
    machine.feed([Occupied(run="old", pool="one", demand=Resources(cpu=0.5), stands=True)])
    assert machine.standing("one").cpu == 0.5


def test_reasons_of_many_are_those_of_each() -> None:
    machine = a_machine()
    machine.feed([waiting(f"r{i}", 1.5, float(i)) for i in range(5)])
    machine.decide()
    runs = [f"r{i}" for i in range(5)]
    assert machine.reasons(runs) == {run: machine.why(run) for run in runs if machine.why(run)}
    assert machine.why("r3").endswith("; 2 ahead of it")


def test_one_process_is_never_spread_over_machines() -> None:
    machine = Machine()
    two = Resources(cpu=2.0, memory=100)
    machine.feed([PoolChanged(pool="one", capacity=Resources(cpu=8.0, memory=400), largest=two)])
    big = Resources(cpu=3.0)
    machine.feed(
        [Waiting(run="a", pool="one", demand=big, since=0.0, each=(Lot(each=big, count=1),))]
    )
    small = (Lot(each=Resources(cpu=1.5), count=2),)
    machine.feed([Waiting(run="b", pool="one", demand=big, since=0.0, each=small)])
    rejected, placed = machine.decide()
    assert isinstance(rejected, Reject) and rejected.why == (
        "no machine of pool 'one' can hold one process of this: it needs 3 CPU, the largest "
        "machine has 2 CPU, 100 B"
    )
    assert isinstance(placed, Place) and placed.run == "b"


def test_what_fits_the_pool_but_not_its_machines_never_starts() -> None:
    eight = Resources(cpu=8.0, memory=100)
    pool = PoolChanged(pool="one", capacity=Resources(cpu=16.0, memory=200), largest=eight,
                       sizes=(Lot(each=eight, count=2),))  # fmt: skip
    gang = Waiting(run="a", pool="one", demand=Resources(cpu=15.0), since=0.0,
                   each=(Lot(each=Resources(cpu=5.0), count=3),))  # fmt: skip
    machine = Machine()
    machine.feed([pool, gang])
    why = (
        "the machines of pool 'one' hold 2 processes of this at the same time, not 3: each needs "
        "5 CPU, all on one machine"
    )
    assert machine.decide() == [Reject(run="a", why=why)]

    machine.feed([replace(pool, firm=False), gang])
    assert machine.decide() == []
    assert machine.why("a") == f"{why}; it waits until there is more"
    three = Resources(cpu=24.0, memory=300)
    machine.feed([replace(pool, capacity=three, sizes=(Lot(each=eight, count=3),), firm=False)])
    assert [each.run for each in machine.decide()] == ["a"]


def test_what_may_grow_again_is_waited_for() -> None:
    machine = a_machine(4.0)
    machine.feed([PoolChanged(pool="one", capacity=Resources(cpu=1.0), firm=False)])
    machine.feed([waiting("a", 2.0)])
    assert machine.decide() == []
    assert machine.why("a") == "pool 'one': needs 2 CPU, 1 free; it waits until there is more"
    machine.feed([PoolGone(pool="one", why="cannot be reached: no answer")])
    assert machine.why("a") == "pool 'one': cannot be reached: no answer"
    machine.feed([PoolChanged(pool="one", capacity=Resources(cpu=2.0), firm=False)])
    assert [each.run for each in machine.decide()] == ["a"]
