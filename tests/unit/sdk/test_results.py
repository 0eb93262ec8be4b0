"""What a run made, as a value."""

import io
from typing import Any

import pytest

from tests.unit.sdk.fake import Fake
from tradewind.base.errors import NotFound, UserError
from tradewind.sdk import results
from tradewind.sdk.client import Client

pyarrow = pytest.importorskip("pyarrow")


def parquet(**columns: list[Any]) -> bytes:
    import pyarrow.parquet

    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


def ended(api: Fake, result: dict[str, Any]) -> tuple[Client, str]:
    client = api.client()
    api.result = result
    run = client.runs.create([{"spec": {"kind": "function", "name": "f"}}])[0]["id"]
    client.runs.wait(run)
    return client, run


def test_values(api: Fake) -> None:
    assert results.read(*ended(api, {"output": {"kind": "json", "value": None}})) is None
    api.files = [b"[1, 2]"]
    assert results.read(*ended(api, {"output": {"kind": "json", "files": 1}})) == [1, 2]
    assert results.read(*ended(api, {"output": {"kind": "bytes", "files": 1}})) == b"[1, 2]"


def test_tables_of_several_files_are_one_frame(api: Fake) -> None:
    api.files = [parquet(a=[1, 2]), parquet(a=[3])]
    client, run = ended(api, {"output": {"kind": "dataset", "name": "f", "version": 1}})
    table = results.read(client, run, as_="arrow")
    assert table.column("a").to_pylist() == [1, 2, 3]
    pandas = pytest.importorskip("pandas")
    assert isinstance(results.read(client, run), pandas.DataFrame)


def test_parts(api: Fake) -> None:
    parts = [{"kind": "json", "value": n} for n in range(3)]
    assert results.read(*ended(api, {"output": {"kind": "parts", "parts": parts}})) == [0, 1, 2]


def test_results_of_a_foreach_are_a_list(api: Fake) -> None:
    made = [{"kind": "json", "value": n, "run": "r1", "slot": "output"} for n in range(3)]
    assert results.read(*ended(api, {"output": {"kind": "json", "value": made}})) == [0, 1, 2]
    mixed = [{"kind": "json"}, 1]
    assert results.read(*ended(api, {"output": {"kind": "json", "value": mixed}})) == mixed


def test_slots_are_named(api: Fake) -> None:
    client, run = ended(api, {"a": {"value": 1}, "b": {"value": 2}})
    assert results.read(client, run, "b") == 2
    with pytest.raises(UserError, match="several"):
        results.read(client, run)
    with pytest.raises(NotFound, match="no output 'c'"):
        results.read(client, run, "c")
    with pytest.raises(UserError, match="as_"):
        results.read(client, run, "a", "excel")
