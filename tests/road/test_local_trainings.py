"""A training that logs its steps is quoted by their times, at every width that it may have."""

from __future__ import annotations

from typing import Any

import pytest

from tests.road.home import Home

pytestmark = pytest.mark.xdist_group("local-trainings")

TRAIN = """\
import os
import time

import tradewind as tw


def fit(steps=40):
    for step in range(steps):
        time.sleep(0.005)
        tw.log_metric("loss", 1 / (1 + step), step=step)
    tw.log_metric("last", 0.0)
    return {"width": int(os.environ["WORLD_SIZE"])}
"""


def spec(workers: int | str, **more: str) -> str:
    lines = {"kind": "training", "name": "line", "entry": "fit.py:fit", "workers": workers,
             "resources": "{cpu: 0.5}", **more}  # fmt: skip
    return "".join(f"{name}: {value}\n" for name, value in lines.items())


@pytest.fixture(scope="module")
def runs(home: Home) -> list[str]:
    """One with one worker, one with two."""
    home.write({"fit.py": TRAIN, "one.yaml": spec(1), "two.yaml": spec(2),
                "any.yaml": spec("1..2")})  # fmt: skip
    first = home.json("quote", "any.yaml")
    [plan] = first["plans"]
    assert plan["basis"].startswith("unknown, first run") and plan["option"]["width"] == 1
    return [home.json("run", each)["id"] for each in ("one.yaml", "two.yaml")]


def by_width(quote: Any) -> dict[int, Any]:
    return {each["option"]["width"]: each for each in quote["plans"]}


def test_two_runs_tell_the_time_of_every_width(home: Home, runs: list[str]) -> None:
    quote = home.json("quote", "any.yaml", "--deadline", "1ms,1h")
    plans = by_width(quote)
    assert sorted(plans) == [1, 2]
    for plan in plans.values():
        assert plan["basis"].startswith("step times of 2 earlier runs at widths 1, 2")
        assert plan["grounds"]["steps"] == 40 and plan["grounds"]["step"] >= 0.005
        assert 0.2 <= plan["seconds"]["p50"] < plan["seconds"]["p90"]
        assert 0 < plan["price"]["p50"] < plan["price"]["p90"]
    late, early = quote["curve"]
    assert late["plan"] is None and early["plan"] is not None
    assert "at widths 1, 2" in home.good("quote", "any.yaml").out
    [plan] = home.json("quote", "two.yaml")["plans"]
    assert plan["option"]["width"] == 2 and "step times of 2 earlier runs" in plan["basis"]


def test_what_no_width_keeps_to_is_refused(home: Home, runs: list[str]) -> None:
    home.write({"soon.yaml": spec("1..2", performance="10ms"),
                "poor.yaml": spec("1..2", budget="$0.000000001")})  # fmt: skip
    said = home.tw("run", "soon.yaml")
    assert said.status != 0 and "the nearest is" in said.err
    assert "the cheapest plan costs" in home.tw("run", "poor.yaml").err


def test_a_width_that_was_promised_is_given_and_settled(home: Home, runs: list[str]) -> None:
    quote = home.json("quote", "any.yaml")
    [number] = [i for i, each in enumerate(quote["plans"]) if each["option"]["width"] == 2]
    run = home.json("run", "any.yaml", "--quote", quote["id"], "--plan", str(number))
    assert run["result"]["output"]["value"]["width"] == 2
    told = [each for each in home.json("promises") if each["function"] == "line"]
    assert told and told[0]["promises"] == 1 and told[0]["checked"] == 1
    assert "of 3 earlier runs" in home.json("quote", "any.yaml")["plans"][0]["basis"]


def test_another_training_of_that_name_is_not_known_by_its_steps(
    home: Home, runs: list[str]
) -> None:
    home.write({"more.yaml": spec(1, params="{steps: 60}")})
    [plan] = home.json("quote", "more.yaml")["plans"]
    assert "step times" not in plan["basis"]
