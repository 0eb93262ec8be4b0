"""Traces in virtual time: what comes of them, what is refused, and the published figures."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tradewind.base.errors import InvalidData, NotFound, UserError
from tradewind.cli.front import main
from tradewind.simulator.simulate import PLACERS, compare, scene, simulate
from tradewind.simulator.watching import Watch

NODES = "sn,cpu_milli,memory_mib,gpu,model\n" + "".join(
    f"n{at},32000,262144,{(2, 4, 8)[at % 3]},{'T4' if at % 2 else 'V100'}\n" for at in range(12)
)
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n" + "".join(
    f"p{at:03},{(1000, 4000, 8000)[at % 3]},1024,{1 if at % 5 else 2 * (at % 2)},"
    f"{(1000, 500, 250)[at % 3] if at % 5 else 1000},{'T4|V100' if at % 7 else ''}\n"
    for at in range(60)
)
MURI = (
    "job_id,num_gpu,submit_time,iterations,model_name,batch_size,iteration_time\n"
    "a,8,0,1000000,bert,1,1000\nb,1,10000000,10,dqn,1,1000\nc,16,20000000,100,vgg16,1,1000\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("nodes.csv", NODES), ("pods.csv", PODS), ("muri.csv", MURI)):
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("policy", PLACERS)
def test_every_policy_gives_devices_away_and_the_same_ones_again(folder: Path, policy: str) -> None:
    once, again = (
        simulate(folder / "pods.csv", policy, str(folder / "nodes.csv"), (1, 2)) for _ in range(2)
    )
    assert once == again
    for seed in once["seeds"]:
        told = [value for value in seed["allocation_at"].values() if value is not None]
        assert told == sorted(told) and 60 < told[-1] <= 100
    assert once["seeds"][0]["allocation_at"] != once["seeds"][1]["allocation_at"]


@pytest.mark.parametrize("policy", ["default", "srsf", "srtf", "tiresias"])
def test_a_short_job_does_not_wait_for_a_long_one(folder: Path, policy: str) -> None:
    found = simulate(folder / "muri.csv", policy, "2x4")
    assert (found["jobs"], found["left_out"]) == (2, 1), "16 devices are more than there are"
    assert found["mean_jct"] < 1.02 * (1_015_000 + 10) / 2
    assert found["interrupted"] == 1
    waits = simulate(folder / "muri.csv", "fifo", "2x4")
    assert waits["interrupted"] == 0 and waits["mean_jct"] > 1_000_000


def test_the_verb_shows_and_tells(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(folder / "muri.csv"), "--nodes", "2x8"]) == 0
    shown = capsys.readouterr().out
    assert "mean time to the end" in shown and "281.98 h" in shown
    nodes = str(folder / "nodes.csv")
    words = ["simulate", str(folder / "pods.csv"), "--nodes", nodes, "--seed", "7"]
    assert main([*words, "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["allocation_at"].keys() == {"80", "90", "95", "100", "110", "120", "130"}
    assert main(words) == 0 and "at 130" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "these columns are not those of a trace"),
        ("a,b\n1,2\n", "these columns are not those of a trace"),
        (PODS.splitlines()[0] + "\n", "without rows"),
        (PODS + "x,-1,1,1,1000,\n", "cpu_milli: not a number"),
        (PODS + "x,nan,1,1,1000,\n", "cpu_milli: not a number"),
        (PODS + "x,1e300,1,1,1000,\n", "cpu_milli: not a number"),
        (PODS + "x,1.5,1,1,1000,\n", "cpu_milli: not a whole number"),
        (PODS + "x,1,1,1,0,\n", "0 thousandths"),
        (PODS + "x,1,1,2,500,\n", "a single device"),
        (PODS + "x,1\n", "the row ends before memory_mib"),
        (MURI + "d,0,1,1,bert,1,1\n", "a job without devices"),
        (MURI + "a,1,1,1,bert,1,1\n", "a second job 'a'"),
        ("timestamp,duration,num_gpus,cluster\nyesterday,1,1,a\n", "not a moment"),
        ("\0\xff", "these columns"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(folder: Path, text: str, why: str) -> None:
    (folder / "bad.csv").write_text(text)
    with pytest.raises(InvalidData, match=why) as told:
        simulate(folder / "bad.csv", "default", "2x8", (1,))
    assert "bad.csv" in str(told.value.where)


def test_a_machine_is_in_a_table_once(folder: Path) -> None:
    (folder / "twice.csv").write_text(NODES + "n3,1,1,1,T4\n")
    with pytest.raises(InvalidData, match="a second machine 'n3'") as told:
        simulate(folder / "pods.csv", "default", str(folder / "twice.csv"), (1,))
    assert told.value.where is not None and told.value.where.line == 14


def test_what_is_asked_for_wrongly_is_refused(folder: Path) -> None:
    pods = folder / "pods.csv"
    with pytest.raises(UserError, match="no policy 'srsf' for processes that stay") as told:
        simulate(pods, "srsf", "2x8")
    assert "fgd" in told.value.hint
    with pytest.raises(UserError, match="which cluster"):
        simulate(pods, "default")
    with pytest.raises(NotFound):
        simulate(folder / "none.csv", "default")
    with pytest.raises(NotFound):
        simulate(pods, "default", "many")
    with pytest.raises(InvalidData, match="a cluster of nothing"):
        simulate(pods, "default", "0x8")
    for seed in ("x", "5-1", "0-100000"):
        assert main(["simulate", str(pods), "--nodes", "2x8", "--seed", seed]) == 2


TOLD = "TRADEWIND_TRACES" in os.environ


@pytest.mark.skipif(not TOLD, reason="set TRADEWIND_TRACES to the folder of the traces")
def test_the_public_traces_come_out_as_published() -> None:
    traces = Path(os.environ["TRADEWIND_TRACES"])
    pods = traces / "openb_pod_list_default.csv"
    watch = Watch(wanted=True)
    found = compare(scene(pods), ("default", "fgd", "first-fit"), (42,), True, watch)
    ours, fgd, first = (each["allocation_at"]["130"] for each in found["policies"])
    assert abs(fgd - 95.39) < 0.3 and ours > fgd + 0.3 and ours > first
    line = watch.lines[1]
    assert abs(line.idle[line.at == 100].item() - 4.73) < 0.2, "fragmentation of FGD at 100 %"
    srsf = simulate(traces / "muri_trace3.csv", "srsf")
    assert abs(srsf["mean_jct"] / 3600 - 51.39) < 0.1
    assert simulate(traces / "muri_trace3.csv", "default")["mean_jct"] <= srsf["mean_jct"]
    blind = simulate(traces / "muri_trace3.csv", "default", known=False)
    assert blind["mean_jct"] / 3600 < 96.45
