"""What a given value becomes: an input (data, by reference) or a parameter (a JSON literal).

A Python value is a value: a text is a text. Data is named: `tw.dataset("flights")`, a
`pathlib.Path`, a frame, a run whose result it is; or a text for a parameter annotated as a table.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tradewind.base.errors import NotFound, Refused, UserError
from tradewind.base.ids import digest_bytes
from tradewind.sdk import tracing
from tradewind.sdk.local import data_folder
from tradewind.sdk.references import Dataset

Json = dict[str, Any]


def divide(bound: Json, tables: frozenset[str]) -> tuple[dict[str, str], Json]:
    """(inputs, params) of the arguments of a run."""
    inputs: dict[str, str] = {}
    params: Json = {}
    for name, value in bound.items():
        ref = _reference(name, value, name in tables)
        if ref is None:
            params[name] = _literal(name, value)
        else:
            inputs[name] = ref
    return inputs, params


def divide_step(bound: Json, tables: frozenset[str]) -> tuple[Json, Json]:
    """(inputs, params) of a step's arguments, in which handles of other steps may stand."""
    inputs: Json = {}
    params: Json = {}
    for name, value in bound.items():
        if _is_data(value) or (isinstance(value, tracing.Handle) and name in tables):
            inputs[name] = repr(value)
        elif isinstance(value, list | tuple) and value and all(map(_is_data, value)):
            inputs[name] = [repr(each) for each in value]
        elif tracing.holds_handle(value):
            params[name] = tracing.escaped(value)
        elif (ref := _reference(name, value, name in tables)) is not None:
            inputs[name] = ref
        else:
            params[name] = tracing.escaped(_literal(name, value))
    return inputs, params


def _is_data(value: Any) -> bool:
    """Whether this is a whole output of a step, and not one value inside it."""
    if not isinstance(value, tracing.Handle) or tracing.is_item_or_param(value):
        return False
    return len(value._path) <= 1


def _reference(name: str, value: Any, table: bool) -> str | None:
    if isinstance(value, Dataset):
        return value.ref
    if isinstance(value, os.PathLike):
        return local_path(os.fspath(value))
    if table and isinstance(value, str):
        return data_reference(value)
    if (result := getattr(value, "as_input", None)) is not None and callable(result):
        return str(result())
    write = _frame_writer(value)
    return None if write is None else _saved(name, write)


def data_reference(text: str, folder: Path | None = None) -> str:
    """A dataset's name, `name@version`, `model:…` or an address as it is; a path, taken from
    `folder`, becomes absolute."""
    if "://" in text or text.startswith("model:") or not ("/" in text or "." in text):
        return text
    return local_path(text, folder)


def local_path(text: str, folder: Path | None = None) -> str:
    """An absolute path, if there is something."""
    path = (folder or Path.cwd()) / Path(text).expanduser()
    if not any(mark in text for mark in "*?[") and not path.exists():
        raise NotFound(f"there is no file {text}", hint="a dataset's name has no dot and no slash")
    return os.path.abspath(path)


def needs_files(document: Json) -> list[str]:
    """The inputs of a document that are files of this machine."""
    given = document.get("input") or {}
    return [str(value) for value in given.values() if str(value).startswith("/")]


def refuse_files(document: Json) -> None:
    """Files of this machine are not there for a server on another one."""
    if files := needs_files(document):
        raise Refused(
            f"the server is another machine, and {files[0]} lies on this one",
            hint="put it where both can read it (s3://…, https://…), or import it there as a "
            "dataset and name that",
        )


def _literal(name: str, value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        raise UserError(
            f"{name} is a {type(value).__name__}, which cannot be sent as a parameter",
            hint="give a JSON value, a frame, a pathlib.Path, or tw.dataset(name)",
        ) from None


def _frame_writer(value: Any) -> Callable[[Path], Any] | None:
    """How this frame is written as Parquet; None for what is no frame."""
    library, kind = type(value).__module__.partition(".")[0], type(value).__name__
    if library == "pandas" and kind == "DataFrame":
        return lambda path: value.to_parquet(path, index=False)
    if library == "polars" and kind in {"DataFrame", "LazyFrame"}:
        frame = value.collect() if kind == "LazyFrame" else value
        return lambda path: frame.write_parquet(path)
    if library == "pyarrow" and kind in {"Table", "RecordBatch"}:
        return lambda path: _write_arrow(value, path)
    return None


def _write_arrow(value: Any, path: Path) -> None:
    import importlib

    arrow = importlib.import_module("pyarrow")
    table = value if type(value).__name__ == "Table" else arrow.Table.from_batches([value])
    importlib.import_module("pyarrow.parquet").write_table(table, path)


def _saved(name: str, write: Callable[[Path], Any]) -> str:
    """Write a frame of this session where the server can read it; the same frame, the same file."""
    folder = data_folder() / "inputs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".{name}-{os.getpid()}.parquet"
    try:
        write(draft)
        digest = digest_bytes(draft.read_bytes()).removeprefix("sha256:")
        path = folder / f"{name}-{digest[:16]}.parquet"
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return str(path)
