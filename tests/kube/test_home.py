"""The road of a person with a cluster, typed: `tw apply pool.yaml`, and the same files run there.

A real server and its pods, over the double and over the bare control plane that `KUBECONFIG` names,
if any: what is typed is the same, and nothing is left in the cluster when the pool is deleted.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.kube.home import POOL, Site, site
from tests.kube.pupil import free_port
from tests.kube.runner.fixtures import CLUSTERS, chosen
from tests.road.home import Home, home_in, until
from tradewind.engines.kubernetes import api, names
from tradewind.engines.kubernetes.connect import connect
from tradewind.sdk import calls, local

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kube-home")]

# Whatever of ours could be left in a namespace.
OURS = (api.ROOTS, api.SECRETS, api.SERVICES, api.BUDGETS, api.JOBS, api.DEPLOYMENTS, api.PODS,
        api.LEASES)  # fmt: skip

FLOW = """
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

import tradewind as tw


@tw.function
def rows(data: pa.Table):
    return data.filter(pc.greater(data["value"], 1))


@tw.function
def folder(many: int) -> Path:
    made = Path("made")
    made.mkdir()
    for number in range(many):
        (made / f"{number}.txt").write_text("x" * number)
    return made


@tw.function
def count(data: pa.Table, made: Path, scale: int):
    return {"rows": data.num_rows * scale, "files": len(list(made.iterdir()))}


@tw.pipeline
def flow():
    return count(rows(tw.dataset("numbers")), folder(3), scale=10)
"""
ECHO = """
def echo(text: str, times: int = 1) -> str:
    return text * times
"""
STAY = """
import pathlib, time

pathlib.Path("mine.txt").write_text("hello")
print("up", flush=True)
for _ in range(1200):
    if pathlib.Path("go").exists():
        break
    time.sleep(0.05)
print("done", flush=True)
"""
RESUME = """
import sys
import tradewind as tw

kept = tw.checkpoint_dir() / "step"
if not kept.exists():
    kept.write_text("7")
    sys.exit(3)
