"""A namespace that is gone for good, as people see it: what was in it can be ended and let go."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.kube.home import POOL
from tests.kube.puppet import USER, Site, site
from tests.kube.test_bad_input import rewrite
from tests.road.home import Home, home_in, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kube-home")]

WORK = "work"


def _apply(home: Home, here: Site) -> None:
    """A pool in a namespace of its own."""
    here.double.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": WORK}})
    options = {"kubeconfig": str(here.kubeconfig), "namespace": WORK}
    pool = {"kind": "pool", "name": POOL, "engine": "kubernetes", "options": options}
    run = {"kind": "training", "name": "fit", "entry": "fit.py", "pool": POOL}
    home.write({"pool.yaml": yaml.safe_dump(pool), "fit.yaml": yaml.safe_dump(run), "fit.py": ""})
    home.good("apply", "pool.yaml")


def test_a_namespace_goes_with_the_sign_in(tmp_path: Path) -> None:
    with site(tmp_path) as here, home_in(tmp_path) as home:
        _apply(home, here)
        first = home.json("run", "fit.yaml", "-d")["id"]
        with home.client() as client:
            until(lambda: client.runs.get(first)["state"] == "running")
            here.double.expire(USER)
            here.double.faults.cut()
            here.double.delete("namespaces", "", WORK)
            second = home.json("run", "fit.yaml", "-d")["id"]
            until(lambda: not here.double.object("namespaces", "", WORK))
            home.good("stop", first, second)
            until(lambda: "sign-in" in home.good("get", "pools").out)
            assert client.runs.get(first)["state"] == "stopping", "nobody knows yet"
            rewrite(here.kubeconfig, token=here.double.token(USER))
            until(lambda: client.runs.get(first)["state"] == "stopped", 90.0)
            until(lambda: client.runs.get(second)["state"] == "stopped")
        assert "has no namespace 'work'" in home.good("get", "pools").out
        home.good("delete", f"pool/{POOL}")
