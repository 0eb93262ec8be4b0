"""Two real servers on one PostgreSQL, each with a pool of its own on a cluster: the double, or the
bare control plane that `KUBECONFIG` names. One dies, the other takes its pool over."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import postgres
from tests.kube.home import Site, site
from tests.kube.pupil import free_port
from tests.kube.runner.fixtures import CLUSTERS, chosen
from tests.kube.space import namespace
from tests.kube.test_home import objects
from tests.road.home import Home, Said, until
from tradewind.sdk import local, session

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.xdist_group("kube-two")]

FLOW = """
from pathlib import Path

import pyarrow as pa

import tradewind as tw


@tw.function(pool="alpha")
def rows(n: int) -> pa.Table:
    return pa.table({"value": list(range(n))})


@tw.function(pool="alpha")
def folder(many: int) -> Path:
    made = Path("made")
    made.mkdir()
    for number in range(many):
        (made / f"{number}.txt").write_text("x" * number)
    return made


@tw.function(pool="beta")
def count(data: pa.Table, made: Path):
    return {"rows": data.num_rows, "files": len(list(made.iterdir()))}


@tw.pipeline
def flow():
    return count(rows(5), folder(3))
"""
STAY = """
import pathlib, time
import tradewind as tw

print("up", flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.05)
tw.log_metric("gone", 1.0)
"""


class Server(Home):
    """One of several; what is typed here is asked of this one."""

    def __init__(self, folder: Path, store: str, blobs: Path) -> None:
        folder.mkdir()
        super().__init__(folder)
        port = str(free_port())
        self.words = ("--no-local", "--store", store, "--blobs", str(blobs), "--port", port)

    def tw(self, *words: str | Path, cwd: Path | None = None) -> Said:
        before = os.environ.get("TRADEWIND_HOME")
        os.environ["TRADEWIND_HOME"] = str(self.data)
        try:
            return super().tw(*words, cwd=cwd)
        finally:
            os.environ.pop("TRADEWIND_HOME")
            if before is not None:
                os.environ["TRADEWIND_HOME"] = before

    def up(self) -> None:
        self.good("up", *self.words)

    def kill(self) -> None:
        found = local.running(self.data)
        assert found is not None
        os.kill(found.pid, signal.SIGKILL)
        until(lambda: local.running(self.data) is None)

    def pool(self, name: str) -> str:
        """The state of a pool."""
        found = [each for each in self.json("get", "pools") if each["name"] == name]
        return str(found[0]["state"]) if found else ""

    def run(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.json("describe", run)
        return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with postgres.serving(tmp_path_factory.mktemp("pg")) as server:
        server.psql("CREATE DATABASE tradewind;")
        yield server


@pytest.fixture(params=CLUSTERS)
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Site, Site]]:
    with site(tmp_path, chosen(request.param)) as one, namespace(one.kubeconfig) as name:
        yield one, Site(one.kubeconfig, name, one.nodes, one.double)


@pytest.fixture
def servers(tmp_path: Path, store: Any) -> Iterator[tuple[Server, Server]]:
    session.use(None)
    url = store.get_uri(database="tradewind")
    made = tuple(Server(tmp_path / name, url, tmp_path / "blobs") for name in ("one", "other"))
    with contextlib.ExitStack() as stack:
        for each in made:
            stack.callback(each.leave)
            each.up()
        yield made[0], made[1]


def spec(name: str, where: Site) -> str:
    options = {"kubeconfig": str(where.kubeconfig), "namespace": where.namespace}
    document = {"kind": "pool", "name": name, "engine": "kubernetes", "options": options}
    return yaml.safe_dump({**document, "options": {**options, "image": "tradewind:test"}})


def test_two_servers(places: tuple[Site, Site], servers: tuple[Server, Server], store: Any) -> None:
    one, other = servers
    for server, name, where in zip(servers, ("alpha", "beta"), places, strict=True):
        server.write({"pool.yaml": spec(name, where), "flow.py": FLOW, "stay.py": STAY})
        server.good("apply", "pool.yaml")
    until(lambda: (one.pool("beta"), other.pool("alpha")) == ("elsewhere", "elsewhere"))

    # Each takes what is for both, and what one made the other reads.
    for server in servers:
        assert '{"rows": 5, "files": 3}' in server.good("run", "flow.py").out
    going = {
        name: one.json("run", "stay.py", "--pool", name, "-d")["id"] for name in ("alpha", "beta")
    }
    until(lambda: all(other.run(run)["state"] == "running" for run in going.values()))

    # One is killed and comes back: nobody was disturbed.
    one.kill()
    other.good("exec", going["beta"], "--", "touch", "go")
    until(lambda: other.run(going["beta"])["state"] == "succeeded")
    late = other.json("run", "stay.py", "--pool", "alpha", "-d")["id"]
    one.up()
    until(lambda: one.pool("alpha") == "ready")
    until(lambda: one.run(late)["state"] == "running")

    # It is killed for longer: the other one takes its pool, with all that goes on there.
    one.kill()
    _time_passes(store, places[0])
    until(lambda: other.pool("alpha") == "ready", 120.0)
    # It comes back without its pool. What it has launched knows no other address.
    one.up()
    for run in (going["alpha"], late):
        other.good("exec", run, "--", "touch", "go")
        until(lambda run=run: other.run(run)["state"] == "succeeded")  # type: ignore[misc]
        assert [each["number"] for each in one.run(run)["attempts"]] == [1]
    assert one.pool("alpha") == "elsewhere"

    refused = one.tw("delete", "pool/alpha")
    assert refused.status == 2 and "delete it there" in refused.err
    for name in ("alpha", "beta"):
        other.good("delete", f"pool/{name}")
    until(lambda: not any(objects(where) for where in places))


def _time_passes(store: Any, where: Site) -> None:
    """The leases of a server that is no more run out; on a real cluster they really do."""
    if where.double is not None:
        import psycopg

        with psycopg.connect(store.get_uri(database="tradewind")) as connection:
            connection.execute("UPDATE leases SET expires = 0 WHERE pool = 'alpha'")
        late = {"renewTime": "2020-01-01T00:00:00.000000Z"}
        for each in where.double.objects("leases", where.namespace):
            name = each["metadata"]["name"]
            where.double.edit("leases", where.namespace, name, lambda it: it["spec"].update(late))
