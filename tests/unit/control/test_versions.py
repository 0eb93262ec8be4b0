"""Two versions in one bundle, and what their calls say of the change."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.road.town import bundle_of
from tradewind.base.errors import UserError
from tradewind.blobs.folder import FolderBlobs
from tradewind.control import code, versions
from tradewind.inside.profiling import IDLE, MARK
from tradewind.inside.versions import FOLDER
from tradewind.records.pinned import Pinned
from tradewind.records.runs import Run
from tradewind.records.states import RunState
from tradewind.records.tasks import Environment

OLD, NEW = "def f(a):\n    return a + 1\n", "def f(a):\n    return slow(a) + 1\n"


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path)


def test_one_bundle_has_both(blobs: FolderBlobs) -> None:
    now, before = (blobs.put_bytes(bundle_of({"f.py": text})) for text in (NEW, OLD))
    both = versions.together(blobs, now, before)
    found = {name: data.decode() for name, data in code.files_of(blobs, both).items()}
    assert found == {"f.py": NEW, f"{FOLDER}/f.py": OLD}
    assert versions.together(blobs, now, before) == both
    assert versions.together(blobs, now, "") == now


def test_what_was_not_made_here_is_refused() -> None:
    for made in (None, {}, {"name": "x"}, "HEAD"):
        with pytest.raises(UserError):
            versions.check(made)


def told(
    blobs: FolderBlobs,
    before: list[float],
    now: list[float],
    load: float = 0.0,
    wall: float = 1.0,
    texts: tuple[str, str] = (NEW, OLD),
) -> Any:
    """What is said of these CPU seconds, of calls on a tenth of the input."""

    def body(works: list[float]) -> dict[str, Any]:
        calls = [{"rows": 0, "cpu": 0.01, "wall": 0.01}]
        return {"input": {"rows": 1000}, "calls": calls, "load": load, "problems": []}

    def sample(works: list[float], hot: float) -> dict[str, Any]:
        lines = {f"{MARK}f.py\t2\t": hot, f"{MARK}\t\t{IDLE}": 9.0, f"{MARK}\t\toutputs": 0.2}
        each = [{"cpu": cpu, "wall": cpu * wall} for cpu in works]
        return {"rows": 100, "works": each, "looks": 100, "lines": lines}

    samples = {"before": sample(before, 0.4), "now": sample(now, 0.6)}
    made, old = (
        Pinned(kind="function", name="f", project="default", spec={"entry": "f.py:f"},
               environment=Environment(digest="e"),
               bundle=blobs.put_bytes(bundle_of({"f.py": text})))
        for text in texts
    )  # fmt: skip
    run = Run(id="r1", project="default", kind="function", name="f", state=RunState.PROBING,
              spec={}, created=0.0, updated=0.0, memory={"probes": body(now)})  # fmt: skip
    return versions._change(blobs, made, old, run, {**body(before), "samples": samples})


def test_a_change_is_told_with_both_texts(blobs: FolderBlobs) -> None:
    found = told(blobs, [0.60, 0.61], [0.80, 0.81])
    assert found["verdict"] == "dearer" and "more work" in found["words"]
    [line] = found["lines"]
    assert (line["file"], line["line"], line["was"]) == ("f.py", 2, 2)
    assert (line["text"], line["was_text"]) == (NEW.splitlines()[1], OLD.splitlines()[1])


def test_what_the_clock_cannot_tell_is_not_told(blobs: FolderBlobs) -> None:
    assert told(blobs, [0.60, 0.61], [0.61, 0.60])["verdict"] == "same"
    assert told(blobs, [0.60, 0.61], [0.58, 0.70], load=3.0)["verdict"] == "unclear"
    assert told(blobs, [0.60, 0.70], [0.66, 0.77], load=3.0)["verdict"] == "dearer"
    assert told(blobs, [0.06, 0.06], [0.09, 0.09])["verdict"] == "unclear"
    assert "too few calls" in told(blobs, [0.6], [0.9, 0.9])["words"]


def test_what_does_the_same_costs_the_same_whatever_its_calls_took(blobs: FolderBlobs) -> None:
    spaced = "# what for\n\ndef f(a):\n\n    return (a + 1)\n\n\ndef other():\n    pass\n"
    found = told(blobs, [0.6], [0.9, 0.9], texts=(spaced, OLD))
    assert (found["verdict"], found["lines"]) == ("same", [])
    assert told(blobs, [0.6], [0.9, 0.9])["verdict"] == "unclear"


def test_who_sleeps_is_judged_by_the_clock(blobs: FolderBlobs) -> None:
    found = told(blobs, [0.10, 0.20], [0.20, 0.10], wall=10.0)
    assert found["verdict"] == "unclear"
    assert told(blobs, [0.2, 0.2], [0.4, 0.4], wall=10.0)["verdict"] == "dearer"


def test_regressions_are_found_and_alarms_are_true(blobs: FolderBlobs) -> None:
    """With a clock whose equal calls differ by 1.5 %."""
    rng = random.Random(7)

    def drawn(factor: float) -> str:
        before, now = ([s * rng.gauss(1, 0.015) for _ in range(2)] for s in (0.6, 0.6 * factor))
        return str(told(blobs, before, now)["verdict"])

    assert sum(drawn(1.12) == "dearer" for _ in range(100)) >= 95
    assert sum(drawn(1.0) in ("dearer", "cheaper") for _ in range(100)) <= 5
