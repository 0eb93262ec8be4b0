"""Hundreds of inputs in one job of Spark's.

Each input is made, read, translated and analysed as the product does it. What Spark gives for a row
is one array of texts, out of which every value is made again exactly; so queries of all types are
one union. What raises is looked for by halves, and each such input goes the product's whole way, as
functions do and every `WHOLE`th input: files written and read, sessions as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.differential import run
from tradewind.inside import expression, session, sink, spark

WHOLE = 50
Told = dict[int, str]
# Without programs of their own, which Java has to compile, queries of a few rows take half as long.
_SETTINGS = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.files.minPartitionNum": "1",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
_PROGRAMS = {"spark.sql.codegen.wholeStage": "true", "spark.sql.codegen.factoryMode": "FALLBACK"}
_PARTS = {"spark.sql.shuffle.partitions": "2", "spark.sql.files.minPartitionNum": "2"}
# In turn: the same values come of programs and of none, of one part and of several.
TURNS: tuple[dict[str, str], ...] = ({}, _PARTS, {}, {**_PROGRAMS, **_PARTS})
_KINDS = {
    "tinyint": pa.int8(), "smallint": pa.int16(), "int": pa.int32(), "bigint": pa.int64(),
    "float": pa.float32(), "double": pa.float64(), "boolean": pa.bool_(), "string": pa.string(),
    "date": pa.date32(), "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}  # fmt: skip


@dataclass
class Input:
    """An expression that DuckDB has carried out, and that Spark has not."""

    seed: int
    start: dict[str, Any]
    rounds: bool
    one: run.Outcome
    schema: pa.Schema
    query: str


class Packs:
    """Carries packs out, one at a time. `prepare` and `carry_out` may be in two threads."""

    def __init__(self) -> None:
        self.spark = session._open[-1].newSession()
        self._schemas: dict[str, Any] = {}
        self._lazily: expression.Lazily | None = None

    def prepare(self, seed: int, folder: Path, told: Told, counts: Counter[str]) -> Input | None:
        """What Spark has to do, unless it is told already how it went or goes the whole way."""
        start = run.start_of_expression(seed, folder)
        self._lazily = self._lazily or expression.Lazily(start)
        self._lazily.start = start
        try:
            made = self._lazily.made(run.steps_of(seed))
        except Exception:
            counts["no expression"] += 1  # Ibis has no type for it
            told[seed] = ""
            return None
        one = run.outcome(lambda: _together(list(expression.rows(made)), made))
        try:
            schema, query = spark.translated(made)
        except Exception:
            query = ""  # refused
        if one[0] == "raised" or not query:
            counts["expressions"] += 1
            two = run.carried(run.steps_of(seed), start, "spark")
            told[seed] = run.compared(one, two, counts, False)
            return None
        return Input(seed, start, run.rounded(made), one, schema, query)

    def carry_out(self, pack: list[Input], turn: int, counts: Counter[str]) -> Told:
        """Seed → what differs."""
        for name, value in {**_SETTINGS, **TURNS[turn % len(TURNS)]}.items():
            self.spark.conf.set(name, value)
        return self._halves(pack, counts)

    def _halves(self, pack: list[Input], counts: Counter[str]) -> Told:
        if not pack:
            return {}
        try:
            found = self._outcomes(pack)
        except Exception:
            if len(pack) > 1:
                half = len(pack) // 2
                first = self._halves(pack[:half], counts)
                return {**first, **self._halves(pack[half:], counts)}
            counts["alone"] += 1
            found = [run.carried(run.steps_of(pack[0].seed), pack[0].start, "spark")]
        counts["expressions"] += len(pack)
        return {
            each.seed: run.compared(each.one, two, counts, each.rounds)
            for each, two in zip(pack, found, strict=True)
        }

    def _outcomes(self, pack: list[Input]) -> list[run.Outcome]:
        with session.quiet():
            frames = [self._frame(each) for each in pack]
            made = [_encoded(number, frame) for number, frame in enumerate(frames)]
            while len(made) > 1:  # a deep union would be walked through for each of its parts
                pairs = [made[at : at + 2] for at in range(0, len(made), 2)]
                made = [pair[0].union(pair[1]) if len(pair) > 1 else pair[0] for pair in pairs]
            # Each task is sent the whole union: one task instead of hundreds.
            rows = made[0].coalesce(1).toArrow().to_pydict()
        texts: list[list[list[str | None]]] = [[] for _ in pack]
        for number, row in zip(rows["number"], rows["row"], strict=True):
            texts[number].append(row)
        return [
            run.outcome(lambda frame=frame, found=found, each=each: _fitted(frame, found, each))  # type: ignore[misc]
            for frame, found, each in zip(frames, texts, pack, strict=True)
        ]

    def _frame(self, each: Input) -> Any:
        for name, slot in each.start["inputs"].items():
            files = slot["files"]
            if name not in self._schemas:  # all inputs have the same columns
                self._schemas[name] = self.spark.read.parquet(*files).schema
            frame = self.spark.read.schema(self._schemas[name]).parquet(*files)
            frame.createOrReplaceTempView("tw_" + name)
        return self.spark.sql(each.query)


def _together(found: list[pa.Table], made: Any) -> pa.Table:
    return pa.concat_tables(found) if found else made.schema().to_pyarrow().empty_table()


def _fitted(frame: Any, rows: list[list[str | None]], each: Input) -> pa.Table:
    """As the product fits what Spark has written."""
    columns = list(zip(*rows, strict=True)) or [()] * len(frame.schema.fields)
    kinds = [field.dataType.simpleString() for field in frame.schema.fields]
    arrays = [decoded(kind, list(found)) for kind, found in zip(kinds, columns, strict=True)]
    return sink.fit(pa.table(arrays, names=frame.columns), each.schema)


# -- rows as texts ---------------------------------------------------------------------------------


def _encoded(number: int, frame: Any) -> Any:
    texts = [text_of(each.dataType.simpleString(), each.name) for each in frame.schema.fields]
    return frame.selectExpr(f"{number} as number", f"array({', '.join(texts)}) as row")


def text_of(kind: str, name: str) -> str:
    """Spark SQL for a text out of which `decoded` makes exactly the value."""
    if kind not in _KINDS and not kind.startswith("decimal"):
        raise TypeError(f"no text for {kind}")
    made = f"`{name}`"
    if kind.startswith("timestamp"):
        made = f"unix_micros(cast({made} as timestamp))"
    elif kind == "date":
        made = f"unix_date({made})"
    elif kind == "float":
        made = f"cast({made} as double)"
    return f"cast({made} as string)"


def decoded(kind: str, texts: list[str | None]) -> pa.Array:
    """The values."""
    if kind.startswith("decimal"):
        digits, scale = kind.removeprefix("decimal(").removesuffix(")").split(",")
        return _array(texts, Decimal, pa.decimal128(int(digits), int(scale)))
    made = _KINDS[kind]
    if pa.types.is_timestamp(made):
        return _array(texts, int, pa.int64()).cast(made)
    if pa.types.is_date(made):
        return _array(texts, int, pa.int32()).cast(made)
    if pa.types.is_floating(made):
        return _array(texts, float, pa.float64()).cast(made)
    if pa.types.is_boolean(made):
        return _array(texts, {"true": True, "false": False}.__getitem__, made)
    return _array(texts, str if pa.types.is_string(made) else int, made)


def _array(texts: list[str | None], of: Callable[[str], Any], kind: pa.DataType) -> pa.Array:
    return pa.array([None if text is None else of(text) for text in texts], kind)
