from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

import tradewind as tw
from tradewind.components import features, predict, split, train

DECLARED = [
    {"op": "number", "column": "sched_dep_time"},
    {"op": "number", "column": "distance"},
    {"op": "category", "column": "carrier"},
    {"op": "category", "column": "origin"},
]


@tw.function
def clean(flights: pa.Table) -> pa.Table:
    flights = flights.drop_null()
    return flights.append_column("late", pc.greater_equal(flights["arr_delay"], 15))


@tw.training(model="late")
def learn(rows: pa.Table, model: Path):
    part = split(rows)["train"]
    table = features(part, declared=DECLARED, label="late", known_after=["arr_delay"])
    return train(table, label="late", model=model, params={"rounds": 40})


@tw.function
def check(rows: pa.Table, model: Path):
    figures = predict(split(rows)["test"], model, label="late")["metrics"]
    return {name: figures[name] for name in ("rows", "auc", "brier")}


@tw.pipeline
def flow():
    rows = clean(tw.dataset("flights"))
    learned = learn(rows)
    return {"figures": check(rows, learned.model)}
