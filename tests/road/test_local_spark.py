"""A function on a real Spark of the run's own: a driver and executors, killed one after another."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.differential import run as differential
from tests.road.home import Home, until
from tradewind.base.errors import NotFound

pytestmark = [
    pytest.mark.skipif(bool(differential.why_not()), reason=differential.why_not()),
    pytest.mark.slow,
    pytest.mark.xdist_group("spark"),
]

ROWS = 600_000  # in five row groups: a process of Spark's has whole ones
PATIENCE = 180.0
MASTER, WORKER = "deploy.master.Master", "deploy.worker.Worker"
EXECUTOR, DRIVER = "CoarseGrainedExecutorBackend", "deploy.SparkSubmit"
SPEC = "kind: function\nentry: logic.py:twice\nstyle: batch\nresources: {cpu: 1}\n"
# Slow where it is measured, so that several processes are worth their price, and held up at a gate
# where Spark's workers call it: so whoever kills one knows that it works.
CODE = """
import os
import sys
import time
import pyarrow as pa
import pyarrow.compute as pc


def twice(data: pa.RecordBatch):
    if "pyspark" in sys.modules:
        open(os.path.join(GATE, str(os.getpid())), "w").close()
        while not os.path.exists(os.path.join(GATE, "open")):
            time.sleep(0.05)
    else:
        end = time.process_time() + len(data) * 3e-5
        while time.process_time() < end:
            pass
    return pa.table({"id": data.column("id"), "twice": pc.multiply(data.column("id"), 2)})

"""


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("numbers") / "numbers.parquet"
    pq.write_table(pa.table({"id": range(ROWS)}), path)
    return path


@pytest.fixture
def work(home: Home, tmp_path: Path, numbers: Path) -> Work:
    return Work(home, tmp_path / "gate", numbers)


class Work:
    """A run that is held up while it works, in two processes of Spark's."""

    def __init__(self, home: Home, gate: Path, numbers: Path) -> None:
        self.home, self.gate = home, gate
        gate.mkdir()
        home.write({"logic.py": CODE.replace("GATE", repr(str(gate)))})
        for backend in ("duckdb", "spark"):
            fields = {"name": f"on-{backend}", "backend": backend, "input": f"{{data: {numbers}}}"}
            lines = "".join(f"{key}: {value}\n" for key, value in fields.items())
            home.write({f"{backend}.yaml": SPEC + lines})

    def begin(self) -> str:
        """As a quote offers it: nobody else says how many processes there are."""
        quote = self.home.json("quote", "spark.yaml", "--deadline", "1h")
        widths = [each["option"]["width"] for each in quote["plans"]]
        plan = str(widths.index(2))
        words = ("--quote", quote["id"], "--plan", plan, "--detach")
        run: str = self.home.json("run", "spark.yaml", *words)["id"]
        return run

    def at_the_gate(self, run: str, others: Collection[int] = (), count: int = 2) -> set[int]:
        """So many more Python processes of Spark's, each in a batch."""

        def there() -> set[int]:
            with self.home.client() as client:
                told = client.runs.get(run)
            assert told["state"] != "failed", (told["error"], self.home.tw("logs", run).out)
            found = {int(each.name) for each in self.gate.iterdir()} - set(others)
            return found if len(found & set(psutil.pids())) >= count else set()

        found: set[int] = until(there, PATIENCE)
        return found

    def javas(self, word: str) -> list[psutil.Process]:
        """Those whose program is called so."""
        found = []
        for process in self.home.processes():
            with contextlib.suppress(psutil.Error, IndexError):
                words = process.cmdline()
                if Path(words[0]).name == "java" and any(each.endswith(word) for each in words):
                    found.append(process)
        return found

    def ended(self, run: str) -> Any:
        """It, once the gate is open and it has ended; nothing of Spark's is left."""
        (self.gate / "open").touch()
        with self.home.client() as client:

            def told() -> Any:
                found = client.runs.get(run)
                return found if found["state"] in ("succeeded", "failed") else None

            found = until(told, PATIENCE)
        until(lambda: not self.javas(""), 10)
        return found

    def rows(self, run: str) -> list[tuple[int, int]]:
        data: list[bytes] = []
        with self.home.client() as client, contextlib.suppress(NotFound):
            while True:
                data.append(client.runs.result_file(run, "output", len(data)))
        table = pa.concat_tables([pq.read_table(io.BytesIO(each)) for each in data])
        return sorted(zip(*(table[each].to_pylist() for each in ("id", "twice")), strict=True))


def test_whatever_of_spark_is_killed_costs_no_row_and_leaves_nothing(work: Work) -> None:
    run = work.begin()
    seen = work.at_the_gate(run)
    assert [len(work.javas(each)) for each in (MASTER, WORKER, EXECUTOR)] == [1, 2, 2]
    # Spark begins these again.
    work.javas(EXECUTOR)[0].kill()
    more = work.at_the_gate(run, seen, 1)
    psutil.Process(next(iter(more & set(psutil.pids())))).kill()
    seen |= more | work.at_the_gate(run, seen | more, 1)
    # Tradewind begins the run again after this; so it does after the master (unit/inside).
    work.javas(DRIVER)[0].kill()
    work.at_the_gate(run, seen)
    told = work.ended(run)
    assert (told["state"], told["plan"]["option"]["width"]) == ("succeeded", 2), told["error"]
    assert (told["tries"], told["losses"]) == (0, 1)
    plain = work.home.json("run", "duckdb.yaml")
    assert len(rows := work.rows(run)) == ROWS and rows == work.rows(plain["id"])
