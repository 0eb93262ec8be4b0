"""Call the table library in a process of its own. Standard library only; the supervisor uses it.

The library sometimes aborts while its process exits, after it did its work. So the result is a file
that is written and flushed before the exit, and the exit status tells nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tradewind.base import errors

MODULE = "tradewind.data.commit"
SECONDS = 600.0
TRIES, PAUSE = 3, 0.2


class Process:
    """A process of the library that waits for one request. `ahead`: of a commit, and it imports
    meanwhile what that needs. It ends with whoever began it."""

    def __init__(self, python: str = sys.executable, *, ahead: bool = False) -> None:
        """Begun, and not waited for."""
        pipe = subprocess.PIPE
        command = [python, "-m", MODULE, *(["ahead"] if ahead else [])]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)

    def ask(self, request: Mapping[str, Any], timeout: float | None = None) -> dict[str, Any]:
        """Carry out the request and return its result, as `call` does."""
        with tempfile.TemporaryDirectory(prefix="tradewind-data-") as folder, self.process as ours:
            answer = Path(folder) / "result.json"
            body = json.dumps({**request, "result": str(answer)}).encode()
            try:
                _out, said = ours.communicate(body, timeout)
            except subprocess.TimeoutExpired as error:
                text = f"{request.get('op')} took longer than {timeout:g} s"
                raise errors.TryAgain(text, after=1.0) from error
            finally:
                ours.kill()
            if not answer.exists():
                last = said.decode(errors="replace").strip().splitlines()[-3:]
                raise errors.Broken(
                    f"{request.get('op')} ended without a result (exit status {ours.returncode}): "
                    + " | ".join(last)
                )
            reply: dict[str, Any] = json.loads(answer.read_text())
        if "error" in reply:
            raise errors.from_json(reply["error"])
        result: dict[str, Any] = reply["result"]
        return result


def call(
    request: Mapping[str, Any], *, python: str = sys.executable, timeout: float | None = None
) -> dict[str, Any]:
    """Carry out one request of `tradewind.data.commit` and return its result; its error is raised.

    `Broken` if the process ended without a result (killed, or the library faulted before the end):
    a commit may be called again with the same attempt.
    """
    return Process(python).ask(request, timeout)


def commit(
    order: Mapping[str, Any],
    files: Sequence[Path | str],
    folder: Path,
    ready: Process | None = None,
) -> dict[str, Any]:
    """The operation `commit` with these files, which stay where they are: what a table's body says
    of its version. `folder` takes names of their own for them and goes afterwards, whatever stood
    in it. `ready` is one that was begun for it.

    The library may be killed, or others come first: an attempt commits once, so it is asked again
    before `Broken` or `TryAgain` is raised.
    """
    for tried in range(1, TRIES + 1):
        try:
            links = _links(files, folder)
            process, ready = ready or Process(), None
            made = process.ask({"op": "commit", **order, "files": links}, SECONDS)
            break
        except (errors.Broken, errors.TryAgain):
            if tried == TRIES:
                raise
            time.sleep(PAUSE)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    kept = ("table_version", "rows", "schema", "stats", "digest")
    return {"table_uri": made["uri"], **{name: made[name] for name in kept}}


def _links(files: Sequence[Path | str], folder: Path) -> list[str]:
    """The library takes away what it is given."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    links = []
    for number, path in enumerate(files):
        link = folder / f"{number:05d}.parquet"
        try:
            os.link(path, link)
        except OSError:  # another disk, or one without links
            shutil.copyfile(path, link)
        links.append(str(link))
    return links
