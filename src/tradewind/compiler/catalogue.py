"""The price list: text in, machines out, and back. Pure; `control/prices.py` reads and keeps it.

One row of a CSV file is an instance type in a region, with its price in dollars per hour, on
demand, and when that was taken. A file is taken as a whole or not at all.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from difflib import get_close_matches

from tradewind.base.errors import InvalidData, Location
from tradewind.base.units import NANODOLLARS
from tradewind.compiler.facts import Machine

GIB = 2**30
# What a file may hold at most, in characters and in rows. The lists of all regions of a large cloud
# are below it; what is above is no price list.
MOST_TEXT, MOST_ROWS = 4 * 2**20, 20_000
# A price older than this is marked.
OLD = timedelta(days=180)
UNKNOWN = "unknown date"

# One large and one small machine from two providers, to compare a run's price with.
COMPARE = ("aws/m7i.large", "gcp/n2-standard-2")

NEEDED = ("provider", "region", "instance", "vcpus", "memory_gib", "usd_per_hour", "as_of")
OFFERED = ("accelerator", "accelerator_count", "accelerator_memory_gib", "zones",
           "spot_usd_per_hour", "source")  # fmt: skip
# Other names of the same, and what says nothing about a price.
ALIASES = {"price_usd_per_hour": "usd_per_hour", "zone_count": "zones"}
IGNORED = ("network_gbps",)
# The most that a cell may say, so that a slip of the decimal point is noticed.
_MOST = {"vcpus": 1e5, "memory_gib": 1e6, "usd_per_hour": 1e5, "spot_usd_per_hour": 1e5,
         "accelerator_count": 1e4, "accelerator_memory_gib": 1e5, "zones": 1e3}  # fmt: skip
_UNITS = {"vcpus": "cores", "memory_gib": "GiB", "usd_per_hour": "dollars per hour",
          "spot_usd_per_hour": "dollars per hour", "accelerator_count": "devices",
          "accelerator_memory_gib": "GiB of one device", "zones": "zones"}  # fmt: skip
_WHOLE = ("accelerator_count", "zones")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf(inity)?)", re.I | re.A)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:-]{0,99}")
_DAY = re.compile(r"(\d{4})-(\d\d)(?:-(\d\d))?", re.A)


def parse(text: str, file: str = "") -> tuple[Machine, ...]:
    """The machines of a price list, cheapest first. Raises InvalidData with line and column of the
    first fault; then nothing of it is taken."""
    if len(text) > MOST_TEXT:
        raise InvalidData(
            f"a price list of {len(text):,} characters is not taken",
            hint=f"at most {MOST_TEXT:,}; leave out what you do not use",
            where=Location(file=file) if file else None,
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise InvalidData("this is no text", where=Location(file=file, line=line)) from None
    lines: dict[tuple[str, str, str], int] = {}
    found = []
    for row in _rows(text, file):
        machine = _machine(row)
        known = lines.setdefault(key(machine), row.line)
        if known != row.line:
            raise row.fault(
                "instance", f"{machine.name} in {machine.region} is in line {known} already"
            )
        found.append(machine)
        if len(found) > MOST_ROWS:
            raise row.fault("", f"a price list has at most {MOST_ROWS:,} rows")
    if not found:
        raise InvalidData("the price list has no rows", where=Location(file=file) if file else None)
    return _sorted(found)


def key(machine: Machine) -> tuple[str, str, str]:
    """What there is one price for: provider, region, instance."""
    provider, _, instance = machine.name.partition("/")
    return provider, machine.region, instance


def merged(base: Iterable[Machine], added: Iterable[Machine]) -> tuple[Machine, ...]:
    """The first list, with what the second has in the place of the same or besides."""
    found = {key(each): each for each in base} | {key(each): each for each in added}
    return _sorted(found.values())


def like(
    machines: Sequence[Machine], cpu: float, memory: int, devices: Mapping[str, float] | None = None
) -> Machine:
    """The cheapest machine that has as much as this one, or the largest there is; of those with as
    many of these devices, if any is. Otherwise those with accelerators are compared with only where
    there are no others."""
    has = [each for each in machines if devices and _has(each, devices)]
    able = has or [each for each in machines if not each.accelerators] or machines
    enough = [each for each in able if each.cpu >= cpu and each.memory >= memory]
    return enough[0] if enough else max(able, key=lambda each: (each.cpu, each.memory))


def _has(machine: Machine, devices: Mapping[str, float]) -> bool:
    return all(machine.accelerators.get(name, 0) >= count for name, count in devices.items())


def each(machines: Sequence[Machine], classes: Iterable[str]) -> dict[str, int]:
    """The least that one core (`cpu`) and one device of each of these classes cost, in nanodollars
    per hour: of a device what its machine costs. A class has the price of the accelerator whose
    name is in its own: A100-80GB in nvidia-a100-80gb. Nothing where one of them is not sold."""
    found: dict[str, int] = {}
    for machine in machines:
        counts: Mapping[str, float] = machine.accelerators or {"cpu": machine.cpu}
        for name, count in counts.items():
            one = round(machine.price / count)
            found[name] = min(found.get(name, one), one)
    priced = {"cpu": found.pop("cpu", 0)}
    for wanted in classes:
        alike = [name for name in found if _words(name) <= _words(wanted)]
        if not alike:
            return {}
        priced[wanted] = found[max(alike, key=lambda name: len(_words(name)))]
    return priced


def _words(name: str) -> set[str]:
    return set(re.findall("[a-z0-9]+", name.casefold()))


def compared(machines: Sequence[Machine]) -> tuple[Machine, ...]:
    """The two machines that a run's price is compared with."""
    cheapest = {each.name: each for each in reversed(machines) if each.name in COMPARE}
    if cheapest:
        return tuple(cheapest[name] for name in COMPARE if name in cheapest)
    plain = [each for each in machines if not each.accelerators] or list(machines)
    return tuple(plain[:2])


