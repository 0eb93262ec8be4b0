"""Durations, bytes, counts and money as people write them.

Seconds are floats, bytes and counts are ints, money is whole nanodollars (an int), so that bills
add up exactly: a no-op costs less than a microdollar. Every parser raises ValueError with a message
that says what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

NANODOLLARS = 1_000_000_000
# What a database column holds. Larger figures are slips, and an exponent of a million digits takes
# half a minute to become an int.
_MOST = 2**63 - 1
# Nobody means a century, in seconds.
LONGEST = 3e9

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SECOND_WORDS = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "min": "m", "mins": "m", "minute": "m", "minutes": "m",
    "hr": "h", "hrs": "h", "hour": "h", "hours": "h",
    "day": "d", "days": "d", "week": "w", "weeks": "w",
}  # fmt: skip
_BYTES = {
    "": 1, "B": 1,
    "k": 10**3, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15,
    "M": 10**6, "G": 10**9, "T": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_COUNTS = {"": 1, "K": 10**3, "k": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}

_NUMBER = r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
_DURATION_PART = re.compile(_NUMBER + r"\s*([a-zA-Z]+)\s*")
_QUANTITY = re.compile(_NUMBER + r"\s*([a-zA-Z]*)$")
_BELOW = re.compile(r"\s*(?:-\s*\$?|\$\s*-)\s*[\d.]")
_ROWS = re.compile(_NUMBER + r"\s*([KkMBGT]?)\s*(?:rows?)?$")


def _product(number: str, unit: int, too_large: str) -> Decimal:
    """`number` times `unit`, exactly, or ValueError(too_large)."""
    try:
        value = Decimal(number)
    except ArithmeticError:
        raise ValueError(too_large) from None
    if value.adjusted() > 18 or value * unit > _MOST:
        raise ValueError(too_large)
    return value * unit


def _check_sign(text: object, expected: str) -> None:
    if _BELOW.match(str(text)):
        raise ValueError(f"{expected}, more than nothing")


def parse_duration(text: str | int | float) -> float:
    """`60s`, `1h30m`, `2 days` → seconds. A bare number is refused: its unit is a guess."""
    expected = "expected a duration such as 60s, 10m, 1h30m or 2d"
    if not isinstance(text, str):
        raise ValueError(f"{expected}; {text!r} has no unit")
    _check_sign(text, expected)
    rest, total = text.strip(), 0.0
    if not rest:
        raise ValueError(expected)
    while rest:
        part = _DURATION_PART.match(rest)
        if part is None:
            raise ValueError(f"{expected}, not {text!r}")
        unit = _SECOND_WORDS.get(part[2].lower(), part[2])
        if unit not in _SECONDS:
            raise ValueError(f"{expected}; {part[2]!r} is not a unit of time")
        total += float(part[1]) * _SECONDS[unit]
        rest = rest[part.end() :]
    if total > LONGEST:
        raise ValueError(f"{expected}; {text!r} is too long a time")
    return total


def parse_bytes(text: str | int) -> int:
    """`4GiB`, `500MB`, `1024` → bytes. KiB is 1024, kB is 1000."""
    expected = "expected a size such as 4GiB or 500MB"
    if isinstance(text, bool) or not isinstance(text, int | str):
        raise ValueError(f"{expected}, not {text!r}")
    _check_sign(text, expected)
    match = _QUANTITY.match(str(text).strip())
    if match is None:
        raise ValueError(f"{expected}, not {text!r}")
    if match[2] not in _BYTES:
        raise ValueError(f"{expected}; {match[2]!r} is not a unit of size")
    return int(_product(match[1], _BYTES[match[2]], f"{expected}; {text!r} is too large"))


def parse_count(text: str | int) -> int:
    """`100M rows`, `1.5k`, `336776` → a whole number."""
    expected = "expected a count such as 100M rows or 5000"
    if isinstance(text, bool) or not isinstance(text, int | str):
        raise ValueError(f"{expected}, not {text!r}")
    _check_sign(text, expected)
    match = _ROWS.match(str(text).strip().replace(",", "").replace("_", ""))
    if match is None:
        raise ValueError(f"{expected}, not {text!r}")
    value = _product(match[1], _COUNTS[match[2]], f"{expected}; {text!r} is too large")
    if value != int(value):
        raise ValueError(f"{expected}; {text!r} is not a whole number")
    return int(value)


def parse_money(text: str | int | float) -> int:
    """`$2`, `$0.05`, `2 USD` → nanodollars. A bare number is refused: its currency is a guess."""
    expected = "expected an amount of money such as $2 or $0.05"
    _check_sign(text, expected)
    match = re.fullmatch(r"\$\s*" + _NUMBER + "|" + _NUMBER + r"\s*(?:USD|usd)", str(text).strip())
    if match is None or not isinstance(text, str):
        raise ValueError(f"{expected}, not {text!r}")
    too_large = f"{expected}; {text!r} is too large"
    return int(_product(match[1] or match[2], NANODOLLARS, too_large))


def format_duration(seconds: float) -> str:
    """Seconds for people, at most two units: `850ms`, `12.3s`, `4m 5s`, `1h 30m`, `2d 3h`."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".rstrip("0").rstrip(".") + "s"
    whole = round(seconds)
    steps = (("d", "h", 86400, 3600), ("h", "m", 3600, 60), ("m", "s", 60, 1))
    for big, small, size, part in steps:
        if whole >= size:
            high, low = divmod(whole, size)
            low //= part
            return f"{high}{big} {low}{small}" if low else f"{high}{big}"
    return f"{whole}s"


def format_bytes(count: int) -> str:
    """Bytes for people: `512 B`, `4.2 MiB`."""
    if abs(count) < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        value /= 1024
        if abs(value) < 1024 or unit == "PiB":
            return f"{value:.1f} {unit}".replace(".0 ", " ")
    raise AssertionError("unreachable")


def format_money(nanodollars: int) -> str:
    """Dollars with as many digits as matter: `$2.00`, `$0.0034`, `$0.00000071`."""
    dollars = Decimal(nanodollars) / NANODOLLARS
    if nanodollars == 0 or abs(dollars) >= Decimal("0.1"):
        return f"${dollars:.2f}"
    digits = -dollars.copy_abs().adjusted() + 1
    return f"${dollars:.{digits}f}"


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Parts of `total` in proportion to the weights that sum up to it exactly: each is rounded
    down, and what is left goes to the largest remainders (Hamilton's method). Weights are not
    negative, and not all 0."""
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda n: (-(total * weights[n] % whole), n))
    for number in order[: total - sum(parts)]:
        parts[number] += 1
    return parts


def format_parts(nanodollars: Sequence[int]) -> tuple[list[str], str]:
    """Amounts in one precision that add up as they are shown, and their sum."""
    total = sum(nanodollars)
    digits = min(9, max(2, 3 - (Decimal(total) / NANODOLLARS).adjusted())) if total else 2
    unit = NANODOLLARS // 10**digits
    shown = round(total / unit)
    parts = apportion(shown, nanodollars) if total else [0] * len(nanodollars)

    def text(count: int) -> str:
        return f"${Decimal(count).scaleb(-digits):.{digits}f}"

    return [text(part) for part in parts], text(shown)
