"""What score.tw calls. `joined`, `featured` and `later` are steps of examples/flights."""

import functools
from pathlib import Path

import numpy as np
import pyarrow as pa

from tradewind.components import predict, train
from tradewind.components.featuring import transformer_of
from tradewind.models.columns import from_table
from tradewind.models.heavy import without
from tradewind.models.manifest import Signature
from tradewind.models.package import Model, load

COSTS = {"false_positive_cost": 1.0, "false_negative_cost": 3.0}
BLOCK = 1000


def learn(featured: pa.Table, later: pa.Table, model: Path, *, trees: int) -> dict:
    """The flights model with so many trees; fewer learn faster. Its figures are those of the months
    that it has not learned from."""
    params = {"rounds": trees, "num_leaves": 31, "min_data_in_leaf": 1000, "feature_fraction": 0.3}
    params["learning_rate"] = min(0.5, 5 / trees)
    train(featured, label="late", params=params, model=model, **COSTS)
    figures = predict(later, model, label="late", **COSTS)["metrics"]
    return {"metrics": {name: figures[name] for name in ("auc", "cost")}, "params": params}


def ready(joined: pa.Table, featured: pa.Table) -> pa.Table:
    """The features of every flight, as each model that learned from `featured` makes them. They are
    made once, and scored as often as one likes."""
    made = transformer_of(featured)
    features = made.apply(from_table(Signature(inputs=made.inputs, outputs=()), joined))
    flight = np.arange(len(joined))
    return pa.table({"flight": flight, "block": flight // BLOCK, **features})


def many(flights: pa.Table, every: pa.Table, *, rows: int, seed: int) -> pa.Table:
    """A block's share of so many flights to come: each is one of the block's in the weather of
    another, drawn at random. The same seed gives the same rows, whoever works on which block."""
    first, total = flights["flight"][0].as_py(), len(every)
    start, end = (rows * place // total for place in (first, first + len(flights)))
    flight = np.arange(end - start) % len(flights)
    other = np.random.default_rng([seed, first]).integers(total, size=end - start)
    columns = {"id": np.arange(start, end)}
    for name in flights.column_names[2:]:
        if name.startswith("weather_"):
            columns[name] = every[name].to_numpy()[other]
        else:
            columns[name] = flights[name].to_numpy()[flight]
    return pa.table(columns)


@functools.cache
def loaded(folder: Path) -> Model:
    """Once for each process, however many batches it scores. LightGBM would bring scikit-learn
    along, which takes as long to load as three million rows take to be scored."""
    with without("sklearn", "pandas"):
        return load(folder)


def score(rows: pa.RecordBatch, model: Path) -> pa.RecordBatch:
    """How likely each of these flights is to be late."""
    flights = loaded(model)
    features = {name: rows[name].to_numpy() for name in flights.transformer.names}
    late = flights.run(features)[""].astype(np.float32)
    return pa.record_batch({"id": rows["id"], "late": late})
