"""Utilisation, waiting and fragmentation over time, and their pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.unit.simulator.test_simulate import MURI, NODES, PODS
from tradewind.base.errors import MissingExtra, UserError
from tradewind.simulator import pictures
from tradewind.simulator.simulate import Scene, carry_out, compare, scene
from tradewind.simulator.watching import Watch


@pytest.fixture
def jobs(tmp_path: Path) -> Scene:
    (tmp_path / "muri.csv").write_text(MURI)
    return scene(tmp_path / "muri.csv", "2x8")


@pytest.fixture
def pods(tmp_path: Path) -> Scene:
    (tmp_path / "pods.csv").write_text(PODS)
    (tmp_path / "nodes.csv").write_text(NODES)
    return scene(tmp_path / "pods.csv", str(tmp_path / "nodes.csv"))


@pytest.mark.parametrize("policy", ["default", "fifo", "srsf"])
def test_what_jobs_hold_is_what_they_have_worked(jobs: Scene, policy: str) -> None:
    watch = Watch(wanted=True)
    found = carry_out(jobs, policy, (42,), True, watch)
    (line,) = watch.lines
    assert found["jobs"] == 3 and line.policy == policy
    step = line.at[1] - line.at[0]
    # Device seconds: what the picture shows is what the jobs needed, with the time of restarts.
    held = (line.held / 100 * 16 * step).sum()
    needed = sum(job.seconds * sum(ask.devices * n for ask, n in job.parts) for job in jobs.jobs)
    assert needed <= held <= 1.001 * needed
    assert line.idle.max() <= 50, "the other machine, while c waits for both"
    assert (line.held + line.idle <= 100 + 1e-9).all() and line.held.max() > 51
    assert (line.wanted >= line.runs - 1e-9).all(), "each waits for one device or more"


def test_what_processes_hold_is_what_the_figures_say(pods: Scene) -> None:
    watch = Watch(wanted=True)
    found = compare(pods, ["default", "random"], (1, 2), True, watch)
    assert [line.policy for line in watch.lines] == ["default", "default", "random", "random"]
    for line, seed in zip(watch.lines[:2], found["policies"][0]["seeds"], strict=True):
        assert line.at[-1] == 130
        known = [*seed["allocation_at"].values()]
        assert line.held[-1] == pytest.approx(known[-1], abs=0.5)
        assert (line.held + line.idle <= 100 + 1e-9).all() and (line.idle >= 0).all()
        assert line.held[0] == 0 and line.runs[0] == 0 and line.wanted[-1] > 0


def test_nothing_is_kept_that_nobody_wants_and_all_is_heard_of(jobs: Scene, pods: Scene) -> None:
    said: list[str] = []
    parts: list[float] = []
    watch = Watch(said.append, parts.append)
    plain = compare(jobs, ["default", "srtf"], (42,), True, Watch())
    assert compare(jobs, ["default", "srtf"], (42,), True, watch) == plain
    carry_out(pods, "random", (3, 4), True, watch)
    assert watch.lines == []
    assert said == ["default", "srtf", "random, seed 3", "random, seed 4"]
    assert min(parts) >= 0 and max(parts) == 1


def test_a_policy_that_is_none_is_refused_before_the_first_is_tried(jobs: Scene) -> None:
    said: list[str] = []
    with pytest.raises(UserError, match="no policy 'fgd' for jobs that end"):
        compare(jobs, ["default", "fgd"], (42,), True, Watch(said.append))
    assert said == []


def test_a_picture_is_svg_or_png(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.gif", "a", "svg"):
        with pytest.raises(UserError, match=r"a file \.svg or \.png"):
            pictures.check(tmp_path / name)
    with pytest.raises(UserError, match="there is no folder"):
        pictures.check(tmp_path / "none" / "a.svg")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra) as missing:
        pictures.check(tmp_path / "a.SVG")
    assert "tradewind[plot]" in missing.value.hint


def test_pictures_say_what_they_show(tmp_path: Path, jobs: Scene, pods: Scene) -> None:
    pytest.importorskip("matplotlib", reason="tradewind[plot] is not installed")
    for there, policies, words in (
        (jobs, ["default", "srsf"], ("time since the first came, days", "idle while runs wait")),
        (pods, ["fgd", "random"], ("devices asked for so far, % of all", "range of 2 seeds")),
    ):
        watch = Watch(wanted=True)
        compare(there, policies, (1, 2), True, watch)
        drawn = []
        for name in ("a.svg", "b.svg", "c.png"):
            pictures.check(tmp_path / name)
            pictures.draw(tmp_path / name, watch.lines, bool(there.pods), "a & b", there.unit)
            drawn.append((tmp_path / name).read_bytes())
        text = drawn[0].decode()
        assert drawn[0] == drawn[1] and drawn[2].startswith(b"\x89PNG")
        for word in (*policies, *words, "a &amp; b", "% of all devices"):
            assert word in text
