"""Files as frames, and SQL over them with nothing else in reach."""

from pathlib import Path
from typing import Any

import pytest

from tradewind.base import errors
from tradewind.data import frames, parquet
from tradewind.data.types import schema_json, stored_schema

pa = pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    import pyarrow.parquet

    for number in range(2):
        part = pa.table({"n": [number * 2, number * 2 + 1], "s": [f"é{number}", None]})
        pyarrow.parquet.write_table(part, tmp_path / f"{number}.parquet")
    return [tmp_path / "0.parquet", tmp_path / "1.parquet"]


def test_every_frame_holds_the_rows_in_order(files: list[Path]) -> None:
    duckdb = pytest.importorskip("duckdb")
    assert frames.table(files)["n"].to_pylist() == [0, 1, 2, 3]
    assert frames.table(files, ["s"]).schema.names == ["s"]
    assert sum(batch.num_rows for batch in frames.stream(files)) == 4
    assert frames.relation(duckdb.connect(), files).fetchall()[3] == (3, None)
    assert frames.preview(files, 3)["rows"] == [[0, "é0"], [1, None], [2, "é1"]]


def test_pandas_and_polars(files: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    for number, frame in enumerate((frames.pandas(files), frames.polars(files))):
        written = frames.write(frame, tmp_path / f"out{number}")
        assert frames.table(written).to_pylist() == frames.table(files).to_pylist()


def test_results_of_functions(files: list[Path], tmp_path: Path) -> None:
    table = frames.table(files)
    for number, result in enumerate((table, table.to_batches()[0], table.to_pylist())):
        assert frames.write(result, tmp_path / str(number))
    for bad in (5, None, [], [1], {"a": 1}):
        with pytest.raises(errors.InvalidData, match="no table"):
            frames.write(bad, tmp_path / "bad")


def test_two_columns_of_one_name_are_told_with_their_place(
    files: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(errors.InvalidData) as caught:
        frames.sql("SELECT 1 AS a, 2 AS a", {"t": files}, tmp_path)
    assert str(caught.value).startswith("sql: column 2 is named 'a', as column 1 is\n")
    assert "rename one" in caught.value.hint


def test_sql_with_parameters(files: list[Path], tmp_path: Path) -> None:
    query = "SELECT n * $k AS m FROM t JOIN u USING (n) WHERE t.s IS NOT NULL ORDER BY n DESC"
    out = frames.sql(query, {"t": files, "u": files[1:]}, tmp_path / "out", params={"k": 10})
    assert frames.table(out.files).to_pydict() == {"m": [20]}
    out = frames.sql("SELECT * FROM t WHERE false", {"t": files}, tmp_path / "none")
    assert out.rows == 0 and frames.table(out.files).schema.names == ["n", "s"]
    with pytest.raises(errors.InvalidSpec, match=r"\$k has no value"):
        frames.sql(query, {"t": files, "u": files}, tmp_path / "x")


@pytest.mark.parametrize(
    ("query", "code", "line", "column"),
    [
        ("SELECT nope FROM t", "invalid_spec", 1, 8),
        ("SELECT n\nFROM t\nWHERE bogus(n) = 1", "invalid_spec", 3, 7),
        ("SELEC 1", "invalid_spec", 1, 1),
        ("SELECT * FROM missing", "invalid_spec", 1, 15),
        ("SELECT CAST(s AS INT) FROM t", "invalid_data", 1, 8),
        ("SELECT n FROM t;\nSELECT n FROM t", "invalid_spec", 0, 0),
        ("", "invalid_spec", 0, 0),
        ("INSERT INTO t VALUES (1)", "invalid_spec", 0, 0),
    ],
)
def test_an_error_in_a_query_is_located(
    files: list[Path], tmp_path: Path, query: str, code: str, line: int, column: int
) -> None:
    with pytest.raises(errors.UserError) as caught:
        frames.sql(query, {"t": files}, tmp_path / "out")
    where = caught.value.where
    assert (caught.value.code, where and where.line, where and where.column) == (code, line, column)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_parquet('{other}')",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '{other}.new'",
        "ATTACH '{other}.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET threads = 1",
        "SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')",
        "SELECT * FROM files",
    ],
)
def test_a_query_reaches_nothing_but_its_inputs(
    files: list[Path], tmp_path: Path, query: str
) -> None:
    with pytest.raises(errors.InvalidSpec):
        frames.sql(query.format(other=files[1]), {"t": files[:1]}, tmp_path / "out")
    assert not list(tmp_path.glob("*.new")) and not list(tmp_path.glob("*.db"))


