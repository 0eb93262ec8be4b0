"""What the node serves through the API server: logs and exec."""

import asyncio
import base64
import json
import os
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from tests.kube.runner import Runner, fixtures
from tests.kube.runner.fixtures import Cluster, Pod, until
from tests.kube.runner.logs import Asked, Log
from tests.kube.runner.rest import Access, access
from tests.kube.runner.websocket import WebSocket

control, runner = fixtures.control, fixtures.runner
cluster, node = fixtures.cluster, fixtures.node
pytestmark = pytest.mark.root

LINES = "for i in 1 2 3 4 5; do echo line $i; done"


def test_a_log_is_the_exact_bytes(cluster: Cluster, node: str) -> None:
    data = bytes(range(256)) * 1000
    script = "import os, sys; d = bytes(range(256)) * 1000; "
    script += "[os.write(1 + i % 2, d[i * 1000:i * 1000 + 1000]) for i in range(256)]"
    pod = cluster.run(node, "python", "-c", script)
    pod.ended()
    assert pod.log() == data


def test_the_end_of_a_log(cluster: Cluster, node: str) -> None:
    pod = cluster.run(node, "sh", "-c", f"{LINES}; printf open")
    pod.ended()
    assert pod.log(tailLines=2) == b"line 5\nopen"
    assert pod.log(tailLines=0) == b""
    assert pod.log(tailLines=99) == pod.log()
    assert pod.log(limitBytes=9) == b"line 1\nli"
    assert pod.log(tailLines=3, limitBytes=3) == b"lin"


def test_a_log_with_times_and_since_a_time(cluster: Cluster, node: str) -> None:
    pod = cluster.run(node, "sh", "-c", "echo early; sleep 2.1; echo late; sleep 60")
    pod.says(b"late")
    early, late = pod.log(timestamps="true").decode().splitlines()
    assert (early.split()[1], late.split()[1]) == ("early", "late")
    assert early.split()[0] < late.split()[0]
    assert pod.log(sinceTime=late.split()[0][:19] + "Z") == b"late\n"
    assert pod.log(sinceSeconds=3600) == b"early\nlate\n"


def test_a_followed_log_comes_as_it_is_written_and_ends_with_the_container(
    cluster: Cluster, node: str
) -> None:
    pod = cluster.run(
        node, "sh", "-c", "echo one; while ! [ -e /go ]; do sleep 0.05; done; echo two"
    )
    pod.says(b"one")
    query = {"follow": "true", "container": "main"}
    seen = b""
    with cluster.http.stream("GET", f"{pod.path}/log", params=query) as answer:
        for part in answer.iter_raw():
            if not seen:
                assert part == b"one\n"
                out, _ = asyncio.run(run(cluster, pod, "touch", "/go"))
                assert out == b""
            seen += part
    assert seen == b"one\ntwo\n"


