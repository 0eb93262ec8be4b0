"""The exam of a store. A store passes when a subclass with an `opener` fixture does.

    class TestMine(StoreSuite):
        @pytest.fixture
        def opener(self, tmp_path):
            return lambda clock: my_store.open(tmp_path / "store", clock)

`opener` opens an empty database for each test, and the same one again when called again.
`empty_opener` does the same for one example of the property test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradewind.records.states import ENDED, RUN_TRANSITIONS, RunState
from tradewind.store import rows
from tradewind.store.base import Store
from tradewind.testing.store_makers import LIVE, Opener, StepClock
from tradewind.testing.store_pools import PoolsExam, of_pool
from tradewind.testing.store_registry import RegistryExam
from tradewind.testing.store_runs import RunsExam
from tradewind.testing.store_streams import StreamsExam
from tradewind.testing.store_work import WorkExam

_IDS = tuple(f"r{i}" for i in range(4))
# The pools of each worker: all, one, another one.
_WORKERS: dict[str, list[str] | None] = {"one": None, "two": ["a"], "three": ["b", "c"]}
_NAMED = ("", "a", "b", "nobody's")
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.sampled_from(sorted(_WORKERS)), st.integers(1, 4)),
        st.tuples(st.just("apply"), st.sampled_from(sorted(_WORKERS)), st.integers(0, 9)),
        st.tuples(st.just("crash"), st.sampled_from(sorted(_WORKERS)), st.just(0)),
        st.tuples(st.just("poke"), st.sampled_from(_IDS), st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.integers(1, 12)),
        st.tuples(st.just("reopen"), st.just(""), st.just(0)),
    ),
    max_size=40,
)


class _Model:
    """Workers that claim, apply, die and come late, beside a plain account of what must hold.

    `unseen` are the runs to which something happened that no later claim has seen and applied.
    """

    def __init__(self, opener: Opener) -> None:
        self.clock = StepClock()
        self.opener = opener
        self.store: Store = opener(self.clock)
        self.pools = dict(zip(_IDS, _NAMED, strict=True))
        self.store.runs.accept([of_pool(id_, pool) for id_, pool in self.pools.items()])
        self.held: dict[str, list[rows.Claim]] = {worker: [] for worker in _WORKERS}
        self.unseen = set(_IDS)
        self.poked: dict[str, int] = Counter()
        self.at_claim: dict[tuple[str, str], int] = {}
        self.states = dict.fromkeys(_IDS, RunState.ACCEPTED)
        self.applied: set[tuple[str, str]] = set()
        self.owner: dict[str, tuple[str, float]] = {}

    def claim(self, worker: str, limit: int) -> None:
        now = self.clock.now()
        pools = _WORKERS[worker]
        claims = self.store.runs.claim(worker, LIVE, limit, now, 10.0, pools)
        for claim in claims:
            _, until = self.owner.get(claim.run.id, ("", 0.0))
            assert until <= now, "two hold one run"
            assert claim.run.id in self.unseen, "an idle run was claimed"
            assert self.may_have(claim.run.id, pools), "a run of another pool was claimed"
            assert claim.run.state == self.states[claim.run.id]
            self.owner[claim.run.id] = (claim.token, claim.until)
            self.at_claim[claim.token, claim.run.id] = self.poked[claim.run.id]
        free = {r for r in self.unseen if self.owner.get(r, ("", 0.0))[1] <= now}
        mine = {run for run in free if self.may_have(run, pools)}
        assert len(claims) == limit or not mine, "one was forgotten"
        due = self.store.runs.next_due(LIVE, now, pools)
        assert (due is not None and due <= now) == bool(mine), "next_due is wrong"
        self.held[worker] += claims

    def may_have(self, run: str, pools: list[str] | None) -> bool:
        return pools is None or self.pools[run] in {"", *pools}

    def apply(self, worker: str, choice: int) -> None:
        claims, self.held[worker] = self.held[worker], []
        newest = {claim.run.id: claim for claim in claims}
        changes = []
        for claim in newest.values():
            state = claim.run.state
            nexts = sorted(new for old, new in RUN_TRANSITIONS if old == state)
            new = nexts[choice % len(nexts)] if nexts and choice else state
            plan = {"pool": "abc"[choice % 3]} if choice > 6 else claim.run.plan
            changes.append(rows.Change(claim=claim, run=replace(claim.run, state=new, plan=plan)))
        refused = self.store.runs.apply(changes)
        for change in changes:
            self._account(change, change.run.id in refused)

    def _account(self, change: rows.Change, refused: bool) -> None:
        id_, token = change.run.id, change.claim.token
        mine = self.owner.get(id_, ("", 0.0))[0] == token
        assert refused != mine, "a stale change was written, or a good one refused"
        if refused:
            return
        assert (token, id_) not in self.applied, "applied twice"
        self.applied.add((token, id_))
        del self.owner[id_]
        self.states[id_] = change.run.state
        self.pools[id_] = change.run.plan.get("pool") or self.pools[id_]
        if change.run.state in ENDED or self.poked[id_] == self.at_claim[token, id_]:
            self.unseen.discard(id_)

    def step(self, what: str, who: str, number: int) -> None:
        match what:
            case "claim":
                self.claim(who, number)
            case "apply":
                self.apply(who, number)
            case "crash":
                self.held[who] = []
            case "poke":
                self.store.runs.poke([who])
                self.poked[who] += 1
                if self.states[who] not in ENDED:
                    self.unseen.add(who)
            case "wait":
                self.clock.time += number
            case "reopen":
                self.store.close()
                self.store = self.opener(self.clock)
        stored = self.store.runs.get_many(_IDS)
        assert {id_: run.state for id_, run in stored.items()} == self.states


class StoreSuite(RunsExam, WorkExam, PoolsExam, StreamsExam, RegistryExam):
    """Every promise of `store.base`."""

    @pytest.fixture
    def empty_opener(self) -> Callable[[], Opener]:
        raise NotImplementedError("a subclass gives this")

    @settings(
        max_examples=40,
        deadline=None,
        # Each pupil's class runs it; what its fixtures give is new for every example.
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
        derandomize=True,
    )
    @given(steps=_STEPS)
    def test_no_poke_is_lost_and_nothing_is_applied_twice(
        self, empty_opener: Callable[[], Opener], steps: list[tuple[str, str, int]]
    ) -> None:
        model = _Model(empty_opener())
        try:
            for step in steps:
                model.step(*step)
            model.clock.time += 1000.0
            model.claim("one", len(_IDS))
            seen = {id_ for id_, (_, until) in model.owner.items() if until > model.clock.now()}
            assert seen >= model.unseen
        finally:
            model.store.close()
