"""Traces in virtual time: what comes of them, what is refused, and the published figures."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tradewind.base.errors import InvalidData, NotFound, UserError
from tradewind.cli.front import main
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import PoolChanged
from tradewind.scheduler.nodes import Ask, Node
from tradewind.scheduler.rows import FirstFit
from tradewind.simulator import figures
from tradewind.simulator.replay import Job, Outcome, Replay
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
        told = [*seed["allocation_at"].values()]
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
        ("", "an empty file"),
        ("a,b\n1,2\n", "these columns are not those of a trace"),
        (PODS.splitlines()[0] + "\n", "without rows"),
        (PODS + "x,-1,1,1,1000,\n", "not a whole number from 0 to 1,099"),
        (PODS + "x,nan,1,1,1000,\n", "not a whole number from 0 to 1,099"),
        (PODS + "x,1e300,1,1,1000,\n", "not a whole number from 0 to 1,099"),
        (PODS + "x,1.5,1,1,1000,\n", "not a whole number from 0 to 1,099"),
        (PODS + "x,1,1,1,0,\n", "0 thousandths"),
        (PODS + "x,1,1,2,500,\n", "a single device"),
        (PODS + "x,1\n", "the row ends before memory_mib"),
        (PODS + "x,1,1,1,1000\n", "the row ends before gpu_spec"),
        (PODS + "x,1,1,1,1000,,\n", "more values than columns"),
        (PODS + "x,1_000,1,1,1000,\n", "not a whole number from 0 to 1,099"),
        (PODS + "x,\u0661,1,1,1000,\n", "not a whole number from 0 to 1,099"),
        (PODS.replace("gpu_spec", "num_gpu"), "a second column 'num_gpu'"),
        (MURI + "d,0,1,1,bert,1,1\n", "a job without devices"),
        (MURI + "d,1099511627689,1,1,bert,1,1\n", "not a whole number from 0 to 100,000"),
        (MURI + "d,1,1,1,bert,1,nan\n", "not a number from 0"),
        ("job_id,num_gpu\n1,1\n", "submit_time, iterations, model_name, iteration_time missing"),
        (NODES, "these columns are not those of a trace"),
        (MURI + "a,1,1,1,bert,1,1\n", "a second job 'a'"),
        ("timestamp,duration,num_gpus,cluster\nyesterday,1,1,a\n", "not a moment"),
        ("\0\xff", "these columns"),
        ("\n \n", "an empty file"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(folder: Path, text: str, why: str) -> None:
    (folder / "bad.csv").write_text(text)
    with pytest.raises(InvalidData, match=why) as told:
        simulate(folder / "bad.csv", "default", "2x8", (1,))
    assert "bad.csv" in str(told.value.where)


def test_processes_that_fit_nowhere_are_counted_and_all_of_them_refused(folder: Path) -> None:
    wide, nodes = PODS + "wide,1,1,16,1000,\n", str(folder / "nodes.csv")
    (folder / "wide.csv").write_text(wide + "odd,1,1,1,1000,H100\n")
    found = simulate(folder / "wide.csv", "first-fit", nodes, (1,))
    assert found["left_out"] == 2
    (folder / "wide.csv").write_text(PODS.splitlines()[0] + "\nwide,1,1,16,1000,\n")
    with pytest.raises(InvalidData, match="no process of this trace that asks for a device fits"):
        simulate(folder / "wide.csv", "first-fit", nodes, (1,))
    (folder / "cores.csv").write_text(PODS.splitlines()[0] + "\nx,1000,1,0,0,\n")
    with pytest.raises(InvalidData, match="nothing in this trace asks for a device"):
        simulate(folder / "cores.csv", "first-fit", nodes, (1,))
    with pytest.raises(InvalidData) as told:
        simulate(folder / "pods.csv", "first-fit", "2x8", (1,))
    assert "table of machines" in told.value.hint


def test_on_a_small_cluster_each_percent_has_a_figure(folder: Path) -> None:
    (folder / "one.csv").write_text("sn,cpu_milli,memory_mib,gpu,model\nn,64000,262144,3,T4\n")
    (folder / "alike.csv").write_text(PODS.splitlines()[0] + "\nx,1000,1,1,1000,\n")
    found = simulate(folder / "alike.csv", "first-fit", str(folder / "one.csv"), (1, 2))
    at = found["allocation_at"]
    assert (at["80"], at["90"], at["100"], at["130"]) == pytest.approx((200 / 3, 200 / 3, 100, 100))


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
    with pytest.raises(InvalidData, match="or 1,000,000 together"):
        simulate(pods, "default", "999999x999")
    for seed in ("x", "5-1", "0-100000"):
        assert main(["simulate", str(pods), "--nodes", "2x8", "--seed", seed]) == 2


@pytest.mark.parametrize("name", ["a.csv", "a.yaml"])
def test_what_is_no_text_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe\x80")
    with pytest.raises(InvalidData, match="not a text") as told:
        scene(tmp_path / name)
    assert name in str(told.value.where)
    (tmp_path / "folder").mkdir()
    folder = (tmp_path / "folder").rename(tmp_path / f"folder{name}")
    with pytest.raises(InvalidData, match="a folder, not a file"):
        scene(folder)


def test_a_moment_without_a_zone_is_the_same_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In New York the clocks were set back between these two."""
    rows = "".join(f"2017-11-05T{at:02}:30:00,60,1,a\n" for at in (0, 12))
    (tmp_path / "philly.csv").write_text("timestamp,duration,num_gpus,cluster\n" + rows)
    try:
        for zone in ("America/New_York", "UTC"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            assert [job.at for job in scene(tmp_path / "philly.csv", "1x8").jobs] == [0, 12 * 3600]
    finally:
        monkeypatch.undo()
        time.tzset()


KUEUE = """
cohorts:
- className: cohort
  count: 1
  queuesSets:
  - {className: cq, count: 2, nominalQuota: 4, borrowingLimit: 4, workloadsSets: [
      {count: 20, creationIntervalMs: 100, workloads: [
        {className: small, runtimeMs: 1000, priority: 1, request: 1},
        {className: large, runtimeMs: 2000, priority: 2, request: 4}]}]}
"""


@pytest.mark.parametrize("policy", ["default", "fifo"])
def test_queues_tell_what_they_got_and_how_long_their_classes_waited(
    tmp_path: Path, policy: str
) -> None:
    (tmp_path / "kueue.yaml").write_text(KUEUE)
    found = simulate(tmp_path / "kueue.yaml", policy)
    assert found == simulate(tmp_path / "kueue.yaml", policy, seeds=(7,))
    assert (found["trace"], found["jobs"], found["left_out"]) == ("queues", 80, 0)
    small, large = found["admission"]["small"], found["admission"]["large"]
    assert small["jobs"] == large["jobs"] == 40 and small["mean"] > large["mean"] > 0
    assert large["p99"] <= found["makespan"] - 2
    parts = found["queues"].values()
    assert sum(one["share"] for one in parts) == pytest.approx(1)
    assert [one["guaranteed"] for one in parts] == [0.5, 0.5]
    assert all(0.8 < one["used"] <= 1.01 for one in parts)
    # 8 cores have 2 x 20 x (1 + 8) core seconds to do.
    assert found["makespan"] >= 45


def test_workloads_that_no_queue_may_hold_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "kueue.yaml").write_text(KUEUE.replace("request: 4", "request: 9"))
    found = simulate(tmp_path / "kueue.yaml", "default")
    assert (found["jobs"], found["left_out"]) == (40, 40) and list(found["admission"]) == ["small"]


