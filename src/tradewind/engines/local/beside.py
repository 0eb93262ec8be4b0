"""Run a command beside a unit: in its working folder, with its variables and its interpreter first
on the path. It belongs to whoever asked: when they go, it is killed with all it began.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence

from tradewind.base.errors import NotFound, UserError
from tradewind.node import attempts
from tradewind.supervisor import beside, journal, layout

# Nobody looks at one thing for so long, in seconds.
LONGEST = 3600.0
TIMED_OUT = 124
_CHUNK = 1 << 16
_LIVE = frozenset({"running", "ready"})


async def run(
    places: layout.Layout, placement: str, role: str, index: int, command: Sequence[str]
) -> AsyncIterator[bytes | int]:
    """See `engines.base.Engine.exec`."""
    folder = places.attempt(placement)
    request = attempts.request_of(folder)
    attempt = _running(folder, role, index) if request else 0
    if request is None or not attempt:
        raise NotFound(f"no unit {role}[{index}] of {placement} runs")
    home = os.path.join(folder, layout.unit(role, index, attempt))
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=home,
            env=beside.environment(places, request, role, index, attempt, home),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"{' '.join(command[:1])!r} cannot be started there: {error}") from error
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LONGEST):
            while chunk := await process.stdout.read(_CHUNK):
                yield chunk
            status = await process.wait()
    except TimeoutError:
        yield f"ended after {LONGEST:g} s\n".encode()
        status = TIMED_OUT
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    yield status if status >= 0 else 128 - status


def _running(folder: str, role: str, index: int) -> int:
    """The number of the try that runs now, 0 for none."""
    path, now = os.path.join(folder, layout.JOURNAL), 0
    with contextlib.suppress(OSError):
        reports, _ = journal.read(path, 0, os.stat(path).st_size)
        for told in reports:
            if told["kind"] == "attempt" and (told["role"], told["index"]) == (role, index):
                now = told["attempt"] if told["body"]["state"] in _LIVE else 0
    return now
