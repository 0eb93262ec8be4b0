"""`tw bill`: what is shown adds up."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.conftest import Tw


def test_each_column_of_a_bill_is_what_its_pool_costs_to_the_cent(
    tw: Tw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten projects of $1.006 each on one pool, of $1.004 on the other: $10.06 and $10.04."""
    pools = [
        {"pool": pool, "total": 10 * part, "idle": 0, "unpriced": unpriced,
         "projects": {f"p{n}": part for n in range(10)}}
        for pool, part, unpriced in (("far", 1_006_000_000, 0.0), ("near", 1_004_000_000, 90.0))
    ]  # fmt: skip
    monkeypatch.setattr("tradewind.sdk.catalog.Pools.bill", lambda *_: pools)
    said = tw("bill", "--from", "7d")
    lines = [line.split() for line in said.out.splitlines()]
    assert lines[0] == ["project", "far", "near", "all"]
    assert lines[12] == ["(all)", "$10.06", "$10.04", "$20.10"], said.out
    cells = [[int(cell[1:].replace(".", "")) for cell in line[1:]] for line in lines[1:12]]
    assert [sum(column) for column in zip(*cells, strict=True)] == [1006, 1004, 2010]
    assert "pool 'near' was in use for" in said.out + said.err
    assert json.loads(tw("bill", "-o", "json").out)["pools"] == pools


def test_a_bill_from_a_time_that_is_none(tw: Tw) -> None:
    said = tw("bill", "--from", "soon")
    assert said.status == 2 and "--from soon: expected a date" in said.err
