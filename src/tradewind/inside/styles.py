"""Carry a function out in the style that it is written in.

`batch` is called with some rows at a time, `row` with one dict, `group` with all rows of one key,
`expression` once with Ibis tables. The first three stream: the first parameter that is bound to a
table gets the batches; other tables are given whole, as ever. Memory holds a few batches (of
`group`: a bucket or the largest group).

Promised: every row of the input is in exactly one batch; rows of a batch lie together and are in
order; what a batch returns comes out in order, on one process. Not promised: how many rows a batch
has, which depends on the files, the backend and `on_error`; that a function is called only once for
a row (a batch that fails is called again in halves, to find the row); the order between parts and
between groups. A table of no rows is tried once, to learn its columns.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import time
from typing import Any, Callable, Iterator

from . import convert, expression, failing, groups, inputs, keys, outputs, tables, tracking
from .ends import text_of
from .groups import Group, Piece
from .sink import Sink

# Rows of a batch where each becomes a Python dict.
DICTS = 8_192
_STREAM = object()


def carry_out(
    function: Callable[..., Any], start: dict[str, Any], phases: dict[str, float]
) -> dict[str, Any]:
    """Slot → what was staged. `start["entry"]["call"]` says how."""
    style, slot = start["entry"]["call"]["style"], _slot(start)
    began = time.perf_counter()
    try:
        if style == "expression":
            return {slot: expression.carry_out(function, start, os.path.join(start["out"], slot))}
        if style in _WAYS:
            return {slot: Streamed(function, start).run()}
        args, kwargs = inputs.bind(function, start)
        return outputs.keep(function(*args, **kwargs), start)
    except tables.NoLibrary as error:
        text = f"the style {style!r} cannot be carried out here: {error}"
        raise inputs.Unreadable(text, error.hint) from None
    finally:
        phases["call"] = time.perf_counter() - began


def _slot(start: dict[str, Any]) -> str:
    return next(iter(start.get("outputs") or {}), "result")


class Streamed:
    """A function of the style batch, row or group, and the table that it gets piece by piece."""

    def __init__(self, function: Callable[..., Any], start: dict[str, Any]) -> None:
        """Binds everything but the streamed table."""
        self.call: dict[str, Any] = start["entry"]["call"]
        self.style = self.call["style"]
        _check_kind(function)
        slot = streamed(function, start)
        self.files = start["inputs"][slot]["files"]
        self.source = start["inputs"][slot].get("source") or slot
        bare = {key: value for key, value in start.items() if key != "item"}
        bare["inputs"] = {**start["inputs"], slot: {"kind": "value", "value": _STREAM}}
        self._function = function
        self._args, self._kwargs = inputs.bind(function, bare)
        item = start.get("item") or {}
        self.part, self.of = item.get("part", 0), item.get("of", 1)
        self.out = os.path.join(start["out"], _slot(start))
        self.rows = failing.Rows(self.source, self.call.get("on_error") == "skip")
        _limit_threads(int(self.call.get("cores") or 0))

    def run(self) -> dict[str, Any]:
        """Call it for everything that is its part; what was staged."""
        sink = self.sink = Sink(self.out)
        self.schema = groups.schema_of(self.files)
        try:
            found = groups.listed(self.files)
            _WAYS[self.style](self, sink, found)
            if not sink.rows and sink.schema is None:
                self.learn(sink, any(group.rows for group in found))
            told = sink.close()
        except BaseException:
            sink.discard()
            raise
        if self.rows.skip:
            told["meta"] = {"skipped": self.rows.skipped}
        if self.rows.skipped:
            failing.told(self.rows.skipped)
        return told

    # -- the styles ----------------------------------------------------------------------------

    def batch(self, sink: Sink, found: list[Group]) -> None:
        """Some rows at a time."""
        give = self._giver()
        most = DICTS if self._kind == "rows" else groups.ROWS
        for piece in self._pieces(found, most):
            for part, made in self.rows.attempt(piece, lambda one: self._with(give(one.data))):
                self._keep(sink, made, self.rows.name(part), part)

    def row(self, sink: Sink, found: list[Group]) -> None:
        """One dict at a time; what comes back is a dict, None (the row is dropped) or several."""
        for piece in self._pieces(found, DICTS):
            made: list[dict[str, Any]] = []
            origins: list[int] = []
            for place, values in enumerate(piece.data.to_pylist()):
                try:
                    given = self._with(values)
                except Exception as error:
                    self._row_failed(piece.cut(place, 1), error)
                    continue
                self.rows.kept += 1
                more = self._dicts(given, piece, place)
                made += more
                origins += [place] * len(more)
            self._keep_dicts(sink, made, origins, piece)

    def group(self, sink: Sink, found: list[Group]) -> None:
        """All rows of one key at once."""
        by = self.call["by"]
        self.check_keys()
        give = self._giver()
        limits = {name: int(self.call.get(name) or 0) for name in ("memory", "cores")}
        shuffle = keys.Shuffle(by, self.out, part=self.part, of=self.of, **limits)
        total, done = sum(group.rows for group in found) / self.of, 0
        cut = functools.partial(convert.cutter, self._kind, give)
        for keyed in self.keyed(shuffle, found, cut):
            if keyed.data.nbytes > keys.LARGE:
                print(f"tradewind: {keyed} is next", file=sys.stderr)
            try:
                made = self._with(keyed.value())
            except Exception as error:
                self._group_failed(keyed, error)
            else:
                self.rows.kept += keyed.data.num_rows
                self._keep(sink, made, f"the group {keys.shown(keyed.key)}")
            done += keyed.data.num_rows
            tracking.progress(done, max(done, total))

    def check_keys(self) -> None:
        """Refuse to group by a column that there is not."""
        lacking = [name for name in self.call["by"] if name not in self.schema.names]
        if lacking:
            has = ", ".join(self.schema.names[:30])
            text = f"{self.source} has no column {lacking[0]!r} to group by"
            raise inputs.Unreadable(text, f"it has: {has}")

    def keyed(
        self, shuffle: keys.Shuffle, found: list[Group], cut: Callable[..., Any]
    ) -> Iterator[keys.Keyed]:
        """The groups of its part."""
        return shuffle.grouped(found, cut)

    # -- what they share -----------------------------------------------------------------------

    def _pieces(self, found: list[Group], most: int) -> Iterator[Piece]:
        mine = groups.share(found, self.part, self.of)
        total, done = sum(group.rows for group in mine), 0
        for piece in groups.batches(mine, most):
            yield piece
            done += piece.data.num_rows
            tracking.progress(done, total)

    def _with(self, value: Any) -> Any:
        args = [value if each is _STREAM else each for each in self._args]
        kwargs = {k: value if each is _STREAM else each for k, each in self._kwargs.items()}
        return self._function(*args, **kwargs)

    def _giver(self) -> Callable[[Any], Any]:
        hint = None
        hints = inputs.hints_of(self._function)
        names = [name for name, value in self._kwargs.items() if value is _STREAM]
        names += [
            n for n, value in zip(_positional(self._function), self._args) if value is _STREAM
        ]
        if names:
            hint = hints.get(names[0])
        self._kind = convert.wanted(hint)
        if self._kind in ("paths", "names"):
            raise inputs.Unreadable(
                f"a function of the style {self.style!r} gets tables and no paths",
                "annotate its parameter as pyarrow.Table, pandas.DataFrame, …, or drop `style`",
            )
        nulls = groups.with_nulls(self.files) if self._kind == "pandas" else set()
        return convert.giver(self._kind, self.schema, nulls)

    def _keep(self, sink: Sink, made: Any, where: str, piece: Piece | None = None) -> None:
        try:
            found = convert.taken(made)
        except convert.Mixed as error:
            raise outputs.Unstorable(f"the result for {where} is no table: {error}", "") from None
        except tables.use("pyarrow").ArrowException as error:
            raise outputs.Unstorable(f"the result for {where} is no table: {error}", "") from None
        except tables.Doubled as error:
            raise outputs.Unstorable(f"the result for {where} {error}", error.hint) from None
        if found is None:
            raise outputs.Unstorable(
                f"the function returned {convert.described(made)} for {where}",
                f"expected a table each time: {convert.EXPECTED}; where there is nothing to "
                "return, one without rows",
            )
        sink.write(*found, where)

    def _dicts(self, made: Any, piece: Piece, place: int) -> list[dict[str, Any]]:
        if made is None:
            return []
        if isinstance(made, dict):
            return [made]
        if isinstance(made, (list, tuple)) and all(isinstance(each, dict) for each in made):
            return list(made)
        row = self.rows.row(piece.cut(place, 1))
        raise outputs.Unstorable(
            f"the function returned {convert.described(made)} for {row}",
            "expected a dict for each row, None (the row is dropped) or a list of dicts",
        )

    def _keep_dicts(
        self, sink: Sink, made: list[dict[str, Any]], origins: list[int], piece: Piece
    ) -> None:
        try:
            table = convert.from_rows(made)
        except convert.Mixed as error:
            row = self.rows.row(piece.cut(origins[error.row], 1))
            raise outputs.Unstorable(
                f"the function's results differ: {error}, for {row}",
                "return the same columns with the same types each time",
            ) from None
        sink.write(table, convert.VALUES, self.rows.name(piece))

    def _row_failed(self, piece: Piece, error: Exception) -> None:
        if self.rows.skip and not isinstance(error, MemoryError):
            self.rows.leave_out(piece, error)
            return
        hint = "on_error: skip leaves such rows out and counts them"
        failing.placed(error, self.rows.row(piece), hint)
        raise error

    def _group_failed(self, keyed: keys.Keyed, error: Exception) -> None:
        name = f"{keyed} of {self.source}"
        if self.rows.skip and not isinstance(error, MemoryError):
            self.rows.leave_out(Piece(keyed.data, 0, 0, 0), error, name)
            return
        failing.placed(error, name, "on_error: skip leaves such groups out and counts their rows")
        raise error

    def learn(self, sink: Sink, rows: bool) -> None:
        """The columns of a result without rows: what the function makes of no rows; if it drops
        rows, those of its input. A part may leave them unknown."""
        if self.style == "row" or rows:
            self._assume(sink)
            return
        why = ""
        try:
            found = convert.taken(self._with(self._giver()(self.schema.empty_table())))
            if found is not None:
                # Rows that it makes of nothing are no rows of any batch.
                sink.write(found[0].slice(0, 0), found[1], "no rows")
                self._assume(sink)
        except Exception as error:
            why = f" ({type(error).__name__}: {text_of(error)})"
        if sink.schema is None and self.of == 1:
            raise outputs.Unstorable(
                f"{self.source} has no rows, and what columns the result has is not known: the "
                f"function made no table of an empty one{why}"[:1000],
                "let it return a table without rows for a table without rows",
            )

    def _assume(self, sink: Sink) -> None:
        """Where nothing says which columns there are: those of the input. Tables without columns
        say that there are none, and no table has none."""
        if sink.schema is None and self.of == 1 and sink.bare:
            raise outputs.Unstorable(
                f"the result for {sink.bare} has no columns",
                "return a table with its columns; where there is nothing to return, without rows",
            )
        if sink.schema is None and self.of == 1 and self.style != "group":
            sink.write(self.schema.empty_table(), convert.MEANT, "no rows")
            print("tradewind: no rows came out; the columns are the input's", file=sys.stderr)


_WAYS: dict[str, Callable[[Streamed, Sink, list[Group]], None]] = {
    "batch": Streamed.batch,
    "row": Streamed.row,
    "group": Streamed.group,
}


def streamed(function: Callable[..., Any], start: dict[str, Any]) -> str:
    """The input that is given piece by piece: of the function's parameters the first that is bound
    to a table."""
    found = [name for name, slot in start.get("inputs", {}).items() if slot["kind"] == "table"]
    if not found:
        style = start["entry"]["call"]["style"]
        raise inputs.Unreadable(
            f"a function of the style {style!r} reads a table, and the run has none",
            "bind one: input: {data: NAME}, or --data NAME=DATASET",
        )
    names, anything = inputs.takes(function)
    if inputs.NAMELESS in found and inputs.NAMELESS not in names and not anything:
        return inputs.NAMELESS  # it is the first parameter (see `inputs.bind`)
    return next((name for name in names if name in found), found[0])


def _positional(function: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def _check_kind(function: Callable[..., Any]) -> None:
    """Refuse what would return no table but a promise of one."""
    bare = inspect.unwrap(function)
    if inspect.isgeneratorfunction(bare) or inspect.isasyncgenfunction(bare):
        raise outputs.Unstorable(
            "the function is a generator (it has `yield`), and a table or a dict is expected each "
            "time",
            "return what it yields, as one table or a list of dicts",
        )
    if inspect.iscoroutinefunction(bare):
        raise outputs.Unstorable("the function is async, and a plain one is expected", "use def")


def _limit_threads(cores: int) -> None:
    """Of what is loaded only: no library is brought in for it."""
    if cores and "pyarrow" in sys.modules:
        sys.modules["pyarrow"].set_cpu_count(cores)