@pytest.mark.parametrize(
    ("before", "after", "where", "why"),
    [
        ("nominalQuota: 4, ", "", "cohorts.0.queuesSets.0.nominalQuota", "required"),
        ("nominalQuota: 4", "nominalQuota: -4", "nominalQuota", "greater than or equal"),
        ("count: 20", "count: .nan", "kueue.yaml:7:15", "finite"),
        ("count: 20", "count: true", "workloadsSets.0.count", "valid integer"),
        ("count: 20", "count: 20, count: 30", "kueue.yaml:7", "second time"),
        ("nominalQuota: 4", "nominalQuota: 4, nominalQota: 4", "queuesSets.0.nominalQota", "Extra"),
        ("nominalQuota: 4", "nominalQuota: 4, reclaimWithinCohort: Never", "reclaim", "'Any'"),
        ("count: 20", "count: 1000000", "kueue.yaml", "at most 5,000 with 1,000,000"),
        ("count: 2,", "count: 9000,", "kueue.yaml", "at most 5,000 with 1,000,000"),
        ("priority: 1", f"priority: 1{'0' * 400}", "priority", "at most 64 bits"),
        (KUEUE.split("workloadsSets")[1], ": []}\n", "kueue.yaml", "without workloads"),
        ("}]}]}", "", "kueue.yaml:10", "not YAML"),
        ("cohorts:", "cohorts: 2001-13-45 #", "kueue.yaml", "not YAML"),
        (KUEUE, "[" * 100_000, "kueue.yaml", "deeper than 50"),
        (KUEUE, "- a\n", "kueue.yaml", "not a list of cohorts"),
        (KUEUE, "", "kueue.yaml", "an empty file"),
    ],
)
def test_a_generator_that_cannot_be_read_says_where(
    tmp_path: Path, before: str, after: str, where: str, why: str
) -> None:
    (tmp_path / "kueue.yaml").write_text(KUEUE.replace(before, after))
    with pytest.raises(UserError, match=why) as told:
        scene(tmp_path / "kueue.yaml")
    assert where in str(told.value.where)


