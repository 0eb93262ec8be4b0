"""Units: what is written is read back, and nonsense is refused with a ValueError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.base import units

PARSERS = (units.parse_bytes, units.parse_count, units.parse_duration, units.parse_money)
_LIKELY = st.text("0123456789.,_eE+-$ msdhkKMGTPiBUSD rows٣ㄱ", max_size=30)


@pytest.mark.parametrize("parse", PARSERS)
@given(text=st.one_of(st.text(), _LIKELY, st.integers(), st.floats(), st.booleans(), st.none()))
def test_nonsense_is_a_value_error_and_nothing_else(parse: Callable[[Any], Any], text: Any) -> None:
    try:
        found = parse(text)
    except ValueError as error:
        assert "expected" in str(error)
    else:
        assert 0 <= found <= 2**63 and found == found


@given(st.floats(0.001, 1e9))
def test_a_duration_is_read_back_closely(seconds: float) -> None:
    shown = units.format_duration(seconds)
    assert units.parse_duration(shown) == pytest.approx(seconds, rel=0.05, abs=0.0006)


@given(st.integers(0, 2**50))
def test_bytes_are_read_back_closely(count: int) -> None:
    assert units.parse_bytes(units.format_bytes(count)) == pytest.approx(count, rel=0.06)


@given(st.integers(0, 10**15))
def test_money_is_read_back_closely(nanodollars: int) -> None:
    shown = units.format_money(nanodollars)
    assert units.parse_money(shown) == pytest.approx(nanodollars, rel=0.06)


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_who_is_longer_is_never_shown_shorter(one: float, two: float) -> None:
    short, long = sorted((one, two))
    shown = [units.parse_duration(units.format_duration(each)) for each in (short, long)]
    assert shown[0] <= shown[1]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("1h30m", 5400), ("2 days", 172800), ("850ms", 0.85), ("4m 5s", 245)],
)
def test_durations(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.9996, "1s"), (59.96, "1m"), (3599.6, "1h"), (86399.9, "1d"), (-5, "-5s"),
     (90061, "1d 1h"), (12.34, "12.3s")],
)  # fmt: skip
def test_durations_for_people(seconds: float, text: str) -> None:
    assert units.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [("4GiB", 4 * 2**30), ("500MB", 500_000_000), (1024, 1024), ("1.5 KiB", 1536), ("2Gi", 2**31)],
)
def test_bytes(text: str | int, count: int) -> None:
    assert units.parse_bytes(text) == count


@pytest.mark.parametrize(
    ("text", "money"), [("$2", 2 * 10**9), ("$0.05", 5 * 10**7), ("2 USD", 2 * 10**9)]
)
def test_money(text: str, money: int) -> None:
    assert units.parse_money(text) == money


@pytest.mark.parametrize("text", ["60", "1e400s", "9" * 400 + "s", "$9e99", "1e30", "-1s", "$-2"])
def test_slips_are_refused(text: str) -> None:
    for parse in PARSERS:
        if (parse is units.parse_bytes and text == "60") or parse is units.parse_count:
            continue
        with pytest.raises(ValueError):
            parse(text)
