"""Every sort of bad file is a located error; every good one a table."""

import bz2
import gzip
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tradewind.base import errors
from tradewind.data import sources

pa = pytest.importorskip("pyarrow")


def load(folder: Path, source: Any) -> Any:
    rows = sources.read(source, folder)
    return pa.Table.from_batches(list(rows.batches()), schema=rows.schema)


def csv(folder: Path, text: str | bytes, **options: Any) -> Any:
    path = folder / "t.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(folder, {"path": "t.csv", **options})


def failing(folder: Path, text: str | bytes, **options: Any) -> errors.TradewindError:
    with pytest.raises(errors.UserError) as caught:
        csv(folder, text, **options)
    return caught.value


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    text = "a,b,c\n1,x y,2.5\n2,z,3\n".replace(",", delimiter)
    assert csv(tmp_path, text).to_pydict() == {"a": [1, 2], "b": ["x y", "z"], "c": [2.5, 3.0]}


def test_quoted_newlines_delimiters_and_quotes(tmp_path: Path) -> None:
    table = csv(tmp_path, 'a,b\n"x\ny","1,""2"""\nz,w\n')
    assert table.to_pydict() == {"a": ["x\ny", "z"], "b": ['1,"2"', "w"]}


def test_nulls(tmp_path: Path) -> None:
    text = 'a,b,c\nNA,"NA",-\n,"",x\n1,NULL,y\n'
    assert csv(tmp_path, text).to_pydict() == {
        "a": [None, None, 1],
        "b": ["NA", "", None],
        "c": ["-", "x", "y"],
    }
    assert csv(tmp_path, text, nulls=["-"]).to_pydict()["c"] == [None, "x", "y"]


def test_types_are_guessed_over_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tradewind.data import csvfile

    monkeypatch.setattr(csvfile, "_FIRST_BLOCK", 64)
    early = "1,2013-01-01,,true,1,2013-01-01 10:00:00,10:00:00\n" * 40
    late = "2.5,2013-01-01 10:00:00,7,maybe,2,2013-01-01 10:00:00.123456,x\n"
    table = csv(tmp_path, "i,d,n,b,k,t,h\n" + early + late)
    kinds = dict(zip(table.schema.names, map(str, table.schema.types), strict=True))
    assert kinds == {
        "i": "double", "d": "timestamp[us]", "n": "int64", "b": "string", "k": "int64",
        "t": "timestamp[us]", "h": "string",
    }  # fmt: skip
    assert table.num_rows == 41 and table["b"][0].as_py() == "true"
    assert table["t"][40].as_py().microsecond == 123456


def test_whole_numbers_that_no_int64_takes_stay_apart(tmp_path: Path) -> None:
    ids = ["12345678901234567890", "12345678901234567891"]
    text = f"id,mass,late,few\n{ids[0]},6.02e23,1.5,\n{ids[1]},inf,2,9223372036854775808\n"
    table = csv(tmp_path, text)
    kinds = dict(zip(table.schema.names, map(str, table.schema.types), strict=True))
    assert kinds == {"id": "string", "mass": "double", "late": "double", "few": "string"}
    assert table["id"].to_pylist() == ids
    assert str(csv(tmp_path, text, schema={"id": "float64"}).schema.field("id").type) == "double"