TYPES = [
    "true", "1::TINYINT", "1::UTINYINT", "1::USMALLINT", "1::UINTEGER", "1::UBIGINT", "1::HUGEINT",
    "1.5::FLOAT", "1.5", "1.5::DECIMAL(20, 3)", "'é'", "'x'::BLOB", "DATE '2001-01-01'", "NULL",
    "TIMESTAMP '2001-01-01 10:00:00.5'", "TIMESTAMPTZ '2001-01-01 10:00:00+02'", "sum(n)",
]  # fmt: skip
OTHERS = ["TIME '10:15:00'", "[1, 2]", "{'a': 1}", "MAP {'a': 1}",
          "TIMESTAMP_NS '2001-01-01 00:00:00.123456789'", "'a'::ENUM ('a', 'b')"]  # fmt: skip


def test_duckdb_writes_the_types_that_arrow_would(files: list[Path], tmp_path: Path) -> None:
    """A column that DuckDB cannot write sends all of them through Arrow."""
    columns = ", ".join(f"{one} AS c{number}" for number, one in enumerate(TYPES))
    direct = frames.sql(f"SELECT {columns} FROM t", {"t": files}, tmp_path / "direct")
    fitted = frames.sql(f"SELECT {columns}, [1] AS l FROM t", {"t": files}, tmp_path / "fitted")
    assert direct.schema == fitted.schema[:-1] and direct.rows == fitted.rows == 1
    found = frames.table(direct.files)
    assert found.equals(frames.table(fitted.files).drop_columns(["l"]))
    assert schema_json(found.schema) == direct.schema


@pytest.mark.parametrize("one", OTHERS)
def test_types_that_duckdb_does_not_store_are_fitted(
    files: list[Path], tmp_path: Path, one: str
) -> None:
    made = frames.sql(f"SELECT {one} AS a, n FROM t", {"t": files}, tmp_path / "out")
    found = frames.table(made.files)
    assert found["n"].to_pylist() == [0, 1, 2, 3] and made.rows == 4
    assert schema_json(stored_schema(found.schema)) == made.schema


@pytest.mark.parametrize("end", ["", ";", " ;; ", " -- an end;", "; /* ; */ -- é"])
def test_how_a_query_ends_does_not_matter(files: list[Path], tmp_path: Path, end: str) -> None:
    query = "SELECT n, 'é;' || s AS \"a ; b\" FROM t WHERE n < $n ORDER BY n DESC" + end
    made = frames.sql(query, {"t": files}, tmp_path / "out", params={"n": 3})
    assert frames.table(made.files).to_pydict() == {
        "n": [2, 1, 0],
        "a ; b": ["é;é1", None, "é;é0"],
    }


def test_rows_come_in_the_order_of_the_inputs_on_many_threads(tmp_path: Path) -> None:
    import pyarrow.parquet

    path = tmp_path / "many.parquet"
    pyarrow.parquet.write_table(pa.table({"n": range(600_000)}), path, row_group_size=50_000)
    query = "SELECT n FROM t WHERE n % 3 > 0"
    made = frames.sql(query, {"t": [path]}, tmp_path / "out", threads=4)
    assert frames.table(made.files)["n"].to_pylist() == [n for n in range(600_000) if n % 3]
    footer = pyarrow.parquet.read_metadata(made.files[0])
    groups = [footer.row_group(place) for place in range(footer.num_row_groups)]
    assert {group.column(0).compression for group in groups} == {"ZSTD"}
    # DuckDB ends a group where a vector ends, so that it may be somewhat larger.
    assert max(group.num_rows for group in groups) < 1.1 * parquet.ROWS_PER_GROUP


def test_a_name_twice_is_refused_however_it_is_written(files: list[Path], tmp_path: Path) -> None:
    for query in ("SELECT n, s AS N FROM t", "SELECT n, [s] AS N FROM t"):
        with pytest.raises(errors.InvalidData, match="column 2 is named 'N'"):
            frames.sql(query, {"t": files}, tmp_path / "out")


def test_ibis_expressions(files: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("ibis")

    def expression(t: Any) -> Any:
        return t.filter(t.n > 1).mutate(m=t.n * 2).order_by("n").select("m")

    out = frames.ibis(expression, {"t": files}, tmp_path / "out")
    assert frames.table(out.files).to_pydict() == {"m": [4, 6]}
    with pytest.raises(errors.InvalidData, match="expected an Ibis table"):
        frames.ibis(lambda t: 5, {"t": files}, tmp_path / "no")
