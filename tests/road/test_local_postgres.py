"""A pipeline over a real PostgreSQL, which a package brings along."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres
from tests.road.home import Home, home_in

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("local-postgres")]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres.serving(tmp_path_factory.mktemp("pg")) as server:
        server.psql("CREATE DATABASE tradewind;")
        yield server.get_uri(database="tradewind")


@pytest.fixture(scope="module")
def home(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home_in(tmp_path_factory.mktemp("home"), "--store", url) as home:
        yield home


FLOW = """
kind: pipeline
name: flow
params: {n: 3}
steps:
  - {name: made, uses: {kind: function, entry: steps.py:made}, params: {n: $params.n}}
  - {name: squares, uses: {kind: function, entry: steps.py:square}, foreach: $made,
     params: {x: $item}}
  - {name: total, uses: {kind: function, entry: steps.py:total}, input: {parts: $squares}}
outputs: {total: $total}
"""
STEPS = """
def made(n): return list(range(n))
def square(x): return x * x
def total(parts): return sum(parts)
"""


def test_a_pipeline_and_a_server_that_comes_back(home: Home, url: str) -> None:
    folder: Path = home.write({"flow.yaml": FLOW, "steps.py": STEPS}, "flow")
    assert home.json("status")["store"]["kind"] == "postgresql"
    body = home.json("run", "flow.yaml", cwd=folder)
    assert body["results"]["total"]["value"] == 5
    assert not (home.data / "tradewind.db").exists()
    home.good("down")
    home.good("up", "--store", url)
    again = home.json("run", "flow.yaml", cwd=folder)
    children = home.json("describe", again["id"])["children"]
    assert all(each["cached_from"] for each in children)
