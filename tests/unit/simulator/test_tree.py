"""Quotas for jobs that a table tells: a file as `tw apply` takes it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.simulator.test_history import POOL, run
from tradewind.base.errors import TradewindError
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import PoolChanged, QueuesChanged
from tradewind.scheduler.nodes import Ask, Node
from tradewind.scheduler.order import Shortest
from tradewind.scheduler.queues import Queue, guaranteed
from tradewind.scheduler.rows import FirstFit
from tradewind.simulator import history, traces
from tradewind.simulator.replay import Job, Replay
from tradewind.simulator.simulate import Json, carry_out, scene, told

HEAD = ",".join(traces.HISTORY + traces.WHOSE) + "\n"
NODES = "sn,cpu_milli,memory_mib,gpu,model\na,4000,8192,0,\n"
QUEUES = """
kind: queue
name: a
guarantee: {cpu: 3}
---
kind: queue
name: b
priority: 3
---
kind: project
name: small
quota: {cpu: 1}
"""
PHILLY = "timestamp,duration,num_gpus,cluster\n2017-10-03 10:00:00,100,4,b\n"


def simulated(folder: Path, jobs: str, queues: str = QUEUES) -> Json:
    for name, text in (("h.csv", HEAD + jobs), ("n.csv", NODES), ("q.yaml", queues)):
        (folder / name).write_text(text)
    there = scene(folder / "h.csv", str(folder / "n.csv"), str(folder / "q.yaml"))
    return carry_out(there, "default", (42,), True)


def test_what_is_guaranteed_comes_back_at_once(tmp_path: Path) -> None:
    jobs = "big,0,1000,0,4,1000,0,,p,b,\nown,10,60,0,3,1000,0,,q,a,\n"
    found = simulated(tmp_path, jobs)
    assert found["trace"] == "queues" and found["interrupted"] == 1
    assert found["admission"]["q"] == {"jobs": 1, "mean": 0.0, "p99": 0.0}
    assert found["queues"]["a"]["guaranteed"] == 1.0
    alone = simulated(tmp_path, jobs, "kind: queue\nname: a\n---\nkind: queue\nname: b\n")
    assert alone["interrupted"] == 0 and alone["admission"]["q"]["mean"] == 990.0


def test_a_project_holds_no_more_than_its_quota(tmp_path: Path) -> None:
    jobs = "".join(f"s{at},0,100,0,1,1000,0,,small,b,\n" for at in range(3))
    assert simulated(tmp_path, jobs)["makespan"] == 300.0
    assert simulated(tmp_path, jobs.replace("small", "other"))["makespan"] == 100.0


def test_a_run_that_says_no_priority_has_that_of_its_queue(tmp_path: Path) -> None:
    jobs = ("x,0,100,0,4,1000,0,,p,b,\nlow,1,10,0,4,1000,0,,p,b,2\n"
            "mid,2,50,0,4,1000,0,,q,b,\n")  # fmt: skip
    found = simulated(tmp_path, jobs)
    assert found["admission"]["q"]["mean"] == 98.0, "before the shorter one, which came sooner"


def test_a_saved_history_tells_whose_each_run_was(tmp_path: Path) -> None:
    runs = [run("a", 1.0, project="p", queue="q", spec={"priority": -2}),
            run("b", 2.0, project="p", queue="r")]  # fmt: skip
    history.save(tmp_path / "h.csv", history.rows(runs, "gpu"))
    one, two = traces.history(traces.table(tmp_path / "h.csv", (traces.HISTORY,))[1])
    assert (one.project, one.queue, one.priority) == ("p", "q", -2)
    assert (two.queue, two.priority) == ("r", None)
    (tmp_path / "q.yaml").write_text("kind: queue\nname: q\n---\nkind: queue\nname: r\n")
    assert told(runs, POOL, queues=str(tmp_path / "q.yaml")).quotas is not None


def test_the_clusters_of_philly_are_queues(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(PHILLY)
    (tmp_path / "q.yaml").write_text("kind: queue\nname: b\nguarantee: {accelerators: {device: 8}}")
    there = scene(tmp_path / "p.csv", "1x8", str(tmp_path / "q.yaml"))
    found = carry_out(there, "default", (42,), True)
    assert found["queues"] == {"b": {"share": 1.0, "guaranteed": 1.0, "used": 0.5}}
    assert scene(tmp_path / "p.csv", "1x8").jobs[0].queue == "default"


@pytest.mark.parametrize(
    ("jobs", "queues", "place", "why"),
    [
        ("", "kind: queue\nname: a\nparent: b\n", "q.yaml:3:9", "there is no queue 'b'"),
        ("", "kind: queue\nname: a\nparent: a\n", "q.yaml:3:9", "below itself: a < a"),
        ("", "kind: queue\nname: a\n---\nkind: queue\nname: a\n", "q.yaml:5:7", "a second time"),
        ("", "kind: queue\nname: a\nguarantee: {cpu: 5}\n", "q.yaml:3:12", "the pools have 4 CPU"),
        ("", "kind: queue\nname: a\nguarantee: {cpu: -5}\n", "q.yaml:3:18", "at least 0"),
        ("", "kind: pool\nname: a\n", "q.yaml:1:7", "a pool where queues are told"),
        ("", "kind: queue\nname: a\n---\nkind: queue\nname: c\nparent: a\n", "q.yaml",
         "queue 'a', of job 'x', is shared out to those below it"),
        ("", "kind: queue\nname: c\n", "q.yaml", "queue 'a', of job 'x', is not in it"),
        ("y,1,1,0,1,1000,0,,p,a,high\n", QUEUES, "h.csv:3", "not a whole number from -1000"),
        ("y,1,1,0,1,1000,0,,p,a,1001\n", QUEUES, "h.csv:3", "not a whole number from -1000"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, jobs: str, queues: str, place: str, why: str
) -> None:
    with pytest.raises(TradewindError) as caught:
        simulated(tmp_path, "x,0,1,0,1,1000,0,,p,a,\n" + jobs, queues)
    assert why in caught.value.message
    assert str(caught.value.where).startswith(str(tmp_path / place))


def test_what_has_quotas_of_its_own_or_no_queues_takes_none(tmp_path: Path) -> None:
    (tmp_path / "q.yaml").write_text(QUEUES)
    (tmp_path / "g.yaml").write_text("cohorts: []")
    with pytest.raises(TradewindError, match="this trace tells its own quotas"):
        scene(tmp_path / "g.yaml", queues="q.yaml")
    (tmp_path / "p.csv").write_text("name,cpu_milli,memory_mib,num_gpu,gpu_milli\nx,1,1,1,1000\n")
    with pytest.raises(TradewindError, match="processes that stay have no queues"):
        scene(tmp_path / "p.csv", queues="q.yaml")


def grown(random: Random) -> tuple[list[Queue], list[str]]:
    """A tree of up to three queues with up to two below each, and those in which jobs may wait."""
    queues, open_ = [], ["default"]
    for top in range(random.randint(1, 3)):
        below = [
            Queue(name=f"{top}{at}", parent=str(top), guarantee=some(random, 0, 2000),
                  borrow=some(random, 0, 3000), lend=some(random, 0, 1000),
                  weight=random.choice([0.5, 1.0, 3.0]))
            for at in range(random.randint(0, 2))
        ]  # fmt: skip
        queues += [Queue(name=str(top), borrow=some(random, 0, 2000)), *below]
        open_ += [each.name for each in below] or [str(top)]
    return queues, open_


def some(random: Random, *amounts: int) -> tuple[tuple[str, int], ...]:
    amount = random.choice([None, *amounts])
    return () if amount is None else (("cpu", amount),)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_no_limit_is_passed_and_nobody_waits_for_ever(seed: int) -> None:
    random = Random(seed)
    queues, open_ = grown(random)
    jobs = [
        Job(name=str(at), at=random.choice([0.0, 1.0, 5.0]) * at, queue=random.choice(open_),
            seconds=random.choice([1.0, 60.0, 400.0]), project=random.choice("pq"), keeps=False,
            parts=((Ask(cpu=random.choice([500, 1000, 2000])), random.choice([1, 2])),))
        for at in range(25)
    ]  # fmt: skip
    cluster = Cluster(FirstFit, Shortest())
    caps = (("p", (("cpu", 3000),)),)
    cluster.feed([PoolChanged(pool="one", nodes=(Node(name="n", cpu=8000),)),
                  QueuesChanged(queues=tuple(queues), caps=caps)])  # fmt: skip
    outcomes = Replay(cluster, "one", jobs, known=random.random() < 0.5).run()
    assert not cluster.line.waiting and not cluster.held and not cluster.due
    above = {each.name: each.parent for each in queues}
    most = {each.name: dict(guaranteed(each, queues)).get("cpu", 0) + amount
            for each in queues for _, amount in each.borrow} | {"project p": 3000}  # fmt: skip
    held = Counter[str]()
    steps = [(moment, sign, one.job) for one in outcomes for span in one.spans
             for moment, sign in zip(span, (1, -1), strict=True)]  # fmt: skip
    for _, sign, job in sorted(steps, key=lambda step: step[:2]):
        wide = sign * sum(ask.cpu * count for ask, count in job.parts)
        names, at = [f"project {job.project}", "all"], job.queue
        while at:
            names.append(at)
            at = above.get(at, "")
        for name in names:
            held[name] += wide
            assert held[name] <= most.get(name, 8000), name
