"""Where Spark has other digits of a decimal than DuckDB has.

Ibis gives what is made of decimals the type of one of them. Spark's own has all digits that there
can be, and where these are more than 38 it rounds behind the point. What it gives as a float is the
nearest one, which DuckDB's is only while the decimal has few digits.
"""

from __future__ import annotations

from typing import Any, Iterable, Iterator, NamedTuple

from . import tables

MOST = 38
# As many behind the point Spark keeps in any case.
KEPT = 6
# A double holds each decimal of so many digits as exactly as can be.
EXACT = 15
_INTEGERS = {1: 3, 2: 5, 4: 10, 8: 20}
_COUNTING = frozenset(["Add", "Subtract", "Multiply"])
_CHOOSING = frozenset(
    ["Coalesce", "Greatest", "Least", "IfElse", "SearchedCase", "SimpleCase", "NullIf"]
)
_COMPARING = frozenset([
    "Equals", "NotEquals", "Less", "LessEqual", "Greater", "GreaterEqual", "Between",
    "IdenticalTo", "InValues",
])  # fmt: skip
_SAME = frozenset(["Alias", "Negate", "Abs", "Min", "Max", "Lag", "Lead", "WindowFunction"])
LONG = "of a decimal of more than 15 digits as a float, whose last digit differs"
ROUNDED = "of decimals that have more than 38 digits together, of which Spark rounds the last"


class Digits(NamedTuple):
    """Of a decimal or a whole number."""

    before: int
    behind: int


def differences(top: Any) -> Iterator[str]:
    """One sentence for each operation that may give other digits."""
    found = _Digits()
    top.map(found.learn)
    return iter(found.told)


class _Digits:
    """What is known of the digits of each value, those it is made of first."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._values: dict[Any, Digits | None] = {}
        self._columns: dict[Any, dict[str, Digits | None]] = {}

    def learn(self, node: Any, _results: Any, **_args: Any) -> None:
        """The next node: what it is made of is known."""
        ops = tables.use("ibis.expr.operations")
        if isinstance(node, ops.Relation):
            self._columns[node] = self._of_columns(node)
        elif isinstance(node, ops.Value):
            self._values[node] = self._of_value(node)
            self._judge(node)

    def _of_columns(self, rows: Any) -> dict[str, Digits | None]:
        if hasattr(rows, "left"):  # a union and the like
            left, right = self._columns[rows.left], self._columns[rows.right]
            return {name: _wider([left[name], right[name]]) for name in left}
        values = rows.values or {}
        found = {}
        for name, kind in rows.schema.items():
            value: Any = values.get(name)
            if type(value).__name__ == "Field" and value.rel in self._columns:
                found[name] = self._columns[value.rel][value.name]
            else:
                found[name] = self._values.get(value, _of_type(kind))
        return found

    def _of_value(self, node: Any) -> Digits | None:
        name = type(node).__name__
        if name == "Literal":
            return _of_literal(node)
        if name == "Field":
            return self._columns[node.rel][node.name]
        if name in _SAME:
            return self._values[node.args[0]]
        if name == "Sum" and (known := self._values[node.arg]) and node.dtype.is_decimal():
            return Digits(min(known.before + 10, MOST - known.behind), known.behind)
        if (name in _COUNTING or name in _CHOOSING) and not node.dtype.is_integer():
            return self._together(name, [self._values[each] for each in _numbers(node)])
        return _of_type(node.dtype)

    def _together(self, name: str, parts: list[Digits | None]) -> Digits | None:
        known = _wider(parts)
        if known is None or name not in _COUNTING:
            return known
        if name != "Multiply":
            return Digits(known.before + 1, known.behind)
        given = [each for each in parts if each]
        return Digits(sum(each.before for each in given) + 1, sum(each.behind for each in given))

    def _judge(self, node: Any) -> None:
        name = type(node).__name__
        floats = name == "Divide" or (name == "Cast" and node.to.is_floating())
        if not floats and name not in _COUNTING | _CHOOSING | _COMPARING:
            return
        numbers = _numbers(node)
        parts = [self._values[each] for each in numbers]
        decimals = [part for part, each in zip(parts, numbers) if part and each.dtype.is_decimal()]
        if not decimals:
            return
        if floats or None in parts:
            if any(sum(each) > EXACT for each in decimals):
                self.told.append(f"{name}: {LONG}")
            return
        made = self._together(name, parts)
        if made is None or sum(made) <= MOST:
            return
        if made.behind > KEPT or name not in _COUNTING:
            self.told.append(f"{name}: {ROUNDED}")
        self._values[node] = Digits(max(0, MOST - made.behind), min(MOST, made.behind))


def _numbers(node: Any) -> list[Any]:
    """What it is given that is a number, without nulls that are written down."""
    flat = [each for arg in node.args for each in (arg if isinstance(arg, tuple) else (arg,))]
    return [each for each in flat if getattr(each, "dtype", None) and each.dtype.is_numeric()]


def _wider(parts: Iterable[Digits | None]) -> Digits | None:
    """Those that hold all; None, a float, where one is none."""
    found = list(parts)
    known = [each for each in found if each]
    if not known or len(known) < len(found):
        return None
    return Digits(max(each.before for each in known), max(each.behind for each in known))


def _of_type(kind: Any) -> Digits | None:
    if kind.is_decimal():
        precision, scale = kind.precision or MOST, kind.scale or 0
        return Digits(precision - scale, scale)
    return Digits(_INTEGERS[kind.nbytes], 0) if kind.is_integer() else None


def _of_literal(node: Any) -> Digits | None:
    """Both take a number that is written down with a point for a decimal of its digits."""
    if not node.dtype.is_numeric() or node.value is None:
        return _of_type(node.dtype)
    whole, _, behind = str(abs(node.value)).partition(".")
    if not (whole + behind).isdigit():  # 1e300, nan, inf
        return _of_type(node.dtype)
    return Digits(len(whole.lstrip("0")) or 1, len(behind))
