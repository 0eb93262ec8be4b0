"""Who else wants this machine's cores: counted, not guessed from how busy they are."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.unit.node.machine import Machine
from tradewind.engines.base import Shared
from tradewind.engines.local import LocalEngine
from tradewind.node.crowd import ENOUGH, Crowd
from tradewind.records.load import Load
from tradewind.supervisor import processes
from tradewind.testing.engine_suite import Session


@pytest.fixture
def spinning() -> Iterator[subprocess.Popen[bytes]]:
    """A process below this one that always wants a core."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        yield process
        process.kill()


def crowd(every: list[int], ours: list[int]) -> Crowd:
    """One that has looked as often as there are figures."""
    one, other = iter(every), iter(ours)
    made = Crowd(lambda: {1}, lambda: next(one), lambda _roots: next(other))
    for _ in every:
        made.look()
    return made


def test_neighbours_are_all_who_want_a_core_but_for_ours() -> None:
    told = crowd([5, 7, 6], [2, 2, 2]).told()
    assert told == {"others": 4.0, "cores": float(os.cpu_count() or 1)}


def test_counts_of_two_moments_even_out() -> None:
    assert crowd([3, 1, 2, 2], [1, 3, 2, 2]).told()["others"] == 0.0
    assert crowd([1, 1, 1], [3, 3, 3]).told()["others"] == 0.0


def test_where_the_kernel_does_not_tell_nothing_is_known() -> None:
    assert crowd([5, 5, 5, -1], [1, 1, 1]).told() == {}
    assert crowd([0, 0, 0], []).told() == {}


def test_one_look_tells_nothing_yet() -> None:
    assert crowd([5] * (ENOUGH - 1), [1] * (ENOUGH - 1)).told() == {}


def test_neighbours_are_counted_by_session_where_the_kernel_is_fair_to_those() -> None:
    """Six threads of two sessions, of which one has one thread."""
    seconds = iter(range(10))

    def spent(_roots: set[int]) -> dict[int, tuple[int, float]]:
        now = next(seconds)
        found = {pid: (7, now * 0.3) for pid in (11, 12, 13, 14, 15)}
        return {**found, 20 + now: (8, 0.3), 30: (9, 5.0)}  # each look meets another one of 8

    made = Crowd(lambda: {1}, lambda: 8, lambda _roots: 2, spent)
    for _ in range(ENOUGH):
        made.look()
    assert "groups" not in made.told(), "the first look has nothing to compare with"
    made.look()
    assert made.told() == {"others": 6.0, "cores": float(os.cpu_count() or 1), "groups": 2.0}


def test_without_neighbours_nobody_is_a_session() -> None:
    made = Crowd(lambda: {1}, lambda: 2, lambda _roots: 2, lambda _roots: {})
    for _ in range(ENOUGH):
        made.look()
    assert made.told()["groups"] == 0.0


def test_the_sessions_of_others_and_what_they_have_computed(
    spinning: subprocess.Popen[bytes],
) -> None:
    until = time.monotonic() + 30.0
    while processes.by_session(set())[spinning.pid][1] < 0.1 and time.monotonic() < until:
        time.sleep(0.01)
    session, seconds = processes.by_session(set())[spinning.pid]
    assert (session, seconds >= 0.1) == (os.getsid(spinning.pid), True)
    assert spinning.pid not in processes.by_session({os.getpid()})


def test_what_runs_below_us_is_ours(spinning: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30.0
    while processes.running({os.getpid()}) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert processes.running({os.getpid()}) >= 2, "who looks, and what spins"
    assert processes.running({spinning.pid, os.getpid()}) >= 2
    assert processes.runnable() >= 1


def test_what_sleeps_or_is_gone_wants_no_core() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        until = time.monotonic() + 30.0
        while processes.running({process.pid}) and time.monotonic() < until:
            time.sleep(0.01)
        assert processes.running({process.pid}) == 0
    assert processes.running({process.pid}) == 0


def test_the_engine_asks_its_node(machine: Machine) -> None:
    async def asked(session: Session) -> object:
        assert isinstance(session.engine, LocalEngine) and isinstance(session.engine, Shared)
        return await session.engine.load()

    found = machine.run(asked)
    # It may not have looked often enough yet.
    assert found is None or (isinstance(found, Load) and found.cores == os.cpu_count())
