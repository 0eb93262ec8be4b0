"""Declared features: fitted on training rows once, saved with the model, applied everywhere.

A declaration is JSON: `{"op": "ratio", "columns": ["seats", "distance"]}`. `OPS` is the table of
what can be declared; each op fits a state (JSON too) and applies it to columns, so that serving
computes exactly what training saw. Text, numbers and truth values can be encoded; null is a value
of its own that no encoding has seen.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tradewind.base.errors import InvalidSpec, Location
from tradewind.models.columns import nulls
from tradewind.models.heavy import Array, Columns, np
from tradewind.models.manifest import Column
from tradewind.records import codec

State = dict[str, Any]
Declared = Mapping[str, Any]

_PERIODS = {"month": 12, "day": 31, "weekday": 7, "hour": 24, "minute": 60, "yearday": 366}
PARTS = (*_PERIODS, "year")


@dataclass(frozen=True, slots=True)
class Op:
    """One way to make features. `takes`: option → its description; `column(s)` come besides."""

    about: str
    takes: dict[str, str]
    names: Callable[[Declared], list[str]]
    fit: Callable[[Declared, Columns, Array | None], State]
    apply: Callable[[State, Columns], list[Array]]
    many: bool = False  # may name several `columns`
    label: bool = False  # looks at the label when it is fitted


@dataclass(frozen=True, slots=True)
class Transformer:
    """Fitted features: raw columns in, one float64 column a feature out.

    `categories` maps a feature that holds codes to its number of codes.
    """

    inputs: tuple[Column, ...]
    states: tuple[State, ...]
    names: tuple[str, ...]
    categories: dict[str, int]

    def apply(self, columns: Columns) -> Columns:
        """The features of these rows, in the order of `names`."""
        made: list[Array] = []
        for state in self.states:
            made += OPS[state["op"]].apply(state, columns)
        return dict(zip(self.names, made, strict=True))

    def to_json(self) -> dict[str, Any]:
        """The form that the manifest keeps."""
        plain = [{k: v for k, v in state.items() if k[0] != "_"} for state in self.states]
        return {
            "inputs": [codec.to_json(column) for column in self.inputs],
            "features": plain,
            "names": list(self.names),
            "categories": self.categories,
        }


def from_json(body: Mapping[str, Any]) -> Transformer:
    """The inverse of `Transformer.to_json`, with its lookups built."""
    return Transformer(
        inputs=tuple(codec.from_json(Column, one) for one in body["inputs"]),
        states=tuple(_ready(dict(state)) for state in body["features"]),
        names=tuple(body["names"]),
        categories=dict(body["categories"]),
    )


def needed(declared: Sequence[Declared]) -> list[str]:
    """The raw columns that these declarations read, in order, each once."""
    return list(dict.fromkeys(name for one in declared for name in _columns(one)))


def check(declared: Sequence[Declared]) -> None:
    """InvalidSpec for an unknown op or option, or a feature made twice."""
    names: dict[str, int] = {}
    for index, one in enumerate(declared):
        op = OPS.get(str(one.get("op")))
        if op is None:
            _refuse(index, f"unknown op {one.get('op')!r}; there are {', '.join(OPS)}")
        else:
            extra = one.keys() - op.takes.keys() - {"op", "name", "column", "columns"}
            if extra:
                known = ", ".join(op.takes) or "none"
                _refuse(index, f"{one['op']} has no option {min(extra)!r}; its options: {known}")
            if not _columns(one) or (len(_columns(one)) > 1 and not op.many):
                _refuse(index, f"{one['op']} needs {'columns' if op.many else 'one column'}")
            for name in _made(index, op, one):
                if name in names:
                    _refuse(index, f"feature {name!r} is made by features[{names[name]}] already")
                names[name] = index


def fit(
    declared: Sequence[Declared],
    inputs: Sequence[Column],
    columns: Columns,
    label: Array | None = None,
) -> tuple[Transformer, Columns]:
    """The transformer, and the features of the rows it was fitted on.

    The two differ from `apply` in one thing: a target encoding of a training row is made from the
    other folds, or the row's own label would shine through it.
    """
    check(declared)
    states, made, names, categories = [], [], [], {}
    for index, one in enumerate(declared):
        op = OPS[one["op"]]
        if op.label and label is None:
            _refuse(index, f"{one['op']} needs a label to be fitted")
        state = _ready({**one, **op.fit(one, columns, label)})
        own = op.names(one)
        made += _folded(state, columns, label) if op.label else op.apply(state, columns)
        if one["op"] == "category":
            categories[own[0]] = len(state["values"]) + 1
        states.append(state)
        names += own
    fitted = Transformer(tuple(inputs), tuple(states), tuple(names), categories)
    return fitted, dict(zip(names, made, strict=True))


def numbers(values: Array) -> Array:
    """A column as float64, NaN for null; a moment as seconds since 1970."""
    if values.dtype.kind == "M":
        made = values.astype(np.int64) / 1e6
        return np.where(np.isnat(values), np.nan, made)
    if values.dtype.kind == "O":
        raise InvalidSpec("a text column has no number in it: use category, frequency or target")
    return values.astype(np.float64)


def _refuse(index: int, why: str) -> None:
    raise InvalidSpec(why, where=Location(field=f"features[{index}]"))


def _made(index: int, op: Op, one: Declared) -> list[str]:
    try:
        return op.names(one)
    except (KeyError, ValueError) as error:
        raise InvalidSpec(str(error), where=Location(field=f"features[{index}]")) from error


def _columns(one: Declared) -> list[str]:
    return list(one["columns"]) if "columns" in one else [one["column"]] if "column" in one else []


def _named(ending: str) -> Callable[[Declared], list[str]]:
    return lambda one: [one.get("name") or "_".join(_columns(one)) + ending]


def _nothing(one: Declared, columns: Columns, label: Array | None) -> State:
    return {}


def _keys(state: Declared, columns: Columns) -> list[Any]:
    """One hashable value a row: of one column the value, of several a tuple; null is None."""
    lists = []
    for name in _columns(state):
        values = columns[name]
        if values.dtype.kind == "M":
            values = values.astype(np.int64)
        plain = values.tolist()
        if (empty := nulls(columns[name])).any():
            plain = [None if gone else one for one, gone in zip(plain, empty, strict=True)]
        lists.append(plain)
    return lists[0] if len(lists) == 1 else list(zip(*lists, strict=True))


def _ready(state: State) -> State:
    """Adds what makes applying quick: a lookup of listed values, and arrays. JSON has no tuples."""
    if "values" in state:
        keys = [tuple(one) if isinstance(one, list) else one for one in state["values"]]
        state["_index"] = {key: index for index, key in enumerate(keys)}
    # One entry more, for a value that training has not seen.
    if "shares" in state:
        state["_table"] = np.append(state["shares"], 0.0)
    if "means" in state:
        state["_table"] = np.append(state["means"], state["mean"])
    if "edges" in state:
        state["_edges"] = np.asarray(state["edges"], np.float64)
    return state


def _codes(state: State, columns: Columns) -> Array:
    """The position of each row's value in the state's list; its length for one not listed."""
    index, keys = state["_index"], _keys(state, columns)
    unseen = len(index)
    return np.fromiter((index.get(key, unseen) for key in keys), np.int64, len(keys))


def _counted(one: Declared, columns: Columns, least: int = 1) -> list[tuple[Any, int]]:
    """Values by falling count; equal counts by their text, so that row order never matters."""
    counts = Counter(_keys(one, columns))
    counts.pop(None, None)
    kept = [(value, count) for value, count in counts.items() if count >= least]
    return sorted(kept, key=lambda pair: (-pair[1], str(pair[0])))


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _number(state: State, columns: Columns) -> list[Array]:
    return [numbers(columns[state["column"]])]


def _part(values: Array, part: str) -> Array:
    if values.dtype.kind != "M":
        raise InvalidSpec(f"{part} is a part of a timestamp, and this column is none")
    days = values.astype("M8[D]")
    match part:
        case "year":
            made = values.astype("M8[Y]").astype(np.int64) + 1970
        case "month":
            made = values.astype("M8[M]").astype(np.int64) % 12 + 1
        case "day":
            made = (days - values.astype("M8[M]").astype("M8[D]")).astype(np.int64) + 1
        case "yearday":
            made = (days - values.astype("M8[Y]").astype("M8[D]")).astype(np.int64) + 1
        case "weekday":  # Monday is 0
            made = (days.astype(np.int64) + 3) % 7
        case "hour":
            made = values.astype("M8[h]").astype(np.int64) % 24
        case _:
            made = values.astype("M8[m]").astype(np.int64) % 60
    return np.where(np.isnat(values), np.nan, made)


def _part_names(one: Declared) -> list[str]:
    parts = list(one["parts"])
    if unknown := [part for part in parts if part not in PARTS]:
        raise ValueError(f"unknown part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return [f"{one.get('name') or one['column']}_{part}" for part in parts]


def _parts(state: State, columns: Columns) -> list[Array]:
    return [_part(columns[state["column"]], part) for part in state["parts"]]


def _cyclic_names(one: Declared) -> list[str]:
    if "part" in one and one["part"] not in _PERIODS:
        raise ValueError(f"unknown part {one['part']!r}; there are {', '.join(_PERIODS)}")
    if "part" not in one and not float(one.get("period", 0)) > 0:
        raise ValueError("cyclic needs a part of a timestamp, or a period above 0")
    base = one.get("name") or "_".join(filter(None, (one["column"], one.get("part"))))
    return [f"{base}_sin", f"{base}_cos"]


def _cyclic(state: State, columns: Columns) -> list[Array]:
    values, period = columns[state["column"]], state.get("period")
    if "part" in state:
        values, period = _part(values, state["part"]), period or _PERIODS[state["part"]]
    angle = numbers(values) * (2 * math.pi / float(period or 1))
    return [np.sin(angle), np.cos(angle)]


def _ratio_names(one: Declared) -> list[str]:
    if len(_columns(one)) != 2:
        raise ValueError("ratio needs two columns")
    return [one.get("name") or "_per_".join(_columns(one))]


def _ratio(state: State, columns: Columns) -> list[Array]:
    over, under = (numbers(columns[name]) for name in state["columns"])
    made = np.full(len(over), np.nan)
    np.divide(over, under, out=made, where=under != 0)
    return [made]


def _fit_bins(one: Declared, columns: Columns, label: Array | None) -> State:
    if "edges" in one:
        return {"edges": sorted(float(edge) for edge in one["edges"])}
    values = numbers(columns[one["column"]])
    values = values[~np.isnan(values)]
    count = int(one.get("count", 10))
    edges = np.quantile(values, np.arange(1, count) / count) if len(values) else np.empty(0)
    return {"edges": sorted(set(edges.tolist()))}


def _bins(state: State, columns: Columns) -> list[Array]:
    values = numbers(columns[state["column"]])
    made = np.searchsorted(state["_edges"], values, side="right")
    return [np.where(np.isnan(values), np.nan, made)]


def _fit_frequency(one: Declared, columns: Columns, label: Array | None) -> State:
    counted = _counted(one, columns)
    total = max(1, len(columns[_columns(one)[0]]))
    shares = [count / total for _, count in counted]
    return {"values": [_listed(value) for value, _ in counted], "shares": shares}


def _frequency(state: State, columns: Columns) -> list[Array]:
    return [state["_table"][_codes(state, columns)]]


def _fit_target(one: Declared, columns: Columns, label: Array | None) -> State:
    assert label is not None
    values = [value for value, _ in _counted(one, columns, int(one.get("least", 1)))]
    state = _ready({**one, "values": [_listed(value) for value in values]})
    codes = _codes(state, columns)
    mean = float(label.mean()) if len(label) else 0.0
    means = _means(codes, label, len(values), mean, float(one.get("smoothing", 20.0)))
    return {"values": state["values"], "means": means.tolist(), "mean": mean}


def _means(codes: Array, label: Array, size: int, mean: float, smoothing: float) -> Array:
    counts = np.bincount(codes, minlength=size + 1)
    sums = np.bincount(codes, weights=label, minlength=size + 1)
    weights = counts + smoothing
    made: Array = np.where(
        weights > 0, (sums + mean * smoothing) / np.maximum(weights, 1e-12), mean
    )
    return made[:size]


def _target(state: State, columns: Columns) -> list[Array]:
    return [state["_table"][_codes(state, columns)]]


def _folded(state: State, columns: Columns, label: Array | None) -> list[Array]:
    """Target encoding of the training rows: each fold from the others."""
    assert label is not None
    folds, smoothing = int(state.get("folds", 5)), float(state.get("smoothing", 20.0))
    codes, size, made = _codes(state, columns), len(state["values"]), np.empty(len(label))
    fold = np.random.default_rng(0).permutation(len(label)) % max(2, folds)
    for number in range(max(2, folds)):
        inside = fold == number
        rest = label[~inside]
        mean = float(rest.mean()) if len(rest) else state["mean"]
        means = _means(codes[~inside], rest, size, mean, smoothing)
        made[inside] = np.append(means, mean)[codes[inside]]
    return [made]


def _missing(state: State, columns: Columns) -> list[Array]:
    return [nulls(columns[state["column"]]).astype(np.float64)]


def _fit_category(one: Declared, columns: Columns, label: Array | None) -> State:
    counted = _counted(one, columns, int(one.get("least", 1)))[: int(one.get("most", 100))]
    return {"values": [_listed(value) for value, _ in counted]}


def _category(state: State, columns: Columns) -> list[Array]:
    return [_codes(state, columns).astype(np.float64)]


OPS: dict[str, Op] = {
    "number": Op("the column as it is", {}, _named(""), _nothing, _number),
    "time": Op(
        "parts of a timestamp", {"parts": f"of {', '.join(PARTS)}"},
        _part_names, _nothing, _parts,
    ),
    "cyclic": Op(
        "sine and cosine, so that the last value is beside the first",
        {"part": "of a timestamp", "period": "of a number"}, _cyclic_names, _nothing, _cyclic,
    ),
    "ratio": Op(
        "the first column over the second; null over 0", {}, _ratio_names, _nothing, _ratio, True,
    ),
    "bins": Op(
        "the number of the bin", {"edges": "given", "count": "of equal share, fitted"},
        _named("_bin"), _fit_bins, _bins,
    ),
    "frequency": Op(
        "how common the value was in training; 0 for a new one", {},
        _named("_frequency"), _fit_frequency, _frequency, True,
    ),
    "target": Op(
        "the label's mean for the value, drawn to the whole mean",
        {"smoothing": "rows of the whole mean (20)", "least": "rows to be known (1)",
         "folds": "for the training rows (5)"},
        _named("_target"), _fit_target, _target, True, True,
    ),
    "missing": Op("1 where the column is null", {}, _named("_missing"), _nothing, _missing),
    "category": Op(
        "a code, the most common value 0; one code more for all others",
        {"most": "values kept (100)", "least": "rows to be kept (1)"},
        _named("_code"), _fit_category, _category, True,
    ),
}  # fmt: skip
