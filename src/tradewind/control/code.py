"""What a bundle holds: its files, and which of its code an entry can reach.

A bundle is a gzipped tar in the blob store. It is read here as text and never executed.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from functools import lru_cache

from tradewind.base.errors import InvalidData, NotFound
from tradewind.blobs.base import Blobs
from tradewind.control.reach import Part, reach


def text_of(blobs: Blobs, bundle: str, name: str) -> str:
    """One text file of a bundle. Raises NotFound."""
    files = files_of(blobs, bundle)
    if name not in files:
        raise NotFound(
            f"{name} is not in the code that travels", hint="`tw bundle` shows what would travel"
        )
    return files[name].decode("utf-8", "replace")


def files_of(blobs: Blobs, bundle: str) -> dict[str, bytes]:
    """Path → content of every plain file."""
    return dict(_unpacked(str(blobs.path(bundle)))) if bundle else {}


@lru_cache(maxsize=16)
def _unpacked(path: str) -> tuple[tuple[str, bytes], ...]:
    with open(path, "rb") as file:
        data = io.BytesIO(file.read())
    found = []
    try:
        with tarfile.open(fileobj=data, mode="r:*") as tar:
            for member in tar:
                if member.isfile() and (stream := tar.extractfile(member)) is not None:
                    found.append((member.name.removeprefix("./"), stream.read()))
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise InvalidData(
            f"the code that travels is not a good archive: {str(error).splitlines()[0]}",
            hint="the client packs it; `tw bundle` shows what would travel",
        ) from error
    return tuple(sorted(found))


def parts(blobs: Blobs, bundle: str, entry: str) -> dict[str, str]:
    """Part of the code that the entry can reach → digest, for the cache key. A component of ours
    reaches nothing in the bundle."""
    return {name: part.digest for name, part in reached(blobs, bundle, entry).items()}


def reached(blobs: Blobs, bundle: str, entry: str) -> dict[str, Part]:
    """The parts with their places. Raises NotFound for a file that is not in the bundle."""
    if not bundle or not entry:
        return {}
    found = _reached(str(blobs.path(bundle)), entry)
    file = entry.partition(":")[0]
    if not found and file.endswith((".py", ".tw")):
        if any(name == file or name.endswith(f"/{file}") for name in files_of(blobs, bundle)):
            what = entry.partition(":")[2]
            raise NotFound(f"{file} has no {what!r}", hint=f"write def {what}(…): in {file}")
        raise NotFound(
            f"{file} is not in the code that travels", hint="`tw bundle` shows what would travel"
        )
    return found


@lru_cache(maxsize=256)
def _reached(path: str, entry: str) -> dict[str, Part]:
    return reach(dict(_unpacked(path)), entry)
