"""Unix sockets, file descriptors and JSON lines between node, supervisor, keeper and user process.

Every room that talks over a local socket does it through this module, so the framing is said once.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import struct
from typing import Any, Dict, Iterator, Sequence

Message = Dict[str, Any]

# A socket's path must fit into 108 bytes; longer ones go through an open folder in /proc.
_LONGEST = 100
_HEADER = struct.Struct("!Q")
# One packet of the report channel. The kernel's default buffer is 208 KiB.
PACKET = 150_000


@contextlib.contextmanager
def _address(path: str) -> Iterator[str]:
    if len(os.fsencode(path)) <= _LONGEST:
        yield path
        return
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)


def connect(path: str) -> socket.socket:
    """A stream to the listener at `path`, which may be of any length."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _address(path) as address:
            sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def listen(path: str, backlog: int = 1024) -> socket.socket:
    """Listen at `path`, readable by its owner only; a dead listener's socket is replaced."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with _address(path) as address:
            sock.bind(address)
    finally:
        os.umask(mask)
    sock.listen(backlog)
    return sock


def encode(message: Message) -> bytes:
    """One JSON line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def send(sock: socket.socket, message: Message) -> None:
    """Send one line on a blocking stream."""
    sock.sendall(encode(message))


class Lines:
    """Cuts a byte stream into JSON messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        """The messages completed by `data`."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        return [json.loads(line) for line in lines if line]


def send_frame(sock: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """A message of any size, with file descriptors, on a blocking stream."""
    body = json.dumps(message, separators=(",", ":")).encode()
    rights = array.array("i", fds).tobytes()
    data = _HEADER.pack(len(body)) + body
    sent = sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if fds else [])
    if sent < len(data):
        sock.sendall(data[sent:])


def receive_frame(sock: socket.socket, count: int = 0) -> tuple[Message, list[int]]:
    """The inverse of `send_frame`. Raises EOFError if the sender went away."""
    fds = array.array("i")
    size = socket.CMSG_SPACE(count * fds.itemsize)
    head, ancillary, _flags, _address = sock.recvmsg(_HEADER.size, size)
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    while len(head) < _HEADER.size:
        head += _more(sock, _HEADER.size - len(head))
    (length,) = _HEADER.unpack(head)
    body = bytearray()
    while len(body) < length:
        body += _more(sock, min(1 << 20, length - len(body)))
    return json.loads(bytes(body)), list(fds)


def _more(sock: socket.socket, count: int) -> bytes:
    data = sock.recv(count)
    if not data:
        raise EOFError("the sender of a message went away")
    return data
