"""SQL of Ibis in which everything stands in brackets that could be read in another way.

Ibis leaves some out, and then an engine reads another question: of `(a & b).between(c, d)` it would
make `a AND (b BETWEEN c AND d)`, and answer that one.
"""

from __future__ import annotations

from typing import Any

from . import tables


class Brackets:
    """Goes before one of Ibis's compilers."""

    def visit_IsNull(self, op: Any, *, arg: Any) -> Any:
        return paren(paren(arg).is_(null()))

    def visit_NotNull(self, op: Any, *, arg: Any) -> Any:
        return paren(_not(paren(arg).is_(null())))

    def visit_Not(self, op: Any, *, arg: Any) -> Any:
        return paren(_not(paren(arg)))

    def visit_InValues(self, op: Any, *, value: Any, options: Any) -> Any:
        return paren(paren(value).isin(*options))

    def visit_Between(self, op: Any, *, arg: Any, lower_bound: Any, upper_bound: Any) -> Any:
        return paren(paren(arg).between(paren(lower_bound), paren(upper_bound)))

    def visit_IdenticalTo(self, op: Any, *, left: Any, right: Any) -> Any:
        made = tables.use("sqlglot.expressions")
        return paren(made.NullSafeEQ(this=paren(left), expression=paren(right)))

    def visit_StringSQLLike(self, op: Any, *, arg: Any, pattern: Any, escape: Any) -> Any:
        return paren(paren(arg).like(pattern))


def of_duckdb() -> Any:
    """A compiler for DuckDB."""
    base = tables.use("ibis.backends.sql.compilers.duckdb").DuckDBCompiler
    # No simple operations: Ibis would make them again, over ours.
    fields: dict[str, Any] = {"__slots__": (), "SIMPLE_OPS": {}}
    return type("Compiler", (Brackets, base), fields)()


def paren(arg: Any) -> Any:
    """It, in brackets."""
    return tables.use("sqlglot.expressions").paren(arg)


def null() -> Any:
    """NULL."""
    return tables.use("sqlglot.expressions").Null()


def _not(arg: Any) -> Any:
    return tables.use("sqlglot").not_(arg)
