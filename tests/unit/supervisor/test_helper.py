"""Work in a child of the supervisor's: begun when there is something to do, or ahead of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from tradewind.inside import linux
from tradewind.supervisor.helper import Helper, Result, Waiting
from tradewind.supervisor.loop import Loop


def told(loop: Loop, found: list[Result]) -> Result:
    while not found:
        loop.turn()
    return found[0]


def test_one_that_waits_does_what_it_is_ordered() -> None:
    loop, found = Loop(), list[Result]()

    def work(wait: Callable[[], Any]) -> Result:
        ready = os.getpid()
        return {"ready": ready, "ordered": wait()}

    helper = Waiting(loop, work, found.append)
    assert helper.pid in Helper.living and not found
    large = {"names": ["x" * 1000] * 500}  # more than a pipe holds
    helper.order(large)
    assert told(loop, found) == {"ready": helper.pid, "ordered": large}
    assert helper.pid not in Helper.living | set(linux.children(os.getpid()))


def test_one_that_dies_before_the_order_says_so_and_takes_no_more() -> None:
    loop, found = Loop(), list[Result]()
    helper = Waiting(loop, lambda wait: {"ordered": wait()}, found.append)
    os.kill(helper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, helper.pid, os.WEXITED | os.WNOWAIT)
    helper.order({"names": []})
    assert told(loop, found)["reason"] == "lost"


def test_one_that_is_not_wanted_any_more_goes() -> None:
    loop, found = Loop(), list[Result]()
    before = set(os.listdir("/proc/self/fd"))
    helper = Waiting(loop, lambda wait: {"ordered": wait()}, found.append)
    helper.kill()
    assert helper.pid not in Helper.living | set(linux.children(os.getpid()))
    assert set(os.listdir("/proc/self/fd")) == before and not found
