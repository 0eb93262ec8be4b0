"""The price list: taken as a whole with what it says, or refused with the place of its fault."""

from __future__ import annotations

import csv
import io
from datetime import date
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.base.errors import InvalidData
from tradewind.compiler import catalogue
from tradewind.compiler.catalogue import GIB, chosen, compared, like, merged, old, parse
from tradewind.compiler.facts import Machine

COLUMNS = (*catalogue.NEEDED, *catalogue.OFFERED)
ROW = {
    "provider": "acme", "region": "north", "instance": "big", "vcpus": "8", "memory_gib": "32",
    "accelerator": "H100", "accelerator_count": "2", "accelerator_memory_gib": "80", "zones": "3",
    "usd_per_hour": "0.5", "spot_usd_per_hour": "0.2", "as_of": "2026-07-20", "source": "acme@1",
}  # fmt: skip
PLAIN = {**ROW, "accelerator": "", "accelerator_count": "", "accelerator_memory_gib": ""}


def listed(*rows: dict[str, Any], columns: tuple[str, ...] = COLUMNS) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def packaged() -> tuple[Machine, ...]:
    return parse(resources.files("tradewind.compiler").joinpath("prices.csv").read_text("utf-8"))


def test_our_own_list_is_compact_and_says_of_each_price_when_and_where_it_was_taken() -> None:
    machines = packaged()
    assert 24 <= len(machines) <= 100
    assert {each.provider for each in machines} >= {"aws", "gcp", "azure"}
    for each in machines:
        assert each.source and each.as_of != catalogue.UNKNOWN
        assert each.price > 0 and each.spot <= each.price
    assert len({each.region for each in machines if each.provider == "aws"}) > 1
    assert {each.name for each in compared(machines)} == set(catalogue.COMPARE)


def test_a_row_says_everything() -> None:
    [machine] = parse(listed(ROW))
    assert machine == Machine(
        name="acme/big", provider="acme", region="north", cpu=8.0, memory=32 * GIB,
        accelerators={"H100": 2}, accelerator_memory=80 * GIB, zones=3, price=500_000_000,
        spot=200_000_000, as_of="2026-07-20", source="acme@1",
    )  # fmt: skip
    [less] = parse(listed(PLAIN | {"as_of": ""}, columns=catalogue.NEEDED))
    assert (less.accelerators, less.spot, less.zones, less.as_of) == ({}, 0, 0, "unknown date")
    [same] = parse(listed(ROW | {"spot_usd_per_hour": "0.50"}))
    assert same.spot == same.price


def test_other_names_of_columns_are_known() -> None:
    text = listed(ROW).replace("usd_per_hour,as_of", "price_usd_per_hour,as_of")
    assert parse(text.replace("zones", "zone_count", 1)) == parse(listed(ROW))


FAULTS = [
    ({"usd_per_hour": "0"}, "usd_per_hour", "it is more than 0"),
    ({"usd_per_hour": "-1"}, "usd_per_hour", "it is more than 0"),
    ({"usd_per_hour": "nan"}, "usd_per_hour", "it is more than 0"),
    ({"usd_per_hour": "inf"}, "usd_per_hour", "it is more than 0"),
    ({"usd_per_hour": "1e-12"}, "usd_per_hour", "is nothing"),
    ({"usd_per_hour": ""}, "usd_per_hour", "the cell is empty"),
    ({"usd_per_hour": "$0.5"}, "usd_per_hour", "dollars per hour as a plain number"),
    ({"usd_per_hour": "0.5 EUR"}, "usd_per_hour", "'0.5 EUR'"),
    ({"usd_per_hour": "0,5"}, "usd_per_hour", "plain number"),
    ({"usd_per_hour": "9e9"}, "usd_per_hour", "cannot be meant"),
    ({"spot_usd_per_hour": "0"}, "spot_usd_per_hour", "more than 0"),
    ({"spot_usd_per_hour": "0.51"}, "spot_usd_per_hour", "0.51 is more than the 0.5 dollars"),
    ({"memory_gib": "16GB"}, "memory_gib", "GiB as a plain number"),
    ({"vcpus": "many"}, "vcpus", "cores as a plain number"),
    ({"zones": "1.5"}, "zones", "whole"),
    ({"accelerator_count": ""}, "accelerator_count", "go together"),
    ({"accelerator": ""}, "accelerator", "go together"),
    ({"provider": ""}, "provider", "the cell is empty"),
    ({"region": "a b"}, "region", "is no name"),
    ({"instance": "x/y"}, "instance", "is no name"),
    ({"as_of": "yesterday"}, "as_of", "is no date"),
    ({"as_of": "2026-02-30"}, "as_of", "is no date"),
    ({"as_of": "2026-13"}, "as_of", "is no date"),
    ({"as_of": "0000-01"}, "as_of", "is no date"),
    ({"as_of": "9999-12"}, "as_of", "is no date"),
]


@pytest.mark.parametrize(("change", "column", "said"), FAULTS, ids=lambda each: str(each)[:40])
def test_a_fault_has_a_place(change: dict[str, str], column: str, said: str) -> None:
    text = listed(PLAIN | {"instance": "first"}, ROW | change)
    with pytest.raises(InvalidData) as found:
        parse(text, "mine.csv")
    where = found.value.where
    assert said in found.value.message and where is not None
    assert (where.file, where.line, where.field) == ("mine.csv", 3, column)


def test_a_row_that_is_there_twice_names_the_first() -> None:
    with pytest.raises(InvalidData, match="acme/big in north is in line 2 already") as found:
        parse(listed(ROW, ROW | {"region": "south"}, ROW | {"usd_per_hour": "9"}))
    assert found.value.where is not None and found.value.where.line == 4


