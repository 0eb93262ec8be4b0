"""Call the table library in a process of its own. Standard library only; the supervisor uses it.

The library sometimes aborts while its process exits, after it did its work. So the result is a file
that is written and flushed before the exit, and the exit status tells nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tradewind.base import errors

MODULE = "tradewind.data.commit"


def call(
    request: Mapping[str, Any], *, python: str = sys.executable, timeout: float | None = None
) -> dict[str, Any]:
    """Carry out one request of `tradewind.data.commit` and return its result; its error is raised.

    `Broken` if the process ended without a result (killed, or the library faulted before the end):
    a commit may be called again with the same attempt.
    """
    with tempfile.TemporaryDirectory(prefix="tradewind-data-") as folder:
        answer = Path(folder) / "result.json"
        command = [python, "-m", MODULE]
        body = json.dumps({**request, "result": str(answer)}).encode()
        try:
            ended = subprocess.run(command, input=body, capture_output=True, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            text = f"{request.get('op')} took longer than {timeout:g} s"
            raise errors.TryAgain(text, after=1.0) from error
        if not answer.exists():
            last = ended.stderr.decode(errors="replace").strip().splitlines()[-3:]
            raise errors.Broken(
                f"{request.get('op')} ended without a result (exit status {ended.returncode}): "
                + " | ".join(last)
            )
        reply: dict[str, Any] = json.loads(answer.read_text())
    if "error" in reply:
        raise errors.from_json(reply["error"])
    result: dict[str, Any] = reply["result"]
    return result
