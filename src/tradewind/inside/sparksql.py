"""Ibis expressions as Spark SQL that gives what DuckDB gives, and what is refused because it does
not.

What agrees is a list, held by differential tests (tests/contract). What is not in it is refused
before anything is carried out: a backend never changes a result.
"""

from __future__ import annotations

import string
from typing import Any, Callable, Iterator

from . import decimals, tables
from .brackets import Brackets, null, paren

# Operations that give the same, whatever they are given.
AGREES = frozenset([
    "Field", "Literal", "Alias", "SortKey", "SelfReference", "DatabaseTable", "JoinTable",
    "JoinReference", "Filter", "Project", "Sort", "Aggregate", "JoinChain", "JoinLink", "Union",
    "Intersection", "Difference", "Distinct", "DropColumns", "FillNull", "DropNull",
    "WindowFunction", "WindowBoundary", "Add", "Subtract", "Multiply", "Negate", "Abs",
    "Equals", "NotEquals", "Less", "LessEqual", "Greater", "GreaterEqual", "Between", "And",
    "Or", "Not", "IsNull", "NotNull", "IsNan", "IsInf", "IdenticalTo", "InValues",
    "IfElse", "SearchedCase", "SimpleCase", "Coalesce", "NullIf", "Greatest", "Least",
    "BitwiseAnd", "BitwiseOr", "BitwiseXor", "StringLength", "StringContains", "StartsWith",
    "EndsWith", "StringConcat", "Strip", "LStrip", "RStrip", "ExtractYear", "ExtractMonth",
    "ExtractDay", "ExtractHour", "ExtractMinute", "ExtractSecond", "ExtractQuarter",
    "ExtractDayOfYear", "ExtractWeekOfYear", "DayOfWeekIndex", "Date", "Count", "CountStar",
    "CountDistinct", "Min", "Max", "Any", "All", "RowNumber", "MinRank", "DenseRank", "Lag",
    "Lead",
])  # fmt: skip
# Equal up to the last digits of a float, which depend on the order of the rows everywhere.
ROUNDS = frozenset(["Sum", "Mean"])
# Operations that agree for some of what they can be given; see `_CONDITIONS`.
SOMETIMES = {
    "Mean": "of what is no decimal, of which Spark gives other digits and another type: cast one "
    "of at most 15 digits to float64",
    "Cast": "between numbers, between dates and times, and to text of what is no float, has no "
    "zone and is not truncated",
    "Divide": "by what is no float of rows that were made one (distinct, union, intersect, "
    "difference, a group by a float): there Spark makes -0.0 0.0",
    "Modulus": "of whole numbers",
    "FloorDivide": "by a number that is written down and not 0",
    "Floor": "of floats",
    "Ceil": "of floats",
    "Round": "to whole numbers, of floats",
    "Sign": "of whole numbers",
    "Substring": "from and for numbers that are written down and not negative",
    "StrRight": "of a number that is written down and positive",
    "StringReplace": "of a text that is written down and not empty",
    "StringSQLLike": "a pattern that is written down and has no backslash",
    "Repeat": "a number of times that is written down and not negative",
    "Limit": "without offset",
    "TimestampTruncate": "to a second or more",
    "DateTruncate": "to a day or more",
}
# Where results are known to differ, and why.
DIFFERS = {
    "Uppercase": "Spark and DuckDB change the case of some letters differently (ß)",
    "Lowercase": "Spark and DuckDB change the case of some letters differently (İ)",
    "Reverse": "DuckDB keeps letters and their marks together, Spark does not",
    "Sqrt": "of a negative number Spark gives NaN, and DuckDB raises",
    "Exp": "the last digit differs",
    "Ln": "the last digit differs, and for numbers below 0 DuckDB raises",
    "Log2": "the last digit differs, and for numbers below 0 DuckDB raises",
    "Log10": "the last digit differs, and for numbers below 0 DuckDB raises",
    "Power": "the last digit differs",
    "Variance": "of infinities Spark gives NaN, and DuckDB raises",
    "StandardDev": "of infinities Spark gives NaN, and DuckDB raises",
    "RegexSearch": "the two know different regular expressions",
    "RegexExtract": "the two know different regular expressions",
    "RegexReplace": "the two know different regular expressions",
    "ExtractEpochSeconds": "DuckDB rounds what Spark cuts off",
    "Strftime": "the two know different words in the pattern",
    "First": "which row is first is not said",
    "Last": "which row is last is not said",
    "Arbitrary": "which row is taken is not said",
    "GroupConcat": "in which order is not said",
    "ArrayCollect": "in which order is not said",
    "TryCast": "the two read texts differently",
    "InMemoryTable": "a table inside the function is not one of its inputs",
    "RandomScalar": "it is another number each time",
    "Median": "NaN has another place among the numbers",
    "Quantile": "NaN has another place among the numbers",
}


