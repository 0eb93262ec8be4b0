"""`tw catalog` against the routes and a store: what is listed, imported, kept, refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.cli.conftest import Tw
from tests.unit.sdk.asgi import AsgiTransport
from tradewind.api.app import create_app
from tradewind.api.guard import Keys
from tradewind.compiler.catalogue import NEEDED
from tradewind.control.prices import LOOK_SECONDS, Prices
from tradewind.sdk import local
from tradewind.sdk.client import Client
from tradewind.sdk.prices import MOST_BYTES
from tradewind.store import open as open_store
from tradewind.testing.clock import FakeClock

HEAD = ",".join((*NEEDED, "accelerator", "accelerator_count", "spot_usd_per_hour"))
BIG = "acme,north,big,8,32,0.5,2026-11-01,H100,2,0.2"
SMALL = "acme,north,small,2,4,0.05,2026-01-01,,,"


@pytest.fixture
def prices(tw: Tw, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Prices:
    """The routes over a store in a folder, as the verbs find them."""
    clock = FakeClock(1_795_348_800.0)  # 2026-11-22
    store = open_store(tmp_path / "prices.db", clock)
    made = Prices(store, clock)
    parts = cast(Any, SimpleNamespace(prices=made, desk=None))
    app = create_app(parts, Keys("t", clock.now), frozenset({"127.0.0.1"}), lambda: None)

    def connect(**_: Any) -> Client:
        return Client("http://127.0.0.1:1", "t", AsgiTransport(app))

    monkeypatch.setattr(local, "connect", connect)
    return made


def write(*rows: str, name: str = "mine.csv") -> str:
    Path(name).write_text("\n".join((HEAD, *rows)) + "\n")
    return name


def listed(tw: Tw, *words: str) -> list[dict[str, Any]]:
    said = tw("catalog", *words, "-o", "json")
    assert said.status == 0, said.err
    found: list[dict[str, Any]] = json.loads(said.out)
    return found


def test_our_own_list_is_shown_cheapest_first_with_dates(tw: Tw, prices: Prices) -> None:
    said = tw("catalog")
    head, *rows = said.out.splitlines()
    assert head.split()[:3] == ["name", "region", "cores"] and "as of" in head
    assert len(rows) == len(prices.machines()) and "2026-0" in rows[0]
    amounts = [row["price"] for row in listed(tw)]
    assert amounts == sorted(amounts) and not any(row["imported"] for row in listed(tw))


def test_it_is_filtered(tw: Tw, prices: Prices) -> None:
    found = listed(tw, "--provider", "aws", "--region", "us-west-2", "--accelerator", "h100")
    assert [row["name"] for row in found] == ["aws/p5.48xlarge"]
    assert found[0]["accelerators"] == {"H100": 8} and found[0]["spot"] <= found[0]["price"]
    cheap = listed(tw, "--max-price", "$0.1")
    assert cheap and all(row["price"] <= 10**8 for row in cheap)
    assert "none" in tw("catalog", "--provider", "nobody").err
    said = tw("catalog", "--columns", "name,spot,source", "--accelerator", "L4")
    assert said.out.splitlines()[0].split() == ["name", "spot", "source"]


def test_rows_are_added_changed_replaced_and_dropped(tw: Tw, prices: Prices) -> None:
    ours = len(listed(tw))
    said = tw("catalog", "import", write(BIG, SMALL))
    assert said.out == f"2 added, 0 changed; {ours + 2} instance types\n"
    again = json.loads(tw("catalog", "import", write(BIG.replace("0.5", "0.4")), "-o", "json").out)
    assert again == {"rows": 1, "added": 0, "changed": 1, "total": ours + 2}
    [big, small] = sorted(listed(tw, "--provider", "acme"), key=lambda row: row["name"])
    assert (big["price"], big["spot"], big["imported"], big["old"]) == (
        400_000_000, 200_000_000, True, False,
    )  # fmt: skip
    assert small["old"] and small["spot"] is None
    shown = tw("catalog", "--provider", "acme")
    assert "2026-01-01 (old)" in shown.out and "old: 1 prices" in shown.err
    assert tw("catalog", "import", write(BIG), "--replace").out.endswith("; 1 instance types\n")
    assert [row["name"] for row in listed(tw)] == ["acme/big"]
    assert tw("catalog", "reset").out == f"1 imported rows dropped; {ours} instance types\n"
    assert len(listed(tw)) == ours


def test_every_server_of_the_store_sees_it_now_and_after_a_restart(tw: Tw, prices: Prices) -> None:
    store, clock = prices._store, cast(FakeClock, prices._clock)
    other = Prices(store, clock)
    before = len(other.all)
    tw("catalog", "import", write(SMALL, BIG))
    assert len(prices.all) == len(Prices(store, clock).all) == before + 2
    clock.advance(LOOK_SECONDS)
    assert "acme/small" in {each.name for each in other.all} and len(other.all) == before + 2
    assert [each["name"] for each in other.listing(provider="acme")] == ["acme/small", "acme/big"]
    tw("catalog", "import", write(BIG), "--replace")
    clock.advance(LOOK_SECONDS)
    assert [each.name for each in other.all] == ["acme/big"] and other.all[0].spot


def test_of_a_wrong_file_nothing_is_taken_and_the_place_is_said(tw: Tw, prices: Prices) -> None:
    before = listed(tw)
    said = tw("catalog", "import", write(SMALL, BIG.replace("0.5", "-1")))
    assert said.status == 2
    assert "mine.csv:3 (usd_per_hour): expected dollars per hour" in said.err
    said = tw("catalog", "import", write(SMALL, BIG.replace("2026-11-01", "2027-01-01")))
    assert said.status == 2 and "still to come" in said.err
    Path("latin.csv").write_bytes(f"{HEAD}\nacme,s".encode() + b"\xfcd,x\n")
    said = tw("catalog", "import", "latin.csv")
    assert said.status == 2 and "latin.csv:2:7: this is no UTF-8: the byte 0xfc" in said.err
    Path("broken.csv").write_text(BIG)
    said = tw("catalog", "import", "broken.csv")
    assert said.status == 2 and "there is no column 'acme'" in said.err
    assert listed(tw) == before


def test_a_large_file_is_not_read(tw: Tw, prices: Prices) -> None:
    with Path("huge.csv").open("wb") as file:
        file.truncate(200 * 2**20)
    said = tw("catalog", "import", "huge.csv")
    assert said.status == 2 and "200 MiB" in said.err and f"{MOST_BYTES >> 20} MiB" in said.err
    for name in ("nowhere.csv", "."):
        assert tw("catalog", "import", name).status == 2


@pytest.mark.parametrize("words", [
    ("import",), ("reset", "x.csv"), ("--replace",), ("--max-price", "5"), ("--max-price", "$0"),
    ("--columns", "name,nothing"), ("sell",),
])  # fmt: skip
def test_a_command_that_makes_no_sense(tw: Tw, prices: Prices, words: tuple[str, ...]) -> None:
    assert tw("catalog", *words).status == 2


@pytest.mark.parametrize("body", [
    {"text": HEAD + "\n" + BIG + "\ud800"}, {"text": HEAD + "\nx\u0000"}, {"text": ""},
    {"text": "\ud800", "file": "\ud800"}, {"text": HEAD.replace("region", "\ud801")}, {},
    {"text": f"{HEAD},source\n{BIG},a\u0000b"},
])  # fmt: skip
def test_whatever_is_sent_is_answered(prices: Prices, body: dict[str, Any]) -> None:
    with local.connect() as client:
        answer = client.http._http.put(
            "/api/v1/catalog",
            content=json.dumps(body),
            headers={"content-type": "application/json"},
        )
    assert 400 <= answer.status_code < 500 and answer.json()["error"]["message"]
    assert not any(row["imported"] for row in prices.listing())
