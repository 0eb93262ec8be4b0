"""A class of devices that a file adds, on a cluster: whole ones, and parts as its plugin gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.kube.home import POOL, site
from tests.kube.pupil import free_port
from tests.kube.runner import Runner
from tests.kube.runner.fixtures import QUICK
from tests.road.home import home_in

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kube-devices")]

LABEL = "corp.com/model"
HALVES = {"kind": "device", "name": "half", "memory": "8GiB", "resource": "corp.com/shared",
          "nodes": {LABEL: "x1"}, "parts": 2}  # fmt: skip
ASKS = "print('works')\n"
SPEC = """
kind: training
name: fit
entry: fit.py
pool: cluster
cache: false
resources: {cpu: 1, accelerators: {%s}}
"""


def test_a_part_of_a_device_on_a_cluster(tmp_path: Path) -> None:
    port = free_port()
    with (
        site(tmp_path) as where,
        Runner(where.kubeconfig, node="x", cpu="4", extended={"corp.com/shared": "4"},
               labels={LABEL: "x1"}, **QUICK),
        home_in(tmp_path, "--port", str(port)) as home,
    ):  # fmt: skip
        options = {"kubeconfig": str(where.kubeconfig), "namespace": where.namespace}
        pool = {"kind": "pool", "name": POOL, "engine": "kubernetes", "options": options}
        home.write({
            "all.yaml": yaml.safe_dump_all([HALVES, pool]),
            "fit.py": ASKS,
            **{f"{n}.yaml": SPEC % wanted for n, wanted in enumerate(
                ["half: 0.5", "half: 4GiB", "half: 1", "half: 2GiB", "corp.com/shared: 1"])},
        })  # fmt: skip
        home.good("apply", "all.yaml")
        [told] = [each for each in home.json("get", "pools") if each["name"] == POOL]
        assert told["capacity"]["accelerators"] == {"half": 2}

        for good in ("0.yaml", "1.yaml"):
            assert home.good("run", good).out == "works\n"
            shown = home.good("render", good).out
            assert "corp.com/shared: '1'" in shown or '"corp.com/shared": "1"' in shown
            assert "x1" in shown
        for bad in ("2.yaml", "3.yaml"):
            said = home.tw("run", bad)
            assert said.status != 0 and "resources.accelerators.half" in said.err
            assert "away in 2 parts" in said.err and "ask for 0.5" in said.err, said.err
        said = home.tw("run", "4.yaml")
        assert "does not have devices of class 'corp.com/shared'" in said.err
        assert "2 half on 'cluster'" in said.err
        home.good("delete", f"pool/{POOL}")