def differences(expression: Any) -> list[str]:
    """Why it cannot be said that Spark gives what DuckDB gives: one sentence for each operation."""
    top = expression.op()
    return sorted({*_differences(top), *decimals.differences(top)})


def compiled(expression: Any) -> str:
    """The Spark SQL. Its tables have the names that they have in the expression."""
    # No simple operations: Ibis would make them again, over ours. No rewrites at the end: they
    # would have all columns that a filter reads be distinct.
    fields: dict[str, Any] = {"__slots__": (), "SIMPLE_OPS": {}, "post_rewrites": ()}
    compiler = type("Compiler", (_AsDuckDB, _base()), fields)()
    query = compiler.to_sqlglot(expression.unbind())
    return str(query.sql(dialect=compiler.dialect))


def _differences(top: Any) -> Iterator[str]:
    ops = tables.use("ibis.expr.operations")
    for node in top.find(ops.Node):
        name = type(node).__name__
        if name in DIFFERS:
            yield f"{name}: {DIFFERS[name]}"
        elif name in SOMETIMES:
            if not _CONDITIONS[name](node):
                yield f"{name}: only {SOMETIMES[name]}"
        elif name not in AGREES and name not in ROUNDS:
            yield f"{name}: nobody has compared it"
        if name in _COUNTING and any(_single(each) for each in node.args):
            yield f"{name}: of float32, in which DuckDB counts with fewer digits"
        elif _mixed(node):
            yield f"{name}: of float32 beside other numbers, which DuckDB makes float32 too"
        kind = getattr(node, "dtype", None)
        kinds = node.schema.values() if isinstance(node, ops.Relation) else [kind]
        for each in kinds:
            if each is not None and not (_plain(each) or _literal(node)):
                yield f"the type {each}: nobody has compared it"


def _plain(kind: Any) -> bool:
    if kind.is_timestamp():
        return kind.scale is None or kind.scale <= 6
    if kind.is_unsigned_integer():  # Spark has none, and DuckDB counts in them otherwise
        return False
    return bool(
        kind.is_numeric() or kind.is_boolean() or kind.is_string() or kind.is_date()
    )  # fmt: skip


_COUNTING = frozenset(["Add", "Subtract", "Multiply", "Divide", "FloorDivide", "Sum", "Mean"])


def _mixed(node: Any) -> bool:
    """Whether it takes single floats for doubles: DuckDB takes a number that is written down for
    a single float beside others, and Ibis does not."""
    kind = getattr(node, "dtype", None)
    if kind is None or not kind.is_floating() or _single(node) or type(node).__name__ == "Cast":
        return False
    flat = [each for arg in node.args for each in (arg if isinstance(arg, tuple) else (arg,))]
    return any(_single(each) for each in flat)


def _single(arg: Any) -> bool:
    kind = getattr(arg, "dtype", None)
    return kind is not None and bool(kind.is_floating()) and kind.nbytes < 8


# -- conditions ------------------------------------------------------------------------------------


def _cast(node: Any) -> bool:
    old, new = node.arg.dtype, node.to
    if new.is_string():
        if old.is_temporal():
            # What is truncated has another type in DuckDB than Ibis says: a date becomes a time,
            # and a time keeps its zone.
            if _within(node, "DateTruncate") or _within(node, "TimestampTruncate"):
                return False
            return bool(old.is_date() or (old.is_timestamp() and not old.timezone))
        return bool(old.is_integer() or old.is_boolean() or old.is_string())
    if old.is_string():
        return bool(new.is_string())
    if new.is_decimal():
        return bool(old.is_integer() or old.is_decimal())
    if old.is_temporal() or new.is_temporal():
        return bool(old.is_temporal() and new.is_temporal())
    if new.is_boolean():
        return bool(old.is_boolean() or old.is_integer())
    return True


