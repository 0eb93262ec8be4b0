"""Finding and starting the local server, with a small stand-in for the server process."""

import json
import os
import sys
import threading
from pathlib import Path

import pytest

from tradewind.base.errors import Broken, NotAllowed, Unauthenticated, Unreachable
from tradewind.sdk import local

SERVER = """
import http.server, json, os, signal, sys
folder = sys.argv[1]
with open(folder + "/started", "a") as file:
    file.write("x")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *args): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
fd = os.open(folder + "/token", os.O_CREAT | os.O_WRONLY, 0o600)
os.write(fd, b"the-token"); os.close(fd)
body = {"url": "http://127.0.0.1:%d" % server.server_port, "pid": os.getpid()}
open(folder + "/server.new", "w").write(json.dumps(body))
os.replace(folder + "/server.new", folder + "/server.json")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server.serve_forever()
"""
DYING = "import sys; print('the port is taken'); sys.exit(3)"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TRADEWIND_URL", raising=False)
    monkeypatch.delenv("TRADEWIND_TOKEN", raising=False)
    return tmp_path / "home"


def stand_in(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(
        local, "server_command", lambda folder, args=(): [sys.executable, "-c", code, str(folder)]
    )


def test_many_callers_start_one_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, SERVER)
    found: list[local.Address] = []
    threads = [
        threading.Thread(target=lambda: found.append(local.ensure_server())) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    here = local.running(home)
    assert here is not None
    try:
        assert (home / "started").read_text() == "x"
        assert len({address.url for address in found}) == 1
        assert found[0].token == "the-token"
        assert local.find() == found[0]
    finally:
        os.kill(here.pid, 15)
        os.waitpid(here.pid, 0)
    assert local.running(home) is None


def test_a_server_that_dies_is_quoted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, DYING)
    with pytest.raises(Broken, match="exit status 3") as raised:
        local.ensure_server()
    assert "the port is taken" in raised.value.hint


def test_a_stale_file_is_no_server(home: Path) -> None:
    home.mkdir()
    path = home / "server.json"
    body = {"url": "http://127.0.0.1:1", "pid": os.getpid()}
    path.write_text(json.dumps({**body, "boot": "another boot"}))
    assert local.running(home) is None
    path.write_text(json.dumps({**body, "started": 1}))
    assert local.running(home) is None
    path.write_text("{")
    assert local.running(home) is None
    path.write_text(json.dumps(body))
    assert local.running(home) == local.Running("http://127.0.0.1:1", os.getpid())


def test_a_token_that_others_can_read_is_refused(home: Path) -> None:
    home.mkdir()
    with pytest.raises(Unauthenticated):
        local.read_token(home)
    path = home / "token"
    path.write_text("secret\n")
    for mode in (0o640, 0o604, 0o644):
        path.chmod(mode)
        with pytest.raises(NotAllowed, match=f"0{mode:o}"):
            local.read_token(home)
    path.chmod(0o600)
    assert local.read_token(home) == "secret"


def test_the_environment_names_a_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_URL", "https://tw.example/")
    monkeypatch.setenv("TRADEWIND_TOKEN", "t")
    assert local.find() == local.Address("https://tw.example", "t")
    with local.connect() as client:
        assert client.url == "https://tw.example"


def test_nothing_is_started_unasked(home: Path) -> None:
    with pytest.raises(Unreachable) as raised:
        local.connect(start=False)
    assert "tw up" in raised.value.hint
    assert not home.exists()


def test_stopping_what_does_not_run(home: Path) -> None:
    assert local.stop_server() is None
