"""`split`: which rows a model learns from, and which it is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from tradewind.base.errors import InvalidData, InvalidSpec, Location
from tradewind.components.arrow import pa, pc, refuse_missing
from tradewind.components.hashing import hash_rows, share
from tradewind.models.heavy import Array, np

TRAIN, VALIDATION, TEST = 0, 1, 2


def split(
    rows: pa.Table,
    *,
    how: Literal["random", "stratified", "grouped", "time"] = "random",
    by: str = "",
    key: Sequence[str] = (),
    test: float = 0.2,
    validation: float = 0.0,
    cuts: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """The slots train, test and validation (empty when its share is 0), rows in their order.

    `random` and `grouped` put a row by the hash of its key or group: more rows never move old
    ones, equal rows are never parted, and the shares are kept on average. `stratified` keeps them
    exactly in each stratum. `time` never puts a row before one that is older.
    """
    if how not in _SIDES:
        raise InvalidSpec(f"unknown split {how!r}; there are {', '.join(_SIDES)}")
    if how != "random" and not by:
        raise InvalidSpec(f"a {how} split needs a column", where=Location(field="by"))
    if not (0 <= validation < 1 and 0 < test < 1 and test + validation < 1):
        raise InvalidSpec("the shares of test and validation must leave something to train on")
    if cuts and how != "time":
        raise InvalidSpec("only a split by time has cuts", where=Location(field="cuts"))
    refuse_missing(rows, [*key, *([by] if by else [])], "by")
    names = list(key) or rows.column_names
    sides = _SIDES[how](rows, by, names, (1 - test - validation, 1 - test), cuts, seed)
    wanted = {"train": TRAIN, "test": TEST, "validation": VALIDATION}
    parts = {name: rows.filter(pa.array(sides == side)) for name, side in wanted.items()}
    for name in ("train", "test", *(["validation"] if validation or len(cuts) == 2 else [])):
        if not parts[name].num_rows:
            raise InvalidData(f"no row of {rows.num_rows} falls to {name!r}")
    return parts


def _random(
    rows: pa.Table, by: str, key: list[str], ends: tuple[float, float], cuts: Any, seed: int
) -> Array:
    return _side(share(hash_rows(rows, key, seed=seed)), ends)


def _grouped(
    rows: pa.Table, by: str, key: list[str], ends: tuple[float, float], cuts: Any, seed: int
) -> Array:
    return _side(share(hash_rows(rows, [by], seed=seed)), ends)


def _stratified(
    rows: pa.Table, by: str, key: list[str], ends: tuple[float, float], cuts: Any, seed: int
) -> Array:
    hashes = hash_rows(rows, key, seed=seed)
    strata = np.unique(hash_rows(rows, [by], seed=0), return_inverse=True)[1]
    sides = np.empty(rows.num_rows, np.int64)
    order = np.lexsort((hashes, strata))
    edges = np.flatnonzero(np.diff(strata[order])) + 1
    for part in np.split(order, edges):
        sides[part] = _side((np.arange(len(part)) + 0.5) / max(1, len(part)), ends)
    return sides


def _by_time(
    rows: pa.Table, by: str, key: list[str], ends: tuple[float, float], cuts: Any, seed: int
) -> Array:
    if rows[by].null_count:
        raise InvalidData(
            f"{rows[by].null_count} rows have no time in {by!r}: which side is theirs?"
        )
    zone = getattr(rows.schema.field(by).type, "tz", None)
    if not pa.types.is_temporal(rows.schema.field(by).type):
        raise InvalidData(f"the column {by!r} is {rows.schema.field(by).type}, not a time")
    times = pc.cast(rows[by], pa.timestamp("us", zone), safe=False).cast(pa.int64()).to_numpy()
    if cuts:
        moments = [_cut(text) for text in cuts]
        if len(moments) > 2 or moments != sorted(moments):
            raise InvalidSpec("give one cut, or two in order", where=Location(field="cuts"))
        first, last = moments[0], moments[-1]
    elif len(times):
        # The cut is a time that occurs, so rows of one moment stay together.
        ordered = np.sort(times)
        first, last = (ordered[min(len(times) - 1, round(end * len(times)))] for end in ends)
    else:
        first = last = 0
    return np.where(times >= last, TEST, np.where(times >= first, VALIDATION, TRAIN))


def _cut(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidSpec(f"{text!r} is not a time such as 2013-11-01") from error
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return round(moment.timestamp() * 1e6)


def _side(places: Array, ends: tuple[float, float]) -> Array:
    return np.where(places >= ends[1], TEST, np.where(places >= ends[0], VALIDATION, TRAIN))


_SIDES = {"random": _random, "stratified": _stratified, "grouped": _grouped, "time": _by_time}