def test_queues_are_shown_and_have_their_own_policies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kueue.yaml").write_text(KUEUE)
    words = ["simulate", str(tmp_path / "kueue.yaml")]
    assert main([*words, "--policy", "default", "--policy", "fifo"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("cohort-0-0-cq-0-1") == 2 and shown.count("large") == 2
    assert main([*words, "--policy", "srsf"]) == 2
    assert "under quotas" in capsys.readouterr().err
    assert main([*words, "--nodes", "2x8"]) == 2, "no cores"


def test_how_long_a_job_takes_is_told_beside_its_fair_share() -> None:
    """Two jobs of one device on two: alone each has one, and neither is worse off. Three of both
    devices one after the other: the last is there with 2 others on average over its stay."""
    nodes = [Node(name="n", cpu=0, devices=(("", 2),))]

    def ended(name: str, wide: int, at: float, began: float, end: float) -> Outcome:
        job = Job(name=name, at=at, seconds=end - began, parts=((Ask(devices=wide), 1),))
        return Outcome(job, began, end, spans=[(began, end)])

    found = figures.fair_share([ended("a", 1, 0, 0, 10), ended("b", 1, 0, 0, 10)], nodes)
    assert (found["worst"], found["above_1"]) == (1.0, 0.0)
    one, two, three = (ended(name, 2, 0, 10 * at, 10 * at + 10) for at, name in enumerate("abc"))
    found = figures.fair_share([one, two, three], nodes)
    # 3 are there for 10 seconds, 2 for 10, 1 for 10: the last takes 30 s, alone 10 s x 2.
    assert found["worst"] == pytest.approx(1.5) and found["job"] == "c"
    assert found["mean"] == pytest.approx((10 / 30 + 20 / 25 + 30 / 20) / 3)
    nothing = ended("d", 1, 0, 5, 5)
    assert figures.fair_share([nothing], nodes)["worst"] is None


def test_a_job_that_saves_loses_what_it_did_since() -> None:
    """An urgent one takes its place 100 seconds after it has begun to work."""
    for saved, keeps, lost in ((0.0, False, 105.0), (30.0, False, 15.0), (30.0, True, 5.0)):
        cluster = Cluster(FirstFit)
        cluster.feed([PoolChanged(pool="p", nodes=(Node(name="n", cpu=0, devices=(("", 1),)),))])
        parts = ((Ask(devices=1), 1),)
        low = Job(name="low", at=0, seconds=500, parts=parts, restart=5, keeps=keeps, saved=saved)
        urgent = Job(name="urgent", at=105, seconds=10, parts=parts, priority=1)
        outcomes = Replay(cluster, "p", [low, urgent], known=False).run()
        assert (outcomes[0].interrupted, outcomes[0].lost) == (1, lost)
        assert outcomes[0].ended == 115 + 5 + 500 - (105 - lost)


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
