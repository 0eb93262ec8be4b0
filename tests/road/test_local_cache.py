"""What is made once and taken again, and what says why it was not: the real local engine."""

from pathlib import Path
from typing import Any

import pytest

from tests.road.home import Home

pytestmark = pytest.mark.xdist_group("local-cache")

STEPS = """
import json


def extract(rows: int) -> list:
    return list(range(rows))


def clean(raw: list) -> list:
    kept = [x for x in raw if x % 2 == 0]
    return kept


def count(raw: list) -> int:
    return len(raw)


def total(cleaned: list, by: int) -> int:
    return by * sum(cleaned)


def report(counted: int, summed: int) -> str:
    return json.dumps([counted, summed])
"""
FLOW = """
kind: pipeline
name: flow
params: {rows: 10, by: 2}
steps:
  - {name: extract, uses: {kind: function, entry: steps.py:extract}, params: {rows: $params.rows}}
  - {name: clean, uses: {kind: function, entry: steps.py:clean}, input: {raw: $extract}}
  - {name: count, uses: {kind: function, entry: steps.py:count}, input: {raw: $extract}}
  - name: total
    uses: {kind: function, entry: steps.py:total}
    input: {cleaned: $clean}
    params: {by: $params.by}
  - name: report
    uses: {kind: function, entry: steps.py:report}
    input: {counted: $count, summed: $total}
outputs: {report: $report}
"""
ALL = {"extract", "clean", "count", "total", "report"}


def run(home: Home, *words: str | Path, cwd: Path) -> tuple[Any, set[str]]:
    """The run's body, and the steps that were not taken from the cache."""
    body = home.json("run", "flow.yaml", *words, cwd=cwd)
    whole = home.json("describe", body["id"])
    return body, {each["name"] for each in whole["children"] if not each["cached_from"]}


def why(home: Home, body: Any, step: str) -> str:
    """What the step says of why it ran anew, as a person reads it."""
    [child] = [c for c in home.json("describe", body["id"])["children"] if c["name"] == step]
    return home.good("describe", child["id"]).out


def test_each_change_reruns_what_it_must_and_names_itself(home: Home) -> None:
    folder = home.write({"steps.py": STEPS, "flow.yaml": FLOW}, "flow")
    body, worked = run(home, cwd=folder)
    assert (body["results"]["report"]["value"], worked) == ("[10, 40]", ALL)

    body, worked = run(home, cwd=folder)
    assert (body["results"]["report"]["value"], worked) == ("[10, 40]", set())

    # A remark and another file beside it change nothing that works.
    home.write({"steps.py": STEPS.replace("import json\n", "import json  # for reports\n"),
                "notes.md": "nothing"}, "flow")  # fmt: skip
    assert run(home, cwd=folder)[1] == set()

    # One line of one step: it and what depends on it; the line is named.
    changed = STEPS.replace("x % 2 == 0", "x % 2 == 1")
    home.write({"steps.py": changed}, "flow")
    body, worked = run(home, cwd=folder)
    assert (body["results"]["report"]["value"], worked) == (
        "[10, 50]",
        {"clean", "total", "report"},
    )
    line = changed.splitlines().index("    kept = [x for x in raw if x % 2 == 1]") + 1
    assert f"steps.py:{line}" in why(home, body, "clean")
    assert "cleaned" in why(home, body, "total")

    # A parameter.
    body, worked = run(home, "--param", "by=3", cwd=folder)
    assert (body["results"]["report"]["value"], worked) == ("[10, 75]", {"total", "report"})
    assert "by: 2 → 3" in why(home, body, "total")

    # And back: both results are there already.
    assert run(home, cwd=folder)[1] == set()
    text = home.good("run", "flow.yaml", cwd=folder).err
    assert text.count("from the cache") >= 5


SQL = """
kind: dataset
name: sales
source: sales.csv
---
kind: pipeline
name: flow
steps:
  - name: big
    uses: {kind: function, sql: SELECT * FROM sales WHERE amount > 10}
    input: {sales: sales}
outputs: {big: $big}
"""


def test_a_new_version_of_a_dataset_is_named(home: Home) -> None:
    folder = home.write({"flow.yaml": SQL, "sales.csv": "id,amount\n1,5\n2,20\n"}, "sales")
    _, worked = run(home, cwd=folder)
    assert worked == {"big"}
    assert run(home, cwd=folder)[1] == set()
    home.write({"sales.csv": "id,amount\n1,50\n2,20\n3,7\n"}, "sales")
    body, worked = run(home, cwd=folder)
    assert worked == {"big"}
    assert "sales@1 → sales@2" in why(home, body, "big")

    found = home.json("diff", "dataset/sales", "1", "2")
    rows = found["rows"]
    assert (rows["added"], rows["removed"], rows["changed"]) == (2, 1, 0)
    assert "rows" in home.good("diff", "dataset/sales", "1", "2").out
    assert home.tw("diff", "dataset/sales", "1", "9").status == 2


def test_a_failed_import_leaves_the_old_version(home: Home) -> None:
    spec = "kind: dataset\nname: pets\nsource: pets.csv\n"
    folder = home.write({"pets.yaml": spec, "pets.csv": "name,age\ncat,3\n"}, "pets")
    home.good("run", "pets.yaml", cwd=folder)
    (folder / "pets.csv").write_bytes(b"name,age\ncat,3\nd\xff\xfeg,4\n")
    said = home.tw("run", "pets.yaml", cwd=folder)
    assert said.status == 1
    assert "pets.csv" in said.err
    assert "line 3" in said.err or ":3" in said.err
    assert home.json("describe", "dataset/pets")["number"] == 1
    (folder / "pets.csv").unlink()
    said = home.tw("run", "pets.yaml", cwd=folder)
    assert (said.status, "no file" in said.err) == (2, True)


CONFLICT = """
kind: pipeline
name: flow
steps:
  - {name: a, uses: {kind: function, entry: a.py:a, dependencies: ["%s"]}}
"""


@pytest.mark.slow
def test_environments_of_their_own(home: Home) -> None:
    """A version that changed is named; a resolver's failure is told as the resolver said it."""
    code = "def a():\n    import pydantic\n    return pydantic.VERSION\n"
    here = home.write({"a.py": code, "flow.yaml": CONFLICT % "pydantic==1.10.26"}, "deps")
    assert run(home, cwd=here)[1] == {"a"}
    assert run(home, cwd=here)[1] == set()
    home.write({"flow.yaml": CONFLICT % "pydantic==1.10.24"}, "deps")
    body, worked = run(home, cwd=here)
    assert worked == {"a"}
    said = why(home, body, "a")
    assert "pydantic 1.10.26 → 1.10.24" in said

    home.write({"flow.yaml": CONFLICT % "pydantic==99"}, "deps")
    failed = home.tw("run", "flow.yaml", cwd=here)
    assert failed.status == 1
    assert "no version of pydantic==99" in failed.err
    assert "Traceback" not in failed.err
