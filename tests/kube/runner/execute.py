"""`exec` over a WebSocket: channels 0 stdin, 1 stdout, 2 stderr, 3 how it ended."""

import asyncio
import contextlib
import json
from typing import Any

from tests.kube.runner.enter import enter
from tests.kube.runner.process import Process
from tests.kube.runner.websocket import WebSocket

STDIN, STDOUT, STDERR, ERROR, CLOSE = 0, 1, 2, 3, 255
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")  # v5: a channel can be closed
PART = 1 << 15


async def execute(socket: WebSocket, process: Process, query: dict[str, list[str]]) -> None:
    """Run the command, carry its bytes, say how it ended, close."""

    def asked(name: str) -> bool:
        return query.get(name, ["false"])[0] in ("1", "true")

    for channel, name in ((STDIN, "input"), (STDOUT, "output"), (STDERR, "error")):
        if asked(name):
            await socket.send(
                bytes([channel])
            )  # as a kubelet does: it says that the channel is open
    running = await enter(process, query["command"], piped=True, stdin=asked("input"))
    assert running.stdout and running.stderr
    outputs = (
        _carry(socket, STDOUT if asked("output") else None, running.stdout),
        _carry(socket, STDERR if asked("error") else None, running.stderr),
    )
    incoming = asyncio.create_task(_incoming(socket, running))
    try:
        await asyncio.gather(*outputs)
        code = await running.wait()
        await socket.send(bytes([ERROR]) + json.dumps(_status(code)).encode())
        await socket.close()
    except OSError:
        pass  # nobody listens any more
    finally:
        if running.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                running.kill()
        incoming.cancel()
        await asyncio.gather(incoming, return_exceptions=True)


async def _carry(socket: WebSocket, channel: int | None, output: asyncio.StreamReader) -> None:
    while data := await output.read(PART):
        if channel is not None:
            await socket.send(bytes([channel]) + data)


async def _incoming(socket: WebSocket, running: asyncio.subprocess.Process) -> None:
    """What the peer sends, to the command's input; the command ends when the peer goes."""
    while (message := await socket.receive()) is not None:
        stdin, channel = running.stdin, message[:1]
        if stdin is None:
            continue
        with contextlib.suppress(OSError):
            if channel == bytes([STDIN]) and len(message) > 1:
                stdin.write(message[1:])
                await stdin.drain()
            elif message == bytes([CLOSE, STDIN]):
                stdin.close()
    if running.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            running.kill()


def _status(code: int) -> dict[str, Any]:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    code = 128 - code if code < 0 else code
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
