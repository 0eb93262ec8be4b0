"""A tour of the verbs, as a newcomer takes it, on the real server, node and local engine."""

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from tests.road.home import Home, until

pytestmark = pytest.mark.xdist_group("local-tour")

DOUBLE = "def double(x: int) -> int:\n    print('doubling', x)\n    return 2 * x\n"
SPEC = "kind: function\nname: double\nentry: double.py:double\nparams: {x: 4}\n"
WAITS = "import time\nprint('begun', flush=True)\ntime.sleep(600)\n"


@pytest.fixture
def here(home: Home) -> Path:
    files = {"double.py": DOUBLE, "double.yaml": SPEC, "waits.py": WAITS, ".env": "SECRET=1",
             ".gitignore": "*.big\n", "a.big": "x"}  # fmt: skip
    return home.write(files, "tour")


def test_run_says_what_happened(home: Home, here: Path) -> None:
    said = home.good("run", "double.yaml", cwd=here)
    assert said.out.splitlines() == ["doubling 4", "8"]
    assert "double succeeded in" in said.err
    said = home.good(
        "run", "double.yaml", "--param", "x=5", "--name", "ten", "-o", "json", cwd=here
    )
    body = said.json
    assert (body["name"], body["results"]["output"]["value"]) == ("ten", 10)
    home.good("run", "double.yaml:double", cwd=here)
    assert home.tw("run", "double.yaml:triple", cwd=here).status == 2


def test_a_run_is_looked_at(home: Home, here: Path) -> None:
    run = home.json("run", "double.yaml", cwd=here)["id"]
    assert run in [each["id"] for each in home.json("get", "runs")]
    assert run in home.good("get", "runs").out
    assert home.json("get", "runs", "--state", "failed") == []
    text = home.good("describe", run).out
    assert "function double" in text
    assert "elsewhere" in text  # what it would have cost on other machines
    assert home.good("logs", run).out == "doubling 4\n"
    assert home.good("logs", run, "-o", "json").records == [{"line": "doubling 4"}]
    assert home.good("logs", run[:6]).out == "doubling 4\n"
    types = [each["type"] for each in home.good("events", run, "-o", "json").records]
    assert types[0] == "run.accepted"
    assert types[-1] == "run.succeeded"
    assert "run.succeeded" in home.good("events", run).out
    assert home.good("attach", run).out.splitlines() == ["doubling 4", "8"]
    assert home.good("wait", run).status == 0
    home.good("delete", run)
    assert home.tw("describe", run).status == 2


def test_a_run_goes_on_without_us_and_is_stopped(home: Home, here: Path) -> None:
    run = home.good("run", "waits.py", "--detach", cwd=here).out.strip()
    until(lambda: home.good("logs", run).out == "begun\n")
    assert home.tw("wait", run, "--timeout", "10ms").status == 4
    [unit] = until(lambda: home.json("top"))
    assert unit["run"] == run
    assert run in home.good("top", "--once").out
    assert home.tw("delete", run).status == 2  # it has not ended
    # The server goes and comes, to the address where others know it; the run does not notice.
    home.good("down")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    home.good("up", "--port", str(port))
    said = home.good("down")
    assert run in said.out
    assert home.tw("status").status == 4
    back = home.json("up")
    assert back["started"] is True and back["url"].endswith(f":{port}")
    assert home.json("describe", run)["state"] == "running"
    home.good("stop", run, "--wait")
    assert home.json("describe", run)["state"] == "stopped"
    assert home.good("logs", run, "-f").out == "begun\n"
    assert home.tw("wait", run).status == 1
    assert home.tw("attach", run).status == 1


def test_what_it_would_cost_and_send(home: Home, here: Path) -> None:
    quote = home.json("quote", "double.yaml", cwd=here)
    assert quote["plans"][0]["pool"] == "local"
    assert "local" in home.good("quote", "double.yaml", cwd=here).out
    body = home.json("run", "double.yaml", "--quote", quote["id"], cwd=here)
    assert body["quote"] == quote["id"]
    assert home.json("plan", "double.yaml", cwd=here)["engine"] == "local"
    assert "because" in home.good("plan", "double.yaml", cwd=here).out
    assert home.json("plan", body["id"])["pool"] == "local"
    rendered = home.json("render", "double.yaml", cwd=here)
    assert "double.py:double" in str(rendered)
    assert home.tw("run", "double.yaml", "--quote", "q000000000000", cwd=here).status == 2


def test_specs_are_kept(home: Home, here: Path) -> None:
    assert home.json("diff", "double.yaml", cwd=here)[0]["change"] == "created"
    assert home.json("apply", "double.yaml", cwd=here)[0]["change"] == "created"
    assert home.json("apply", "double.yaml", cwd=here)[0]["change"] == "unchanged"
    home.write({"double.yaml": SPEC.replace("x: 4", "x: 40")}, "tour")
    assert "params" in home.good("diff", "double.yaml", cwd=here).out
    assert home.json("apply", "double.yaml", cwd=here)[0]["revision"] == 2
    assert home.good("run", "function/double").out.splitlines()[-1] == "80"
    assert home.good("run", "function/double@1").out.splitlines()[-1] == "8"
    assert home.json("get", "functions")[0]["name"] == "double"
    assert "x: 40" in home.good("describe", "function/double").out
    home.good("delete", "function/double")
    assert home.json("get", "functions") == []


def test_what_travels(home: Home, here: Path) -> None:
    found = home.json("bundle", "double.yaml", cwd=here)
    travels = [each["path"] for each in found["travels"]]
    stays = {each["path"] for each in found["stays"]}
    assert "double.py" in travels
    assert {".env", "a.big"} <= stays
    assert ".env" in home.good("bundle", cwd=here).out


def test_the_platform_is_looked_at(home: Home) -> None:
    status = home.json("status")
    assert status["data"] == str(home.data)
    assert "local" in home.good("status").out
    assert [pool["name"] for pool in home.json("get", "pools")] == ["local"]
    checks = home.json("doctor")
    assert checks["good"]
    assert {"python", "disk", "uv", "server"} <= {each["name"] for each in checks["checks"]}
    assert home.good("doctor").out
    assert home.good("--help").out.startswith("Usage: tw VERB")
    assert home.good("schema", "-o", "json").json


def test_old_runs_are_pruned(home: Home, here: Path) -> None:
    for _ in range(2):
        home.good("run", "double.yaml", cwd=here)
    before = len(home.json("get", "runs", "double"))
    home.good("prune", "--older-than", "0s", "--keep", "1")
    assert before > 1
    assert len(home.json("get", "runs", "double")) == 1


def test_mistakes_say_who_must_act(home: Home, here: Path) -> None:
    assert home.tw("rum").status == 2
    assert "tw run" in home.tw("rum").err
    assert home.tw("run", "duble.yaml", cwd=here).status == 2
    assert "double.yaml" in home.tw("run", "duble.yaml", cwd=here).err
    wrong = "kind: function\nname: f\nentry: double.py:%s\n"
    home.write({"wrong.yaml": f"{wrong % 'double'}perfomance: 60s\n"}, "tour")
    said = home.tw("run", "wrong.yaml", cwd=here)
    assert said.status == 2
    assert "wrong.yaml:4:1" in said.err
    assert "performance" in said.err
    said = home.tw("run", "wrong.yaml", "-o", "json", cwd=here)
    assert said.json["error"]["code"] == "invalid_spec"
    home.write({"wrong.yaml": wrong % "treble"}, "tour")
    said = home.tw("run", "wrong.yaml", cwd=here)
    assert said.status == 1
    assert "treble" in said.err
    assert "double.py" in said.err
    said = home.tw("run", "double.yaml", "--data", "nothing", cwd=here)
    assert said.status in (1, 2)
    assert "nothing" in said.err


def test_a_foreign_token_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_URL", home.json("status")["url"])
    monkeypatch.setenv("TRADEWIND_TOKEN", "somebody-elses")
    said = home.tw("get", "runs")
    assert said.status == 3
    assert os.environ["TRADEWIND_TOKEN"] not in said.err
