"""What happens when the user's function raises: which row it was, and whether the run goes on."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Callable, Iterator

from . import keys
from .ends import text_of
from .groups import Piece

SHOWN = 10
# When so many rows were left out and not one was kept, the function is at fault and not the rows.
HOPELESS = 1000


def placed(error: BaseException, place: str, hint: str = "") -> None:
    """Note on a user's exception where in the data it was raised; `entry` tells it."""
    with contextlib.suppress(AttributeError):
        error.tradewind_place = place  # type: ignore[attr-defined]
        error.tradewind_hint = hint  # type: ignore[attr-defined]


def told(skipped: int) -> None:
    """How many rows were left out, at the end."""
    print(f"tradewind: left out {skipped:,} row{'s'[skipped == 1 :]} in all", file=sys.stderr)


class Rows:
    """Keeps `on_error` for the rows of one input. `source` names it, `files` is how many files it
    has."""

    def __init__(self, source: str, skip: bool) -> None:
        self.source, self.skip = source, skip
        self.kept = self.skipped = 0

    def attempt(self, piece: Piece, call: Callable[[Piece], Any]) -> Iterator[tuple[Piece, Any]]:
        """The results for a batch: one, or with `skip` those of the parts that are left of it.
        Otherwise the first exception of a single row is raised, with that row."""
        try:
            made = call(piece)
        except MemoryError as error:
            placed(error, self.name(piece))
            raise
        except Exception as error:
            if not self.skip:
                self._find(piece, call, error)
                raise
            if piece.data.num_rows == 1:
                self.leave_out(piece, error)
                return
        else:
            self.kept += piece.data.num_rows
            yield piece, made
            return
        for half in _halves(piece):
            yield from self.attempt(half, call)

    def _find(self, piece: Piece, call: Callable[[Piece], Any], error: Exception) -> None:
        """Raise for the first row that fails alone; come back if none does."""
        whole = piece
        while piece.data.num_rows > 1:
            for half in _halves(piece):
                try:
                    call(half)
                except Exception as found:
                    piece, error = half, found
                    break
            else:
                placed(error, f"{self.name(whole)}; no row of them fails alone")
                raise error
        placed(error, self.row(piece), "on_error: skip leaves such rows out and counts them")
        raise error

    def leave_out(self, piece: Piece, error: Exception, name: str = "") -> None:
        """Count a row, or all of a group, and show the first ten."""
        self.skipped += piece.data.num_rows
        words = f"{type(error).__name__}: {text_of(error)}"[:500]
        if self.skipped <= SHOWN or name:
            print(f"tradewind: left out {name or self.row(piece)}: {words}", file=sys.stderr)
        elif self.skipped == SHOWN + 1:
            print("tradewind: more rows are left out, and counted", file=sys.stderr)
        if self.skipped >= HOPELESS and not self.kept:
            placed(error, f"every one of the first {self.skipped:,} rows of {self.source} raised")
            raise error

    def name(self, piece: Piece) -> str:
        """Where a batch lies, counted from 0."""
        rows = piece.data.num_rows
        if rows == 1:
            return f"row {piece.first} of {self.source}"
        return f"rows {piece.first} to {piece.first + rows - 1} of {self.source}"

    def row(self, piece: Piece) -> str:
        """One row: where it lies and what is in it."""
        try:
            values = keys.shown(piece.data.slice(0, 1).to_pylist()[0])
        except Exception:  # a date beyond Python's, for instance
            values = str(piece.data.slice(0, 1))[:1000]
        place = f"row {piece.start} of its file {piece.number}"
        return f"row {piece.first} of {self.source} ({place}, counted from 0): {values}"


def _halves(piece: Piece) -> list[Piece]:
    rows = piece.data.num_rows
    return [piece.cut(0, rows // 2), piece.cut(rows // 2, rows - rows // 2)]