print("went on from", kept.read_text())
"""


@pytest.fixture(scope="module", params=CLUSTERS)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Home, Site, int]]:
    folder, port = tmp_path_factory.mktemp("home"), free_port()
    with (
        site(folder, chosen(request.param)) as found,
        home_in(folder, "--port", str(port)) as home,
    ):
        yield home, found, port


def objects(where: Site) -> list[str]:
    """What of ours is in the namespace, as `Kind/name`."""

    async def ask() -> list[str]:
        cluster = connect({"kubeconfig": str(where.kubeconfig), "namespace": where.namespace})
        try:
            found = []
            for kind in OURS:
                for each in (await cluster.items(kind))[0]:
                    labels = each["metadata"].get("labels") or {}
                    if labels.get(names.PART_OF) == names.OURS:
                        found.append(f"{kind.plural}/{each['metadata']['name']}")
            return found
        finally:
            await cluster.close()

    return asyncio.run(ask())


def spec(where: Site) -> dict[str, Any]:
    options = {"kubeconfig": str(where.kubeconfig), "namespace": where.namespace}
    return {"kind": "pool", "name": POOL, "engine": "kubernetes", "options": options}


def steps(home: Home, run: str) -> dict[str, Any]:
    with home.client() as client:
        return {each["key"]: each for each in client.runs.get(run)["children"]}


# What data scientists read has none of these words.
NATIVE = re.compile(r"\b(pods?|kubernetes|kube\w*|namespace|job|deployment|configmap)\b", re.I)


def test_the_road(place: tuple[Home, Site, int]) -> None:
    home, where, port = place
    work = home.write({
        "pool.yaml": yaml.safe_dump(spec(where)),
        "numbers.csv": "name,value\none,1\ntwo,2\nthree,3\n",
        "numbers.yaml": "kind: dataset\nname: numbers\nsource: numbers.csv\npool: cluster\n",
        "flow.py": FLOW,
        "echo.py": ECHO,
        "echo.yaml": "kind: service\nname: echo\nentry: echo.py:echo\npool: cluster\n",
        "stay.py": STAY,
        "resume.py": RESUME,
        "resume.yaml": "kind: training\nname: resume\nentry: resume.py\npool: cluster\n"
        "workers: 2\nretries: 1\n",
        "broken.py": "import sys\nprint('oh')\nsys.exit(3)\n",
    })  # fmt: skip

    assert "created" in home.good("apply", "pool.yaml").out
    [pool] = [each for each in home.json("get", "pools") if each["name"] == POOL]
    assert (pool["state"], pool["machines"], pool["engine"]) == ("ready", 1, "kubernetes")
    assert "32 cores" in home.good("get", "pools").out

    # A table from a file, steps in order, a folder that travels: as on this machine.
    assert "3 rows" in home.good("run", "numbers.yaml").err
    first = home.good("run", "flow.py", "--pool", POOL)
    assert '{"rows": 20, "files": 3}' in first.out, first.out + first.err
    assert not NATIVE.search(first.out + first.err)
    # Other code reaches the cluster with the next run, and only what it changes runs again.
    (work / "flow.py").write_text(FLOW.replace("scale=10", "scale=100"))
    second = home.good("run", "flow.py", "--pool", POOL)
    assert '{"rows": 200, "files": 3}' in second.out, second.out + second.err
    [flow] = home.json("get", "runs", "--kind", "pipeline", "-n", "1")
    told = steps(home, flow["id"])
    assert {key: bool(each["cached_from"]) for key, each in told.items()} == {
        "rows": True, "folder": True, "count": False,
    }  # fmt: skip

    failed = home.tw("run", "broken.py", "--pool", POOL)
    assert failed.status == 1 and "oh" in failed.out and "status 3" in failed.err
    assert not NATIVE.search(failed.out + failed.err)

    assert "went on from 7" in home.good("run", "resume.yaml").out

    home.good("apply", "echo.yaml")
    with home.client() as client:
        until(lambda: _ready(home, "echo"))
        answer = calls.call(client, "echo", {"text": "ha", "times": 3})
    assert answer == "hahaha"

    _a_server_that_dies(home, port)

    live = home.tw("delete", f"pool/{POOL}")
    assert live.status == 2 and "tw stop" in live.err
    [echo] = home.json("get", "services")
    home.good("stop", echo["run"], "--wait")
    home.good("delete", f"pool/{POOL}")
    until(lambda: not objects(where))
    [past] = home.json("get", "runs", "--kind", "training", "--state", "failed", "-n", "1")
    assert home.good("logs", past["id"]).out == "oh\n", "what was said outlives its pool"


def _ready(home: Home, name: str) -> bool:
    [service] = [each for each in home.json("get", "services") if each["name"] == name]
    return any(each["state"] == "ready" for each in service["replicas"])


def _a_server_that_dies(home: Home, port: int) -> None:
    """Logs, a command beside, `kill -9`, the next server takes the task up; stop."""
    run = home.json("run", "stay.py", "--pool", POOL, "-d")["id"]
    with home.client() as client:
        until(lambda: b"up" in b"".join(client.runs.logs(run)))
        until(lambda: client.runs.get(run)["state"] == "running")
    said = home.tw("exec", run, "--", "sh", "-c", "cat mine.txt; echo $TRADEWIND_RUN; exit 3")
    assert (said.status, said.out) == (3, f"hello{run}\n"), said.err
    secret = home.tw("exec", run, "--", "sh", "-c", "echo [$TRADEWIND_TOKEN]")
    assert secret.out == "[]\n", "a command beside a task has no secret of ours"
    before = local.running(home.data)
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: local.running(home.data) is None)
    home.good("up", "--port", str(port))
    with home.client() as client:
        until(lambda: _connected(home))
        home.good("exec", run, "--", "touch", "go")
        assert b"".join(client.runs.logs(run, follow=True)) == b"up\ndone\n"
        until(lambda: client.runs.get(run)["state"] == "succeeded")
        [attempt] = client.runs.get(run)["attempts"]
        assert attempt["number"] == 1, "it was taken up, not done again"

    run = home.json("run", "stay.py", "--pool", POOL, "-d")["id"]
    with home.client() as client:
        until(lambda: b"up" in b"".join(client.runs.logs(run)))
    home.good("stop", run, "--wait")
    with home.client() as client:
        assert client.runs.get(run)["state"] == "stopped"


def _connected(home: Home) -> bool:
    [pool] = [each for each in home.json("get", "pools") if each["name"] == POOL]
    return bool(pool["state"] == "ready")