def test_the_log_of_the_container_before(cluster: Cluster, node: str) -> None:
    script = "n=$(cat /work/n 2>/dev/null); echo n=$n; echo x$n >/work/n; exit 1"
    pod = cluster.run(
        node,
        *("sh", "-c", f"{script}"),
        restartPolicy="OnFailure",
        main_volumeMounts=[{"name": "work", "mountPath": "/work"}],
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    until(lambda: pod.asked("log", previous="true").content, lambda data: data == b"n=xx\n")


def test_there_is_no_log_of_what_has_not_run(cluster: Cluster, node: str) -> None:
    pod = cluster.run(node, "true", main_image="nope:1")
    pod.waits("ErrImagePull")
    for query in ({}, {"previous": "true"}):
        answer = pod.asked("log", **query)
        assert answer.status_code == 400
        assert 'container "main" in pod' in answer.text.replace("\\", "")
    assert pod.asked("log", container="nobody").status_code == 400


def test_exec_runs_in_the_container(cluster: Cluster, node: str) -> None:
    pod = cluster.run(
        node,
        *("sh", "-c", "echo inside >/here; sleep 60"),
        main_env=[{"name": "WHO", "value": "me"}],
        securityContext={"supplementalGroups": [7]},
    )
    pod.phase("Running")
    script = "cat /here; echo $WHO; echo wrong >&2; hostname; cat /proc/1/comm; exit 3"
    out, status = asyncio.run(run(cluster, pod, "sh", "-c", script))
    assert out == b"inside\nme\n" + pod.name.encode() + b"\nsh\n"
    assert status["reason"] == "NonZeroExitCode"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


def test_exec_carries_input_and_output(cluster: Cluster, node: str) -> None:
    pod = cluster.run(node, "sleep", "60")
    pod.phase("Running")
    data = os.urandom(300_000)
    out, status = asyncio.run(run(cluster, pod, "head", "-c", str(len(data)), given=data))
    assert out == data
    assert status["status"] == "Success"


def test_a_kubelet_without_tls(cluster: Cluster, control: Path) -> None:
    with Runner(control, node="plain", secure=False, **fixtures.QUICK):
        port = cluster.get("/api/v1/nodes/plain")["status"]["daemonEndpoints"]["kubeletEndpoint"]
        pod = cluster.run("plain", "echo", "hello")
        pod.ended()
        answer = asyncio.run(plainly(port["Port"], f"/containerLogs/default/{pod.name}/main"))
        assert answer.startswith(b"HTTP/1.1 200") and b"hello" in answer
        assert b'"PodList"' in asyncio.run(plainly(port["Port"], "/pods"))
        assert asyncio.run(plainly(port["Port"], "/healthz")).endswith(b"\r\n\r\nok")


def test_exec_by_the_newer_protocol_can_end_the_input(cluster: Cluster, control: Path) -> None:
    # Of the kubelet itself: a real API server speaks another protocol to it for this one.
    with Runner(control, node="newer", secure=False, **fixtures.QUICK):
        port = cluster.get("/api/v1/nodes/newer")["status"]["daemonEndpoints"]["kubeletEndpoint"]
        pod = cluster.run("newer", "sleep", "60")
        pod.phase("Running")
        url = f"http://127.0.0.1:{port['Port']}"
        path = f"/exec/default/{pod.name}/main?command=cat&input=1&output=1&error=1"

        async def echo() -> tuple[bytes, dict[str, Any]]:
            socket = await dial(Access(url), path, "v5.channel.k8s.io")
            await socket.send(b"\0all of it")
            await socket.send(b"\xff\0")
            return await outcome(socket)

        out, status = asyncio.run(echo())
        assert (out, status["status"]) == (b"all of it", "Success")


@pytest.mark.parametrize("part", [1, 7, 1 << 16])
def test_the_end_of_a_log_wherever_its_parts_meet(tmp_path: Path, part: int) -> None:
    data = b"".join(b"%d %s\n" % (number, b"x" * (number % 50)) for number in range(5000))
    log = Log(tmp_path / "log")
    for start in range(0, len(data), part):
        log.append(data[start : start + part], start)

    async def read(**asked: Any) -> bytes:
        return b"".join([part async for part in log.read(Asked(**asked))])

    lines = data.splitlines(keepends=True)
    for tail in (0, 1, 17, 4999, 5000, 6000):
        assert asyncio.run(read(tail=tail)) == b"".join(lines[len(lines) - min(tail, 5000) :])
    stamped = asyncio.run(read(timestamps=True)).splitlines(keepends=True)
    assert [line.partition(b" ")[2] for line in stamped] == lines
    log.drop()


async def run(
    cluster: Cluster, pod: Pod, *command: str, given: bytes | None = None
) -> tuple[bytes, dict[str, Any]]:
    """stdout of a command in the pod, and the status that ended it."""
    query: list[tuple[str, str]] = [("command", word) for word in command]
    query += [("container", "main"), ("stdout", "true"), ("stderr", "true")]
    query += [("stdin", "true")] * (given is not None)
    socket = await dial(access(cluster.kubeconfig), f"{pod.path}/exec?{urlencode(query)}")
    for start in range(0, len(given or b""), 10_000):
        await socket.send(b"\0" + (given or b"")[start : start + 10_000])
    return await outcome(socket)


async def outcome(socket: WebSocket) -> tuple[bytes, dict[str, Any]]:
    """stdout, and the status that ended it."""
    outputs = {1: b"", 2: b"", 3: b""}
    while (message := await socket.receive()) is not None:
        if message and message[0] in outputs:
            outputs[message[0]] += message[1:]
    socket.drop()
    return outputs[1], json.loads(outputs[3])


async def dial(entry: Access, path: str, protocol: str = "v4.channel.k8s.io") -> WebSocket:
    """A WebSocket client, as far as `exec` needs one."""
    url = urlsplit(entry.server)
    tls = entry.verify if isinstance(entry.verify, ssl.SSLContext) else None
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=tls)
    key = base64.b64encode(os.urandom(16)).decode()
    headers = entry.headers | {
        "Host": url.netloc,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Protocol": protocol,
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in head.splitlines()[0], head
    return WebSocket(reader, writer, client=True)


async def plainly(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: kubelet\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer
