"""What units on other machines have put into their checkpoint folders, for their next tries.

A folder below the blobs for each run, in it one for each unit: its bytes as blobs of its own, so
that they go when nothing names them any more, and a manifest which changes by one rename. Who
takes a unit up claims it, and what an earlier try says from then on is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tradewind.base.errors import Bug, Conflict, Gone, NotFound, UserError
from tradewind.blobs.base import disk_faults, hex_of
from tradewind.blobs.folder import FolderBlobs, flush_folder

# What a file is: `path`, and `digest`, `size`, `mtime` in ns and `mode`, or `link`.
File = dict[str, Any]
# Which try: placement, epoch, attempt. A later one is greater.
Try = tuple[int, int, int]

MOST_FILES, LONGEST_NAME = 10_000, 4096
# All runs' together; the oldest go first, but none that was used within REST seconds.
MOST_BYTES, REST, EVERY = 20 << 30, 3600.0, 600.0
_MANIFEST, _LOCK, _LOOKED, _USER = "manifest.json", "lock", "looked", "user"


@dataclass(slots=True)
class _State:
    """A manifest. `holders` are the members of the newest try: rank → its pod."""

    newest: Try = (0, 0, 0)
    holders: dict[str, str] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)

    def digests(self) -> set[str]:
        return {file["digest"] for file in self.files.values() if "digest" in file}


class Kept:
    """The checkpoint of one unit; of a gang, that of all its members."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.blobs = FolderBlobs(folder, durable=True)

    @property
    def begun(self) -> bool:
        """Whether anybody has claimed it."""
        return (self._folder / _MANIFEST).exists()

    def written(self) -> float:
        """See `Checkpoints.written`."""
        with contextlib.suppress(FileNotFoundError):
            came, state = (self._folder / _MANIFEST).stat().st_mtime, self._read()
            files = state.files.values() if state is not None else ()
            return min(came, max((each.get("mtime", 0) for each in files), default=0) / 1e9)
        return 0.0

    def claim(self, newest: Try, rank: int, holder: str) -> tuple[list[File], bool]:
        """Its files, which from now on this holder may change; and whether some were damaged, so
        that there are none. Raises Gone if a later try has claimed it."""
        with self._locked():
            state = self._read() or _State()
            if newest < state.newest:
                raise Gone("a newer try of this has been started")
            if newest > state.newest:
                state.newest, state.holders = newest, {}
            state.holders[str(rank)] = holder
            damaged = not all(map(self.blobs.exists, state.digests()))
            if damaged:
                state.files = {}
            self._write(state)
            # What was brought and never told of.
            self.blobs.prune(state.digests(), older_than=time.time() - REST)
        return list(state.files.values()), damaged

    def change(
        self, rank: int, holder: str, changed: Sequence[File], dropped: Collection[str]
    ) -> None:
        """Take these files in and let those paths go, all at once. Raises Gone if it is another's
        by now, NotFound if nobody's, Conflict if bytes are not here that should be."""
        with self._locked():
            state = self._read()
            if state is None:
                raise NotFound("this checkpoint is not here any more")
            if state.holders.get(str(rank)) != holder:
                raise Gone("a newer try of this has been started")
            before = state.digests()
            for path in dropped:
                state.files.pop(path, None)
            state.files |= {file["path"]: file for file in map(_file, changed)}
            if len(state.files) > MOST_FILES:
                raise UserError(f"a checkpoint of more than {MOST_FILES} files is not kept")
            now = state.digests()
            for digest in now - before:
                if not self.blobs.exists(digest):
                    raise Conflict(f"the bytes of {digest} are not here")
            self._write(state)
            for digest in before - now:
                self.blobs.delete(digest)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone, also among servers that share the folder."""
        with disk_faults("keeping a checkpoint"):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                yield
            finally:
                os.close(fd)
            with contextlib.suppress(FileNotFoundError):
                os.utime(self._folder.parent)

    def _read(self) -> _State | None:
        try:
            said = json.loads((self._folder / _MANIFEST).read_bytes())
            first, second, third = said["newest"]
            return _State((first, second, third), said["holders"], said["files"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _write(self, state: _State) -> None:
        part = self._folder / f".part-{_MANIFEST}"
        with part.open("w") as file:
            said = {"newest": state.newest, "holders": state.holders, "files": state.files}
            json.dump(said, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        part.rename(self._folder / _MANIFEST)
        flush_folder(self._folder)


def _file(said: File) -> File:
    """One file as it is kept. It comes from a task: what has no form is refused."""
    try:
        path = _path(said["path"])
        if "link" in said:
            return {"path": path, "link": _text(said["link"])}
        return {
            "path": path,
            "digest": "sha256:" + hex_of(said["digest"]),
            "size": int(said["size"]),
            "mtime": int(said["mtime"]),
            "mode": int(said["mode"]) & 0o777,
        }
    except (KeyError, TypeError, ValueError, Bug) as error:
        raise UserError(f"this is no file of a checkpoint: {error!r}") from None


def _path(name: Any) -> str:
    parts = PurePosixPath(_text(name)).parts
    if not parts or parts[0] == "/" or ".." in parts or str(PurePosixPath(*parts)) != name:
        raise ValueError(f"{str(name)[:100]!r} is no relative path")
    return str(name)


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value or not 0 < len(value.encode()) <= LONGEST_NAME:
        raise ValueError(f"{str(value)[:100]!r} is no name")
    return value


class Checkpoints:
    """All of them, in a folder of the blobs' own."""

    def __init__(self, blobs: Path) -> None:
        self._root = blobs / "checkpoints"

    def of(self, run: str, task: str, role: str, index: int) -> Kept:
        """That of one unit."""
        unit = hashlib.sha256(json.dumps([task, role, index]).encode()).hexdigest()[:32]
        return Kept(self._root / _folder(run) / unit)

    def use(self, run: str, user: str) -> None:
        """Note that this placement goes on from what the run has kept."""
        with disk_faults("keeping a checkpoint"):
            folder = self._root / _folder(run)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / _USER).write_text(user)

    def runs(self) -> list[str]:
        """Those that have kept anything, or may."""
        return [folder.name for folder in self._runs()]

    def written(self, run: str) -> float:
        """When the newest file that a run has kept was written, by its machine's clock, not after
        it came here; 0 where it has kept none."""
        units = (self._root / _folder(run)).glob(f"*/{_MANIFEST}")
        return max((Kept(each.parent).written() for each in units), default=0.0)

    def forget(self, gone: Callable[[str], bool]) -> None:
        """Remove those of runs that are no more."""
        for folder in self._runs():
            if gone(folder.name):
                shutil.rmtree(folder, ignore_errors=True)

    def shrink(self, live: Callable[[str], bool], most: int = MOST_BYTES) -> None:
        """Come down to so many bytes; `live` says whether a placement still runs. Most calls do
        nothing: it is looked every ten minutes."""
        looked, now = self._root / _LOOKED, time.time()
        with contextlib.suppress(FileNotFoundError):
            if now - looked.stat().st_mtime < EVERY:
                return
        looked.touch()
        found = sorted(((_used(folder), folder) for folder in self._runs()), reverse=True)
        total = 0
        for used, folder in found:
            total += _size(folder)
            if total > most and used < now - REST and not live(_user(folder)):
                shutil.rmtree(folder, ignore_errors=True)

    def _runs(self) -> list[Path]:
        if not self._root.is_dir():
            return []
        return [folder for folder in self._root.iterdir() if folder.is_dir()]


def _folder(run: str) -> str:
    if not run or "/" in run or run.startswith("."):
        raise UserError(f"{run[:100]!r} names no run")
    return run


def _used(folder: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return folder.stat().st_mtime
    return 0.0


def _user(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return (folder / _USER).read_text()
    return ""


def _size(folder: Path) -> int:
    total = 0
    for where, _folders, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(where, name)).st_size
    return total
