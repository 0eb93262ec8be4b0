"""The server process: one per folder, reachable by its owner only, gone without a trace."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("serve")]
COMMAND = [sys.executable, "-m", "tradewind.cli.serve"]


@contextmanager
def serving(data: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server that says it can be reached, and where."""
    argv = [*COMMAND, "--data", str(data), "--port", "0", *more]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    try:
        told = data / "server.json"
        until = time.monotonic() + 60
        while not told.exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until, "it does not come up"
            time.sleep(0.02)
        yield process, json.loads(told.read_text())["url"]
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def asked(data: Path, *more: str) -> subprocess.CompletedProcess[str]:
    argv = [*COMMAND, "--data", str(data), *more]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


def test_one_server_and_what_it_leaves(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as (process, url):
        token = data / "token"
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        assert stat.S_IMODE((data / "service-token").stat().st_mode) == 0o600
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        told = json.loads((data / "server.json").read_text())
        assert told["pid"] == process.pid
        headers = {"authorization": f"Bearer {token.read_text()}"}
        assert httpx.get(f"{url}/readyz").text == "ok\n"
        assert httpx.get(f"{url}/api/v1/runs").status_code == 401
        assert httpx.get(f"{url}/api/v1/runs", headers=headers).status_code == 200

        second = asked(data, "--port", "0")
        assert second.returncode == 2
        assert f"process {process.pid}" in second.stderr and "Traceback" not in second.stderr

        port = url.rpartition(":")[2]
        taken = asked(tmp_path / "other", "--port", port)
        assert taken.returncode == 2 and "cannot listen on" in taken.stderr

        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0
        assert token.read_text() not in said
    assert not (data / "server.json").exists()
    before = token.read_text()
    with serving(data):
        assert token.read_text() == before, "nobody has to sign in anew"


def test_it_ends_when_the_api_says_so(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, url):
        headers = {"authorization": f"Bearer {(tmp_path / 'token').read_text()}"}
        body = {"stop_runs": False}
        answer = httpx.post(f"{url}/api/v1/shutdown", json=body, headers=headers)
        assert answer.json() == {"going_on": []}
        assert process.wait(60) == 0
        assert not (tmp_path / "server.json").exists()


def test_a_server_that_was_killed_frees_the_folder(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, _):
        process.kill()
        process.wait(60)
    (tmp_path / "server.json").unlink()
    with serving(tmp_path) as (_, url):
        assert httpx.get(f"{url}/healthz").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_off_loopback_it_needs_tls_or_a_proxy(host: str, tmp_path: Path) -> None:
    done = asked(tmp_path / "data", "--host", host, "--port", "0")
    assert done.returncode == 2
    assert "--behind-proxy" in done.stderr and "--tls-cert" in done.stderr
    assert not (tmp_path / "data").exists()


def test_the_usual_port_that_is_taken_is_no_obstacle(tmp_path: Path) -> None:
    from tradewind.cli import serve

    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        usual, serve.PORT = serve.PORT, port
        try:
            options = serve._parse(["--data", str(tmp_path)])
            with serve._bind(options) as sock:
                assert sock.getsockname()[1] not in {0, port}
                # It listens from the start: nobody else gets this port any more.
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        finally:
            serve.PORT = usual


def test_a_token_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    from tradewind.cli import serve

    path = tmp_path / "token"
    path.write_text("x" * 43)
    path.chmod(0o644)
    assert serve._token(tmp_path) == "x" * 43
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_pools_of_files_are_applied_at_the_start(tmp_path: Path) -> None:
    good, bad = tmp_path / "pools.yaml", tmp_path / "bad.yaml"
    good.write_text("kind: pool\nname: local\nprice: $9/h\n")
    bad.write_text("kind: project\nname: one\n")
    refused = asked(tmp_path / "data", "--port", "0", "--pools", str(bad))
    assert refused.returncode == 2 and "project/one is no pool" in refused.stderr
    blobs = tmp_path / "blobs"
    with serving(tmp_path / "data", "--pools", str(good), "--blobs", str(blobs)) as (_, url):
        headers = {"authorization": f"Bearer {(tmp_path / 'data/token').read_text()}"}
        [pool] = httpx.get(f"{url}/api/v1/pools", headers=headers).json()
        assert pool["price"] == 9_000_000_000 and pool["state"] == "ready"
        digest = f"sha256:{hashlib.sha256(b'x').hexdigest()}"
        octets = {**headers, "content-type": "application/octet-stream"}
        put = httpx.put(f"{url}/api/v1/blobs/{digest}", content=b"x", headers=octets)
        assert put.status_code == 201 and list(blobs.rglob("*"))
    with serving(tmp_path / "other", "--no-local") as (_, url):
        headers = {"authorization": f"Bearer {(tmp_path / 'other/token').read_text()}"}
        assert httpx.get(f"{url}/api/v1/pools", headers=headers).json() == []
