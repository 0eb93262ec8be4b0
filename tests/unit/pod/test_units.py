"""What a unit gets in a pod and what of it comes back, through real processes."""

from __future__ import annotations

from pathlib import Path

from tests.unit.pod.pods import Pod, Server


def test_a_function(tmp_path: Path, server: Server) -> None:
    code = "def f(x):\n    print('hello')\n    return x + 1\n"
    pod = Pod(tmp_path, server, code)
    pod.role["params"] = {"x": 1}
    ended = pod.both()
    assert (ended.status, ended.out) == (0, b"hello\n")
    assert ended.told["state"] == "succeeded"
    assert ended.told["outputs"]["result"]["value"] == 2
    assert set(ended.told["usage"]) == {"cpu", "memory", "wall"}
    assert {"start", "import", "call"} <= set(ended.told["phases"])
    assert [fact["body"]["name"] for fact in server.facts] == ["fetch", "bundle"]
