"""What a unit gets in a pod and what of it comes back, through real processes."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
from pathlib import Path
from typing import Any

from tests.unit.pod.pods import Ended, Pod, Server, bundle, until


def result(ended: Ended) -> Any:
    assert ended.told["state"] == "succeeded", (ended.told, ended.out)
    return ended.told["outputs"]["result"]["value"]


def test_a_function(tmp_path: Path, server: Server) -> None:
    code = "def f(x):\n    print('hello')\n    return x + 1\n"
    pod = Pod(tmp_path, server, code)
    pod.role["params"] = {"x": 1}
    ended = pod.both()
    assert (ended.status, ended.out) == (0, b"hello\n")
    assert result(ended) == 2
    assert set(ended.told["usage"]) == {"cpu", "memory", "wall"}
    assert ended.told["usage"]["memory"] > 1 << 20
    assert {"fetch", "bundle", "start", "import", "call"} <= set(ended.told["phases"])
    assert server.facts == [], "a task without metrics needs no word in between"


def test_inputs(tmp_path: Path, server: Server) -> None:
    code = (
        "from pathlib import Path\n"
        "def f(t: list[Path], file: Path, packed: Path, linked: Path, value):\n"
        "    return [[p.read_text() for p in t], file.name, file.read_text(),\n"
        "        (packed / 'a.txt').read_text(), (linked / 'b/c.txt').read_text(), value]\n"
    )
    pod = Pod(tmp_path, server, code)
    parts = [server.add(text) for text in (b"one", b"two")]
    files = {"kind": "folder", "source": "linked", "files": [parts[0]]}
    pod.role["inputs"] = {
        "t": {"kind": "table", "source": "t@1", "files": parts},
        "file": {"kind": "file", "digest": parts[1], "meta": {"name": "words.txt"}},
        "packed": {"kind": "folder", "digest": server.add(bundle({"a.txt": "in a"}))},
        "linked": {**files, "digest": "sha256:" + "1" * 64, "meta": {"paths": ["b/c.txt"]}},
        "value": {"kind": "value", "value": {"x": [1]}},
    }
    assert result(pod.both()) == [
        ["one", "two"], "words.txt", "two", "in a", "one", {"x": [1]},
    ]  # fmt: skip


def test_outputs(tmp_path: Path, server: Server) -> None:
    code = (
        "import pyarrow as pa, tradewind as tw\n"
        "def f():\n"
        "    (tw.output_dir('report') / 'page.html').write_text('page')\n"
        "    (tw.output_dir('best') / 'weights').write_text('weights')\n"
        "    open('note', 'w').write('noted')\n"
        "    tw.log_artifact('note')\n"
        "    tw.log_metric('loss', 0.5, step=3)\n"
        "    tw.log_param('depth', 2)\n"
        "    tw.progress(1, 2)\n"
        "    return pa.table({'a': [1, 2, 3]})\n"
    )
    pod = Pod(tmp_path, server, code)
    pod.role["outputs"] = {
        "result": {"kind": "result", "target": "flights", "project": "p"},
        "report": {"kind": "folder"},
        "best": {"kind": "model", "target": "m"},
    }
    ended = pod.both()
    assert ended.status == 0, ended.told
    made = ended.told["outputs"]
    table = made["result"]
    # The version of the dataset's table is the server's to make.
    assert (table["kind"], table["rows"], "table_uri" in table) == ("table", 3, False)
    assert server.put[table["files"][0]["digest"]].startswith(b"PAR1")
    held = {name: server.put[made[name]["files"][0]["digest"]] for name in made if name != "result"}
    assert held == {"report": b"page", "best": b"weights", "artifacts/note": b"noted"}
    assert server.values("metric", "loss") == [0.5]
    assert server.values("param", "depth") == [2]
    assert [fact["body"] for fact in server.facts if fact["kind"] == "progress"] == [
        {"done": 1.0, "total": 2.0}
    ]
    assert {post["pod"] for post in server.posts} == {"pod-1"}
    # What the server has is not sent again.
    server.blobs |= server.put
    server.put.clear()
    assert pod.run().status == 0
    assert server.put == {}


def test_a_script_and_a_command(tmp_path: Path, server: Server) -> None:
    pod = Pod(tmp_path / "a", server, "import sys\nprint(sys.argv[1:])\nsys.exit(3)\n")
    pod.role["entry"] = {"kind": "script", "target": "code.py", "args": ["x", "y"]}
    ended = pod.both()
    assert (ended.status, ended.out) == (1, b"['x', 'y']\n")
    assert (ended.told["state"], ended.exit["status"]) == ("failed", 3)

    pod = Pod(tmp_path / "b", server)
    words = "echo out; echo err >&2; printf '\\377\\0x'; echo again > /dev/stdout"
    pod.role["entry"] = {"kind": "command", "args": ["sh", "-c", words]}
    ended = pod.both()
    assert (ended.status, ended.out) == (0, b"out\nerr\n\xff\0xagain\n")


def test_an_exception_comes_with_its_traceback(tmp_path: Path, server: Server) -> None:
    ended = Pod(tmp_path, server, "def f():\n    raise ValueError('too small')\n").both()
    assert (ended.status, ended.told["state"]) == (1, "failed")
    assert (ended.exit["type"], ended.exit["message"]) == ("ValueError", "too small")
    assert 'File "code.py", line 2, in f' in ended.exit["traceback"]
    assert ended.exit["traceback"].encode() in ended.out


def test_a_timeout(tmp_path: Path, server: Server) -> None:
    pod = Pod(tmp_path, server, "import time\ndef f():\n    time.sleep(60)\n")
    pod.role["timeout"] = 0.3
    ended = pod.both()
    assert (ended.status, ended.exit["reason"]) == (1, "timeout")


ENV = "import os, tradewind as tw\ndef f(**x):\n    return [dict(os.environ), x, tw.run_info()]\n"


def test_an_item_of_an_array(tmp_path: Path, server: Server) -> None:
    pod = Pod(tmp_path, server, ENV.replace("**x", "x"), index=2, attempt=3)
    pod.role |= {"shape": {"shape": "array", "count": 4, "at_once": 2}, "items": [5, 6, 7, 8]}
    env, item, told = result(pod.both())
    assert (item, told["index"], told["attempt"]) == (7, 2, 3)
    assert json.loads(env["TRADEWIND_ITEM"]) == 7
    assert "RANK" not in env


def test_a_member_of_a_gang(tmp_path: Path, server: Server) -> None:
    code = ENV + "def g():\n    tw.log_metric('m', 1)\n    return f()\n"
    pod = Pod(tmp_path, server, code, rank=1, width=3, epoch=2, master="job-0.job")
    pod.role["shape"] = {"shape": "gang", "least": 3, "most": 3}
    pod.role["entry"]["target"] = "code.py:g"
    env, _none, told = result(pod.both())
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    assert [env[name] for name in names] == ["1", "3", "0", "job-0.job", "29500"]
    assert (told["index"], told["epoch"], told["role"]) == (1, 2, "main")
    assert [each["body"] for each in server.facts if each["kind"] == "metric"] == [
        {"name": "m", "value": 1.0, "rank": 1}
    ]


def test_what_is_ours_stays_ours(tmp_path: Path, server: Server) -> None:
    env, _none, told = result(Pod(tmp_path, server, ENV).both())
    hidden = {"TOKEN", "SERVER", "POD", "IP", "NODE", "TERMINATION_LOG", "SERVICE_TOKEN", "HOME"}
    assert not {f"TRADEWIND_{name}" for name in hidden} & set(env)
    assert Path(env["HOME"]).is_dir()
    assert (told["run"], told["placement"]) == ("run-1", "run-1-main-1")


def test_an_environment_of_its_own(tmp_path: Path, server: Server) -> None:
    pod = Pod(tmp_path, server, "import sys\ndef f():\n    return sys.prefix\n")
    lock = server.add(b"# nothing\n")
    pod.request["environment"] = {"digest": "sha256:" + "2" * 64, "lock": lock}
    ended = pod.both()
    assert result(ended) == str(pod.home / "node/environments" / ("2" * 64))
    assert {"fetch", "bundle", "environment"} <= set(ended.told["phases"])


def test_a_replica(tmp_path: Path, server: Server) -> None:
    pod = Pod(tmp_path, server, ENV, ports={"http": free_port(), "other-one": 8081})
    pod.role |= {"shape": {"shape": "replicas", "count": 2}, "ports": ["http", "other-one"]}
    pod.role |= {"stop": {"way": "drain", "grace": 20.0}}
    pod.role["entry"] = {"kind": "service", "target": "code.py:f"}
    # Another address of this machine than the usual one: what the pod has, it listens on.
    pod.env |= {"TRADEWIND_SERVICE_TOKEN": "secret", "TRADEWIND_IP": "127.0.0.2"}
    assert pod.stage().status == 0
    process = pod.begin("run")
    address = ("127.0.0.2", pod.unit["ports"]["http"])
    until(lambda: opens(address))
    assert ask(address, "wrong")[0] == 401
    status, (env, _none, told) = ask(address, "secret")
    assert (status, told["attempt"]) == (200, 1)
    assert (env["HOST"], env["PORT"]) == ("127.0.0.2", str(address[1]))
    assert (env["PORT_HTTP"], env["PORT_OTHER_ONE"]) == (str(address[1]), "8081")
    assert (pod.home / "service-token").stat().st_mode & 0o777 == 0o600
    ended = pod.stop(process)
    assert (ended.status, ended.told["state"]) == (143, "stopped")
    # The same container again: another try, whose facts go on where the last one's ended.
    process = pod.begin("run")
    until(lambda: opens(address))
    assert ask(address, "secret")[1][2]["attempt"] == 2
    assert pod.stop(process).status == 143


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.2", 0))
        return int(sock.getsockname()[1])


def opens(address: tuple[str, int]) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(address) == 0


def ask(address: tuple[str, int], token: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(*address, timeout=30)
    head = {"Authorization": f"Bearer {token}"}
    connection.request("POST", "/predict", b"{}", head)
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def test_facts_of_another_start_follow_on(tmp_path: Path, server: Server) -> None:
    code = "import tradewind as tw\ndef f():\n    tw.log_metric('m', tw.run_info()['attempt'])\n"
    pod = Pod(tmp_path, server, code)
    assert pod.both().status == 0
    assert pod.run().status == 0
    assert server.values("metric", "m") == [1.0, 2.0]
    told = [fact["seq"] for fact in server.facts]
    assert told == sorted(set(told))


def test_a_long_log_is_not_held(tmp_path: Path, server: Server) -> None:
    lines = 400_000
    code = f"def f():\n    for n in range({lines}):\n        print('line', n)\n"
    pod = Pod(tmp_path, server, code)
    ended = pod.both()
    assert ended.status == 0
    whole = "".join(f"line {n}\n" for n in range(lines)).encode()
    assert hashlib.sha256(ended.out).digest() == hashlib.sha256(whole).digest()
    kept = sum(path.stat().st_size for path in pod.home.rglob("*.log.*"))
    assert 0 < kept <= 2 << 20 < len(whole)


def test_an_end_too_long_for_the_message_is_a_blob(tmp_path: Path, server: Server) -> None:
    ended = Pod(tmp_path, server, "def f():\n    raise ValueError('ä' * 3000)\n").both()
    assert ended.status == 1
    assert set(ended.told) == {"state", "at", "exit", "body"}
    assert set(ended.exit) == {"reason", "message"}
    assert (ended.exit["reason"], ended.exit["message"][:2]) == ("error", "ää")
    whole = json.loads(server.put[ended.told["body"]])
    assert (whole["exit"]["type"], whole["state"]) == ("ValueError", "failed")
    assert whole["at"] == ended.told["at"]