def chosen(
    machines: Iterable[Machine],
    *,
    provider: str = "",
    region: str = "",
    accelerator: str = "",
    most: int = 0,
) -> Iterator[Machine]:
    """Those of a provider, in a region, with such accelerators (a part of the name will do), for at
    most so many nanodollars per hour. Letters' case does not matter."""
    wanted = accelerator.casefold()
    for each in machines:
        if (
            (not provider or each.provider.casefold() == provider.casefold())
            and (not region or each.region.casefold() == region.casefold())
            and (not wanted or any(wanted in name.casefold() for name in each.accelerators))
            and (not most or each.price <= most)
        ):
            yield each


def old(machine: Machine, today: date) -> bool:
    """Whether the price was taken more than 180 days ago, or nobody knows when."""
    found = _DAY.fullmatch(machine.as_of)
    return found is None or today - _last(found) > OLD


def _sorted(machines: Iterable[Machine]) -> tuple[Machine, ...]:
    return tuple(sorted(machines, key=lambda each: (each.price, each.name, each.region)))


def _last(found: re.Match[str]) -> date:
    """The day that a date names, or the last of its month."""
    named = date(int(found[1]), int(found[2]), int(found[3] or 1))
    if found[3]:
        return named
    return date(named.year + named.month // 12, named.month % 12 + 1, 1) - timedelta(days=1)


# --- rows ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """One row under the header's names."""

    file: str
    line: int
    cells: Mapping[str, str]

    def fault(self, column: str, message: str, hint: str = "") -> InvalidData:
        where = Location(file=self.file, line=self.line, field=column)
        return InvalidData(message, hint=hint, where=where)

    def number(self, column: str) -> float | None:
        """A cell's number, more than 0; None where the cell is empty."""
        text = self.cells.get(column, "")
        if not text:
            return None
        wanted = f"expected {_UNITS[column]} as a plain number, not {text[:40]!r}"
        if not _NUMBER.fullmatch(text):
            raise self.fault(column, wanted, "no unit, currency or thousands separator")
        value = float(text)
        if not math.isfinite(value) or value <= 0:
            raise self.fault(column, f"{wanted}: it is more than 0")
        if column in _WHOLE and value != int(value):
            raise self.fault(column, f"{wanted}: it is whole")
        if value > _MOST[column]:
            raise self.fault(column, f"{wanted}: more than {_MOST[column]:,.0f} cannot be meant")
        return value

    def needed(self, column: str) -> float:
        value = self.number(column)
        if value is None:
            raise self.fault(column, "the cell is empty")
        return value

    def name(self, column: str) -> str:
        text = self.cells[column]
        if not _NAME.fullmatch(text):
            said = f"{text[:40]!r} is no name" if text else "the cell is empty"
            raise self.fault(column, said, "letters, digits and . _ - + : only")
        return text

    def text(self, column: str) -> str:
        text = self.cells.get(column, "")
        if len(text) > 200 or not text.isprintable():
            raise self.fault(column, "a line of at most 200 printable characters is expected")
        return text

    def day(self) -> str:
        text = self.cells["as_of"]
        if not text:
            return UNKNOWN
        found = _DAY.fullmatch(text)
        try:
            if found is None:
                raise ValueError
            _last(found)
        except (ValueError, OverflowError):
            raise self.fault(
                "as_of", f"{text[:40]!r} is no date", "write 2026-07-31 or 2026-07"
            ) from None
        return text


def _machine(row: _Row) -> Machine:
    provider, region, instance = (row.name(each) for each in ("provider", "region", "instance"))
    devices, count = row.cells.get("accelerator", ""), row.number("accelerator_count")
    if bool(devices) != (count is not None):
        missing = "accelerator_count" if devices else "accelerator"
        raise row.fault(missing, "accelerator and accelerator_count go together")
    price = _nanodollars(row, "usd_per_hour", row.needed("usd_per_hour"))
    return Machine(
        name=f"{provider}/{instance}",
        cpu=row.needed("vcpus"),
        memory=round(row.needed("memory_gib") * GIB),
        price=price,
        as_of=row.day(),
        provider=provider,
        region=region,
        accelerators={row.name("accelerator"): int(count)} if count else {},
        accelerator_memory=round((row.number("accelerator_memory_gib") or 0.0) * GIB),
        zones=int(row.number("zones") or 0),
        spot=_spot(row, price),
        source=row.text("source"),
    )


def _spot(row: _Row, price: int) -> int:
    """0 where none is known."""
    dollars = row.number("spot_usd_per_hour")
    if dollars is None:
        return 0
    spot = _nanodollars(row, "spot_usd_per_hour", dollars)
    if spot > price:
        raise row.fault(
            "spot_usd_per_hour",
            f"{row.cells['spot_usd_per_hour']} is more than the {row.cells['usd_per_hour']} "
            "dollars per hour on demand",
            "a spot price is at most that on demand: are the two exchanged?",
        )
    return spot


def _nanodollars(row: _Row, column: str, dollars: float) -> int:
    amount = round(dollars * NANODOLLARS)
    if not amount:
        raise row.fault(column, f"{dollars} dollars per hour is nothing")
    return amount


def _rows(text: str, file: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    begin = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            where = Location(file=file, line=max(1, reader.line_num))
            raise InvalidData(f"this is no CSV: {error}", where=where) from None
        line, begin = begin, reader.line_num + 1
        if cells is None:
            break
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        if not header:
            header = _header(cells, file, line)
            continue
        if len(cells) != len(header):
            message = f"this row has {len(cells)} cells, the first line names {len(header)} columns"
            raise InvalidData(message, where=Location(file=file, line=line))
        yield _Row(file, line, dict(zip(header, cells, strict=True)))


def _header(cells: list[str], file: str, line: int) -> list[str]:
    """Our names of the columns."""
    names = [ALIASES.get(cell.casefold(), cell.casefold()) for cell in cells]
    known = (*NEEDED, *OFFERED, *IGNORED)
    for cell, name in zip(cells, names, strict=True):
        where = Location(file=file, line=line, field=cell[:40])
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            hint += f"prices are in dollars per hour, memory in GiB; columns: {', '.join(known)}"
            raise InvalidData(f"there is no column {cell[:40]!r}", hint=hint, where=where)
        if names.count(name) > 1:
            raise InvalidData(f"the column {name} is there twice", where=where)
    if missing := [name for name in NEEDED if name not in names]:
        raise InvalidData(
            f"the first line names no column {', '.join(missing)}",
            hint=f"needed are {', '.join(NEEDED)}",
            where=Location(file=file, line=line),
        )
    return names
