"""`tw simulate` over tables and over the history of our own runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Tw
from tests.unit.sdk.fake import Fake
from tests.unit.simulator.test_simulate import MURI, NODES, PODS
from tradewind.simulator import simulate


@pytest.fixture(autouse=True)
def folder(fake: Fake) -> Path:
    for name, text in (("nodes.csv", NODES), ("pods.csv", PODS), ("muri.csv", MURI)):
        Path(name).write_text(text)
    return Path()


@pytest.fixture
def ended(fake: Fake) -> Fake:
    """Three runs that have ended on this machine, one that the cache knew, one that goes on."""
    demand = {"cpu": 2.0, "memory": 0, "accelerators": {}}
    for at in range(5):
        held = {"pool": "local", "placed": 100.0 + at, "started": 101.0 + at,
                "ended": 111.0 + at, "demand": demand}  # fmt: skip
        fake.runs[f"r{at}"] = {
            "id": f"r{at}", "kind": "function", "name": "f", "created": 100.0 + at, "plan": {},
            "project": "default", "queue": "default",
            "state": "running" if at == 4 else ("succeeded", "failed", "stopped")[at % 3],
            "placements": [] if at == 3 else [held],
        }  # fmt: skip
    return fake


def test_several_policies_stand_beside_each_other(tw: Tw) -> None:
    jobs = ("simulate", "muri.csv", "--nodes", "2x8", "--policy", "default", "--policy", "fifo")
    said = tw(*jobs)
    assert said.status == 0 and said.err == ""
    title, head, ours, fifo = said.out.splitlines()
    assert title == "3 jobs: time from their coming to their end"
    names = "policy mean 99th percentile makespan interrupted fair share"
    assert head.split() == names.split()
    assert ours.startswith("default ") and fifo.startswith("fifo ")
    found = json.loads(tw(*jobs, "-o", "json").out)
    assert found["trace"] == "jobs"
    assert [each["policy"] for each in found["policies"]] == ["default", "fifo"]
    alone = json.loads(tw("simulate", "muri.csv", "--nodes", "2x8", "-o", "json").out)
    assert found["policies"][0] == alone


def test_several_policies_of_processes_are_told_by_their_mean(tw: Tw) -> None:
    pods = ("simulate", "pods.csv", "--nodes", "nodes.csv", "--seed", "7", "--seed", "1-2")
    said = tw(*pods, "--policy", "fgd", "--policy", "random", "--policy", "fgd")
    assert "(mean of 3 seeds)" in said.out and len(said.out.splitlines()) == 4
    assert [line.split()[0] for line in tw(*pods).out.splitlines()[2:]] == ["7", "1", "2", "mean"]
    assert tw(*pods, "--policy", "fgd", "--policy", "x").status == 2
    assert tw("simulate", "pods.csv", "--seed", "1-600", "--seed", "601-1200").status == 2


def test_our_own_runs_are_replayed_over_the_pool_that_they_were_on(tw: Tw, ended: Fake) -> None:
    found = json.loads(tw("simulate", "history", "-o", "json").out)
    # Two cores, and each run wants both: one after the other.
    assert (found["jobs"], found["left_out"], found["interrupted"]) == (3, 0, 0)
    assert found["makespan"] == pytest.approx(33.0)
    assert "GET /api/v1/runs/r3" in ended.calls and "GET /api/v1/runs/r4" not in ended.calls
    Path("big.csv").write_text("sn,cpu_milli,memory_mib,gpu\na,8000,1024,0\n")
    wide = json.loads(tw("simulate", "history", "--nodes", "big.csv", "-o", "json").out)
    assert wide["makespan"] == pytest.approx(13.0)
    said = tw("simulate", "history", "-n", "2")
    assert said.status == 0 and "the newest 2 runs" in said.err


def test_the_history_is_saved_and_read_again(tw: Tw, ended: Fake) -> None:
    assert tw("simulate", "history", "--save", "h.csv").out == (
        "3 runs on pool local saved to h.csv\n"
    )
    told = json.loads(tw("simulate", "history", "--save", "h.csv", "-o", "json").out)
    assert told == {"saved": "h.csv", "runs": 3, "pool": "local"}
    Path("this.csv").write_text("sn,cpu_milli,memory_mib,gpu\na,2000,1024,0\n")
    again = tw("simulate", "h.csv", "--nodes", "this.csv", "-o", "json")
    assert again.out == tw("simulate", "history", "-o", "json").out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("history",), "the history is empty"),
        (("muri.csv", "--save", "x.csv"), "--save is said of our own runs"),
        (("muri.csv", "-n", "0"), "--limit is said of our own runs"),
        (("history", "-n", "-1"), "--limit"),
        (("history", "--save", "x.csv", "--policy", "fifo"), "--policy: with --save nothing is"),
        (("pods.csv", "--nodes", "nodes.csv", "--unknown"), "--unknown: the processes of this"),
        (("muri.csv", "--nodes", "1000000X8"), "1000000X8: more than 64 devices of a machine"),
        (("muri.csv", "--plot", "x.pdf"), "a picture is a file .svg or .png"),
        (("nodes.csv",), "nodes.csv:1: these columns"),
    ],
)
def test_what_makes_no_sense_is_told(tw: Tw, words: tuple[str, ...], why: str) -> None:
    said = tw("simulate", *words)
    assert said.status == 2 and why in said.err


def test_a_picture_is_drawn_beside_the_figures(tw: Tw) -> None:
    pytest.importorskip("matplotlib", reason="tradewind[plot] is not installed")
    said = tw("simulate", "muri.csv", "--nodes", "2x8", "--plot", "a.svg")
    assert said.status == 0 and "mean time to the end" in said.out and "drawn: a.svg" in said.err
    assert "% of all devices" in Path("a.svg").read_text()
    assert json.loads(
        tw("simulate", "muri.csv", "--nodes", "2x8", "--plot", "a.png", "-o", "json").out
    )


def test_ctrl_c_ends_it(tw: Tw, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(simulate, "carry_out", stopped)
    said = tw("simulate", "muri.csv")
    assert (said.status, said.out) == (130, "") and "interrupted" in said.err
