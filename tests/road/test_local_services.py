"""Services on the real local engine: a model served, replaced, and put back."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.road.home import Home, until
from tradewind.base.errors import TradewindError

pytestmark = pytest.mark.xdist_group("local-services")

TRAIN = """
import numpy as np
import tradewind as tw
from sklearn.linear_model import LinearRegression


def fit(slope: float):
    x = np.arange(10.0).reshape(-1, 1)
    found = LinearRegression().fit(x, slope * x[:, 0])
    tw.log_metric("slope", float(found.coef_[0]))
    tw.log_model(found, inputs=["x"])
"""
SPEC = "kind: training\nname: line\nentry: fit.py:fit\nparams: {slope: 2}\n"


def ask(home: Home, x: float) -> float:
    with home.client() as client:
        answer = client.http.call("POST", "/services/line/predict", body={"rows": [{"x": x}]})
    [row] = answer["predictions"]
    return value_of(row)


def value_of(row: Any) -> float:
    """The one output of one row."""
    return round(float(next(iter(row.values())) if isinstance(row, dict) else row), 6)


def answers(home: Home, x: float, wanted: float) -> Callable[[], bool]:
    def asked() -> bool:
        try:
            return ask(home, x) == wanted
        except TradewindError:
            return False

    return asked


@pytest.fixture(scope="module")
def model(home: Home) -> Path:
    """Two versions: twice, and three times."""
    folder = home.write({"fit.py": TRAIN, "fit.yaml": SPEC}, "model")
    home.good("run", "fit.yaml", cwd=folder)
    home.good("run", "fit.yaml", "--param", "slope=3", cwd=folder)
    return folder


def test_versions_and_aliases(home: Home, model: Path) -> None:
    found = home.json("describe", "model/line")
    assert sorted(each["number"] for each in found["versions"]) == [1, 2]
    with home.client() as client:
        client.models.alias("line", "production", 1)
        assert client.models.get("line")["aliases"] == {"production": 1}
        with pytest.raises(TradewindError, match="9"):
            client.models.alias("line", "production", 9)
    assert "production→1" in home.good("get", "models").out


def test_a_service_is_replaced_without_a_failed_request(home: Home, model: Path) -> None:
    home.write({"one.yaml": "kind: service\nname: line\nmodel: line@production\n",
                "two.yaml": "kind: service\nname: line\nmodel: line/2\n"}, "model")  # fmt: skip
    with home.client() as client:
        client.models.alias("line", "production", 1)
    home.good("run", "one.yaml", cwd=model)
    until(answers(home, 5, 10))
    [service] = home.json("get", "services")
    assert service["name"] == "line"
    assert "1 of 1" in home.good("get", "services").out

    seen: list[float] = []
    faults: list[str] = []
    over = threading.Event()

    def load() -> None:
        with home.client() as client:
            while not over.is_set():
                try:
                    body = {"rows": [{"x": 5}]}
                    found: Any = client.http.call("POST", "/services/line/predict", body=body)
                    [row] = found["predictions"]
                    seen.append(value_of(row))
                except Exception as error:  # every one counts
                    faults.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        home.good("run", "two.yaml", cwd=model)
        until(lambda: seen and seen[-1] == 15)
        # The old one ends while requests go on.
        until(lambda: len([r for r in home.json("get", "runs", "line", "--kind", "service")
                           if not r["ended"]]) == 1)  # fmt: skip
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert faults == []
    assert set(seen) == {10.0, 15.0}

    [run] = [r for r in home.json("get", "runs", "line", "--kind", "service") if not r["ended"]]
    home.good("stop", run["id"], "--wait")
    with pytest.raises(TradewindError):
        ask(home, 5)


def test_a_stopped_service_that_is_applied_again_runs_again(home: Home, model: Path) -> None:
    home.write({"line.yaml": "kind: service\nname: line\nmodel: line/2\n"}, "model")
    for change in ("created", "unchanged", "unchanged"):
        [applied] = home.json("apply", "line.yaml", cwd=model)
        assert applied["change"] == change and applied.get("restarted", False) is (change[0] == "u")
        assert home.json("apply", "line.yaml", cwd=model)[0]["run"] == applied["run"]
        until(answers(home, 5, 15))
        home.good("stop", applied["run"], "--wait")


def test_an_applied_service_follows_its_alias(home: Home, model: Path) -> None:
    home.write({"line.yaml": "kind: service\nname: line\nmodel: line@production\n"}, "model")
    for version, wanted in ((1, 10), (2, 15)):
        with home.client() as client:
            client.models.alias("line", "production", version)
        home.good("apply", "line.yaml", cwd=model)
        until(answers(home, 5, wanted))
    home.good("delete", "service/line")