def test_a_row_longer_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tradewind.data import csvfile

    monkeypatch.setattr(csvfile, "_FIRST_BLOCK", 64)
    monkeypatch.setattr(csvfile, "_ONLY_BLOCK", 1024)
    text = "a,b\n" + "1,x\n" * 50 + "2," + "y" * 500 + "\n3,z\n"
    assert csv(tmp_path, text)["b"].to_pylist()[50:] == ["y" * 500, "z"]
    schema = {"a": "int64", "b": "string"}
    assert csv(tmp_path, text, schema=schema).num_rows == 52
    monkeypatch.setattr(csvfile, "_LAST_BLOCK", 100)
    assert "longer than" in str(failing(tmp_path, text))


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert csv(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n").schema.names == ["a", "b"]
    assert csv(tmp_path, "a,b\n1,ü\n".encode("utf-16")).to_pydict() == {"a": [1], "b": ["ü"]}


def test_another_encoding_is_located_and_read_when_named(tmp_path: Path) -> None:
    text = "a,b\n1,x\n2,航班\n".encode("gb18030")
    error = failing(tmp_path, text)
    assert error.where == errors.Location(file=str(tmp_path / "t.csv"), line=3)
    assert "byte 10" in error.message and "encoding: gb18030" in error.hint
    assert csv(tmp_path, text, encoding="gb18030").to_pydict()["b"] == ["x", "航班"]
    assert "no text encoding" in str(failing(tmp_path, text, encoding="klingon"))


def test_a_bad_byte_late_in_a_large_file(tmp_path: Path) -> None:
    good = b"a,b\n" + b"1,xyz\n" * 500_000
    error = failing(tmp_path, good + b"2,\xff\n")
    assert f"byte {len(good) + 2} (0xff)" in error.message
    assert error.where is not None and error.where.line == 500_002


def test_a_ragged_row_is_located_by_its_line(tmp_path: Path) -> None:
    error = failing(tmp_path, 'a,b\n"1\n1",2\n\n3\n4,5\n')
    assert error.where is not None and error.where.line == 5
    assert "expected 2 columns" in error.message and "found 1" in error.message
    assert failing(tmp_path, "a,b\n1,2,3\n").where == errors.Location(
        file=str(tmp_path / "t.csv"), line=2
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,a\n1,2,3\n", "column 3 is named 'a', as column 1 is"),
        ("a,A\n1,2\n", "column 2 is named 'A', as column 1 is"),
        ("a,,c\n1,2,3\n", "column 2 has no name"),
        ("", "no bytes"),
        ("\n \n", "the file is empty"),
        ("\ufeff", "the file is empty"),
    ],
)
def test_headers_and_empty_files(tmp_path: Path, text: str, message: str) -> None:
    assert message in str(failing(tmp_path, text))


def test_declared_types(tmp_path: Path) -> None:
    text = "id,day,price,at\n007,2013-01-02,1.50,2013-01-02T10:00:00+01:00\n"
    schema = {"id": "string", "day": "date", "price": "decimal(10, 2)", "at": "timestamp[UTC]"}
    row = csv(tmp_path, text, schema=schema).to_pylist()[0]
    assert row["id"] == "007" and str(row["price"]) == "1.50" and row["day"].day == 2
    assert row["at"].hour == 9


def test_a_value_that_is_not_of_its_declared_type(tmp_path: Path) -> None:
    text = 'id,n\n"x\ny",1\nz,two\n'
    error = failing(tmp_path, text, schema={"n": "int64"})
    assert error.where == errors.Location(file=str(tmp_path / "t.csv"), line=4, field="n")
    assert "'two' is not int64" in error.message
    assert "'m'" in str(failing(tmp_path, text, schema={"m": "int64"}))
    error = failing(tmp_path, text, schema={"n": "int46"})
    assert error.code == "invalid_spec" and "did you mean" in error.message


def test_no_rows_and_columns_without_values(tmp_path: Path) -> None:
    table = csv(tmp_path, "a,b\n")
    assert table.num_rows == 0 and [str(kind) for kind in table.schema.types] == ["string"] * 2
    assert csv(tmp_path, "a,b").schema.names == ["a", "b"]
    table = csv(tmp_path, "a,b\n1,\n2,NA\n")
    assert str(table.schema.field("b").type) == "string" and table["b"].null_count == 2
    assert csv(tmp_path, "a\n1\n\n2\n")["a"].to_pylist() == [1, None, 2]
    table = csv(tmp_path, "1,x\n2,y\n", header=False)
    assert table.to_pydict() == {"column_1": [1, 2], "column_2": ["x", "y"]}


