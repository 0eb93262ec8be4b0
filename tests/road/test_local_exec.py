"""A command beside a running unit of the real local engine."""

from __future__ import annotations

import sys

import psutil
import pytest

from tests.road.home import Home, until
from tradewind.base.errors import NotFound

pytestmark = pytest.mark.xdist_group("local-functions")

STAY = """
import os, pathlib, time
pathlib.Path("mine.txt").write_text("hello")
print("up", flush=True)
time.sleep(600)
"""


def test_a_command_sees_what_the_unit_sees(home: Home) -> None:
    folder = home.write({"stay.py": STAY}, "exec")
    run = home.json("run", "stay.py", "-d", cwd=folder)["id"]
    with home.client() as client:
        until(lambda: b"up" in b"".join(client.runs.logs(run)))
        until(lambda: client.runs.get(run)["state"] == "running")
        said = home.tw(
            "exec", run, "--", "sh", "-c", "cat mine.txt; echo $TRADEWIND_RUN >&2; exit 3"
        )
        assert (said.status, said.out) == (3, f"hello{run}\n"), said.err
        told = home.tw(
            "exec", run, "-o", "json", "--", "python", "-c", "import sys; print(sys.prefix)"
        )
        assert told.json == {"output": f"{sys.prefix}\n", "exit": 0}
        assert home.tw("exec", run, "--", "no-such-program").status == 2
        assert home.tw("exec", run, "--index", "5", "--", "true").status == 2
        assert home.tw("exec", run, "--role", "other", "--", "true").status == 2

        stream = client.runs.exec(run, ["sh", "-c", "echo $$; sleep 600"])
        pid = int(next(stream))
        assert pid in _pids()
        stream.close()  # type: ignore[attr-defined]
        until(lambda: pid not in _pids())

        home.good("stop", run, "--wait")
        with pytest.raises(NotFound, match="nothing of"):
            list(client.runs.exec(run, ["true"]))


def _pids() -> set[int]:
    return set(psutil.pids())
