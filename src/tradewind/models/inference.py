"""The Open Inference Protocol v2 as pure functions: tensors to columns, and outputs to tensors.

Two ways in: one tensor a column, of shape [n] or [n, 1], under the column's name; or one matrix of
shape [n, columns] under any name, in the signature's order, when all columns are numbers. JSON null
stands for null in a column that may be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from tradewind.base.errors import InvalidData, Location
from tradewind.models.columns import validate_columns
from tradewind.models.heavy import Array, Columns
from tradewind.models.manifest import Column, Manifest, OutputColumn, Type

_INTEGERS = {f"INT{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)}
_UNSIGNED = {f"UINT{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)}
_WHOLE = {**_INTEGERS, **_UNSIGNED}
_FLOATS = ("FP16", "BF16", "FP32", "FP64")
DATATYPES = ("BOOL", *_UNSIGNED, *_INTEGERS, *_FLOATS, "BYTES")

_SAYS: dict[Type, str] = {
    "bool": "BOOL", "int64": "INT64", "float64": "FP64", "string": "BYTES", "timestamp": "BYTES",
}  # fmt: skip
_TAKES: dict[Type, tuple[str, ...]] = {
    "bool": ("BOOL",),
    "int64": (*_WHOLE, *_FLOATS),
    "float64": (*_FLOATS, *_WHOLE),
    "string": ("BYTES",),
    "timestamp": ("BYTES",),
}


def decode(manifest: Manifest, body: Any) -> Columns:
    """The columns of an inference request, or InvalidData that names the input."""
    if not isinstance(body, Mapping) or not isinstance(body.get("inputs"), list):
        raise InvalidData(
            "expected an object with a list of inputs", where=Location(field="inputs")
        )
    if not body["inputs"]:
        raise InvalidData("there are no inputs", where=Location(field="inputs"))
    tensors = [_tensor(index, one) for index, one in enumerate(body["inputs"])]
    columns = manifest.signature.inputs
    if len(tensors) == 1 and len(tensors[0][1]) == 2 and tensors[0][1][1] != 1:
        return validate_columns(manifest.signature, _matrix(columns, *tensors[0]))
    known = {column.name: column for column in columns}
    lists: dict[str, list[Any]] = {}
    for name, shape, datatype, data in tensors:
        if len(shape) != 1 and shape[1:] != [1]:
            _refuse(name, f"expected the shape [rows] or [rows, 1], got {shape}")
        if name in lists:
            _refuse(name, "it is given twice")
        if name in known:
            _agree(name, known[name], datatype)
        lists[name] = data
    return validate_columns(manifest.signature, lists)


def encode(
    manifest: Manifest, outputs: Mapping[str, Array], wanted: Sequence[str]
) -> list[dict[str, Any]]:
    """The outputs as tensors; those that were asked for, or all."""
    by_name = {one.name: one for one in manifest.signature.outputs}
    return [_output(by_name[name], outputs[name]) for name in wanted or by_name]


def wanted_outputs(manifest: Manifest, body: Mapping[str, Any]) -> list[str]:
    """The names that a request's `outputs` asks for; none asks for all."""
    asked = body.get("outputs") or []
    known = [one.name for one in manifest.signature.outputs]
    if not isinstance(asked, list):
        raise InvalidData("expected a list of outputs", where=Location(field="outputs"))
    names = []
    for index, one in enumerate(asked):
        name = one.get("name") if isinstance(one, Mapping) else None
        if name not in known:
            raise InvalidData(
                f"the model has no output {name!r}; it has {', '.join(known)}",
                where=Location(field=f"outputs[{index}].name"),
            )
        names.append(str(name))
    return names


def metadata(manifest: Manifest, name: str, version: str) -> dict[str, Any]:
    """What `GET /v2/models/NAME` says."""
    return {
        "name": name,
        "versions": [version],
        "platform": f"tradewind_{manifest.format}",
        "inputs": [
            {"name": one.name, "datatype": _SAYS[one.type], "shape": [-1],
             "parameters": {"nullable": one.nullable, "type": one.type}}
            for one in manifest.signature.inputs
        ],
        "outputs": [
            {"name": one.name, "datatype": _SAYS[one.type],
             "shape": [-1] if one.width == 1 else [-1, one.width or -1]}
            for one in manifest.signature.outputs
        ],
    }  # fmt: skip


