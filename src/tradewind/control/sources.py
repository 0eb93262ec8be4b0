"""The files that a dataset is imported from. They lie on the server's machine; for tasks on another
one their bytes are stored first, and travel like any input.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

from tradewind.base.errors import NotFound
from tradewind.base.ids import digest_json
from tradewind.blobs.base import Blobs
from tradewind.records.tasks import Input
from tradewind.store.base import Settings


def seen(source: Any) -> Input:
    """The files of a source, identified by path, size and time of change: to read them all only to
    learn that nothing changed would cost as much as the import. Raises NotFound."""
    paths = source if isinstance(source, str | list) else source["path"]
    told = []
    for pattern in [paths] if isinstance(paths, str) else paths:
        found = sorted(glob.glob(pattern.removeprefix("file://"), recursive=True))
        if not found:
            raise NotFound(
                f"there is no file {pattern}",
                hint="the path is looked for on the machine of the server; write it absolute",
            )
        for path in (each for one in found for each in _below(one)):
            facts = os.stat(path)
            told.append([path, facts.st_size, facts.st_mtime_ns])
    return Input(kind="value", source=str(paths), digest=digest_json(told))


def _below(path: str) -> list[str]:
    """A file itself; of a folder all files."""
    if not os.path.isdir(path):
        return [path]
    return sorted(os.path.join(home, name) for home, _, names in os.walk(path) for name in names)


def key(files: Input) -> str:
    """Under which it is remembered what was stored of these files as they are now."""
    return f"source:{files.digest}"


def sent(files: Input, blobs: Blobs, settings: Settings) -> list[dict[str, str]] | None:
    """The stored files, names and digests in the order of the table; None when some are missing."""
    told: list[dict[str, str]] | None = settings.get(key(files))
    if told is None or not all(blobs.exists(each["digest"]) for each in told):
        return None
    return told


def send(source: Any, files: Input, blobs: Blobs, settings: Settings) -> None:
    """Store the bytes of a source. Takes as long as reading them. Raises UserError."""
    from tradewind.data import streams

    found = streams.find(streams.Options.from_json(source), Path("/"))
    # A folder for each, since two may have the same name.
    told = [
        {"path": f"{number:06}/{path.name}", "digest": blobs.put_file(path)}
        for number, path in enumerate(found)
    ]
    settings.put(key(files), told)
