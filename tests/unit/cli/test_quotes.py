"""`tw quote`, `tw plan` and `tw promises` against the routes and the compiler."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cli.conftest import Tw
from tests.unit.compiler.samples import ask, probed
from tests.unit.sdk.asgi import AsgiTransport
from tradewind.api.app import create_app
from tradewind.api.guard import Keys
from tradewind.base.units import parse_duration
from tradewind.cli.plot import HEIGHT, WIDTH, price_curve
from tradewind.cli.verbs import quote
from tradewind.compiler.accounts import Account, Settled, accounts
from tradewind.compiler.quote import Objective
from tradewind.records.plans import Interval, Quote
from tradewind.sdk import local
from tradewind.sdk.client import Client

SPEC = "kind: function\nname: score\nentry: code.py:score\n"


class Offers:
    """Quotes as the server makes them, of one function that was probed."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, tuple[float, ...]]] = []
        self.settled: list[Settled] = []

    def quote(self, document: Any, user: str, rows: int, deadlines: Sequence[float]) -> Quote:
        self.asked.append((rows, tuple(deadlines)))
        within = document.get("performance")
        objective = Objective(seconds=parse_duration(within)) if within else None
        return ask(probed(1e-5), objective, rows=rows)

    def promises(self, project: str) -> list[Account]:
        return accounts(self.settled)


@pytest.fixture
def offers(tw: Tw, monkeypatch: pytest.MonkeyPatch) -> Offers:
    made = Offers()
    parts = cast(Any, SimpleNamespace(offers=made, desk=None))
    app = create_app(parts, Keys("t", lambda: 1.0), frozenset({"127.0.0.1"}), lambda: None)

    def connect(**_: Any) -> Client:
        return Client("http://127.0.0.1:1", "t", AsgiTransport(app))

    monkeypatch.setattr(local, "connect", connect)
    Path("spec.yaml").write_text(SPEC)
    Path("code.py").write_text("def score(data):\n    return data\n")
    monkeypatch.setattr("tradewind.sdk.loading.finish", lambda client, work, changes: {
        **work.document, **changes,
    })  # fmt: skip
    return made


def test_a_curve_is_a_table_a_plot_and_the_plans(tw: Tw, offers: Offers) -> None:
    said = tw("quote", "spec.yaml", "--rows", "100M", "--deadline", "1s,60s", "--deadline", "1h")
    assert said.status == 0
    assert offers.asked == [(100_000_000, (1.0, 60.0, 3600.0))]
    lines = said.out.splitlines()
    rows = [line.split() for line in lines if line.startswith(("1s ", "1m ", "1h "))]
    assert rows[0][:4] == ["1s", "cannot", "be", "met"]
    assert rows[2][0] == "1h" and "x/" in rows[2][-2] + rows[2][-1]
    assert any("●" in line for line in lines) and any("○" in line for line in lines)
    assert "rows         100,000,000" in said.out
    assert sum("estimate, never run there" in line for line in lines) >= 3
    assert "plan 0: the fastest of what costs at most 5%" in said.out
    assert "; the runner-up, " in said.out


def test_what_ones_own_plans_surpass_is_not_in_the_plot(
    tw: Tw, offers: Offers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offers, "quote", lambda *_: ask(probed(1e-6), probe=True))
    said = tw("quote", "spec.yaml", "--deadline", "1h").out
    plot, _, plans = said.partition("plan  pool")
    assert "●" in plot and plot.count("○") == 0
    assert 1 <= plans.count("estimate, never run there") <= 3


def test_a_deadline_asked_twice_is_told_once(tw: Tw, offers: Offers) -> None:
    tw("quote", "spec.yaml", "--deadline", "60s,1h,1m")
    assert offers.asked == [(0, (60.0, 3600.0))]


@pytest.mark.parametrize(
    ("width", "parts", "told"),
    [(1, 0, "2 cores"), (1, 1, "1 x 2 cores, 1 part"), (4, 16, "4 x 2 cores, 16 parts")],
)
def test_a_size_counts_its_parts(width: int, parts: int, told: str) -> None:
    option = {"resources": {"cpu": 2.0}, "width": width, "parts": parts}
    assert quote.size({"option": option}) == told


