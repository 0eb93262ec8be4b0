"""The exam's part about runs: accepting, claiming, applying, finding."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from tradewind.base import errors
from tradewind.records.states import RunState
from tradewind.store import rows
from tradewind.store.base import Store
from tradewind.testing.store_makers import (
    LIVE,
    Opener,
    StepClock,
    StoreExam,
    a_dataset,
    a_placement,
    a_run,
    a_usage,
    an_event,
)

S = RunState


class RunsExam(StoreExam):
    """Runs keep their promises."""

    # Accepting

    def test_an_accepted_run_comes_back_equal(self, store: Store) -> None:
        run = a_run(
            "ra", queue="q", user="ann", memory={"x": [1.5]}, error={"code": "bug"}, price=2**40
        )
        (stored,) = store.runs.accept([run], [an_event("run.accepted", "ra")])
        assert stored == replace(run, root="ra")
        assert store.runs.get("ra") == stored
        assert [(e.type, e.run) for e in store.events.after(0)] == [("run.accepted", "ra")]

    def test_a_replay_is_the_first_run(self, store: Store) -> None:
        (first,) = store.runs.accept([a_run("ra", key="k")])
        again = store.runs.accept(
            [a_run("rb", key="k"), a_run("rc", key="other")],
            [an_event("run.accepted", "rb"), an_event("run.accepted", "rc")],
        )
        assert [run.id for run in again] == ["ra", "rc"] and again[0] == first
        assert [event.run for event in store.events.after(0)] == ["rc"]
        assert not store.runs.get_many(["rb"])
        only = [a_run("rd", key="k"), a_run("re", key="other"), a_run("rf", key="k")]
        told = [an_event("run.accepted", each.id) for each in only]
        assert store.runs.accept(only, told) == [again[0], again[1], again[0]]
        assert [event.run for event in store.events.after(0)] == ["rc"]
        assert not store.runs.get_many(["rd", "re", "rf"])

    def test_a_key_counts_within_project_and_parent(self, store: Store) -> None:
        runs = [
            a_run("ra", key="k"),
            a_run("rb", key="k", project="other"),
            a_run("rc", key="k", parent="ra", root="ra"),
            a_run("rd"),
            a_run("re"),
        ]
        assert [run.id for run in store.runs.accept(runs)] == ["ra", "rb", "rc", "rd", "re"]

    def test_nothing_is_accepted_of_nothing(self, store: Store) -> None:
        assert store.runs.accept([]) == []

    def test_what_was_accepted_is_there_after_reopening(
        self, opener: Opener, clock: StepClock
    ) -> None:
        first = opener(clock)
        first.runs.accept([a_run("ra")])
        (claim,) = self.claim(first)
        first.close()
        second = opener(clock)
        assert second.runs.get("ra").state is S.ACCEPTED
        assert self.claim(second, now=1029.0) == []
        (again,) = self.claim(second, now=1030.0)
        assert again.token != claim.token
        second.close()

    def test_a_closed_store_says_so(self, opener: Opener, clock: StepClock) -> None:
        opened = opener(clock)
        opened.close()
        with pytest.raises(errors.Bug):
            opened.runs.get("ra")

    # Claiming

    def test_claims_come_longest_due_first_and_exclude_others(self, store: Store) -> None:
        store.runs.accept([a_run("rb", created=2.0), a_run("ra", created=1.0), a_run("rc")])
        first = self.claim(store, limit=2)
        assert [claim.run.id for claim in first] == ["ra", "rb"]
        assert len({claim.token for claim in first}) == 1
        assert [claim.run.id for claim in self.claim(store)] == ["rc"]
        assert self.claim(store) == []

    def test_only_asked_states_are_claimed(self, store: Store) -> None:
        store.runs.accept([a_run("ra"), a_run("rb", state=S.QUEUED)])
        assert [c.run.id for c in self.claim(store, states=[S.QUEUED])] == ["rb"]

    def test_an_applied_run_sleeps_until_its_wake(self, store: Store) -> None:
        store.runs.accept([a_run("ra")])
        (claim,) = self.claim(store)
        store.runs.apply([rows.Change(claim=claim, run=replace(claim.run, wake=1500.0))])
        assert self.claim(store, now=1499.0) == []
        assert store.runs.next_due(LIVE, 1499.0) == 1500.0
        assert len(self.claim(store, now=1500.0)) == 1

    def test_an_idle_run_is_not_claimed_until_poked(self, store: Store) -> None:
        store.runs.accept([a_run("ra")])
        (claim,) = self.claim(store)
        store.runs.apply([rows.Change(claim=claim, run=claim.run)])
        assert self.claim(store, now=9e9) == [] and store.runs.next_due(LIVE, 9e9) is None
        store.runs.poke(["ra", "unknown"])
        assert len(self.claim(store)) == 1

    def test_a_poke_during_a_claim_is_seen_after_it(self, store: Store) -> None:
        store.runs.accept([a_run("ra")])
        (claim,) = self.claim(store)
        store.runs.poke(["ra"])
        assert self.claim(store) == []
        store.runs.apply([rows.Change(claim=claim, run=claim.run)])
        (again,) = self.claim(store)
        store.runs.apply([rows.Change(claim=again, run=again.run)])
        assert self.claim(store) == []

    def test_a_poke_never_delays(self, store: Store, clock: StepClock) -> None:
        store.runs.accept([a_run("ra", created=10.0)])
        store.runs.poke(["ra"], at=5000.0)
        assert len(self.claim(store, now=11.0)) == 1

    def test_a_poke_ahead_of_time_waits(self, store: Store) -> None:
        store.runs.accept([a_run("ra")])
        (claim,) = self.claim(store)
        store.runs.apply([rows.Change(claim=claim, run=claim.run)])
        store.runs.poke(["ra"], at=1200.0)
        assert self.claim(store, now=1199.0) == []
        assert len(self.claim(store, now=1200.0)) == 1

    def test_released_claims_stay_due(self, store: Store) -> None:
        store.runs.accept([a_run("ra"), a_run("rb")])
        claims = self.claim(store)
        store.runs.release(claims)
        assert len(self.claim(store)) == 2
        store.runs.release(claims)  # lost by now: no error, no effect
        assert self.claim(store) == []

    def test_renewed_claims_last(self, store: Store) -> None:
        store.runs.accept([a_run("ra"), a_run("rb")])
        claims = self.claim(store)
        assert store.runs.renew(claims[:1], 1100.0) == set()
        assert [c.run.id for c in self.claim(store, now=1050.0)] == ["rb"]
        assert store.runs.renew(claims, 1200.0) == {"rb"}

    def test_claims_of_the_dead_are_taken_back(self, store: Store) -> None:
        store.runs.accept([a_run("ra"), a_run("rb")])
        (old,) = store.runs.claim("here%:w1", LIVE, 1, 1000.0, 30.0)
        (other,) = store.runs.claim("hereX:w1", LIVE, 1, 1000.0, 30.0)
        assert store.runs.forget("here%:") == 1
        (new,) = self.claim(store)
        assert new.run.id == old.run.id
        assert store.runs.apply([rows.Change(claim=old, run=old.run)]) == {old.run.id}
        assert store.runs.apply([rows.Change(claim=other, run=other.run)]) == set()
        assert store.runs.forget("nobody") == 0

    def test_next_due_counts_claims(self, store: Store) -> None:
        store.runs.accept([a_run("ra")])
        assert store.runs.next_due(LIVE, 1000.0) == 1000.0
        self.claim(store)
        assert store.runs.next_due(LIVE, 1000.0) == 1030.0
        assert store.runs.next_due([S.QUEUED], 1000.0) is None

    # Applying

    def test_a_stale_change_writes_nothing_and_others_go_through(self, store: Store) -> None:
        store.runs.accept([a_run("ra"), a_run("rb")])
        old = {c.run.id: c for c in self.claim(store)}
        new = {c.run.id: c for c in self.claim(store, now=1031.0, limit=1)}
        assert list(new) == ["ra"]
        changes = [
            rows.Change(
                claim=old[id_],
                run=replace(old[id_].run, state=S.PINNED),
                events=(an_event("run.pinned", id_),),
                children=(a_run(f"{id_}c", parent=id_, key="c"),),
                placements=(a_placement(id_),),
                datasets=(a_dataset(origin=id_, name=id_),),
                usage=(a_usage(id_),),
                stops=("rb",),
            )
            for id_ in ("ra", "rb")
        ]
        assert store.runs.apply(changes) == {"ra"}
        found = store.runs.get_many(["ra", "rb", "rac", "rbc"])
        assert set(found) == {"ra", "rb", "rbc"}
        assert (found["ra"].state, found["rb"].state) == (S.ACCEPTED, S.PINNED)
        assert {e.run for e in store.events.after(0) if e.run} == {"rb"}
        assert [p.run for p in store.placements.live()] == ["rb"]
        assert [d.name for d in store.registry.datasets("p")] == ["rb"]
        assert store.ledger.usage("ra") == [] and len(store.ledger.usage("rb")) == 1
        assert store.runs.apply([rows.Change(claim=new["ra"], run=new["ra"].run)]) == set()

    def test_a_change_is_not_applied_twice(self, store: Store) -> None:
        store.runs.accept([a_run("ra")])
        (claim,) = self.claim(store)
        change = rows.Change(claim=claim, run=replace(claim.run, state=S.PINNED))
        assert store.runs.apply([change]) == set()
        assert store.runs.apply([change]) == {"ra"}

    def test_an_expired_claim_that_nobody_took_is_good(self, store: Store) -> None:
        store.runs.accept([a_run("ra")])
        (claim,) = self.claim(store, seconds=1.0)
        assert self.claim(store, now=5000.0, states=[S.QUEUED]) == []
        assert store.runs.apply([rows.Change(claim=claim, run=claim.run)]) == set()

    def test_an_illegal_move_is_a_bug_and_writes_nothing(self, store: Store) -> None:
        store.runs.accept([a_run("ra"), a_run("rb", state=S.QUEUED)])
        one, two = self.claim(store)
        with pytest.raises(errors.Bug):
            store.runs.apply(
                [
                    rows.Change(claim=one, run=replace(one.run, state=S.PINNED)),
                    rows.Change(claim=two, run=replace(two.run, state=S.PINNED)),
                ]
            )
        assert store.runs.get("ra").state is S.ACCEPTED

    def test_a_held_claim_writes_and_goes_on(self, store: Store) -> None:
        store.runs.accept([a_run("ra")])
        (claim,) = self.claim(store)
        pinned = replace(claim.run, state=S.PINNED, pinned={"a": 1}, pinned_digest="d")
        store.runs.apply([rows.Change(claim=claim, run=pinned, hold_until=1500.0)])
        assert self.claim(store, now=1400.0) == []
        store.runs.poke(["ra"])
        held = claim.after(pinned, 1500.0)
        planned = replace(pinned, state=S.PLANNED, plan={"b": 2})
        assert store.runs.apply([rows.Change(claim=held, run=planned)]) == set()
        assert store.runs.get("ra") == planned
        assert len(self.claim(store)) == 1  # for the poke

    def test_every_field_that_may_change_does(self, store: Store) -> None:
        store.runs.accept([a_run("ra")])
        (claim,) = self.claim(store)
        changed = replace(
            claim.run,
            state=S.FAILED,
            updated=2.0,
            queue="q",
            user="u",
            pinned={"p": 1},
            pinned_digest="d",
            plan={"l": 1},
            quote="q1",
            waiting="w",
            wake=3.0,
            error={"code": "bug"},
            result={"r": 1},
            memory={"m": 1},
            cached_from="rx",
            price=7,
            started=4.0,
            ended=5.0,
            tries=1,
            losses=2,
            number=3,
        )
        store.runs.apply([rows.Change(claim=claim, run=changed)])
        assert store.runs.get("ra") == changed
        assert self.claim(store, now=9e9) == []  # it has ended: no wake

    def test_children_are_accepted_once_and_poke_their_parent(self, store: Store) -> None:
        store.runs.accept([a_run("ra")])
        (claim,) = self.claim(store)
        child = a_run("rc", parent="ra", key="step", name="child")
        store.runs.apply([rows.Change(claim=claim, run=claim.run, children=(child,))])
        assert store.runs.get("rc").root == "ra"
        store.runs.poke(["ra"])
        claims = {c.run.id: c for c in self.claim(store)}
        again = replace(child, id="rd")
        store.runs.apply([rows.Change(claim=claims["ra"], run=claims["ra"].run, children=(again,))])
        assert [c.id for c in store.runs.children(["ra", "rz"])["ra"]] == ["rc"]
        assert self.claim(store) == []
        failed = replace(claims["rc"].run, state=S.FAILED, ended=1001.0)
        store.runs.apply([rows.Change(claim=claims["rc"], run=failed)])
        assert [c.run.id for c in self.claim(store)] == ["ra"]

    def test_parent_and_child_in_one_batch(self, store: Store) -> None:
        store.runs.accept([a_run("ra"), a_run("rc", parent="ra", root="ra", key="k")])
        parent, child = self.claim(store)
        failed = replace(child.run, state=S.FAILED, ended=1.0)
        store.runs.apply(
            [rows.Change(claim=child, run=failed), rows.Change(claim=parent, run=parent.run)]
        )
        assert [c.run.id for c in self.claim(store)] == ["ra"]

    def test_pokes_and_stops_of_a_change(self, store: Store) -> None:
        store.runs.accept([a_run("ra"), a_run("rb"), a_run("rc")])
        one, two, three = self.claim(store)
        store.runs.apply([rows.Change(claim=c, run=c.run) for c in (two, three)])
        change = rows.Change(claim=one, run=one.run, pokes=("rb",), stops=("rc",), stop_by="ra")
        store.runs.apply([change])
        found = {c.run.id: c for c in self.claim(store)}
        assert set(found) == {"rb", "rc"}
        assert (found["rc"].stop_at, found["rc"].stop_by) == (1000.0, "ra")
        assert (found["rb"].stop_at, found["rb"].stop_by) == (0.0, "")

    def test_asking_to_stop(self, store: Store, clock: StepClock) -> None:
        store.runs.accept([a_run("ra"), a_run("rb", state=S.FAILED, ended=1.0)])
        (claim,) = self.claim(store)
        assert store.runs.ask_stop(["rb", "ra", "unknown"], "ann") == ["ra"]
        clock.time = 2000.0
        store.runs.ask_stop(["ra"], "bob")
        store.runs.apply([rows.Change(claim=claim, run=claim.run)])
        (again,) = self.claim(store, now=2000.0)
        assert (again.stop_at, again.stop_by) == (1000.0, "ann")

    def test_two_changes_of_one_run_are_a_bug(self, store: Store) -> None:
        store.runs.accept([a_run("ra")])
        (claim,) = self.claim(store)
        change = rows.Change(claim=claim, run=claim.run)
        with pytest.raises(errors.Bug):
            store.runs.apply([change, change])

    def test_many_threads_lose_and_double_nothing(self, store: Store) -> None:
        store.runs.accept([a_run(f"r{i}") for i in range(60)])
        applied: list[str] = []

        def work() -> None:
            while claims := self.claim(store, limit=7):
                changes = [rows.Change(claim=c, run=replace(c.run, state=S.PINNED)) for c in claims]
                refused = store.runs.apply(changes)
                applied.extend(c.run.id for c in claims if c.run.id not in refused)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(applied) == sorted(f"r{i}" for i in range(60))
        assert store.runs.counts() == {S.PINNED: 60}

    # Finding

    def test_find_by_prefix(self, store: Store) -> None:
        store.runs.accept([a_run("rab"), a_run("rabc"), a_run("rb", project="other")])
        assert store.runs.find("rab").id == "rab"
        assert store.runs.find("rabc").id == "rabc"
        assert store.runs.find("rb").id == "rb"
        for wrong in ("rz", "", "r%", "rB", "rb/"):
            with pytest.raises((errors.NotFound, errors.Conflict)):
                store.runs.find(wrong)
        with pytest.raises(errors.NotFound):
            store.runs.find("rb", project="p")
        with pytest.raises(errors.Conflict, match="rab, rabc"):
            store.runs.find("ra")

    def test_unknown_run(self, store: Store) -> None:
        with pytest.raises(errors.NotFound):
            store.runs.get("nobody")

    def test_pages_do_not_shift(self, store: Store) -> None:
        store.runs.accept([a_run(f"r{i}") for i in range(5)])
        first = store.runs.page(rows.RunFilter(project="p"), limit=2)
        store.runs.accept([a_run("rnew")])
        second = store.runs.page(rows.RunFilter(project="p"), 2, first.cursor)
        third = store.runs.page(rows.RunFilter(project="p"), 2, second.cursor)
        pages = [[run.id for run in page.runs] for page in (first, second, third)]
        assert pages == [["r4", "r3"], ["r2", "r1"], ["r0"]] and third.cursor == ""
        with pytest.raises(errors.UserError):
            store.runs.page(rows.RunFilter(), 2, "x")

    @pytest.mark.parametrize(
        ("where", "found"),
        [
            ({}, ["re", "rd", "rc", "rb", "ra"]),
            ({"project": "p"}, ["rd", "rc", "rb", "ra"]),
            ({"kind": "training"}, ["rb"]),
            ({"project": "p", "kind": "function"}, ["rd", "rc", "ra"]),
            ({"states": frozenset({S.FAILED, S.QUEUED})}, ["rd", "rc"]),
            ({"project": "p", "states": frozenset({S.FAILED}), "kind": "function"}, ["rd"]),
            ({"name": "Train_x"}, ["rb"]),
            ({"project": "p", "name": "f", "states": frozenset({S.QUEUED})}, ["rc"]),
            ({"text": "rain_"}, ["rb"]),
            ({"text": "train%"}, []),
            ({"text": "rc", "project": "p"}, ["rc"]),
            ({"text": "F", "states": frozenset({S.QUEUED})}, ["rc"]),
            ({"parent": "ra"}, ["rc"]),
            ({"root": "ra"}, ["rc", "ra"]),
            ({"top": True, "project": "p"}, ["rd", "rb", "ra"]),
            ({"work": True}, ["rd", "rc", "rb", "ra"]),
            ({"work": True, "text": "r"}, ["rd", "rc", "rb", "ra"]),
            ({"work": True, "states": frozenset(S)}, ["rd", "rc", "rb", "ra"]),
        ],
    )
    def test_filters(self, store: Store, where: dict[str, Any], found: list[str]) -> None:
        store.runs.accept(
            [
                a_run("ra"),
                a_run("rb", kind="training", name="Train_x"),
                a_run("rc", parent="ra", root="ra", key="k", state=S.QUEUED),
                a_run("rd", state=S.FAILED, ended=5.0, error={"code": "bug"}),
                a_run("re", project="other", memory={"ask": {}, "probe": {"seconds": 3.0}}),
            ]
        )
        page = store.runs.page(rows.RunFilter(**where))
        assert [run.id for run in page.runs] == found

    def test_counts_history_and_cache(self, store: Store) -> None:
        store.runs.accept(
            [
                a_run("ra", state=S.SUCCEEDED, ended=1.0, pinned_digest="d"),
                a_run("rb", state=S.SUCCEEDED, ended=2.0, pinned_digest="d"),
                a_run("rc", state=S.FAILED, ended=3.0, pinned_digest="d"),
                a_run("rd", state=S.QUEUED, pinned_digest="e"),
                a_run("re", state=S.SUCCEEDED, ended=2.0, kind="training"),
            ]
        )
        assert store.runs.counts("p") == {S.SUCCEEDED: 3, S.FAILED: 1, S.QUEUED: 1}
        assert store.runs.counts(root="ra") == {S.SUCCEEDED: 1} and store.runs.counts("x") == {}
        cached = store.runs.cached("p", "d")
        assert cached is not None and cached.id == "rb"
        assert store.runs.cached("p", "e") is None and store.runs.cached("other", "d") is None
        assert store.runs.cached("p", "") is None
        assert [r.id for r in store.runs.history("p", "function", "f")] == ["rc", "rb", "ra"]
        assert [r.id for r in store.runs.history("p", "function", "f", 1)] == ["rc"]
