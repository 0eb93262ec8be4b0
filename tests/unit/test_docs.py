"""The pages say what the code does: generated parts are fresh, and lists are whole."""

import importlib.util
import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from tradewind.control import pools
from tradewind.engines.kubernetes import options, rules
from tradewind.records.reports import KINDS as REPORTS
from tradewind.records.states import AttemptState, PlacementState, RunState
from tradewind.specs import KINDS, DeviceSpec, PoolSpec, TrainingSpec, from_document

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


make_docs, check_docs = script("make_docs"), script("check_docs")


def coded(page: str) -> set[str]:
    """What a page of docs/ writes as code, outside fences."""
    text = re.sub(r"^```.*?^```", "", (DOCS / page).read_text("utf-8"), flags=re.M | re.S)
    return set(re.findall(r"`([^`\n]+)`", text))


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_generated_parts_are_up_to_date(page: Path) -> None:
    assert make_docs.written(page) is None, "make docs"


def test_no_link_is_broken_and_no_module_made_up() -> None:
    assert [fault for page in check_docs.pages() for fault in check_docs.check_page(page)] == []
    assert list(check_docs.check_rooms()) == []


def test_a_blank_line_before_a_fence_is_no_indent(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text\n\n```python\nif True:\npass\n```\n\n```python\nx = 1\n```\n")
    fences = list(check_docs.FENCE.finditer(page.read_text()))
    assert [(fence[1], fence[3]) for fence in fences] == [("", "if True:\npass\n"), ("", "x = 1\n")]
    assert check_docs.broken(fences[0][3], fences[0][1])


def test_the_glossary_has_every_kind_and_state() -> None:
    words = coded("glossary.md")
    states = {*RunState, *PlacementState, *AttemptState}
    assert {*KINDS, *map(str, states)} <= words


def test_reports_are_described_as_they_are() -> None:
    words = coded("reports.md")
    page = (DOCS / "reports.md").read_text("utf-8")
    assert re.findall(r"^\| `(\w+)` \|", section(page, "Kinds"), re.M) == list(REPORTS)
    reasons = re.findall(r"^\| `(\w+)` \|", section(page, "Exit"), re.M)
    assert sorted(reasons) == make_docs.exit_reasons()
    assert {*map(str, AttemptState), *map(str, PlacementState)} <= words


def section(page: str, heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    assert found is not None
    return found[1]


def test_events_have_their_bodies_described() -> None:
    described = " ".join(coded("events.md"))
    assert all(kind.split(".")[0] + "." in described for kind in make_docs.event_types())


def test_every_variable_of_ours_is_described() -> None:
    assert set(make_docs.variables()) <= coded("operations.md")


def test_tests_that_pages_name_are_there() -> None:
    code = "".join(
        path.read_text("utf-8")
        for folder in (ROOT / "tests", ROOT / "src/tradewind/testing")
        for path in folder.rglob("*.py")
    )
    there = set(re.findall(r"def (test_\w+)", code))
    for page in DOCS.rglob("*.md"):
        named = set(re.findall(r"`(test_\w+)`", page.read_text("utf-8")))
        assert named <= there, f"{page.name} names tests that are not there: {named - there}"


def test_files_that_pages_name_are_there() -> None:
    pages = [ROOT / "README.md", *DOCS.glob("*.md")]
    for page in pages:
        for path in re.findall(r"`((?:src|tests|examples|scripts|benchmarks)/[\w./-]+)`",
                               page.read_text("utf-8")):  # fmt: skip
            assert (ROOT / path).exists(), f"{page.name}: {path}"
    rooms = ROOT / "docs/rooms"
    for page in rooms.glob("*.md"):
        home = ROOT / "src/tradewind" / page.stem
        for path in re.findall(r"^\| `(\w+\.\w+)`", page.read_text("utf-8"), re.M):
            found = list(home.rglob(path)) or page.stem == "kinds"
            assert found, f"{page.name}: {path}"


def test_the_page_for_clusters_says_what_the_engine_takes_and_asks() -> None:
    page = (DOCS / "cluster.md").read_text("utf-8")
    written = [
        yaml.safe_load(textwrap.dedent(fence[3]))
        for fence in check_docs.FENCE.finditer(page)
        if fence[2] == "yaml"
    ]
    pool, role, training, *devices = written
    for each in devices:
        assert isinstance(from_document(each), DeviceSpec)
    spec, workload = from_document(pool), from_document(training)
    assert isinstance(spec, PoolSpec) and isinstance(workload, TrainingSpec)
    pools.check(spec, {})
    rows = re.findall(r"^\| (`.*?`) \|", section(page, "Connect one in five minutes"), re.M)
    assert {each for row in rows for each in re.findall(r"`(\w+)`", row)} == set(options.KNOWN)
    told = {(rule["apiGroups"][0], resource): tuple(rule["verbs"])
            for rule in role["rules"] for resource in rule["resources"]}  # fmt: skip
    asked = {(kind.group, "/".join(filter(None, (kind.plural, part)))): verbs
             for kind, part, verbs in rules.NAMESPACED}  # fmt: skip
    assert told == asked
    assert workload.resources is not None
    assert dict(workload.resources.accelerators) == {"nvidia.com/gpu": 1}


def test_the_readme_shows_the_files_of_the_tour() -> None:
    """What stands in a fence as a whole file is that file."""
    readme = (ROOT / "README.md").read_text("utf-8")
    fences = [fence[3] for fence in check_docs.FENCE.finditer(readme)]
    tour = ROOT / "examples" / "tour"
    for name in ("flights.yaml", "clean.tw", "late.yaml"):
        assert (tour / name).read_text("utf-8") in fences, name
    shown = next(fence for fence in fences if "@tw.pipeline" in fence)
    assert shown in (tour / "late.py").read_text("utf-8")
