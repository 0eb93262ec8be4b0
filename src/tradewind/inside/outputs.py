"""Keep what a function returned in the staging place, in a form that anything can read again.

table → Parquet · None → null · JSON values → JSON · bytes → a file · NumPy array → .npy ·
`pathlib.Path` below the working folder → that file or folder. Nothing is pickled. NaN and infinite
numbers in JSON become null, and the log says so: JSON has no word for them.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import inspect
import json
import math
import os
import pathlib
import sys
from typing import Any

from . import tables

# A JSON result up to this size travels in the report itself.
INLINE = 64 * 1024
_MAY = (
    "return a table (pyarrow, pandas, polars, DuckDB), JSON values, bytes, a NumPy array, a path or"
    " None; or write files into a `folder` output"
)


class Unstorable(Exception):
    """What was returned cannot be kept."""

    def __init__(self, message: str, hint: str = _MAY) -> None:
        super().__init__(message)
        self.exit = {"reason": "output", "message": message, "hint": hint}


def keep(result: Any, start: dict[str, Any]) -> dict[str, Any]:
    """Slot → what was staged. Several `result` slots take a dict with their names, or a tuple."""
    slots = [
        slot for slot, output in start.get("outputs", {}).items() if output["kind"] == "result"
    ]
    if not slots:
        slots = [] if start.get("outputs") and result is None else ["result"]
    if len(slots) == 1 and result is None:
        _check_wanted(start.get("outputs", {}).get(slots[0], {}))
    if len(slots) <= 1:
        return {slot: _keep_one(result, slot, start["out"]) for slot in slots}
    if isinstance(result, tuple) and len(result) == len(slots):
        result = dict(zip(slots, result))
    if not isinstance(result, dict) or set(result) != set(slots):
        raise Unstorable(
            "the run has the outputs {}, so the function must return a dict with exactly these keys"
            " (or a tuple in this order), not {}".format(", ".join(slots), _describe(result))
        )
    return {slot: _keep_one(result[slot], slot, start["out"]) for slot in slots}


def _check_wanted(output: dict[str, Any]) -> None:
    """Nothing is a result too, but none that a dataset could be made of that was asked for."""
    if output.get("named"):
        raise Unstorable(
            f"the function returned None (nothing), and its output {output['target']} is to be made"
            " of what it returns",
            "return a table (pyarrow, pandas, polars, DuckDB): is there a `return`? If the function"
            " is called for its effect only, name no output",
        )


def _describe(value: Any) -> str:
    if isinstance(value, dict):
        return "a dict with the keys " + ", ".join(map(str, list(value)[:20]))
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _keep_one(value: Any, slot: str, out: str) -> dict[str, Any]:
    if value is None:
        return {"kind": "json", "value": None}
    if inspect.isgenerator(value) or inspect.isasyncgen(value) or inspect.iscoroutine(value):
        raise Unstorable(
            f"the function returned a {type(value).__name__}, which has no value yet",
            "return list(…) of it, or await it",
        )
    folder = os.path.join(out, slot)
    if getattr(type(value), "tradewind_staged", "") == "table":
        return _keep_staged(value, folder)
    try:
        table = tables.write(value, os.path.join(folder, "part-0.parquet"))
    except tables.NoLibrary as error:
        raise Unstorable(f"the table cannot be written: {error}", error.hint) from None
    except tables.Doubled as error:
        raise Unstorable(f"the result {error}", error.hint) from None
    except OSError:
        raise
    except Exception as error:
        raise Unstorable(f"the table cannot be written as Parquet: {error}") from error
    if table is not None:
        return {"kind": "table", "path": folder, **table}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"kind": "bytes", "path": _write(folder, "result.bin", bytes(value))}
    if type(value).__module__ == "numpy" and type(value).__name__ == "ndarray" and value.ndim:
        return _keep_array(value, folder)
    if isinstance(value, pathlib.PurePath):
        return _keep_path(pathlib.Path(value), folder)
    return _keep_json(value, slot, folder)


def _keep_staged(table: Any, folder: str) -> dict[str, Any]:
    """Its files move together, under names that keep their order."""
    os.makedirs(folder, exist_ok=True)
    for number, path in enumerate(table.files):
        os.rename(path, os.path.join(folder, f"part-{number:05d}.parquet"))
    return {"kind": "table", "path": folder, **table.told}


def _write(folder: str, name: str, data: bytes) -> str:
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


def _keep_array(value: Any, folder: str) -> dict[str, Any]:
    if value.dtype.hasobject:
        raise Unstorable("an array of Python objects cannot be kept without pickle")
    numpy = importlib.import_module("numpy")

    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "result.npy")
    numpy.save(path, value, allow_pickle=False)
    return {"kind": "npy", "path": path, "shape": list(value.shape), "dtype": str(value.dtype)}


def _keep_path(path: pathlib.Path, folder: str) -> dict[str, Any]:
    """Copied, because the user's file may live anywhere."""
    if not path.exists():
        raise Unstorable(f"the function returned the path {path}, where there is nothing")
    import shutil

    os.makedirs(folder, exist_ok=True)
    if path.is_dir():
        if path.resolve() != pathlib.Path(folder).resolve():
            shutil.copytree(str(path), folder, dirs_exist_ok=True)
        return {"kind": "folder", "path": folder}
    target = os.path.join(folder, path.name)
    if path.resolve() != pathlib.Path(target).resolve():
        shutil.copyfile(str(path), target)
    return {"kind": "file", "path": target}


def _keep_json(value: Any, slot: str, folder: str) -> dict[str, Any]:
    blurred: list[str] = []
    plain = json_of(value, slot, blurred)
    text = json.dumps(plain, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    if blurred:
        print(
            "tradewind: JSON has no NaN or infinity; kept as null: {}{}".format(
                ", ".join(blurred[:5]), " …" if len(blurred) > 5 else ""
            ),
            file=sys.stderr,
        )
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = json.dumps(plain, separators=(",", ":")).encode()
    if len(data) <= INLINE:
        return {"kind": "json", "value": plain}
    return {"kind": "json", "path": _write(folder, "result.json", data)}


def json_of(value: Any, where: str, blurred: list[str]) -> Any:
    """JSON values; what has an obvious JSON form gets it."""
    if value is None or isinstance(value, (str, bool, int)):
        return value if type(value) in (str, bool, int, type(None)) else _base(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        blurred.append(where)
        return None
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, (str, int)):
                raise Unstorable(
                    f"{where} has the key {key!r}, a {type(key).__name__}; JSON has text keys only"
                )
        plain = {str(k): json_of(v, f"{where}.{k}", blurred) for k, v in value.items()}
        if len(plain) < len(value):
            raise Unstorable(f"{where} has keys that are the same as text, such as 1 and '1'")
        return plain
    if isinstance(value, (list, tuple)):
        return [json_of(v, f"{where}[{i}]", blurred) for i, v in enumerate(value)]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return json_of(dataclasses.asdict(value), where, blurred)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return json_of(value.tolist(), where, blurred)
    raise Unstorable(f"{where} is a {_describe(value)}, which cannot be kept")


def _base(value: Any) -> Any:
    """The plain value of a subclass of str or int (an enum member, for instance)."""
    return str.__str__(value) if isinstance(value, str) else int(value)
