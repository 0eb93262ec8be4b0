"""Start the node of a data folder, if none lives."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

import tradewind
from tradewind.base import errors
from tradewind.inside import pack
from tradewind.supervisor import environments, layout

# Isolated and without site: the node needs the standard library and us, and a fork of it costs what
# it weighs.
_START = (
    "import sys; sys.path.append(sys.argv[2]);"
    "from tradewind.node.main import main; import json; main(json.loads(sys.argv[1]))"
)


def command(places: layout.Layout, python: str, options: dict[str, Any]) -> list[str]:
    """The argument vector that starts the node."""
    config = {
        "data": places.data,
        "python": python,
        "inside": pack.install(places.node),
        "uv": environments.uv_binary(),
        **options,
    }
    here = os.path.dirname(os.path.dirname(os.path.abspath(tradewind.__file__)))
    return [sys.executable, "-I", "-S", "-c", _START, json.dumps(config), here]


async def start(places: layout.Layout, python: str, options: dict[str, Any]) -> None:
    """Returns once a node listens: this one, or another that was faster."""
    try:
        places.make()
        argv = command(places, python, options)
    except OSError as error:
        raise errors.Broken(f"cannot write below {places.data}: {error}") from error
    # In a thread: asyncio's own processes leave a transport behind when whoever waits is cancelled.
    status, said = await asyncio.to_thread(_run, argv)
    if status < 0 or status == os.EX_TEMPFAIL:
        raise errors.Unreachable("the node was killed while it started", after=0.2)
    if status:
        raise errors.Broken(f"the node did not start: {said}", hint=f"look into {places.log}")


def _run(argv: list[str]) -> tuple[int, str]:
    """Until it has gone to the background; its status and what it said."""
    # A file and no pipe: whatever the node inherits by accident, nobody waits for its end.
    with tempfile.TemporaryFile() as told:
        status = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=told,
            start_new_session=True,
            cwd="/",
            check=False,
        ).returncode
        told.seek(0)
        return status, told.read().decode("utf-8", "replace").strip()[-2000:]
