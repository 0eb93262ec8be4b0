"""The boundary behind which blobs are kept, and how a failing disk is told to people.

A blob is named by `sha256:` and 64 hex digits of its bytes. It is never changed; to put it twice is
to put it once.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from tradewind.base import errors

_NAME = re.compile(r"(?:sha256:)?([0-9a-f]{64})\Z")


@dataclass(frozen=True, slots=True)
class Usage:
    """How much a store holds."""

    blobs: int
    size: int


class Blobs(Protocol):
    """Keeps bytes by digest.

    What `put_*` returned is whole and readable by everybody from then on, and stays until `delete`
    or `prune`. Concurrent puts of the same bytes are fine. `open`, `path` and `size` raise
    `NotFound` for a digest that is not there; every method may raise `Broken`.
    """

    def put_bytes(self, data: bytes) -> str:
        """Keep these bytes; returns their digest."""

    def put_file(self, source: Path, *, move: bool = False) -> str:
        """Keep a file's bytes. `move` may take the file itself: it is gone afterwards."""

    def open(self, digest: str, *, verify: bool = False) -> BinaryIO:
        """A reader. With `verify` the bytes are checked first; `Broken` if they are not right."""

    def path(self, digest: str) -> Path:
        """A file with these bytes, to be read and never written."""

    def exists(self, digest: str) -> bool:
        """Whether it is there. Its bytes are not looked at."""

    def size(self, digest: str) -> int:
        """Length in bytes."""

    def delete(self, digest: str) -> bool:
        """Forget it; whether it was there."""

    def usage(self) -> Usage:
        """How many blobs there are and how many bytes they take."""

    def prune(
        self, keep: Collection[str], *, older_than: float = 0.0, max_bytes: int | None = None
    ) -> Usage:
        """Delete what is not in `keep` and was last put before `older_than` (seconds since 1970).

        With `max_bytes`, only as many of these as it takes, oldest first, to come down to that
        size. Returns what was deleted.
        """


def hex_of(digest: str) -> str:
    """The 64 hex digits of a digest, with or without its prefix. A name that is none is our bug:
    it would become a path."""
    match = _NAME.match(digest)
    if match is None:
        raise errors.Bug(f"{digest[:100]!r} is not a sha256 digest")
    return match[1]


@contextmanager
def disk_faults(doing: str) -> Iterator[None]:
    """Tell a full, read-only or failing disk as what it is: somebody must repair something."""
    try:
        yield
    except OSError as error:
        raise disk_fault(error, doing) from error


def disk_fault(error: OSError, doing: str) -> errors.TradewindError:
    """The error of our tree for this one."""
    place = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free some space there (tw prune), or move the data folder, then try again"
        return errors.Broken(f"the disk is full while {doing}{place}", hint=hint)
    if error.errno == errno.EROFS:
        return errors.Broken(
            f"the disk is read-only while {doing}{place}",
            hint="a file system turns read-only after a fault: see the system's log",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = "give the user that runs this the right to it"
        return errors.Broken(f"no right to the folder while {doing}{place}", hint=hint)
    return errors.Broken(f"the disk failed while {doing}{place}: {error.strerror or error}")
