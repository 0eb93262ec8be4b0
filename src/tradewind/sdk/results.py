"""What a run made, as a value of this session."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
from typing import TYPE_CHECKING, Any

from tradewind.base.errors import NotFound, Refused, UserError, missing_extra

if TYPE_CHECKING:
    from tradewind.sdk.client import Client

Json = dict[str, Any]

FRAMES = ("pandas", "polars", "arrow")
_TABLES = frozenset({"table", "dataset"})


def read(client: Client, run: str, slot: str = "", as_: str = "") -> Any:
    """One output slot; without a name the only one, or the one called `result`."""
    if as_ and as_ not in FRAMES:
        raise UserError(f"as_ is one of {', '.join(FRAMES)}, not {as_!r}")
    slots = client.runs.results(run)
    slot = slot or _only(slots, run)
    if slot not in slots:
        raise NotFound(
            f"{run} has no output {slot!r}", hint=f"it has: {', '.join(slots) or 'none'}"
        )
    return _value(client, run, slot, slots[slot], as_)


def _only(slots: Json, run: str) -> str:
    if len(slots) == 1:
        return next(iter(slots))
    if "result" in slots:
        return "result"
    if not slots:
        raise NotFound(f"{run} made no output")
    raise UserError(f"{run} has several outputs", hint=f"name one: {', '.join(slots)}")


def _value(client: Client, run: str, slot: str, body: Json, as_: str) -> Any:
    kind = body.get("kind")
    if kind in _TABLES:
        return frame([file for file in _files(client, run, slot, body)], as_)
    if kind == "parts":
        return _parts(client, run, slot, body, as_)
    if (handed := handed_on(body)) is not None:
        return [_value(client, part["run"], part["slot"], part, as_) for part in handed]
    if "value" in body:
        return body["value"]
    if kind == "json":
        return json.loads(client.runs.result_file(run, slot, 0))
    if kind in {"bytes", "file"}:
        return client.runs.result_file(run, slot, 0)
    if kind == "npy":
        return _numpy().load(io.BytesIO(client.runs.result_file(run, slot, 0)), allow_pickle=False)
    return body  # a model, a folder: what is known of it


def handed_on(body: Json) -> list[Json] | None:
    """The results of the child runs of a foreach, where this is a list of them."""
    value = body.get("value")
    if not isinstance(value, list) or not value:
        return None
    named = all(isinstance(part, dict) and {"kind", "run", "slot"} <= part.keys() for part in value)
    return value if named else None


def _parts(client: Client, run: str, slot: str, body: Json, as_: str) -> Any:
    """The results of an array's items, in order. Tables become one."""
    parts = body.get("parts") or []
    if all(part.get("kind") in _TABLES for part in parts):
        return frame([file for file in _files(client, run, slot, body)], as_)
    if all("value" in part for part in parts):
        return [part["value"] for part in parts]
    raise Refused(
        f"the items of {run} made results of several sorts",
        hint="let each give back a table, or each a JSON value",
    )


def _files(client: Client, run: str, slot: str, body: Json) -> list[bytes]:
    count = body.get("files")
    if isinstance(count, list):
        count = len(count)
    if isinstance(count, int):
        return [client.runs.result_file(run, slot, number) for number in range(count)]
    found: list[bytes] = []
    while True:
        try:
            found.append(client.runs.result_file(run, slot, len(found)))
        except NotFound:
            if not found:
                raise
            return found


def frame(files: list[bytes], as_: str = "") -> Any:
    """One frame of these Parquet files: of the library named, else of the first that is there."""
    chosen = as_ or next((name for name in FRAMES if _there(name)), "")
    if not chosen or not _there(chosen):
        raise missing_extra(chosen or "pandas, polars or pyarrow", _extra(chosen))
    if chosen == "polars":
        polars = importlib.import_module("polars")
        return polars.concat([polars.read_parquet(io.BytesIO(file)) for file in files])
    parquet, arrow = _arrow()
    table = arrow.concat_tables([parquet.read_table(io.BytesIO(file)) for file in files])
    return table.to_pandas() if chosen == "pandas" else table


def _arrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow.parquet"), importlib.import_module("pyarrow")
    except ImportError:
        raise missing_extra("pyarrow", "data") from None


def _numpy() -> Any:
    try:
        return importlib.import_module("numpy")
    except ImportError:
        raise missing_extra("numpy", "ml") from None


def _there(name: str) -> bool:
    return importlib.util.find_spec("pyarrow" if name == "arrow" else name) is not None


def _extra(name: str) -> str:
    return name if name in {"pandas", "polars"} else "data"
