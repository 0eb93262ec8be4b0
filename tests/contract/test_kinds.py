"""Every kind that runs sits the exam of kinds."""

from __future__ import annotations

from tradewind import kinds
from tradewind.records.tasks import Input
from tradewind.testing.kind_suite import KindSuite

_TABLE = Input(kind="table", source="flights@1", digest="sha256:" + "3" * 64)
_MODEL = Input(kind="folder", source="late/1", digest="sha256:" + "4" * 64, meta={"version": "1"})


class TestDataset(KindSuite):
    kind = "dataset"
    documents = (
        {"kind": "dataset", "name": "flights", "source": "/data/flights.csv"},
        {"kind": "dataset", "name": "made"},
    )


class TestFunction(KindSuite):
    kind = "function"
    inputs = {"data": _TABLE}  # noqa: RUF012
    documents = (
        {"kind": "function", "name": "clean", "entry": "flows.py:clean"},
        {"kind": "function", "name": "q", "sql": "SELECT 1", "output": "other"},
        {"kind": "function", "name": "rows", "entry": "flows.py:one", "style": "row",
         "on_error": "skip"},
        {"kind": "function", "name": "keys", "entry": "flows.py:one", "style": "group", "by": "k",
         "backend": "partitions", "resources": {"cpu": 2}},
        {"kind": "function", "name": "lazy", "entry": "flows.py:one", "style": "expression",
         "performance": "60s"},
        {"kind": "function", "name": "no", "entry": "flows.py:one", "backend": "spark"},
        {"kind": "function", "name": "split", "entry": "tradewind.components:split"},
        {"kind": "function", "name": "many", "entry": "flows.py:one", "items": [1, 2, 3],
         "at_once": 2, "retries": 2},
        {"kind": "function", "name": "big", "entry": "flows.py:one", "timeout": "5m",
         "retries": {"max": 3, "backoff": "1s"}, "resources": {"cpu": 2, "memory": "1GiB"}},
    )  # fmt: skip


class TestTraining(KindSuite):
    kind = "training"
    documents = (
        {"kind": "training", "name": "fit", "entry": "train.py", "args": ["--fast"]},
        {"kind": "training", "name": "fit", "entry": "flows.py:fit", "model": "late",
         "workers": "2..4", "retries": 1},
    )  # fmt: skip


class TestPipeline(KindSuite):
    kind = "pipeline"
    documents = (
        {"kind": "pipeline", "name": "flow", "steps": [
            {"name": "a", "uses": "tradewind.components:split"},
            {"name": "b", "uses": "tradewind.components:train", "input": {"x": "$a.output"}},
        ]},
        {"kind": "pipeline", "name": "flow", "timeout": "1h", "outputs": {"last": "$c.output"},
         "params": {"n": 3}, "steps": [
            {"name": "a", "uses": "tradewind.components:split"},
            {"name": "b", "uses": "tradewind.components:train", "foreach": "$a.output",
             "at_once": 1, "params": {"x": "$item"}},
            {"name": "c", "uses": "tradewind.components:train", "after": ["b"],
             "until": {"condition": "$c.output.1.a > 1", "max": 2}, "params": {"n": "$params.n"}},
            {"name": "d", "uses": "tradewind.components:train", "when": "$a.output.0 == 1"},
            {"name": "e", "uses": {"kind": "service", "entry": "app.py:go"}, "after": ["a"]},
        ]},
    )  # fmt: skip


class TestService(KindSuite):
    kind = "service"
    inputs = {"model": _MODEL}  # noqa: RUF012
    documents = (
        {"kind": "service", "name": "web", "model": "late@champion", "replicas": "0..2"},
        {"kind": "service", "name": "own", "entry": "app.py:go", "replicas": 2},
    )


def test_no_kind_is_left_out() -> None:
    sat = {each.kind for each in KindSuite.__subclasses__()}
    assert sat == set(kinds.NAMES)
