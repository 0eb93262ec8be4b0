"""Ended runs of ours as a trace: from what the server says of them to a table and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tradewind.base.errors import InvalidData, UserError
from tradewind.scheduler.nodes import Ask
from tradewind.simulator import history, traces
from tradewind.simulator.simulate import compare, scene, simulate, told
from tradewind.simulator.watching import Watch

Json = dict[str, Any]
HEAD = ",".join(traces.HISTORY) + "\n"
NODES = "sn,cpu_milli,memory_mib,gpu\na,4000,8192,0\n"
POOL: Json = {"name": "gpu", "machines": 2,
              "capacity": {"cpu": 16.0, "memory": 2**34, "accelerators": {"l4": 4}}}  # fmt: skip


def run(name: str, created: float, worked: float = 60.0, **more: Any) -> Json:
    """A run that was placed at once and began two seconds later."""
    begun = created + 2
    held = {"pool": "gpu", "placed": created, "started": begun, "ended": begun + worked,
            "demand": {"cpu": 2.0, "memory": 2**30, "accelerators": {"l4": 2}}}  # fmt: skip
    return {"id": name, "kind": "training", "created": created, "placements": [held],
            "project": "default", "queue": "default", "plan": {"option": {"width": 2}},
            **more}  # fmt: skip


def test_a_run_is_told_by_what_it_asked_for_when_it_came_and_how_long_it_worked() -> None:
    rows = history.rows([run("b", 1030.0), run("a", 1000.0, 90.0, plan={})], "gpu")
    assert [row["run"] for _, row in rows] == ["a", "b"], "the first to come stands first"
    one, two = traces.history(rows)
    assert (one.at, one.seconds, one.restart, one.keeps) == (0.0, 90.0, 2.0, False)
    l4 = frozenset({"l4"})
    assert one.parts == ((Ask(cpu=2000, memory=2**30, devices=2, models=l4), 1),)
    assert two.at == 30.0
    assert two.parts == ((Ask(cpu=1000, memory=2**29, devices=1, models=l4), 2),)


def test_parts_of_devices_are_told_as_what_each_process_had(tmp_path: Path) -> None:
    halves, part = run("a", 1000.0), run("b", 1001.0)
    halves["placements"][0]["demand"]["accelerators"] = {"l4": 1.5}
    halves["plan"] = {"option": {"width": 6, "resources": {"accelerators": {"l4": 0.25}}}}
    part["placements"][0]["demand"]["accelerators"] = {"l4": 0.125, "t4": 1}
    part["plan"] = {}
    history.save(tmp_path / "h.csv", history.rows([halves, part], "gpu"))
    one, two = traces.history(traces.table(tmp_path / "h.csv", (traces.HISTORY,))[1])
    ((ask, count),) = one.parts
    assert (ask.devices, ask.share, ask.models, count) == (1, 250, frozenset({"l4"}), 6)
    ((ask, count),) = two.parts
    assert (ask.devices, ask.share, ask.others, count) == (1, 125, (("t4", 1),), 1)


def test_what_held_no_place_of_its_own_or_stands_is_no_part_of_it() -> None:
    stands, cached = run("s", 1.0, kind="service"), run("c", 1.0, placements=[])
    with pytest.raises(UserError, match="the history is empty"):
        history.pool_of([stands, cached])
    other = run("o", 1.0)
    other["placements"][0]["pool"] = "local"
    assert history.pool_of([stands, cached, other]) == "local"
    with pytest.raises(UserError, match="which pool"):
        history.pool_of([run("a", 1.0), other])
    with pytest.raises(UserError, match="no run has ended on pool 'x'"):
        history.pool_of([other], "x")
    assert len(history.rows([run("a", 1.0), other], history.pool_of([other], "local"))) == 1


def test_a_run_that_was_tried_twice_has_worked_for_both() -> None:
    twice = run("a", 1000.0, 10.0)
    twice["placements"] += run("a", 1100.0, 50.0)["placements"]
    ((_, row),) = history.rows([twice], "gpu")
    assert (row["seconds"], row["restart"]) == ("60.000", "2.000")


def test_the_machines_are_those_of_the_pool() -> None:
    assert [(node.cpu, node.memory, node.devices) for node in history.nodes(POOL)] == [
        (8000, 2**33, (("l4", 2),))
    ] * 2
    lots = [{"each": {"cpu": 4.0, "memory": 5}, "count": 1}, {"each": {"cpu": 1.0}, "count": 2}]
    assert [node.cpu for node in history.nodes({**POOL, "sizes": lots})] == [4000, 1000, 1000]
    lots[0]["where"] = [["zone", "b"], ["rack", "r1"]]
    found = history.nodes({**POOL, "sizes": lots, "where": [["zone", "a"]]})
    assert [node.where for node in found] == [
        (("zone", "b"), ("rack", "r1")), (("zone", "a"),), (("zone", "a"),)
    ]  # fmt: skip
    with pytest.raises(InvalidData, match="nothing is known of the machines of pool 'x'"):
        history.nodes({"name": "x"})


def test_a_saved_history_comes_out_as_the_history_itself(tmp_path: Path) -> None:
    runs = [run(f"r{at}", 1000.0 + 10 * at, 100.0 - 30 * (at % 3)) for at in range(9)]
    watch = Watch(wanted=True)
    ours = compare(told(runs, POOL), ["default", "fifo"], (42,), True, watch)
    assert [each["jobs"] for each in ours["policies"]] == [9, 9]
    assert ours["policies"][0]["mean_jct"] < ours["policies"][1]["mean_jct"]
    assert ours["policies"][0]["interrupted"] == 0
    assert max(watch.lines[0].held) == 100 and max(watch.lines[0].runs) > 1

    history.save(tmp_path / "h.csv", history.rows(runs, "gpu"))
    (tmp_path / "n.csv").write_text(
        "sn,cpu_milli,memory_mib,gpu,model\na,8000,8192,2,l4\nb,8000,8192,2,l4\n"
    )
    again = simulate(tmp_path / "h.csv", "default", str(tmp_path / "n.csv"))
    assert again == ours["policies"][0]
    with pytest.raises(UserError, match="tells no cluster"):
        scene(tmp_path / "h.csv")
    with pytest.raises(InvalidData, match="no job of this trace fits") as bare:
        simulate(tmp_path / "h.csv", "default", "4x2")
    assert "devices only" in bare.value.hint
    with pytest.raises(UserError, match="cannot be written"):
        history.save(tmp_path / "none" / "h.csv", [])


@pytest.mark.parametrize("policy", ["default", "fifo", "srtf", "srsf", "tiresias"])
def test_runs_that_want_no_device_are_replayed_too(tmp_path: Path, policy: str) -> None:
    (tmp_path / "h.csv").write_text(HEAD + "a,0,600,0,1,4000,0,\nb,1,10,0,2,1000,0,\n")
    (tmp_path / "n.csv").write_text(NODES)
    found = simulate(tmp_path / "h.csv", policy, str(tmp_path / "n.csv"))
    assert (found["jobs"], found["left_out"]) == (2, 0)
    assert found["makespan"] == pytest.approx(610, abs=2)


@pytest.mark.parametrize(
    ("rows", "line", "why"),
    [
        ("", None, "a table without rows"),
        ("a,0,nan,0,1,1000,0,\n", 2, "[(]seconds[)]: not a (whole )?number from"),
        ("a,0,-1,0,1,1000,0,\n", 2, "[(]seconds[)]: not a (whole )?number from"),
        ("a,0,1e300,0,1,1000,0,\n", 2, "[(]seconds[)]: not a (whole )?number from"),
        ("a,-5,1,0,1,1000,0,\n", 2, "[(]came[)]: not a (whole )?number from"),
        ("a,0,1,inf,1,1000,0,\n", 2, "[(]restart[)]: not a (whole )?number from"),
        ("a,9,1,0,1,1000,0,\nb,8.5,1,0,1,1000,0,\n", 3, "came: 8.5 is before 9"),
        ("a,0,1,0,1,1000,0,\na,1,1,0,1,1000,0,\n", 3, "a second run 'a'"),
        ("a,0,1,0,0,1000,0,\n", 2, "a run without processes"),
        ("a,0,1,0,1000001,1000,0,\n", 2, "[(]processes[)]: not a whole number from 0 to 100,000"),
        ("a,0,1,0,1,0.5,0,\n", 2, "[(]cpu_milli[)]: not a (whole )?number from"),
        ("a,0,1,0,1,1000,1e20,\n", 2, "[(]memory_mib[)]: not a (whole )?number from"),
        ("a,0,1,0,1,1000,0,l4\n", 2, "devices: 'l4' is not a number"),
        ("a,0,1,0,1,1000,0,65 l4\n", 2, "devices: '65 l4' is not a number"),
        ("a,0,1,0,1,1000,0,0.0 l4\n", 2, "devices: '0.0 l4' is not a number"),
        ("a,0,1,0,1,1000,0,1.5 l4\n", 2, "devices: '1.5 l4' is not a number"),
        ("a,0,1,0,1,1000,0,0.5 l4; 0.5 t4\n", 2, "of one model there may be a part"),
        ("a,0,1,0,1,1000,0,1 l4; 2 l4\n", 2, "each is named once"),
        ("a,0,1,0,1,1000,0,1; 2 l4\n", 2, "each is named once"),
        ("a,0,1\n", 2, "the row ends before restart"),
    ],
)
def test_a_table_that_is_wrong_says_where(
    tmp_path: Path, rows: str, line: int | None, why: str
) -> None:
    (tmp_path / "h.csv").write_text(HEAD + rows)
    with pytest.raises(InvalidData, match=why) as caught:
        scene(tmp_path / "h.csv", "1x8")
    assert caught.value.where is not None
    assert caught.value.where.file.endswith("h.csv") and caught.value.where.line == (line or 0)