def _keeps_zeros(node: Any) -> bool:
    """Whether the zeros that it divides by, which tell the sign of what comes out, are the
    input's."""
    if not node.right.dtype.is_floating():
        return True
    return not any(map(_makes_one, node.right.find(tables.use("ibis.expr.operations").Relation)))


def _makes_one(rows: Any) -> bool:
    """Whether rows that are the same become one."""
    name = type(rows).__name__
    if name == "Aggregate":
        return any(key.dtype.is_floating() for key in rows.groups.values())
    return name in ("Distinct", "Difference", "Intersection") or getattr(rows, "distinct", False)


def _within(node: Any, name: str) -> bool:
    every = node.find(tables.use("ibis.expr.operations").Node)
    return any(type(each).__name__ == name for each in every)


def _literal(value: Any) -> bool:
    return type(value).__name__ == "Literal"


def _written(node: Any, least: float, name: str) -> bool:
    value = getattr(node, name)
    return _literal(value) and value.value is not None and value.value >= least


def _text(node: Any, name: str) -> str:
    value = getattr(node, name)
    return value.value or "" if _literal(value) else ""


_CONDITIONS: dict[str, Callable[[Any], bool]] = {
    "Cast": _cast,
    "Divide": _keeps_zeros,
    "Mean": lambda node: not node.arg.dtype.is_decimal(),
    "Modulus": lambda node: node.left.dtype.is_integer() and node.right.dtype.is_integer(),
    "FloorDivide": lambda node: (
        _literal(node.right)
        and bool(node.right.value)
        and not (node.left.dtype.is_decimal() or node.right.dtype.is_decimal())
    ),
    "Floor": lambda node: node.arg.dtype.is_floating(),
    "Ceil": lambda node: node.arg.dtype.is_floating(),
    "Round": lambda node: (
        node.arg.dtype.is_floating()
        and (node.digits is None or (_literal(node.digits) and node.digits.value == 0))
    ),
    "Sign": lambda node: node.arg.dtype.is_integer(),
    "Substring": lambda node: (
        _written(node, 0, "start") and (node.length is None or _written(node, 0, "length"))
    ),
    "StrRight": lambda node: _written(node, 1, "nchars"),
    "StringReplace": lambda node: bool(_text(node, "pattern")),
    "StringSQLLike": lambda node: (
        bool(_text(node, "pattern")) and "\\" not in _text(node, "pattern") and not node.escape
    ),
    "Repeat": lambda node: _written(node, 0, "times"),
    "Limit": lambda node: isinstance(node.n, int) and not node.offset,
    "TimestampTruncate": lambda node: node.unit.short in ("Y", "Q", "M", "W", "D", "h", "m", "s"),
    "DateTruncate": lambda node: node.unit.short in ("Y", "Q", "M", "W", "D"),
}


# -- the SQL ---------------------------------------------------------------------------------------


