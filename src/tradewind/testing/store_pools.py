"""The exam's part about servers that share a database, each with its own pools."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from typing import Any

from tradewind.records.runs import Run
from tradewind.records.states import RUN_TRANSITIONS, RunState
from tradewind.store import rows
from tradewind.store.base import Store
from tradewind.testing.store_makers import LIVE, Opener, StepClock, a_placement, a_run
from tradewind.testing.store_placing import Placing

S = RunState
ROAD = (S.PINNED, S.PLANNED, S.QUEUED, S.PLACED, S.RUNNING, S.SUCCEEDED)


def of_pool(id_: str, pool: str, **fields: Any) -> Run:
    """A new run whose spec names this pool, if any."""
    return a_run(id_, spec={"kind": "function", **({"pool": pool} if pool else {})}, **fields)


def claimed(store: Store, *pools: str, limit: int = 10, now: float = 1000.0) -> set[str]:
    """The ids that a server with these pools may claim; they stay due."""
    claims = store.runs.claim("w", LIVE, limit, now, 30.0, pools)
    store.runs.release(claims)
    return {claim.run.id for claim in claims}


class PoolsExam(Placing):
    """A server meets the runs of its pools, and those that have none yet."""

    def test_a_claim_of_some_pools(self, store: Store) -> None:
        store.runs.accept([of_pool("ra", "a"), of_pool("rb", "b"), of_pool("rn", "")])
        assert claimed(store, "a") == {"ra", "rn"}
        assert claimed(store, "b", "a", "a") == {"ra", "rb", "rn"}
        assert claimed(store) == {"rn"} and claimed(store, "A") == {"rn"}
        assert len(self.claim(store)) == 3

    def test_the_longest_due_come_first_whatever_their_pool(self, store: Store) -> None:
        pools = ("a", "b", "", "x")
        store.runs.accept([of_pool(f"r{i}", pools[i % 4], created=float(i)) for i in range(12)])
        claims = store.runs.claim("w", LIVE, 5, 1000.0, 30.0, ["a", "b"])
        assert [claim.run.id for claim in claims] == ["r0", "r1", "r2", "r4", "r5"]
        assert len({claim.token for claim in claims}) == 1
        again = store.runs.claim("w", LIVE, 5, 1000.0, 30.0, ["a", "b"])
        assert [claim.run.id for claim in again] == ["r6", "r8", "r9", "r10"]

    def test_a_plan_decides_for_a_pool(self, store: Store) -> None:
        store.runs.accept([of_pool("ra", "a"), of_pool("rn", "")])
        for claim in self.claim(store):
            plan = {"pool": "b"} if claim.run.id == "rn" else {}
            run = replace(claim.run, state=S.PLANNED, plan=plan, wake=1000.0)
            store.runs.apply([rows.Change(claim=claim, run=run)])
        assert claimed(store, "b") == {"rn"} and claimed(store, "a") == {"ra"}
        for claim in self.claim(store):
            run = replace(claim.run, state=S.QUEUED, plan={"pool": "c"}, wake=1000.0)
            store.runs.apply([rows.Change(claim=claim, run=run)])
        assert claimed(store, "c") == {"ra", "rn"} and not claimed(store, "a", "b")

    def test_a_child_has_a_pool_of_its_own(self, store: Store) -> None:
        store.runs.accept([of_pool("rp", "a")])
        (claim,) = store.runs.claim("w", LIVE, 1, 1000.0, 30.0, ["a"])
        children = [of_pool(f"r{p}", p, parent="rp", key=f"k{p}") for p in ("", "b")]
        change = rows.Change(claim=claim, run=claim.run, children=tuple(children))
        assert store.runs.apply([change]) == set()
        assert claimed(store, "a") == {"r"} and claimed(store, "b") == {"r", "rb"}
        self.end(store, "rb")  # by the other server; its parent is due for this one
        assert claimed(store, "a") == {"r", "rp"}

    def test_next_due_of_some_pools(self, store: Store) -> None:
        store.runs.accept([of_pool("ra", "a", created=900.0), of_pool("rb", "b", created=950.0)])
        assert store.runs.next_due(LIVE, 1000.0, ["b"]) == 950.0
        assert store.runs.next_due(LIVE, 1000.0, ["c"]) is None
        assert store.runs.next_due(LIVE, 1000.0) == 900.0
        store.runs.claim("w", LIVE, 1, 1000.0, 30.0, ["b"])
        assert store.runs.next_due(LIVE, 1000.0, ["b"]) == 1030.0
        store.runs.accept([of_pool("rn", "", created=980.0)])
        assert store.runs.next_due(LIVE, 1000.0, ["b"]) == 980.0

    def test_runs_and_placements_of_some_pools(self, store: Store) -> None:
        store.runs.accept([of_pool("ra", "a"), of_pool("rb", "b"), of_pool("rn", "")])
        for pools, ids in ((("a",), ["ra"]), (("b", ""), ["rn", "rb"]), (("",), ["rn"])):
            where = rows.RunFilter(pools=frozenset(pools), states=LIVE)
            assert [line.id for line in store.runs.page(where).runs] == ids
        self.place(store, *(a_placement(f"r{p}", pool=p) for p in ("a", "b")))
        assert [p.run for p in store.placements.live("b", "c")] == ["rb"]
        assert len(store.placements.live()) == 2

    def test_a_server_that_starts_leaves_the_others_alone(
        self, opener: Opener, clock: StepClock, store: Store
    ) -> None:
        other = opener(clock)
        store.runs.accept([of_pool("ra", "a"), of_pool("rb", "b")])
        (mine,) = store.runs.claim("host:/a:w1", LIVE, 9, 1000.0, 30.0, ["a"])
        number = store.leases.take("a", "host:/a:w1", 1000.0, 30.0)
        assert number is not None
        assert other.runs.forget("host:/ab:") == 0
        assert other.leases.take("b", "host:/ab:w2", 1000.0, 30.0) is not None
        assert other.leases.take("a", "host:/ab:w2", 1000.0, 30.0) is None
        (theirs,) = other.runs.claim("host:/ab:w2", LIVE, 9, 1000.0, 30.0, ["b"])
        placed = a_placement("ra", pool="a", lease=number)
        change = rows.Change(claim=mine, run=mine.run, placements=(placed,))
        assert store.runs.apply([change]) == set()
        assert other.runs.apply([rows.Change(claim=theirs, run=theirs.run)]) == set()
        other.close()

    def test_one_of_many_gets_a_lease(self, opener: Opener, clock: StepClock, store: Store) -> None:
        other = opener(clock)
        got: list[int | None] = []
        start = threading.Barrier(6)

        def take(i: int) -> None:
            start.wait()
            got.append((store, other)[i % 2].leases.take("a", f"w{i}", 1000.0, 30.0))

        _at_once([threading.Thread(target=take, args=(i,)) for i in range(6)])
        assert sorted(number or 0 for number in got) == [0, 0, 0, 0, 0, 1]
        other.close()

    def test_two_servers_carry_all_runs_to_their_end(
        self, opener: Opener, clock: StepClock, store: Store
    ) -> None:
        """Each plans what has no pool onto either pool; nothing is taken by one that lacks the
        pool, nothing twice, and nothing is left."""
        second = opener(clock)
        servers = [_Server(store, "a", "b"), _Server(second, "b", "a")]
        ids = [f"r{i}" for i in range(60)]
        store.runs.accept([of_pool(id_, ("a", "b", "")[i % 3]) for i, id_ in enumerate(ids)])
        _at_once([threading.Thread(target=server.work) for server in servers])
        assert [server.wrong for server in servers] == [[], []]
        steps = Counter(step for server in servers for step in server.steps)
        assert steps == Counter((id_, state) for id_ in ids for state in ROAD)
        assert store.runs.counts() == {S.SUCCEEDED: len(ids)}
        assert all(any(pool for _, pool in server.met) for server in servers)
        second.close()


def _at_once(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class _Server:
    """Claims runs of one pool and takes each a step further, until none is live."""

    def __init__(self, store: Store, pool: str, other: str) -> None:
        self.store, self.pool, self.other = store, pool, other
        self.wrong: list[str] = []
        self.steps: list[tuple[str, RunState]] = []
        self.met: set[tuple[str, str]] = set()

    def work(self) -> None:
        while self.store.runs.next_due(LIVE, 1000.0) is not None:
            claims = self.store.runs.claim(self.pool, LIVE, 7, 1000.0, 30.0, [self.pool])
            changes = [self.step(claim) for claim in claims]
            refused = self.store.runs.apply(changes)
            self.wrong += sorted(refused)
            self.steps += [(c.run.id, c.run.state) for c in changes if c.run.id not in refused]

    def step(self, claim: rows.Claim) -> rows.Change:
        run = claim.run
        pool = str(run.plan.get("pool") or run.spec.get("pool") or "")
        self.met.add((run.id, pool))
        if pool not in {"", self.pool}:
            self.wrong.append(run.id)
        state = ROAD[ROAD.index(run.state) + 1] if run.state in ROAD else ROAD[0]
        assert (run.state, state) in RUN_TRANSITIONS
        plan = run.plan
        if state is S.PLANNED:
            plan = {"pool": pool or (self.pool, self.other)[len(self.met) % 2]}
        ended = 1001.0 if state is S.SUCCEEDED else 0.0
        new = replace(run, state=state, plan=plan, wake=0.0 if ended else 1000.0, ended=ended)
        return rows.Change(claim=claim, run=new)