def test_several_files_are_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    (folder / "deep").mkdir(parents=True)
    (folder / "1.csv").write_text("a,b\n1,x\n")
    (folder / "2.csv").write_text("b,a\ny,2.5\n")
    (folder / "deep" / "3.csv").write_text("a,b\n3,\n")
    (folder / ".hidden.csv").write_text("q\n")
    (folder / "README.md").write_text("no data")
    expected = {"a": [1.0, 2.5, 3.0], "b": ["x", "y", None]}
    for source in ("parts", "parts/**/*.csv", ["parts/1.csv", "parts/2.csv", "parts/deep"]):
        assert load(tmp_path, source).to_pydict() == expected
    (folder / "4.csv").write_text("a,c\n1,2\n")
    with pytest.raises(errors.InvalidData, match=r"4\.csv: column 'b' is missing") as caught:
        load(tmp_path, "parts")
    assert "1.csv" in caught.value.message
    (folder / "4.csv").rename(folder / "4.jsonl")
    with pytest.raises(errors.InvalidData, match=r"cannot be of csv \(1\.csv\) and jsonl"):
        load(tmp_path, "parts")


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in ("nothing.csv", "*.csv", "empty"):
        with pytest.raises(errors.NotFound):
            load(tmp_path, source)
    with pytest.raises(errors.Refused, match="address"):
        load(tmp_path, "https://example.org/a.csv")
    with pytest.raises(errors.InvalidSpec, match="'delimeter' is no option"):
        load(tmp_path, {"path": "x", "delimeter": ","})


def test_compressed(tmp_path: Path) -> None:
    text = b"a,b\n1,x\n" * 1 + b"2,y\n" * 1000
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text))
    (tmp_path / "a.csv.bz2").write_bytes(bz2.compress(text))
    with pa.output_stream(str(tmp_path / "a.csv.zst"), compression="zstd") as sink:
        sink.write(text)
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("inner.csv", text)
    for end in ("gz", "bz2", "zst", "zip"):
        assert load(tmp_path, f"a.csv.{end}").num_rows == 1001
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(text)[:-20])
    (tmp_path / "bad.csv.zip").write_bytes(b"PK no zip")
    (tmp_path / "bad.csv.zst").write_bytes(text)
    with zipfile.ZipFile(tmp_path / "two.csv.zip", "w") as archive:
        archive.writestr("a.csv", text)
        archive.writestr("b.csv", text)
    for name in ("cut.csv.gz", "bad.csv.zip", "bad.csv.zst", "two.csv.zip"):
        with pytest.raises(errors.InvalidData) as caught:
            load(tmp_path, name)
        assert caught.value.where is not None and name in caught.value.where.file


def jsonl(folder: Path, text: str, **options: Any) -> Any:
    (folder / "t.jsonl").write_text(text)
    return load(folder, {"path": "t.jsonl", **options})


