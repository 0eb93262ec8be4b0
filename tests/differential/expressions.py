"""Expressions from a seed: an Ibis table out of two, by a few steps."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import ibis

KINDS = ("int", "float", "dec", "str", "bool", "date", "ts", "tsz")
OLD, NEW = ("a", "上", " ", "\\", "x'"), ("", "市", "aa", "$1")
Table = Any
Value = Any


def kind_of(dtype: Any) -> str:
    """One of KINDS for the type of a column."""
    if dtype.is_timestamp():
        return "tsz" if dtype.timezone else "ts"
    signs = (
        ("int", dtype.is_integer()), ("float", dtype.is_floating()), ("dec", dtype.is_decimal()),
        ("str", dtype.is_string()), ("bool", dtype.is_boolean()), ("date", dtype.is_date()),
    )  # fmt: skip
    return next(name for name, holds in signs if holds)


class Values:
    """Makes values out of the columns of a table."""

    def __init__(self, rng: random.Random, table: Table) -> None:
        self.rng, self.table = rng, table
        self.by_kind: dict[str, list[str]] = {kind: [] for kind in KINDS}
        for name, dtype in table.schema().items():
            self.by_kind[kind_of(dtype)].append(name)

    def make(self, kind: str, depth: int = 2) -> Value:
        """A value of this kind, of at most so many operations in each other."""
        if depth <= 0 or self.rng.random() < 0.15:
            return self._leaf(kind)
        if self.rng.random() < 0.2:
            return self._any_kind(kind, depth - 1)
        return getattr(self, "_" + kind)(depth - 1)

    def _leaf(self, kind: str) -> Value:
        names = self.by_kind[kind]
        if names and (self.rng.random() < 0.85 or kind in ("date", "ts", "tsz", "dec")):
            return self.table[self.rng.choice(names)]
        if kind == "int":
            return ibis.literal(self.rng.choice((0, 1, -2, 3, 10)))
        if kind == "float":
            return ibis.literal(self.rng.choice((0.0, 0.5, -1.5, 2.0)))
        if kind == "str":
            return ibis.literal(self.rng.choice(("a", "上海", "", "\\", "x'y", "\t")))
        if kind == "bool":
            return ibis.literal(self.rng.random() < 0.5)
        text = {
            "dec": "decimal(12, 3)",
            "date": "date",
            "ts": "timestamp(6)",
            "tsz": "timestamp('UTC', 6)",
        }
        return ibis.null(text[kind])

    def _pick(self, *ways: Callable[[], Value]) -> Value:
        return self.rng.choice(ways)()

    def _any_kind(self, kind: str, depth: int) -> Value:
        make = self.make

        def case() -> Value:
            value = make("int", depth - 1)
            chain = ibis.cases((value == 1, make(kind, depth)), (value > 2, make(kind, depth)))
            return (
                chain
                if kind in ("dec",)
                else ibis.cases((value == 1, make(kind, depth)), else_=make(kind, depth))
            )

        return self._pick(
            lambda: make("bool", depth).ifelse(make(kind, depth), make(kind, depth)),
            lambda: ibis.coalesce(make(kind, depth), make(kind, depth)),
            lambda: make(kind, depth).nullif(make(kind, depth)),
            lambda: ibis.greatest(make(kind, depth), make(kind, depth)),
            lambda: ibis.least(make(kind, depth), make(kind, depth)),
            lambda: make(kind, depth).fill_null(make(kind, depth)),
            case,
        )

    def _int(self, depth: int) -> Value:
        make, small = self.make, ibis.literal(self.rng.choice((1, 2, 3, 7, -2)))
        when = self.rng.choice(("date", "ts", "tsz"))
        part = self.rng.choice(("year", "month", "day", "quarter", "day_of_year", "week_of_year"))
        clock = self.rng.choice(("hour", "minute", "second"))
        return self._pick(
            lambda: make("int", depth) + make("int", depth),
            lambda: make("int", depth) - small,
            lambda: make("int", depth) * small,
            lambda: -make("int", depth),
            lambda: make("int", depth).abs(),
            lambda: make("int", depth) % make("int", depth),
            lambda: make("int", depth) // small,
            lambda: make("int", depth).sign(),
            lambda: make("int", depth) & make("int", depth),
            lambda: make("int", depth) | make("int", depth),
            lambda: make("int", depth) ^ make("int", depth),
            lambda: make("str", depth).length(),
            lambda: getattr(make(when, depth), part)(),
            lambda: make(when, depth).day_of_week.index(),
            lambda: getattr(make(self.rng.choice(("ts", "tsz")), depth), clock)(),
            lambda: make("bool", depth).cast("int32"),
            lambda: make("dec", depth).cast("int64"),
            lambda: self._finite().cast("int64"),
            lambda: self.rng.choice((self._finite().floor, self._finite().ceil))(),
            lambda: self._finite().round(),
            lambda: make("int", depth).cast("int64"),
        )

    def _finite(self) -> Value:
        names = [name for name in self.by_kind["float"] if name.endswith(("h", "w"))]
        return self.table[self.rng.choice(names)] if names else ibis.literal(2.5)

    def _float(self, depth: int) -> Value:
        make = self.make
        number = self.rng.choice(("int", "float"))
        return self._pick(
            lambda: make("float", depth) + make("float", depth),
            lambda: make("float", depth) - make(number, depth),
            lambda: make("float", depth) * make(number, depth),
            lambda: make("float", depth) / make(number, depth),
            lambda: make("int", depth) / make("int", depth),
            lambda: make("int", depth).cast("float64"),
            lambda: self._short() / make("int", depth),
            lambda: self._short().cast("float64"),
            lambda: -make("float", depth),
            lambda: make("float", depth).abs(),
            lambda: make("float", depth).cast("float64"),
        )

    def _short(self) -> Value:
        """A decimal of the table, with so few digits that it is the same float everywhere."""
        names = [name for name in self.by_kind["dec"] if name in ("d", "e")]
        return self.table[self.rng.choice(names)] if names else ibis.null("decimal(12, 3)")

    def _dec(self, depth: int) -> Value:
        make = self.make
        return self._pick(
            lambda: self._leaf("dec") + self._leaf("dec"),
            lambda: self._leaf("dec") - self._leaf("dec"),
            lambda: self._leaf("dec") * self._leaf("dec"),
            lambda: -make("dec", depth),
            lambda: make("dec", depth).abs(),
            lambda: make("int", 0).cast("decimal(20, 2)"),
            lambda: self._leaf("dec").cast("decimal(15, 1)"),
        )

    def _str(self, depth: int) -> Value:
        make, many = self.make, self.rng.randint(0, 3)
        text = make("str", depth)
        return self._pick(
            lambda: make("str", depth) + make("str", depth),
            text.strip, text.lstrip, text.rstrip,
            lambda: text.substr(many, self.rng.choice((None, 0, 1, 2))),
            lambda: text.right(1 + many),
            lambda: text.replace(self.rng.choice(OLD), self.rng.choice(NEW)),
            lambda: text.repeat(many),
            lambda: make("int", depth).cast("string"),
            lambda: make("bool", depth).cast("string"),
            lambda: make("date", depth).cast("string"),
            lambda: make("ts", depth).cast("string"),
        )  # fmt: skip

    def _bool(self, depth: int) -> Value:
        make, kind = self.make, self.rng.choice(KINDS)
        compare = self.rng.choice(("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"))
        sign = self.rng.choice(("a%", "%市", "_", "%a_%", "%"))
        return self._pick(
            lambda: getattr(make(kind, depth), compare)(make(kind, depth)),
            lambda: getattr(make("int", depth), compare)(make("float", depth)),
            lambda: make(kind, depth).isnull(),
            lambda: make(kind, depth).notnull(),
            lambda: make("float", depth).isnan(),
            lambda: make("float", depth).isinf(),
            lambda: make(kind, depth).between(make(kind, depth), make(kind, depth)),
            lambda: make("int", depth).isin([0, 1, 7]),
            lambda: make("str", depth).isin(["a", "上海", ""]),
            lambda: make("str", depth).like(sign),
            lambda: make("str", depth).contains(make("str", depth)),
            lambda: make("str", depth).startswith(make("str", 0)),
            lambda: make("str", depth).endswith(make("str", 0)),
            lambda: make("bool", depth) & make("bool", depth),
            lambda: make("bool", depth) | make("bool", depth),
            lambda: ~make("bool", depth),
            lambda: make(kind, depth).identical_to(make(kind, depth)),
        )

    def _date(self, depth: int) -> Value:
        unit = self.rng.choice("YQMWD")
        return self._pick(
            lambda: self.make("date", depth).truncate(unit),
            lambda: self.make("ts", depth).date(),
            lambda: self.make("tsz", depth).date(),
        )

    def _ts(self, depth: int) -> Value:
        unit = self.rng.choice("YQMWDhms")
        return self._pick(
            lambda: self.make("ts", depth).truncate(unit),
            lambda: self.make("date", depth).cast("timestamp(6)"),
        )

    def _tsz(self, depth: int) -> Value:
        return self.make("tsz", depth).truncate(self.rng.choice("YQMWDhms"))


class Steps:
    """A few steps, from `data` and `other`."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def __call__(self, data: Table, other: Table) -> Table:
        rng = self.rng
        made = data
        if rng.random() < 0.3:
            made = self._windows(made)
        if rng.random() < 0.2:
            made = made.order_by("id").limit(rng.randint(0, 9))
        for _ in range(rng.randint(1, 3)):
            made = rng.choice((self._mutate, self._mutate, self._filter, self._several))(made)
        if rng.random() < 0.25:
            made = self._join(made, other)
        last = rng.random()
        if last < 0.35:
            made = self._group(made)
        elif last < 0.5:
            made = made.select(
                *rng.sample(list(made.columns), min(2, len(made.columns)))
            ).distinct()
        if rng.random() < 0.2:
            made = made.order_by(rng.choice(list(made.columns)))
        return made

    def _mutate(self, made: Table) -> Table:
        values, start = Values(self.rng, made), len(made.columns)
        kinds = [self.rng.choice(KINDS) for _ in range(self.rng.randint(1, 6))]
        return made.mutate(**{f"c{start + i}": values.make(kind) for i, kind in enumerate(kinds)})

    def _filter(self, made: Table) -> Table:
        return made.filter(Values(self.rng, made).make("bool"))

    def _several(self, made: Table) -> Table:
        first, second = self._filter(made), self._filter(made)
        way = self.rng.choice(("union", "union", "intersect", "difference"))
        return getattr(first, way)(second, distinct=way != "union" or self.rng.random() < 0.3)

    def _windows(self, made: Table) -> Table:
        key = self.rng.choice(("k", "n", "f", "b"))
        over = ibis.window(group_by=key, order_by="id")
        so_far = ibis.cumulative_window(group_by=key, order_by="id")
        return made.mutate(
            w_row=ibis.row_number().over(over),
            w_rank=ibis.rank().over(ibis.window(order_by=made[self.rng.choice("ndks")])),
            w_dense=ibis.dense_rank().over(ibis.window(group_by=key, order_by=made.d.desc())),
            w_lag=made[self.rng.choice("isdt")].lag(self.rng.randint(1, 2)).over(over),
            w_lead=made[self.rng.choice("fgzk")].lead().over(over),
            w_sum=made.n.sum().over(so_far),
            w_all=made[self.rng.choice("nd")].max().over(ibis.window(group_by=key)),
            w_count=made.s.count().over(so_far),
        )

    def _join(self, made: Table, other: Table) -> Table:
        if "k" not in made.columns:
            return made
        how = self.rng.choice(("inner", "left", "right", "outer", "semi", "anti"))
        key = self.rng.choice(("k", "n", "f", "d", "b", "g", "z", "s"))
        right = (
            other.select("r_id", "r_s", "r_f", "r_z", "r_" + key)
            if key not in "sfz"
            else other.select("r_id", "r_s", "r_f", "r_z")
        )
        return made.join(right, made[key] == right["r_" + key], how=how)

    def _column(self, value: Value, made: Table) -> Value:
        """It, or a column if it is only literals: an aggregate is one of rows."""
        return value if isinstance(value, ibis.expr.types.Column) else made[made.columns[0]]

    def _group(self, made: Table) -> Table:
        values = Values(self.rng, made)
        keys = [name for name in made.columns if self.rng.random() < 2 / len(made.columns)][:3]
        where = values.make("bool") if self.rng.random() < 0.4 else None
        number = self._column(values.make(self.rng.choice(("int", "float"))), made)
        anything = [self._column(values.make(self.rng.choice(KINDS)), made) for _ in range(3)]
        truth = self._column(values.make("bool"), made)
        short = self._column(values._short(), made)
        if kind_of(short.type()) == "dec" and self.rng.random() < 0.9:
            short = short.cast("float64")  # without, it is refused
        metrics = {
            "a_rows": made.count(where=where),
            "a_count": anything[0].count(where=where),
            "a_kinds": anything[1].nunique(where=where),
            "a_min": anything[2].min(where=where),
            "a_max": anything[0].max(where=where),
            "a_sum": number.sum(where=where),
            "a_mean": number.mean(where=where),
            "a_dec": self.rng.choice([made[n] for n in values.by_kind["dec"]] or [number]).sum(),
            **({"a_short": short.mean()} if kind_of(short.type()) in ("dec", "float") else {}),
            "a_any": (truth if kind_of(truth.type()) == "bool" else truth.isnull()).any(
                where=where
            ),
            "a_all": (truth if kind_of(truth.type()) == "bool" else truth.isnull()).all(),
        }
        return made.group_by(keys).agg(**metrics) if keys else made.agg(**metrics)