class _AsDuckDB(Brackets):
    """Goes before Ibis's own compiler for Spark: what DuckDB does otherwise."""

    f: Any
    if_: Any
    cast: Any
    POS_INF: Any
    NEG_INF: Any

    def visit_Field(self, op: Any, *, rel: Any, name: Any) -> Any:
        return super(_base(), self).visit_Field(op, rel=rel, name=name)  # type: ignore[misc]

    def visit_NonNullLiteral(self, op: Any, *, value: Any, dtype: Any) -> Any:
        if dtype.is_floating():  # Ibis's own asks its options of a backend that is connected
            return None
        if dtype.is_string() and any(each < " " or each == "\\" for each in value):
            return self._spelled(value)
        return super().visit_NonNullLiteral(op, value=value, dtype=dtype)  # type: ignore[misc]

    def visit_Select(self, op: Any, *, sort_keys: Any, **parts: Any) -> Any:
        """Of distinct rows Spark sorts by what has a name in the result."""
        if op.distinct and sort_keys:
            made = tables.use("sqlglot.expressions")
            names = {value: name for name, value in op.selections.items()}
            for key, written in zip(op.sort_keys, sort_keys):
                if key.args[0] in names:
                    written.set("this", made.column(names[key.args[0]], quoted=True))
        return super().visit_Select(op, sort_keys=sort_keys, **parts)  # type: ignore[misc]

    def visit_Sign(self, op: Any, *, arg: Any) -> Any:
        return self.cast(self.f.sign(arg), op.dtype)

    def visit_IsNan(self, op: Any, *, arg: Any) -> Any:
        return self.if_(paren(arg).is_(null()), null(), self.f.isnan(arg.copy()))

    def visit_IsInf(self, op: Any, *, arg: Any) -> Any:
        return paren(paren(arg).isin(self.POS_INF, self.NEG_INF))

    def visit_CountStar(self, op: Any, *, arg: Any, where: Any) -> Any:
        if where is None:
            return super().visit_CountStar(op, arg=arg, where=where)  # type: ignore[misc]
        return self.f.anon.count_if(where)  # of no rows it is 0

    def visit_Divide(self, op: Any, *, left: Any, right: Any) -> Any:
        left, right = self._as("DOUBLE", left), self._as("DOUBLE", right)
        negative = self._as("TEXT", right).eq("-0.0")
        infinite = self.if_(negative, self.NEG_INF, self.POS_INF)
        parted = self.f.anon.try_divide(left, right)
        return self.if_(right.copy().eq(0), left.copy() * infinite, parted)

    def visit_Modulus(self, op: Any, *, left: Any, right: Any) -> Any:
        return self.f.anon.try_mod(left, right)  # by 0 it is null

    def visit_FloorDivide(self, op: Any, *, left: Any, right: Any) -> Any:
        parted = self._as("DOUBLE", left) / self._as("DOUBLE", right)
        return self.cast(self._whole("floor", parted), op.dtype)

    def visit_Floor(self, op: Any, *, arg: Any) -> Any:
        return self.cast(self._whole("floor", arg), op.dtype)

    def visit_Ceil(self, op: Any, *, arg: Any) -> Any:
        return self.cast(self._whole("ceil", arg), op.dtype)

    def visit_Round(self, op: Any, *, arg: Any, digits: Any) -> Any:
        return self.cast(self._whole("round", arg), op.dtype)

    def visit_Cast(self, op: Any, *, arg: Any, to: Any) -> Any:
        old = op.arg.dtype
        if to.is_integer() and old.is_floating():
            arg = self.f.anon.rint(arg)  # Spark would cut it off
        elif to.is_integer() and old.is_decimal():
            arg = self.f.round(arg)
        return super().visit_Cast(op, arg=arg, to=to)  # type: ignore[misc]

    def visit_TimestampTruncate(self, op: Any, *, arg: Any, unit: Any) -> Any:
        found = self.f.anon.date_trunc(unit.singular, arg)
        return self.cast(found, op.dtype)

    visit_DateTruncate = visit_TimestampTruncate

    def visit_ExtractSecond(self, op: Any, *, arg: Any) -> Any:
        return self.f.anon.second(arg)  # without its fraction

    def visit_Strip(self, op: Any, *, arg: Any) -> Any:
        return self._trim(arg, "BOTH")

    def visit_LStrip(self, op: Any, *, arg: Any) -> Any:
        return self._trim(arg, "LEADING")

    def visit_RStrip(self, op: Any, *, arg: Any) -> Any:
        return self._trim(arg, "TRAILING")

    def _trim(self, arg: Any, side: str) -> Any:
        made = tables.use("sqlglot.expressions")
        return made.Trim(this=arg, expression=self._spelled(string.whitespace), position=side)

    def _spelled(self, text: str) -> Any:
        """A text with letters that mean something else to Spark after a backslash."""
        return self.f.decode(self.f.unhex(text.encode().hex()), "utf-8")

    def _whole(self, name: str, arg: Any) -> Any:
        """A cast raises where the function would give the largest number, or 0 for NaN."""
        far = self.f.isnan(arg).or_(self.f.abs(arg) >= 2.0**63)
        return self.if_(far, self._as("BIGINT", arg), self.f.anon[name](arg))

    def _as(self, kind: str, arg: Any) -> Any:
        made = tables.use("sqlglot.expressions")
        return made.cast(arg.copy(), to=made.DataType.build(kind))


def _base() -> Any:
    return tables.use("ibis.backends.sql.compilers.pyspark").PySparkCompiler