def test_json_lines(tmp_path: Path) -> None:
    table = jsonl(
        tmp_path,
        '{"a": 1, "b": "x", "c": {"d": [1, 2]}}\n\n{"b": null, "a": 2.5, "e": true}\n',
    )
    assert table.to_pylist() == [
        {"a": 1.0, "b": "x", "c": {"d": [1, 2]}, "e": None},
        {"a": 2.5, "b": None, "c": None, "e": True},
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('{"a": 1}\n{"a": \n', 2, "this line is not JSON"),
        ('{"a": 1}\n[1]\n', 2, "not an object"),
        ('{"a": 1}\n\n{"a": "x"}\n', 3, "a text here, but a number in line 1"),
        ('{"a": [1]}\n{"a": ["x"]}\n', 2, "a text here, but a number in line 1"),
        ('{"a": 1}\n{"a": 123456789012345678901234}\n', 2, "64 bits"),
        ('{"a": {}}\n', 1, "object without names"),
        ('{"a": "\\ud800"}\n', 1, "a"),
        ("{\n", 1, "not JSON"),
    ],
)
def test_a_bad_json_line_is_located(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(errors.InvalidData) as caught:
        jsonl(tmp_path, text)
    assert caught.value.where is not None and caught.value.where.line == line
    assert message in str(caught.value)


def test_mixed_json_declared_as_string_and_other_types(tmp_path: Path) -> None:
    text = '{"a": 1, "p": 0.10, "t": "2013-01-01T10:00:00Z"}\n{"a": {"x": "y"}, "p": "2.5"}\n'
    schema = {"a": "string", "p": "decimal(10, 2)", "t": "timestamp[UTC]"}
    table = jsonl(tmp_path, text, schema=schema)
    assert table["a"].to_pylist() == ["1", '{"x": "y"}']
    assert [str(one) for one in table["p"].to_pylist()] == ["0.10", "2.50"]
    with pytest.raises(errors.InvalidData) as caught:
        jsonl(tmp_path, '{"a": 1}\n{"a": "x"}\n', schema={"a": "int64"})
    assert caught.value.where is not None
    assert (caught.value.where.line, caught.value.where.field) == (2, "a")


def test_parquet_and_arrow_files(tmp_path: Path) -> None:
    import pyarrow.feather
    import pyarrow.parquet

    one = pa.table({"a": [1, 2], "b": ["x", None]})
    pyarrow.parquet.write_table(one, tmp_path / "a.parquet")
    pyarrow.feather.write_feather(one, tmp_path / "a.feather")
    with pa.ipc.new_stream(str(tmp_path / "a.arrows"), one.schema) as writer:
        writer.write_table(one)
    for name in ("a.parquet", "a.feather", "a.arrows"):
        assert load(tmp_path, name).equals(one)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / f"cut-{name}").write_bytes(whole[: len(whole) // 2])
        (tmp_path / f"zero-{name}").write_bytes(b"")
        for bad in (f"cut-{name}", f"zero-{name}"):
            with pytest.raises(errors.InvalidData) as caught:
                load(tmp_path, bad)
            assert caught.value.where is not None and bad in caught.value.where.file
    (tmp_path / "unnamed").write_bytes((tmp_path / "a.parquet").read_bytes())
    assert load(tmp_path, "unnamed").equals(one)


@pytest.mark.parametrize("told", [199, 201])
def test_a_parquet_file_that_contradicts_itself_is_none(tmp_path: Path, told: int) -> None:
    """Whichever of the numbers lies, a reader that trusts one of them loses rows."""
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.table({"a": range(200)}), path, row_group_size=100)
    whole = path.read_bytes()
    footer = whole[-8 - int.from_bytes(whole[-8:-4], "little") :]
    before, after = (bytes([0x16, 2 * n & 0x7F | 0x80, 2 * n >> 7]) for n in (200, told))
    assert footer.count(before) == 1, "Thrift's field and its number, zigzag, in two bytes"
    path.write_bytes(whole[: -len(footer)] + footer.replace(before, after))
    with pytest.raises(errors.InvalidData, match=rf"a\.parquet: .* {told} rows, .* groups 200"):
        load(tmp_path, "a.parquet")


def test_parquet_files_that_differ(tmp_path: Path) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.table({"a": [1], "b": ["x"]}), tmp_path / "1.parquet")
    pyarrow.parquet.write_table(pa.table({"b": ["y"], "a": [2]}), tmp_path / "2.parquet")
    assert load(tmp_path, "*.parquet").to_pydict() == {"a": [1, 2], "b": ["x", "y"]}
    pyarrow.parquet.write_table(pa.table({"a": ["1"], "b": ["x"]}), tmp_path / "3.parquet")
    with pytest.raises(errors.InvalidData, match=r"3\.parquet \(a\): a is string here, but int64"):
        load(tmp_path, "*.parquet")
    source = {"path": "*.parquet", "schema": {"a": "string"}}
    with pytest.raises(errors.InvalidData):  # the files must agree before they are converted
        load(tmp_path, source)
    (tmp_path / "3.parquet").unlink()
    assert load(tmp_path, source)["a"].to_pylist() == ["1", "2"]
