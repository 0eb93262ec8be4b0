"""Random tables come back as they were; random bytes are a table or a located error."""

import datetime as dt
import decimal
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.base import errors
from tradewind.data import digest, importing, parquet, sources

pa = pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

ZONE = dt.timezone(dt.timedelta(hours=5, minutes=30))
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)
COLUMNS: dict[str, tuple[Any, Any, str]] = {
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1), "int64"),
    "float64": (pa.float64(), st.floats(allow_nan=False, allow_infinity=False), "float64"),
    "bool": (pa.bool_(), st.booleans(), "bool"),
    "string": (pa.string(), TEXT, "string"),
    "date": (pa.date32(), st.dates(), "date"),
    "local": (
        pa.timestamp("us"),
        st.datetimes(min_value=dt.datetime(1700, 1, 1), max_value=dt.datetime(2250, 1, 1)),
        "timestamp",
    ),
    "zoned": (
        pa.timestamp("us", "UTC"),
        st.datetimes(
            min_value=dt.datetime(1700, 1, 1),
            max_value=dt.datetime(2250, 1, 1),
            timezones=st.sampled_from([dt.UTC, ZONE]),
        ),
        "timestamp[UTC]",
    ),
    "decimal": (
        pa.decimal128(12, 3),
        st.decimals(-(10**8), 10**8, places=3, allow_nan=False, allow_infinity=False),
        "decimal(12, 3)",
    ),
}


@st.composite
def tables(draw: st.DrawFn) -> Any:
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, unique=True))
    count = draw(st.integers(0, 12))
    return pa.table(
        [
            pa.array(
                draw(st.lists(st.none() | COLUMNS[one][1], min_size=count, max_size=count)),
                COLUMNS[one][0],
            )
            for one in names
        ],
        names=names,
    )


def load(path: Path, **options: Any) -> Any:
    rows = sources.read({"path": str(path), **options}, path.parent)
    return pa.Table.from_batches(list(rows.batches()), schema=rows.schema)


def plain(value: Any) -> Any:
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    return str(value) if isinstance(value, decimal.Decimal) else value


@settings(max_examples=60, deadline=None)
@given(table=tables())
def test_every_format_gives_the_table_back(table: Any) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    schema = {name: COLUMNS[name][2] for name in table.schema.names}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        pyarrow.parquet.write_table(table, path / "t.parquet")
        with pa.ipc.new_file(str(path / "t.arrow"), table.schema) as sink:
            sink.write_table(table)
        pyarrow.csv.write_csv(table, path / "t.csv")
        rows = [{name: plain(value) for name, value in row.items()} for row in table.to_pylist()]
        (path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert load(path / "t.parquet").equals(table)
        assert load(path / "t.arrow").equals(table)
        assert load(path / "t.csv", schema=schema).equals(table)
        if rows:
            assert load(path / "t.jsonl", schema=schema).equals(table)
        staged = path / "staged"
        made = importing.import_dataset({"source": str(path / "t.csv")}, staged, path)
        assert made.rows == table.num_rows and [one["name"] for one in made.schema] == (
            table.schema.names
        )
        assert [one["count"] + one["nulls"] for one in made.stats] == [made.rows] * len(made.stats)
        json.dumps(made.to_json(), allow_nan=False)


@settings(max_examples=150, deadline=None)
@given(
    data=st.binary(max_size=200)
    | st.text('ab01,;"\n\r\t -.:NA', max_size=60).map(str.encode)
    | st.lists(st.lists(st.text(max_size=6), max_size=4), max_size=6).map(
        lambda rows: "\n".join(",".join(row) for row in rows).encode("utf-8", "surrogatepass")
    ),
    name=st.sampled_from(
        ["t.csv", "t.jsonl", "t.parquet", "t.arrow", "t", "t.csv.gz", "t.csv.zip"]
    ),
)
def test_any_bytes_are_a_table_or_a_located_error(data: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, staged = Path(folder) / name, Path(folder) / "staged"
        path.write_bytes(data)
        try:
            made = importing.import_dataset({"source": str(path)}, staged, path.parent)
        except errors.InvalidData as error:
            assert error.where is not None and error.where.file == str(path)
            assert not staged.exists() or not list(staged.iterdir())
        else:
            assert sum(batch.num_rows for batch in parquet.batches(made.files)) == made.rows


@settings(max_examples=40, deadline=None)
@given(table=tables(), cut=st.integers(1, 7), data=st.data())
def test_the_hash_knows_rows_order_and_schema_only(
    table: Any, cut: int, data: st.DataObject
) -> None:
    def value(one: Any, size: int = 1000) -> str:
        running = digest.TableDigest(one.schema)
        for batch in one.to_batches(max_chunksize=size):
            running.update(batch)
        return running.value()

    whole = value(table)
    assert value(table, cut) == whole
    assert value(pa.concat_tables([table.slice(0, cut), table.slice(cut)]), cut) == whole
    assert value(table.append_column("more", pa.nulls(table.num_rows, pa.string()))) != whole
    renamed = table.rename_columns([name + "_" for name in table.schema.names])
    assert value(renamed) != whole
    if table.num_rows > 1:
        order = data.draw(st.permutations(range(table.num_rows)))
        assert (value(table.take(list(order))) == whole) == (
            table.take(list(order)).equals(table)
            or table.take(list(order)).to_pylist() == table.to_pylist()
        )


def test_the_hash_of_nested_columns_is_independent_of_cuts() -> None:
    kind = pa.list_(pa.struct([("x", pa.int64()), ("m", pa.map_(pa.string(), pa.float64()))]))
    values = [[{"x": 1, "m": [("a", 1.0)]}], None, [], [{"x": None, "m": None}, None]] * 5
    table = pa.table({"n": pa.array(values, kind), "b": [b"x", None, b"", b"yz"] * 5})
    found = set()
    for size in (1, 3, 7, 100):
        running = digest.TableDigest(table.schema)
        for batch in table.to_batches(max_chunksize=size):
            running.update(batch)
        found.add(running.value())
    assert len(found) == 1
    other = table.set_column(0, "n", pa.array([*values[:-1], []], kind))
    running = digest.TableDigest(table.schema)
    for batch in other.to_batches():
        running.update(batch)
    assert running.value() not in found


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow", "s.arrow"])
def test_a_damaged_file_is_a_table_or_a_located_error(tmp_path: Path, name: str) -> None:
    import pyarrow.parquet

    table = pa.table({"a": list(range(50)), "s": [f"x{n}" for n in range(50)], "l": [[1]] * 50})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    with pa.ipc.new_file(str(tmp_path / "t.arrow"), table.schema) as sink:
        sink.write_table(table)
    with pa.ipc.new_stream(str(tmp_path / "s.arrow"), table.schema) as sink:
        sink.write_table(table)
    chance, good, refused = random.Random(5), (tmp_path / name).read_bytes(), 0
    for _ in range(60):
        bad = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        (tmp_path / name).write_bytes(bad)
        try:
            importing.import_dataset({"source": name}, tmp_path / "staged", tmp_path)
        except errors.InvalidData as error:
            assert error.where is not None and error.where.file == str(tmp_path / name)
            refused += 1
    assert refused