def test_as_json_it_is_what_the_api_says(tw: Tw, offers: Offers) -> None:
    body = json.loads(tw("quote", "spec.yaml", "--deadline", "10s,10m", "-o", "json").out)
    assert [point["deadline"] for point in body["curve"]] == [10.0, 600.0]
    last = body["curve"][-1]
    assert body["plans"][last["plan"]]["seconds"]["p90"] <= 600
    assert all(plan["estimate_only"] for plan in body["elsewhere"])


def test_a_deadline_that_cannot_be_met_names_the_nearest(tw: Tw, offers: Offers) -> None:
    [row] = [each for each in tw("quote", "spec.yaml", "--deadline", "1s,1h").out.splitlines()
             if "cannot be met" in each]  # fmt: skip
    assert row.startswith("1s") and "the nearest is plan " in row


def test_of_what_nothing_is_known_no_deadline_is_said_to_be_missed(
    tw: Tw, offers: Offers, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = replace(probed(), calls=(), problems=({"message": "too long"},))
    monkeypatch.setattr(offers, "quote", lambda *_: ask(blind, probe=True))
    said = tw("quote", "spec.yaml", "--deadline", "1s").out
    assert "not known" in said and "cannot be met" not in said and "nearest" not in said


def test_without_deadlines_there_is_no_curve(tw: Tw, offers: Offers) -> None:
    said = tw("quote", "spec.yaml")
    assert offers.asked == [(0, ())] and "within" not in said.out
    assert json.loads(tw("quote", "spec.yaml", "-o", "json").out)["curve"] == []


def test_what_cannot_be_met_says_what_can(tw: Tw, offers: Offers) -> None:
    said = tw("quote", "spec.yaml", "--performance", "2s")
    assert said.status == 2
    assert "no plan gives the result within 2s: the nearest is " in said.err
    [written] = [word for word in said.err.split("`") if word.startswith("performance: ")]
    assert tw("quote", "spec.yaml", "--performance", written.partition(": ")[2]).status == 0
    body = json.loads(tw("quote", "spec.yaml", "--performance", "2s", "-o", "json").out)
    [need] = body["error"]["needs"]
    assert need["performance"] == parse_duration(written.partition(": ")[2])


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [("--rows", "many", "expected a count"), ("--deadline", "60", "expected a duration"),
     ("--deadline", "1h,soon", "expected a duration"),
     ("--deadline", "1000000000h", "'1000000000h' is too long a time"),
     ("--deadline", "0s", "--deadline: expected more than nothing"),
     ("--deadline", "", "expected a duration"), ("--deadline", "1h,", "expected a duration"),
     ("--deadline", "-1s", "--deadline: expected a duration such as 60s, 10m, 1h30m or 2d, more"),
     ("--rows", "0", "--rows: expected more than nothing"), ("--rows", "", "expected a count"),
     ("--rows", "-5", "more than nothing")],
)  # fmt: skip
def test_a_figure_that_is_none_is_told(
    tw: Tw, offers: Offers, option: str, value: str, told: str
) -> None:
    said = tw("quote", "spec.yaml", option, value)
    assert said.status == 2 and told in said.err and not offers.asked


def test_a_plan_says_its_sizes_and_why(tw: Tw, offers: Offers) -> None:
    said = tw("plan", "spec.yaml", "--performance", "30s").out
    for name in ("backend", "processes", "parts", "cores each", "CPU time", "memory expected"):
        assert any(line.startswith(name) for line in said.splitlines()), name
    assert "because          the cheapest within 30s; the runner-up, " in said


