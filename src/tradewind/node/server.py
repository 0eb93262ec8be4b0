"""The node's verbs, over one Unix socket, in JSON lines; requests may be pipelined.

`{"id": 1, "verb": "launch", …}` is answered by `{"id": 1, "ok": {…}}` or `{"id": 1, "error": {…}}`
(the form of `base.errors`). A supervisor that outlived a node opens with `{"supervisor": ID}`
instead, and becomes that placement's link.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tradewind.inside import wire
from tradewind.supervisor.loop import READ, WRITE

if TYPE_CHECKING:
    from tradewind.node.main import Node

# Bytes of reports in one answer.
MOST = 1 << 20


class Refusal(Exception):
    """A verb that cannot be carried out; `body` is an error of `base.errors` in JSON."""

    def __init__(self, code: str, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.body = {"code": code, "message": message, "after": after}


class Client:
    """One connection."""

    def __init__(self, node: Node, sock: socket.socket) -> None:
        self.node, self.sock = node, sock
        self.lines = wire.Lines()
        self._out = bytearray()
        self.open = True
        sock.setblocking(False)
        node.loop.watch(sock.fileno(), self._on_data)

    def _on_data(self) -> None:
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        try:
            messages = self.lines.feed(data)
        except ValueError:
            self.close()
            return
        for message in messages:
            if "supervisor" in message:
                self._become_link(message)
                return
            self._carry_out(message)

    def _become_link(self, message: dict[str, Any]) -> None:
        self.node.loop.forget(self.sock.fileno())
        self.open = False
        self.node.adopt_link(str(message["supervisor"]), int(message["pid"]), self.sock)

    def _carry_out(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        try:
            verb = VERBS.get(str(message.get("verb")))
            if verb is None:
                raise Refusal("bug", f"the node has no verb {message.get('verb')!r}")
            answer = verb(self.node, self, message)
            if answer is not None:
                self.answer(number, {"ok": answer})
        except Refusal as refusal:
            self.answer(number, {"error": refusal.body})
        except OSError as error:
            body = {"code": "broken", "message": f"the node cannot do this: {error}"}
            self.answer(number, {"error": body})
        except (KeyError, ValueError, TypeError) as error:
            body = {"code": "bug", "message": f"a request that the node cannot read: {error!r}"}
            self.answer(number, {"error": body})

    def answer(self, number: Any, body: dict[str, Any]) -> None:
        """Send, now or when the client reads."""
        if self.open:
            self._out += wire.encode({"id": number, **body})
            self._send()

    def answer_raw(self, number: Any, lines: list[bytes]) -> None:
        """Reports, which are JSON already."""
        if self.open:
            head = b'{"id":%d,"ok":{"reports":[' % number
            self._out += head + b",".join(lines) + b"]}}\n"
            self._send()

    def _send(self) -> None:
        try:
            sent = self.sock.send(self._out)
            del self._out[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self.node.loop.watch(
            self.sock.fileno(), self._on_ready, READ | WRITE if self._out else READ
        )

    def _on_ready(self) -> None:
        if self._out:
            self._send()
        if self.open:
            self._on_data()

    def close(self) -> None:
        """The client is gone; what it asked for goes on."""
        if self.open:
            self.open = False
            self.node.loop.forget(self.sock.fileno())
            self.sock.close()


Answer = dict[str, Any] | None
Verb = Callable[["Node", Client, dict[str, Any]], Answer]


def _hello(node: Node, _client: Client, _message: dict[str, Any]) -> Answer:
    return node.identity()


def _launch(node: Node, _client: Client, message: dict[str, Any]) -> Answer:
    return node.launch(message["request"])


def _resize(node: Node, _client: Client, message: dict[str, Any]) -> Answer:
    shown = {"devices": message["devices"]} if "devices" in message else {}
    node.order(message["placement"], {"resize": int(message["width"]), **shown})
    return {}


def _stop(node: Node, _client: Client, message: dict[str, Any]) -> Answer:
    node.order(message["placement"], {"stop": message.get("stop", {})})
    return {}


def _observe(node: Node, client: Client, message: dict[str, Any]) -> Answer:
    node.observe(client, message["id"], float(message.get("timeout", 0.0)))
    return None


def _acknowledge(node: Node, _client: Client, message: dict[str, Any]) -> Answer:
    for placement, seq in message["reports"].items():
        node.acknowledge(placement, int(seq))
    return {}


def _known(node: Node, _client: Client, _message: dict[str, Any]) -> Answer:
    return {"placements": node.known()}


def _status(node: Node, _client: Client, _message: dict[str, Any]) -> Answer:
    return node.status()


def _load(node: Node, _client: Client, _message: dict[str, Any]) -> Answer:
    return node.crowd.told()


def _warm(node: Node, _client: Client, message: dict[str, Any]) -> Answer:
    node.warm.ensure(message.get("python") or node.settings.python)
    return {}


def _prune(node: Node, _client: Client, _message: dict[str, Any]) -> Answer:
    node.prune()
    return {}


def _shutdown(node: Node, client: Client, message: dict[str, Any]) -> Answer:
    client.answer(message["id"], {"ok": {}})
    node.shut_down(bool(message.get("stop")))
    return None


VERBS: dict[str, Verb] = {
    "hello": _hello,
    "launch": _launch,
    "resize": _resize,
    "stop": _stop,
    "observe": _observe,
    "acknowledge": _acknowledge,
    "known": _known,
    "status": _status,
    "load": _load,
    "warm": _warm,
    "prune": _prune,
    "shutdown": _shutdown,
}


def raw(reports: list[dict[str, Any]]) -> list[bytes]:
    """Reports as JSON texts."""
    return [json.dumps(report, separators=(",", ":")).encode() for report in reports]


def accept(node: Node, listener: socket.socket) -> None:
    """Take a new connection; only of our own user, as far as the system tells."""
    with contextlib.suppress(BlockingIOError):
        sock, _address = listener.accept()
        peer = getattr(socket, "SO_PEERCRED", None)
        if peer is not None:
            data = sock.getsockopt(socket.SOL_SOCKET, peer, 12)
            uid = int.from_bytes(data[4:8], "little")
            if uid not in (os.getuid(), 0):
                sock.close()
                return
        Client(node, sock)
