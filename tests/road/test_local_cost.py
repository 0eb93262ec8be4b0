"""`tw cost` of real runs: the hot line is named, and what is shown adds up to the bill."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.road.home import Home

pytestmark = pytest.mark.xdist_group("local-cost")

HOT = """\
import time

from tradewind import function


@function
def f():
    kept = [n for n in range(1000)]
    until = time.process_time() + 0.8
    while time.process_time() < until:
        kept.sort(key=lambda n: -n * 7 % 1009)  # hot
    return len(kept)
"""


def cents(text: str) -> int:
    return int(text.strip().strip("$").replace(".", ""))


def test_the_hot_line_has_the_most_and_all_is_the_bill(home: Home) -> None:
    home.write({"f.py": HOT})
    run = home.json("run", "f.py")
    said = home.good("cost", run["id"]).out
    first, *rest = [re.match(r"\s*(\$[\d.]+)  ", line) for line in said.splitlines()]
    assert first is not None
    shown = [cents(each[1]) for each in rest if each is not None]
    assert sum(shown) == cents(first[1])
    body: Any = home.json("cost", run["id"])
    assert body["price"] == home.json("describe", run["id"])["price"]
    [file] = body["files"]
    hot = max(file["lines"], key=lambda line: line["price"])
    assert "# hot" in file["source"][hot["line"] - 1]
    assert "# hot" in said and body["looks"] > 3
    assert all("\t" not in each["name"] for each in home.json("describe", run["id"])["phases"])


def test_the_project_and_what_is_idle_pay_for_this_machine(home: Home) -> None:
    home.write({"f.py": HOT})
    home.json("run", "f.py")
    body: Any = home.json("bill", "--from", "1h")
    [pool] = [each for each in body["pools"] if each["pool"] == "local"]
    assert pool["projects"]["default"] > 0 and pool["idle"] > 0
    assert sum(pool["projects"].values()) + pool["idle"] == pool["total"]
    assert "(idle)" in home.good("bill", "--from", "1h").out


def test_a_change_is_told_with_its_line(home: Home) -> None:
    home.write({"f.py": HOT})
    before = home.json("run", "f.py")["id"]
    home.write({"f.py": HOT.replace("0.8", "1.6")})
    now = home.json("run", "f.py")["id"]
    body = home.json("cost", now, "--against", before)["against"]
    assert (body["run"], body["verdict"]) == (before, "dearer")
    assert "more work" in home.good("cost", now, "--against", before).out


def test_a_no_op_has_phases_only(home: Home) -> None:
    home.write({"n.py": "from tradewind import function\n\n\n@function\ndef n():\n    return 1\n"})
    run = home.json("run", "n.py")
    said = home.good("cost", run["id"])
    assert "no lines, only phases" in said.err and "n.py" not in said.out
    body = home.json("cost", run["id"])
    assert sum(each["price"] for each in body["buckets"]) == body["price"]


def test_what_does_not_exist_is_said(home: Home) -> None:
    assert home.tw("cost", "rnone").status == 2