@pytest.mark.parametrize(("text", "said"), [
    ("", "no rows"),
    (listed(), "no rows"),
    (listed(ROW).replace("usd_per_hour,as_of", "eur_per_hour,as_of"), "no column 'eur_per_hour'"),
    (listed(ROW).replace("usd_per_hour,as_of", "cny,as_of"), "no column 'cny'"),
    (listed(ROW).replace("source", "region", 1), "region is there twice"),
    (listed(ROW, columns=("provider", "region")), "names no column instance, vcpus"),
    (listed(ROW) + "one,two\n", "this row has 2 cells"),
    (listed(ROW) + '"never closed\n', "this is no CSV"),
    ("\x00\x01PK\x03", "no column"),
    ("x" * (catalogue.MOST_TEXT + 1), "is not taken"),
])  # fmt: skip
def test_what_is_no_price_list_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidData, match=said):
        parse(text)


def test_lines_are_counted_over_quoted_ones_and_blank_ones() -> None:
    first, second = ROW | {"network_gbps": "two\nlines"}, ROW | {"instance": "x", "vcpus": "x"}
    head, rest = listed(first, second, columns=(*COLUMNS, "network_gbps")).split("\n", 1)
    text = f"{head}\n\n{rest}"
    with pytest.raises(InvalidData) as found:
        parse(text)
    assert found.value.where is not None and found.value.where.line == 5


def test_there_is_an_end_to_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MOST_ROWS", 3)
    rows = [ROW | {"instance": f"i{number}"} for number in range(4)]
    assert len(parse(listed(*rows[:3]))) == 3
    with pytest.raises(InvalidData, match="at most 3 rows"):
        parse(listed(*rows))


CELLS = st.one_of(
    st.text(max_size=12), st.sampled_from(["1", "0", "-2", "nan", "1e309", "2026-07", '"', "H100"])
)


@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), CELLS, max_size=4), max_size=3))
def test_whatever_it_holds_it_is_taken_or_refused_with_a_place(changes: list[Any]) -> None:
    text = listed(*(ROW | {"instance": f"i{n}"} | change for n, change in enumerate(changes)))
    try:
        machines = parse(text, "f")
    except InvalidData as error:
        assert error.where is not None and error.where.file == "f"
    else:
        assert len(machines) == len(changes)
        assert all(each.price > 0 and each.cpu > 0 and each.memory >= 0 for each in machines)


@given(st.text(max_size=300))
def test_any_text_is_answered(text: str) -> None:
    with pytest.raises(InvalidData):
        parse(text)


def test_what_is_added_takes_the_place_of_the_same() -> None:
    base = parse(listed(PLAIN, PLAIN | {"region": "south"}))
    added = parse(listed(PLAIN | {"usd_per_hour": "0.3"}, ROW | {"instance": "new"}))
    found = {(each.region, each.name): each.price for each in merged(base, added)}
    assert found == {("north", "acme/big"): 3 * 10**8, ("south", "acme/big"): 5 * 10**8,
                     ("north", "acme/new"): 5 * 10**8}  # fmt: skip


def test_machines_are_chosen() -> None:
    machines = packaged()
    assert {each.provider for each in chosen(machines, provider="AWS")} == {"aws"}
    assert {each.region for each in chosen(machines, region="us-west-2")} == {"us-west-2"}
    fast = list(chosen(machines, accelerator="h100", most=10 * 10**9))
    assert fast and all("H100" in next(iter(each.accelerators)) for each in fast)
    assert all(each.price <= 10 * 10**9 for each in fast)
    assert not list(chosen(machines, provider="nobody"))


def test_a_run_without_accelerators_is_not_compared_with_them() -> None:
    machines = parse(listed(PLAIN | {"instance": "plain", "usd_per_hour": "3"}, ROW))
    assert like(machines, 1, GIB).name == "acme/plain" == like(machines, 1e6, 1).name
    assert [each.name for each in compared(machines)] == ["acme/plain"]
    only = parse(listed(ROW))
    assert like(only, 1, GIB).name == "acme/big" and compared(only) == only


def test_a_price_is_old_after_180_days() -> None:
    [machine] = parse(listed(ROW | {"as_of": "2026-07-20"}))
    assert not old(machine, date(2027, 1, 16)) and old(machine, date(2027, 1, 17))
    [machine] = parse(listed(ROW | {"as_of": "2026-12"}))
    assert not old(machine, date(2027, 6, 29)) and old(machine, date(2027, 6, 30))
    [machine] = parse(listed(ROW | {"as_of": ""}))
    assert old(machine, date(1999, 1, 1))


def test_a_class_of_devices_costs_what_a_machine_with_such_costs_for_each() -> None:
    h100, a100 = {"accelerator": "H100"}, {"accelerator": "A100-80GB", "usd_per_hour": "0.3"}
    dear = {**ROW, "instance": "dear", "usd_per_hour": "9"}
    rows = [{**ROW, **h100}, {**ROW, **a100, "instance": "old"}, {**PLAIN, "instance": "p"}, dear]
    machines = parse(listed(*rows))
    found = catalogue.each(machines, ["nvidia-h100-sxm", "nvidia-a100-80gb"])
    assert found == {"cpu": 62_500_000, "nvidia-h100-sxm": 250_000_000,
                     "nvidia-a100-80gb": 150_000_000}  # fmt: skip
    for unsold in ("nvidia-h1000", "nvidia.com/gpu", "nvidia-a100-40gb"):
        assert catalogue.each(machines, ["nvidia-h100-sxm", unsold]) == {}
