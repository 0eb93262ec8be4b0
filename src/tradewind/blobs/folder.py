"""Blobs in a folder: `<root>/<first 2 hex digits>/<the other 62>`.

The supervisor writes the same layout without importing this file, so the layout is a promise. A
blob appears by one rename within its folder: a reader sees all of it or nothing. What a killed
writer leaves is a file whose name begins with `.`, which `prune` removes after a day.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from tradewind.base import errors
from tradewind.blobs.base import Usage, disk_faults, hex_of

_CHUNK = 1 << 20
_DEBRIS_AGE = 86_400.0


class FolderBlobs:
    """`Blobs` in a folder of this machine.

    With `durable`, a put survives loss of power: the file and its folder are flushed before the
    digest is returned. Without, it survives the death of every process.
    """

    def __init__(self, root: Path, *, durable: bool = False) -> None:
        """The folder is made when the first blob is put."""
        self.root = root
        self.durable = durable

    def put_bytes(self, data: bytes) -> str:
        """Keep these bytes; returns their digest."""
        name = hashlib.sha256(data).hexdigest()
        target = self._place(name)
        with disk_faults("keeping a blob"):
            if self._refresh(target):
                return f"sha256:{name}"
            part = self._part(target)
            try:
                with part.open("xb") as sink:
                    sink.write(data)
                    self._flush(sink)
                self._show(part, target)
            finally:
                part.unlink(missing_ok=True)
        return f"sha256:{name}"

    def put_file(self, source: Path, *, move: bool = False) -> str:
        """Keep a file's bytes. With `move` the file is renamed where it can be, and gone after."""
        with disk_faults("keeping a blob"):
            if move:
                return self._take(source)
            self.root.mkdir(parents=True, exist_ok=True)
            # Copied and hashed in one reading, so that a file which changes meanwhile is kept
            # under the name of the bytes that were read.
            part = self.root / f".part-{os.getpid()}-{secrets.token_hex(6)}"
            try:
                with source.open("rb") as reader, part.open("xb") as sink:
                    digest = _copy(reader, sink)
                    self._flush(sink)
                target = self._place(digest)
                if not self._refresh(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self._show(part, target)
            finally:
                part.unlink(missing_ok=True)
        return f"sha256:{digest}"

    def open(self, digest: str, *, verify: bool = False) -> BinaryIO:
        """A reader. With `verify` the bytes are checked first."""
        reader = self.path(digest).open("rb")
        if verify:
            if _hash(reader) != hex_of(digest):
                reader.close()
                raise errors.Broken(
                    f"the blob {digest} no longer holds the bytes that were put",
                    hint=f"delete {self._place(hex_of(digest))} and run what made it again",
                )
            reader.seek(0)
        return reader

    def path(self, digest: str) -> Path:
        """A file with these bytes, to be read and never written."""
        place = self._place(hex_of(digest))
        if not place.is_file():
            raise errors.NotFound(f"there is no blob {digest}")
        return place

    def exists(self, digest: str) -> bool:
        """Whether it is there. Its bytes are not looked at."""
        return self._place(hex_of(digest)).is_file()

    def size(self, digest: str) -> int:
        """Length in bytes."""
        return self.path(digest).stat().st_size

    def delete(self, digest: str) -> bool:
        """Forget it; whether it was there."""
        try:
            self._place(hex_of(digest)).unlink()
        except FileNotFoundError:
            return False
        return True

    def usage(self) -> Usage:
        """How many blobs there are and how many bytes they take."""
        found = [size for _, _, size in self._all()]
        return Usage(len(found), sum(found))

    def prune(
        self, keep: Collection[str], *, older_than: float = 0.0, max_bytes: int | None = None
    ) -> Usage:
        """Delete what is not kept and is older; with `max_bytes` only as much as it takes.

        `older_than=0` means: of any age.
        """
        kept = {hex_of(digest) for digest in keep}
        found = sorted((put, size, path) for path, put, size in self._all())
        excess = None if max_bytes is None else sum(size for _, size, _ in found) - max_bytes
        blobs, freed = 0, 0
        for put, size, path in found:
            if excess is not None and freed >= excess:
                break
            if path.parent.name + path.name in kept or (older_than and put >= older_than):
                continue
            path.unlink(missing_ok=True)
            blobs, freed = blobs + 1, freed + size
        self._sweep()
        return Usage(blobs, freed)

    def _all(self) -> Iterator[tuple[Path, float, int]]:
        for folder in sorted(self.root.glob("[0-9a-f][0-9a-f]")):
            for path in folder.iterdir():
                if len(path.name) == 62:
                    try:
                        status = path.stat()
                    except FileNotFoundError:  # deleted by somebody else meanwhile
                        continue
                    yield path, status.st_mtime, status.st_size

    def _sweep(self) -> None:
        oldest = time.time() - _DEBRIS_AGE
        for part in (*self.root.glob(".part-*"), *self.root.glob("??/.part-*")):
            try:
                if part.stat().st_mtime < oldest:
                    part.unlink()
            except FileNotFoundError:
                continue

    def _place(self, name: str) -> Path:
        return self.root / name[:2] / name[2:]

    def _part(self, target: Path) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.parent / f".part-{os.getpid()}-{secrets.token_hex(6)}"

    def _refresh(self, target: Path) -> bool:
        """Whether it is there already; if so it counts as put now, so that no prune that is under
        way with an older list of what to keep takes it."""
        try:
            os.utime(target)
        except FileNotFoundError:
            return False
        return True

    def _take(self, source: Path) -> str:
        with source.open("rb") as reader:
            digest = _hash(reader)
            if self.durable:
                os.fsync(reader.fileno())
        target = self._place(digest)
        if self._refresh(target):
            source.unlink()
            return f"sha256:{digest}"
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.stat(source).st_dev != os.stat(target.parent).st_dev:
            digest = self.put_file(source).removeprefix("sha256:")
            source.unlink()
        else:
            os.utime(source)
            self._show(source, target)
        return f"sha256:{digest}"

    def _show(self, part: Path, target: Path) -> None:
        part.chmod(0o444)
        part.rename(target)
        if self.durable:
            for folder in (target.parent, self.root):
                flush_folder(folder)

    def _flush(self, sink: BinaryIO) -> None:
        sink.flush()
        if self.durable:
            os.fsync(sink.fileno())


def flush_folder(folder: Path) -> None:
    """What was renamed in it outlives a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _hash(reader: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := reader.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _copy(reader: BinaryIO, sink: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := reader.read(_CHUNK):
        digest.update(chunk)
        sink.write(chunk)
    return digest.hexdigest()
