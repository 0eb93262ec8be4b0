"""The exam's part about reports of units that tell on their own, and about what units wait for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tradewind.records.reports import Report
from tradewind.records.states import AttemptState, PlacementState
from tradewind.store.base import Store
from tradewind.testing.store_makers import Opener, StepClock, a_placement, a_report
from tradewind.testing.store_placing import Placing

A = AttemptState


def told(stream: str, seq: int, kind: str = "metric", number: int = 1, **body: Any) -> Report:
    """What the unit `stream` of run `ra` tells."""
    return replace(a_report(f"ra-main-{number}", seq, kind, **body), stream=stream)


def loss(stream: str, seq: int, value: float) -> Report:
    """A point of the metric `loss`."""
    return told(stream, seq, name="loss", value=value)


class StreamsExam(Placing):
    """Each stream counts for itself, and a fact counts once."""

    def losses(self, store: Store) -> list[float]:
        return [metric.value for metric in store.reports.metrics("ra", "loss")]

    def test_streams_are_applied_in_the_order_given(self, store: Store) -> None:
        self.place(store, a_placement("ra"))
        reports = [loss("x", 7, 1.0), loss("y", 1, 2.0), loss("", 1, 3.0), loss("x", 8, 4.0)]
        recorded = store.reports.record([*reports, loss("y", 2, 5.0)])
        assert recorded.fresh == (*reports, loss("y", 2, 5.0))
        assert self.losses(store) == [1.0, 2.0, 3.0, 4.0, 5.0]
        assert store.reports.record([loss("y", 1, 9.0), loss("x", 8, 9.0)]).fresh == ()

    def test_a_stream_that_comes_again_after_a_crash_counts_once(
        self, opener: Opener, clock: StepClock, store: Store
    ) -> None:
        self.place(store, a_placement("ra"))
        first = [loss("x", 1, 1.0), loss("y", 1, 2.0)]
        store.reports.record(first)
        second = opener(clock)
        recorded = second.reports.record([*first, loss("x", 2, 3.0), loss("x", 2, 3.0)])
        assert recorded.fresh == (loss("x", 2, 3.0),)
        assert self.losses(second) == [1.0, 2.0, 3.0]
        second.close()

    def test_an_end_in_one_stream_is_final_for_all(self, store: Store) -> None:
        self.place(store, a_placement("ra"))
        store.reports.record([told("x", 1, "attempt", state="running")])
        store.reports.record(
            [told("", 1, "attempt", state="lost"), told("x", 2, "attempt", state="succeeded")]
        )
        (attempt,) = store.reports.attempts(["ra"])["ra"]
        assert attempt.state is A.LOST
        assert store.placements.get("ra-main-1").state is PlacementState.RUNNING

    def test_streams_of_a_stale_placement(self, store: Store) -> None:
        self.place(store, a_placement("ra"), a_placement("ra", 2))
        recorded = store.reports.record(
            [
                loss("x", 1, 1.0),
                told("x", 2, "attempt", state="running"),
                told("x", 1, number=2, name="loss", value=2.0),
                told("x", 1, number=9, name="loss", value=3.0),
            ]
        )
        assert recorded.stale == {"ra-main-1"} and recorded.unknown == {"ra-main-9"}
        assert len(recorded.fresh) == 3 and self.losses(store) == [2.0]
        assert [stale for _, stale in store.reports.all_attempts("ra")] == [True]

    def test_streams_go_with_their_run(self, store: Store) -> None:
        self.place(store, a_placement("ra"))
        store.reports.record([loss("x", 5, 1.0), told("", 5, "placement", state="failed")])
        self.end(store, "ra")
        assert store.forget(["ra"]).runs == 1
        self.place(store, a_placement("ra"))
        assert len(store.reports.record([loss("x", 1, 1.0)]).fresh) == 1

    # What a unit that prepares waits for

    def test_who_prepares_says_what_for_until_it_moves_on(self, store: Store) -> None:
        self.place(store, a_placement("ra"), a_placement("rb"))
        native = {"message": "0/2 nodes are available"}
        store.reports.record(
            [
                a_report("ra-main-1", 1, state="preparing", why="no machine is free"),
                a_report("ra-main-1", 2, state="preparing", why="no\0 room", native=native),
                a_report("ra-main-1", 3, index=1, state="preparing"),
                a_report("rb-main-1", 1, state="preparing", why=5, native="x"),
            ]
        )
        first, second = store.reports.attempts(["ra"])["ra"]
        assert first.exit == {"reason": "waiting", "message": "no\ufffd room", "native": native}
        assert (first.started, second.exit) == (0.0, {})
        assert store.reports.waits(["ra", "rb", "rz"]) == {"ra": "no\ufffd room"}
        events = [e.body for e in store.events.after(0, run="ra") if e.type == "attempt.preparing"]
        assert [body.get("why") for body in events] == ["no machine is free", "no\0 room", None]
        assert [claim.run.state for claim in self.claim(store)]  # its run is looked at
        store.reports.record([a_report("ra-main-1", 4, state="running")])
        assert store.reports.waits(["ra"]) == {}
        assert store.reports.attempts(["ra"])["ra"][0].exit == {}

    def test_who_runs_and_is_held_up_says_so_until_it_goes_on(self, store: Store) -> None:
        self.place(store, a_placement("ra"))
        native = {"reason": "NodeNotReady"}
        store.reports.record(
            [
                a_report("ra-main-1", 1, state="ready", address="h:1"),
                a_report("ra-main-1", 2, state="running", why="no answer", native=native),
            ]
        )
        (attempt,) = store.reports.attempts(["ra"])["ra"]
        assert (attempt.state, attempt.address) == (A.RUNNING, "h:1")
        assert attempt.exit == {"reason": "waiting", "message": "no answer", "native": native}
        assert store.reports.waits(["ra"]) == {"ra": "no answer"}
        store.reports.record([a_report("ra-main-1", 3, state="ready")])
        (attempt,) = store.reports.attempts(["ra"])["ra"]
        assert (attempt.state, attempt.exit) == (A.READY, {})
        assert store.reports.waits(["ra"]) == {}

    def test_what_it_waited_for_is_no_end(self, store: Store) -> None:
        self.place(store, a_placement("ra"))
        end = {"reason": "error"}
        store.reports.record(
            [a_report("ra-main-1", i + 1, index=i, state="preparing", why="w") for i in range(3)]
        )
        store.reports.record(
            [
                a_report("ra-main-1", 4, index=1, state="failed", exit=end),
                a_report("ra-main-1", 5, index=2, state="preparing", why="still"),
                a_report("ra-main-1", 6, "placement", state="lost"),
            ]
        )
        found = {a.index: (a.state, a.exit) for a in store.reports.attempts(["ra"])["ra"]}
        assert found == {0: (A.LOST, {}), 1: (A.FAILED, end), 2: (A.LOST, {})}
        assert store.reports.waits(["ra"]) == {}

    def test_stale_units_wait_for_nothing(self, store: Store) -> None:
        self.place(store, a_placement("ra"), a_placement("ra", 2))
        store.reports.record([a_report("ra-main-1", 1, state="preparing", why="w")])
        assert store.reports.waits(["ra"]) == {}