def test_approving_what_asks_nothing_says_so(tw: Tw, monkeypatch: pytest.MonkeyPatch) -> None:
    class Runs:
        @staticmethod
        def approve(run: str) -> dict[str, Any]:
            nothing = "it has ended" if run == "r2" else ""
            state = "failed" if nothing else "pinned"
            return {"id": run, "name": "one", "state": state, "nothing": nothing}

    monkeypatch.setattr(
        local, "connect", lambda **_: contextlib.nullcontext(SimpleNamespace(runs=Runs))
    )
    said = tw("approve", "r1", "r2")
    first, second = said.out.splitlines()
    assert first.endswith(": approved") and second.endswith(": nothing to approve, it has ended")
    assert (said.status, tw("approve", "r1").status) == (1, 0)
    assert tw("approve", "r2", "-o", "json").status == 1


def test_promises_by_function_and_backend(tw: Tw, offers: Offers) -> None:
    assert "nothing was promised yet" in tw("promises").err
    said = Interval(p50=10.0, p90=20.0)
    late: dict[str, Any] = {"time": (said, 160.0), "price": (said, 12.5)}
    offers.settled = [
        Settled(
            function="f",
            backend="duckdb",
            outcome="kept",
            predicted=said,
            actual=actual,
            **(late if actual == 10.0 else {}),
        )
        for actual in (5.1, 10.0, 19.0, 40.0)
    ]
    offers.settled.append(Settled(function="g", backend="python", outcome="broken"))
    offers.settled.append(Settled(function="g", backend="python", outcome="none"))
    lines = [line.split() for line in tw("promises").out.splitlines()[1:]]
    assert lines[0] == ["f", "duckdb", "4", "4", "0", "0", "of", "0", "3", "of", "4", "61.2%",
                        "0", "of", "1", "93.8%", "1", "of", "1", "20.0%"]  # fmt: skip
    assert lines[1] == ["g", "python", "2", "0", "1", "0", "of", "0", *["0", "of", "0", "-"] * 3]
    assert lines[2] == ["all", "-", "6", "4", "1", *lines[0][5:]]
    assert "1 took longer" in tw("promises").err
    assert "1 neither kept nor broken" in tw("promises").err
    assert "likely" not in tw("promises").err
    assert json.loads(tw("promises", "-o", "json").out)[0]["inside"] == 3


def test_what_was_only_likely_is_counted_apart(tw: Tw, offers: Offers) -> None:
    """So that the share of the sure ones that was kept is theirs."""
    outcomes = [("kept", False), ("broken", True), ("kept", True), ("none", True)]
    offers.settled = [
        Settled(function="f", backend="python", outcome=outcome, likely=likely)
        for outcome, likely in outcomes
    ]
    said = tw("promises")
    for line in said.out.splitlines()[1:]:
        assert line.split()[2:8] == ["1", "1", "0", "1", "of", "2"]
    assert "likely: said not to be sure" in said.err
    found = json.loads(tw("promises", "-o", "json").out)[-1]
    assert (found["promises"], found["kept"], found["broken"]) == (1, 1, 0)
    assert found["likely"] == {"promises": 3, "kept": 1, "broken": 1}
    offers.settled = offers.settled[1:]
    assert tw("promises").out.splitlines()[1].split()[:3] == ["f", "python", "0"]


POINTS = st.lists(st.tuples(st.floats(1e-3, 1e6), st.floats(0, 1e13)), max_size=20)


@given(POINTS, POINTS)
def test_a_plot_stays_in_its_frame(
    plans: list[tuple[float, float]], estimates: list[tuple[float, float]]
) -> None:
    lines = price_curve(plans, estimates)
    if len({*plans, *estimates}) < 2:
        assert lines == []
        return
    assert len(lines) == HEIGHT + 2
    margin = len(lines[0].partition("┤")[0])
    assert all(len(line) <= margin + 1 + WIDTH for line in lines)
    assert ("●" in "".join(lines)) == bool(plans)


def test_along_a_plot_the_cheapest_goes_on_until_another_is() -> None:
    lines = price_curve([(1.0, 1e9), (100.0, 1e7)])
    assert lines[0].startswith(" $1.00 ┤●───") and lines[0].endswith("─")
    assert lines[HEIGHT - 1].endswith("●") and lines[HEIGHT - 1].startswith("$0.010 ┤ ")
    assert lines[-1].split() == ["1s", "1m", "40s"]
