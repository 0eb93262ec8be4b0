"""The exam's part about placements, reports, events and retention."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tradewind.base import errors
from tradewind.records.placements import Seat
from tradewind.records.states import AttemptState, PlacementState, RunState
from tradewind.store import rows
from tradewind.store.base import Store
from tradewind.testing.store_makers import (
    LIVE,
    Opener,
    StepClock,
    a_dataset,
    a_placement,
    a_report,
    a_run,
    a_usage,
    an_event,
)
from tradewind.testing.store_placing import Placing

P = PlacementState


class WorkExam(Placing):
    """Placements and reports keep their promises."""

    def test_a_placement_comes_back_equal(self, store: Store) -> None:
        placed = a_placement("ra", handle={"pid": 1}, done=(1, 2), reason={"x": None})
        self.place(store, placed)
        assert store.placements.get(placed.id) == placed
        assert store.placements.of(["ra", "rb"]) == {"ra": [placed], "rb": []}
        with pytest.raises(errors.NotFound):
            store.placements.get("nobody")

    def test_where_its_processes_are_now_is_kept(self, store: Store) -> None:
        placed = a_placement("ra", seats=(Seat("n0", (0, 1)),))
        self.place(store, placed)
        wider = replace(placed, seats=(*placed.seats, Seat("n1")))
        self.place(store, wider)
        assert store.placements.get(placed.id) == wider

    def test_live_placements_by_pool(self, store: Store) -> None:
        ended = a_placement("rc", state=P.FAILED)
        self.place(store, a_placement("ra"), a_placement("rb", pool="other"), ended)
        assert {p.run for p in store.placements.live()} == {"ra", "rb"}
        assert [p.run for p in store.placements.live("other")] == ["rb"]

    def test_a_late_launch_does_not_undo_a_fast_report(self, store: Store) -> None:
        placed = a_placement("ra")
        self.place(store, placed)
        store.reports.record([a_report(placed.id, 1, state="succeeded")])
        launched = replace(placed, state=P.LAUNCHED, handle={"pid": 7})
        self.place(store, launched)
        stored = store.placements.get(placed.id)
        assert (stored.state, stored.handle, stored.started) == (P.RUNNING, {"pid": 7}, 1001.0)
        store.reports.record([a_report(placed.id, 2, "placement", state="failed", reason="x")])
        self.place(store, replace(placed, state=P.RUNNING))
        stored = store.placements.get(placed.id)
        assert (stored.state, stored.ended, stored.reason) == (P.FAILED, 1002.0, {"reason": "x"})

    def test_a_new_placement_under_an_old_lease_is_refused(self, store: Store) -> None:
        first = store.leases.take("local", "one", 0.0, 10.0)
        second = store.leases.take("local", "two", 20.0, 10.0)
        assert first is not None and second is not None and second > first
        store.runs.accept([a_run("ra")])
        (claim,) = self.claim(store)
        running = replace(claim.run, state=RunState.PINNED)
        change = rows.Change(claim=claim, run=running, placements=(a_placement("ra", lease=first),))
        assert store.runs.apply([change]) == {"ra"}
        assert store.runs.get("ra").state is RunState.ACCEPTED
        good = replace(change, placements=(a_placement("ra", lease=second),))
        assert store.runs.apply([good]) == set()

    def test_reports_fold_into_attempts(self, store: Store) -> None:
        self.place(store, a_placement("ra"))
        recorded = store.reports.record(
            [
                a_report("ra-main-1", 1, state="preparing"),
                a_report("ra-main-1", 2, state="running", pid=9),
                a_report("ra-main-1", 3, state="ready", address="localhost:1"),
                a_report("ra-main-1", 4, index=1, state="running"),
                a_report(
                    "ra-main-1",
                    5,
                    state="failed",
                    exit={"reason": "error"},
                    usage={"cpu": 1.5},
                    outputs={"out": {"digest": "d"}},
                ),
                a_report("ra-main-1", 6, attempt=2, state="running"),
            ]
        )
        assert len(recorded.fresh) == 6 and recorded.runs == {"ra"}
        first, second, other = store.reports.attempts(["ra"])["ra"]
        assert (first.index, first.number, first.state) == (0, 1, AttemptState.FAILED)
        assert (first.started, first.ended, first.address) == (1002.0, 1005.0, "localhost:1")
        assert (first.exit, first.usage) == ({"reason": "error"}, {"cpu": 1.5})
        assert first.outputs == {"out": {"digest": "d"}}
        assert (second.number, other.index) == (2, 1)
        told = [e.type for e in store.events.after(0, run="ra")]
        assert told.count("placement.running") == 1 and "attempt.ready" in told
        assert [c.run.id for c in self.claim(store)] == ["ra"]

    def test_a_report_counts_once_and_an_end_is_final(self, store: Store) -> None:
        self.place(store, a_placement("ra"))
        reports = [a_report("ra-main-1", 2, state="succeeded")]
        assert len(store.reports.record(reports).fresh) == 1
        seen = store.events.last_seq()
        again = store.reports.record([*reports, a_report("ra-main-1", 1, state="running")])
        assert again.fresh == () and again.runs == frozenset()
        store.reports.record([a_report("ra-main-1", 3, state="lost")])
        (attempt,) = store.reports.attempts(["ra"])["ra"]
        assert attempt.state is AttemptState.SUCCEEDED and attempt.ended == 1002.0
        assert store.events.last_seq() == seen

    def test_reports_of_a_stale_placement(self, store: Store) -> None:
        self.place(store, a_placement("ra"), a_placement("ra", 2))
        recorded = store.reports.record(
            [
                a_report("ra-main-1", 1, state="succeeded"),
                a_report("ra-main-1", 2, "metric", name="loss", value=1.0),
                a_report("ra-main-1", 3, "placement", state="succeeded"),
                a_report("ra-main-2", 1, state="running"),
                a_report("rz-main-1", 1, state="running"),
            ]
        )
        assert recorded.stale == {"ra-main-1"} and recorded.unknown == {"rz-main-1"}
        assert len(recorded.fresh) == 4
        assert [a.placement for a in store.reports.attempts(["ra"])["ra"]] == ["ra-main-2"]
        flags = {a.placement: stale for a, stale in store.reports.all_attempts("ra")}
        assert flags == {"ra-main-1": True, "ra-main-2": False}
        assert store.reports.metrics("ra") == []
        assert [p.id for p in store.placements.live()] == ["ra-main-2"]

    def test_attempts_are_lost_with_their_placement(self, store: Store) -> None:
        self.place(store, a_placement("ra"))
        store.reports.record([a_report("ra-main-1", 1, index=i, state="running") for i in (0,)])
        store.reports.record([a_report("ra-main-1", 2, index=1, state="succeeded")])
        lost = store.reports.record(
            [
                a_report("ra-main-1", 3, index=2, state="running"),
                a_report("ra-main-1", 4, "placement", state="lost", reason={"why": "gone"}),
            ]
        )
        assert len(lost.fresh) == 2
        found = {a.index: (a.state, a.ended) for a in store.reports.attempts(["ra"])["ra"]}
        assert found[0] == found[2] == (AttemptState.LOST, 1004.0)
        assert found[1][0] is AttemptState.SUCCEEDED
        assert store.placements.get("ra-main-1").reason == {"why": "gone"}

    def test_metrics_params_phases_progress(self, store: Store) -> None:
        self.place(store, a_placement("ra"))
        bodies: list[tuple[str, dict[str, Any]]] = [
            ("metric", {"name": "loss", "value": 2, "step": 1}),
            ("metric", {"name": "loss", "value": math.nan, "step": 2}),
            ("metric", {"name": "auc", "value": 0.5}),
            ("param", {"name": "lr", "value": 0.1}),
            ("param", {"name": "lr", "value": [0.2]}),
            ("phase", {"name": "environment", "seconds": 0.5}),
            ("progress", {"done": 1, "total": 10}),
            ("progress", {"done": 5, "total": 10}),
        ]
        recorded = store.reports.record(
            [a_report("ra-main-1", i, kind, **body) for i, (kind, body) in enumerate(bodies, 1)]
        )
        assert len(recorded.fresh) == len(bodies) and recorded.runs == frozenset()
        points = store.reports.metrics("ra")
        assert [(m.name, m.step) for m in points] == [("loss", 1), ("loss", 2), ("auc", 0)]
        assert points[0].value == 2.0 and math.isnan(points[1].value)
        assert [m.step for m in store.reports.metrics("ra", "loss", points[0].seq)] == [2]
        assert [m.seq for m in store.reports.metrics("ra", limit=2, newest=True)] == [
            each.seq for each in points[1:]
        ]
        last = store.reports.last_metrics(["ra", "rb"])
        assert set(last["ra"]) == {"loss", "auc"} and last["rb"] == {}
        assert store.reports.params("ra") == {"lr": [0.2]}
        assert [(p.name, p.seconds) for p in store.reports.phases("ra")] == [("environment", 0.5)]
        (progress,) = store.reports.progress("ra")
        assert (progress.done, progress.total) == (5.0, 10.0)
        (told,) = [e for e in store.events.after(0) if e.type == "run.progress"]
        assert told.body["done"] == 5.0
        assert self.claim(store) == []

    @pytest.mark.parametrize(
        "kind", ["attempt", "placement", "metric", "param", "progress", "phase", "x"]
    )
    def test_nonsense_from_user_code_is_dropped(self, store: Store, kind: str) -> None:
        self.place(store, a_placement("ra"))
        bodies: list[dict[str, Any]] = [
            {},
            {"state": "dancing", "name": 5, "value": "x", "seconds": None, "done": []},
            {"state": None, "name": "a\0\ud800", "value": math.inf, "step": math.nan},
            {"name": "p", "done": math.nan, "seconds": math.nan, "total": "y"},
            {"state": "running", "exit": 5, "usage": "none", "address": 7, "reason": 3},
        ]
        recorded = store.reports.record(
            [a_report("ra-main-1", i, kind, **body) for i, body in enumerate(bodies, 1)]
        )
        assert len(recorded.fresh) == len(bodies)

    # Events

    def test_events_by_project_run_and_tree(self, store: Store) -> None:
        store.runs.accept([a_run("ra"), a_run("rb", parent="ra", root="ra", key="k")])
        last = store.events.append(
            [
                an_event("one", "ra", body={"x": 1}),
                an_event("two", "rb"),
                replace(an_event("three"), project="other"),
            ]
        )
        assert last == store.events.last_seq()
        everything = store.events.after(0)
        assert [e.type for e in everything] == ["one", "two", "three"]
        assert everything[0].body == {"x": 1} and everything[-1].seq == last
        assert [e.type for e in store.events.after(0, project="p")] == ["one", "two"]
        assert [e.type for e in store.events.after(0, run="rb")] == ["two"]
        assert [e.type for e in store.events.after(0, root="ra")] == ["one", "two"]
        assert [e.type for e in store.events.after(everything[0].seq, limit=1)] == ["two"]
        assert store.events.append([]) == last

    # Retention

    def test_prune_removes_old_trees_whole(self, store: Store) -> None:
        self.place(store, a_placement("rold", state=P.FAILED))
        store.reports.record([a_report("rold-main-1", 1, state="failed")])
        store.registry.publish_dataset(a_dataset(run="rold"))
        self.walk(store, "rold", RunState.FAILED)
        child = a_run("rc", parent="rold", root="rold", key="k", state=RunState.FAILED, ended=2.0)
        live = a_run("rd", parent="re", root="re", key="k")
        store.runs.accept(
            [child, a_run("re", state=RunState.FAILED, ended=2.0), live],
            [an_event("run.x", "rc"), an_event("run.x", "re")],
        )
        store.runs.accept([a_run("rnew", state=RunState.FAILED, ended=5000.0)])
        store.ledger.put_usage([a_usage("rc")])
        assert store.prune(2000.0, keep=5) == rows.Pruned(runs=0, events=0)
        removed = store.prune(2000.0)
        assert removed.runs == 2 and removed.events >= 2
        left = store.runs.get_many(["rold", "rc", "re", "rd", "rnew"])
        assert set(left) == {"re", "rd", "rnew"}
        assert store.reports.attempts(["rold"]) == {"rold": []}
        assert store.placements.of(["rold"]) == {"rold": []}
        assert [e.run for e in store.events.after(0) if e.type == "run.x"] == ["re"]
        assert store.registry.dataset("p", "d").run == "rold"
        assert store.ledger.bills()[0].nanodollars == 5
        assert store.size() > 0

    def test_event_numbers_are_never_given_twice(
        self, opener: Opener, clock: StepClock, store: Store
    ) -> None:
        store.runs.accept([a_run("ra", state=RunState.FAILED, ended=1.0)], [an_event("x", "ra")])
        last = store.events.last_seq()
        store.prune(2000.0)
        assert store.events.append([an_event("y")]) > last
        assert not self.claim(store, states=LIVE)
