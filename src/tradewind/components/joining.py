"""`profile_join`: never a value that was not known at the row's own time.

A profile record holds from its event time on, and was written down at its write time, which may be
later. A row at time t may see it when both have passed: when `known = max(event, written) <= t`.
Of all that it may see, it takes the one with the newest event time. So, per key and in the order of
`known`, the record to take is the running maximum by event time, and the join is one search.
Values that arrive late fall out by themselves; so do old ones, which never replace a newer value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tradewind.base.errors import InvalidData, InvalidSpec, Location
from tradewind.base.units import parse_duration
from tradewind.components.arrow import pa, pc, refuse_missing
from tradewind.components.hashing import hash_rows
from tradewind.models.heavy import Array, np

_NEVER = np.iinfo(np.int64).min


def profile_join(
    rows: pa.Table,
    profile: pa.Table,
    *,
    keys: Sequence[str],
    time: str = "",
    profile_time: str = "",
    profile_write_time: str = "",
    tolerance: str = "",
    columns: Sequence[str] = (),
    prefix: str = "",
) -> pa.Table:
    """The rows as they were, in their order, with one profile record each, or nulls.

    Of two records of one event time the one written later wins, then the one with the greater hash
    of its content: the order of the profile's rows never matters. A null key or time matches
    nothing. Without times a key may occur once.
    """
    refuse_missing(rows, keys, "keys")
    refuse_missing(profile, keys, "keys")
    if not keys:
        raise InvalidSpec("name the columns that both tables share", where=Location(field="keys"))
    if not time and (profile_time or profile_write_time or tolerance):
        raise InvalidSpec("a profile with times needs the row's time", where=Location(field="time"))
    times = [name for name in (profile_time or time, profile_write_time) if name] if time else []
    taken = list(columns) or [n for n in profile.column_names if n not in {*keys, *times}]
    refuse_missing(profile, [*taken, *times], "columns")
    names = [prefix + name for name in taken]
    if both := [name for name in names if name in rows.column_names]:
        raise InvalidSpec(f"both tables have a column {both[0]!r}", hint="give a prefix")

    codes, profile_codes = _codes(rows, profile, keys)
    if time:
        refuse_missing(rows, [time], "time")
        written = _times(profile, profile_write_time) if profile_write_time else None
        found = _newest_known(
            (codes, _times(rows, time)),
            (profile_codes, _times(profile, times[0]), written),
            hash_rows(profile, profile.column_names, seed=0),
            round(parse_duration(tolerance) * 1e6) if tolerance else None,
        )
    else:
        found = _only(codes, profile_codes, profile, keys)
    indices = pa.array(found, mask=found < 0)
    for name, new in zip(taken, names, strict=True):
        rows = rows.append_column(new, profile[name].take(indices))
    return rows


def _newest_known(
    rows: tuple[Array, Array],
    profile: tuple[Array, Array, Array | None],
    content: Array,
    tolerance: int | None,
) -> Array:
    """For each row the index of its profile record, or -1."""
    codes, moments = rows
    keys, events, written = profile
    good = (keys >= 0) & (events != _NEVER)
    if written is not None:
        good &= written != _NEVER  # nobody knows when it was known
    index = np.flatnonzero(good)
    if not len(index):
        return np.full(len(codes), -1)
    keys, events, content = keys[index], events[index], content[index]
    wrote = events if written is None else written[index]
    known = np.maximum(events, wrote)

    # Rank: which of two records of one key is to be preferred once both are known.
    rank = np.empty(len(index), np.int64)
    rank[np.lexsort((content, wrote, events))] = np.arange(len(index))
    order = np.lexsort((rank, known, keys))
    # Keys rise along `order`, so an offset by key makes the running maximum begin anew.
    best = np.maximum.accumulate(rank[order] + keys[order] * len(index)) - keys[order] * len(index)
    by_rank = np.empty(len(index), np.int64)
    by_rank[rank] = np.arange(len(index))

    # (key, time) as one number: times become ranks among all that occur, or they could overflow.
    every, places = np.unique(np.concatenate([known, moments]), return_inverse=True)
    place, row_place = places[: len(known)], places[len(known) :]
    step = len(every) + 1
    position = np.searchsorted(
        (keys * step + place)[order], codes * step + row_place, side="right"
    ) - 1  # fmt: skip
    chosen = by_rank[best[np.maximum(position, 0)]]
    fits = (position >= 0) & (codes >= 0) & (moments != _NEVER)
    fits &= keys[order][np.maximum(position, 0)] == codes
    if tolerance is not None:
        # The chosen one is the newest, so if it is too old, all are.
        fits &= moments - events[chosen] <= tolerance
    return np.where(fits, index[chosen], -1)


def _only(codes: Array, profile_codes: Array, profile: pa.Table, keys: Sequence[str]) -> Array:
    there = np.flatnonzero(profile_codes >= 0)
    place = np.full(max(codes.max(initial=-1), profile_codes.max(initial=-1)) + 2, -1)
    place[profile_codes[there]] = there
    if len(there) != (place >= 0).sum():
        counts = np.bincount(profile_codes[there])
        row = int(np.flatnonzero(profile_codes == counts.argmax())[0])
        named = ", ".join(f"{key}={profile[key][row].as_py()!r}" for key in keys)
        raise InvalidData(
            f"the profile has {counts.max()} records for {named}",
            hint="name its times, or make the key unique",
        )
    return place[np.where(codes >= 0, codes, len(place) - 1)]


def _codes(rows: pa.Table, profile: pa.Table, keys: Sequence[str]) -> tuple[Array, Array]:
    """One whole number for each combination of keys, the same in both tables; -1 with a null."""
    combined = np.zeros(rows.num_rows + profile.num_rows, np.int64)
    null = np.zeros(len(combined), bool)
    for key in keys:
        left, right = _plain(rows[key]), _plain(profile[key])
        if left.type != right.type:
            raise InvalidData(
                f"the key {key!r} is {rows[key].type} here and {profile[key].type} in the profile",
                hint="cast one of them with extract",
            )
        both = pa.chunked_array([*left.chunks, *right.chunks], type=left.type)
        coded = both.dictionary_encode().unify_dictionaries().combine_chunks()
        codes = _indices(coded)
        null |= codes < 0
        combined = combined * (codes.max(initial=0) + 1) + np.maximum(codes, 0)
        # Dense again after each key, so that the product stays small.
        combined = np.unique(combined, return_inverse=True)[1]
    combined[null] = -1
    return combined[: rows.num_rows], combined[rows.num_rows :]


def _indices(coded: Any) -> Array:
    arrays = coded.chunks if isinstance(coded, pa.ChunkedArray) else [coded]
    parts = [pc.fill_null(one.indices, -1).to_numpy(zero_copy_only=False) for one in arrays]
    return np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64)


def _plain(values: Any) -> Any:
    """Widths of whole numbers and kinds of text do not make a key another key."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_integer(values.type):
        return values.cast(pa.int64())
    if pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
        return values.cast(pa.string())
    return values


def _times(table: pa.Table, name: str) -> Array:
    """Microseconds; null becomes _NEVER. Numbers are times too, in seconds."""
    values = table[name]
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        zone = getattr(values.type, "tz", None)
        values = values.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())
    elif pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        values = pc.cast(pc.round(pc.multiply(values.cast(pa.float64()), 1e6)), pa.int64())
    else:
        raise InvalidData(f"the column {name!r} is {values.type}, not a time")
    return np.asarray(pc.fill_null(values, _NEVER).to_numpy(), np.int64)
