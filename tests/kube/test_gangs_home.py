"""A gang for which there is no room, as people see it, and a server that is killed meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
import yaml

from tests.kube.home import POOL, site
from tests.kube.pupil import free_port
from tests.kube.runner.fixtures import CLUSTERS, chosen
from tests.road.home import home_in, until
from tradewind.engines.kubernetes import api
from tradewind.engines.kubernetes.connect import connect
from tradewind.sdk import local

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kube-home")]

QUOTAS = api.Kind("", "v1", "resourcequotas")
GANG = """
import os

print(os.environ["RANK"], "began", flush=True)
"""


async def quota(options: dict[str, str], pods: str) -> None:
    """So many pods have room from now on; any number, if none is named."""
    where = connect(options)
    try:
        if pods:
            body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
            await where.create(QUOTAS, {**body, "spec": {"hard": {"pods": pods}}})
        else:
            await where.delete(QUOTAS, "small")
    finally:
        await where.close()


@pytest.mark.parametrize("where", CLUSTERS)
def test_a_server_that_is_killed_while_a_gang_waits(tmp_path: Path, where: str) -> None:
    """The run says whom it waits for, to people, before and after."""
    port = free_port()
    with (
        site(tmp_path, chosen(where)) as found,
        home_in(tmp_path, "--port", str(port)) as home,
    ):
        options = {"kubeconfig": str(found.kubeconfig), "namespace": found.namespace}
        pool = {"kind": "pool", "name": POOL, "engine": "kubernetes", "options": options}
        fit = {"kind": "training", "name": "fit", "entry": "fit.py", "pool": POOL, "workers": 3}
        home.write({
            "pool.yaml": yaml.safe_dump(pool), "fit.yaml": yaml.safe_dump(fit), "fit.py": GANG,
        })  # fmt: skip
        home.good("apply", "pool.yaml")
        asyncio.run(quota(options, "2"))
        run = home.json("run", "fit.yaml", "-d")["id"]
        words = (
            "waiting for 1 of 3 members: the namespace's quota for pods is used up (used 2 of 2)"
        )
        until(lambda: words in home.good("describe", run).out)
        before = local.running(home.data)
        assert before is not None
        os.kill(before.pid, signal.SIGKILL)
        until(lambda: local.running(home.data) is None)
        home.good("up", "--port", str(port))
        until(lambda: words in home.good("describe", run).out)
        with home.client() as client:
            assert client.runs.get(run)["state"] == "placed"
            asyncio.run(quota(options, ""))
            # A cluster that was refused for long tries again once a minute.
            until(lambda: client.runs.get(run)["ended"], 150.0)
            assert client.runs.get(run)["state"] == "succeeded"
        said = [home.good("logs", run, "--index", str(rank)).out for rank in range(3)]
        assert said == [f"{rank} began\n" for rank in range(3)]
