"""One function over the parts of a table, on the real local engine: measured, cut, put together."""

import contextlib
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.road.home import Home, until
from tradewind.base.errors import NotFound

pytestmark = pytest.mark.xdist_group("local-parts")

ROWS = 400_000
CODE = """
import time
import pyarrow as pa
import pyarrow.compute as pc


def twice(data: pa.RecordBatch):
    return pa.table({"id": data.column("id"), "twice": pc.multiply(data.column("id"), 2)})


def slowly(data: pa.RecordBatch):
    last = data.column("id")[-1].as_py()
    if last > 300_000 and len(data) > 2_000:
        while not __import__("os").path.exists(GATE):
            time.sleep(0.05)
    return twice(data)


def never(data: pa.RecordBatch):
    time.sleep(0.02 * len(data))
    return twice(data)


def wrong(data: pa.RecordBatch):
    if 399_999 in data.column("id").to_pylist():
        raise ValueError("not this one")
    return twice(data)
"""


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("numbers") / "numbers.parquet"
    pq.write_table(pa.table({"id": np.arange(ROWS)}), path, row_group_size=50_000)
    return path


def spec(home: Home, name: str, **fields: str) -> Path:
    gate = home.work / "gate"
    home.write({"logic.py": CODE.replace("GATE", repr(str(gate)))})
    lines = [f"kind: function\nname: {name}\nentry: logic.py:{name}\nstyle: batch\n"]
    lines += [f"{key}: {value}\n" for key, value in fields.items()]
    home.write({f"{name}.yaml": "".join(lines)})
    return home.work / f"{name}.yaml"


def versions(home: Home, name: str) -> list[dict[str, Any]]:
    with home.client() as client, contextlib.suppress(NotFound):
        found: list[dict[str, Any]] = client.datasets.get(name)["versions"]
        return sorted(found, key=lambda each: int(each.get("version", each.get("number", 0))))
    return []


def state(home: Home, run: str) -> dict[str, Any]:
    with home.client() as client:
        return client.runs.get(run)


def table(home: Home, run: str) -> pa.Table:
    found: list[pa.Table] = []
    with home.client() as client, contextlib.suppress(NotFound):
        while True:
            data = client.runs.result_file(run, "output", len(found))
            found.append(pq.read_table(io.BytesIO(data)))
    return pa.concat_tables(found)


def test_parts_become_one_version_in_the_order_of_the_input(home: Home, numbers: Path) -> None:
    file = spec(home, "twice", performance="10m", backend="partitions")
    run = home.tw("run", file, "--data", numbers, "-o", "json").json
    assert run["state"] == "succeeded", run["error"]
    assert run["plan"]["option"]["parts"] >= 1
    [version] = versions(home, "twice")
    assert version["rows"] == ROWS
    made = table(home, run["id"])
    assert made.column("id").to_pylist() == list(range(ROWS))
    assert made.column("twice")[-1].as_py() == 2 * (ROWS - 1)


def test_soft_shows_parts_while_others_work(home: Home, numbers: Path) -> None:
    file = spec(home, "slowly", performance="10m", backend="partitions", consistency="soft")
    said = home.tw("run", file, "--data", numbers, "--detach", "-o", "json").json
    run = said["id"]

    def shown() -> list[int]:
        return [each["rows"] for each in versions(home, "slowly")]

    until(lambda: bool(shown()) or state(home, run)["state"] == "failed", 60)
    early = shown()
    assert 0 < early[0] < ROWS
    assert state(home, run)["state"] == "running"
    (home.work / "gate").touch()
    with home.client() as client:
        ended = client.runs.wait(run)
    assert ended["state"] == "succeeded", ended["error"]
    made = table(home, run)
    assert sorted(made.column("id").to_pylist()) == list(range(ROWS)), "each row once"


def test_what_cannot_be_met_is_refused_with_the_nearest(home: Home, numbers: Path) -> None:
    file = spec(home, "never", performance="5s")
    began = time.monotonic()
    run = home.tw("run", file, "--data", numbers, "-o", "json").json
    assert (run["state"], run["error"]["code"]) == ("failed", "refused")
    assert time.monotonic() - began < 60
    assert "the nearest is" in run["error"]["message"] or "slow" in run["error"]["message"]
    assert not versions(home, "never")


def test_nothing_is_visible_of_parts_that_fail(home: Home, numbers: Path) -> None:
    file = spec(home, "wrong", performance="10m", backend="partitions")
    run = home.tw("run", file, "--data", numbers, "-o", "json").json
    assert run["state"] == "failed"
    assert "not this one" in run["error"]["message"]
    assert not versions(home, "wrong")