def _tensor(index: int, one: Any) -> tuple[str, list[int], str, list[Any]]:
    """Name, shape, datatype and flat data of one input, checked against each other."""
    if not isinstance(one, Mapping) or not isinstance(one.get("name"), str):
        raise InvalidData("expected an input with a name", where=Location(field=f"inputs[{index}]"))
    name: str = one["name"]
    shape, datatype, data = (one.get(key) for key in ("shape", "datatype", "data"))
    if not isinstance(shape, list) or not shape or not all(_is_size(size) for size in shape):
        _refuse(name, f"expected a shape such as [2] or [2, 1], got {shape!r}")
    if datatype not in DATATYPES:
        _refuse(name, f"unknown datatype {datatype!r}; there are {', '.join(DATATYPES)}")
    if not isinstance(data, list):
        _refuse(name, "expected data as a JSON list; binary data is not offered")
    flat = _flat(name, data, 0)
    if len(flat) != math.prod(shape):
        _refuse(name, f"the shape {shape} holds {math.prod(shape)} values, and data {len(flat)}")
    _check_values(name, str(datatype), flat)
    return name, shape, str(datatype), flat


def _matrix(
    columns: Sequence[Column], name: str, shape: list[int], datatype: str, data: list[Any]
) -> dict[str, list[Any]]:
    width = len(columns)
    if shape[1] != width:
        _refuse(name, f"expected the shape [rows, {width}], a column for each input, got {shape}")
    for column in columns:
        _agree(name, column, datatype)
    return {column.name: data[index::width] for index, column in enumerate(columns)}


def _agree(name: str, column: Column, datatype: str) -> None:
    if datatype not in _TAKES[column.type]:
        wanted = _SAYS[column.type]
        _refuse(
            name, f"the column {column.name!r} is {column.type}: expected {wanted}, got {datatype}"
        )


def _check_values(name: str, datatype: str, data: list[Any]) -> None:
    """The data is what the datatype says. Null is judged later, by the signature."""
    if datatype == "BOOL":
        takes: tuple[type, ...] = (bool,)
    elif datatype == "BYTES":
        takes = (str,)
    else:
        takes = (int,) if datatype in _WHOLE else (int, float)
    kinds = set(map(type, data)) - {type(None)}
    if not kinds <= set(takes):
        row = next(i for i, one in enumerate(data) if one is not None and type(one) not in takes)
        _refuse(name, f"value {row}: expected {datatype}, got {data[row]!r:.40}")
    if datatype in _WHOLE:
        least, most = _WHOLE[datatype]
        for row, value in enumerate(data):
            if value is not None and not least <= value <= most:
                _refuse(name, f"value {row}: {value} is no {datatype}")


def _flat(name: str, data: list[Any], depth: int) -> list[Any]:
    if not data or not any(isinstance(one, list) for one in data):
        return data
    if depth > 8 or not all(isinstance(one, list) for one in data):
        _refuse(name, "the data is nested unevenly")
    return [value for part in data for value in _flat(name, part, depth + 1)]


def _is_size(size: Any) -> bool:
    return type(size) is int and 0 <= size < 2**40


def _output(column: OutputColumn, values: Array) -> dict[str, Any]:
    data = values.reshape(-1)
    if column.type == "timestamp":
        plain = [f"{one}Z" for one in data.astype("M8[us]").tolist()]
    else:
        plain = data.tolist()
    return {
        "name": column.name,
        "datatype": _SAYS[column.type],
        "shape": list(values.shape),
        "data": plain,
    }


def _refuse(name: str, why: str) -> NoReturn:
    raise InvalidData(f"input {name!r}: {why}", where=Location(field=f"inputs.{name}"))
