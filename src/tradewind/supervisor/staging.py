"""Bring code and inputs to the place: blobs by digest, tar archives unpacked once and shared."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from tradewind.supervisor import layout
from tradewind.supervisor.helper import Failure


def unpacked(places: layout.Layout, digest: str) -> str:
    """Where the archive of this digest is unpacked, if it is; else empty."""
    folder = places.unpacked(digest)
    if not os.path.isdir(folder):
        return ""
    with contextlib.suppress(OSError):
        os.utime(folder)  # what was used last is pruned last
    return folder


def unpack(places: layout.Layout, blobs: str, digest: str, what: str) -> str:
    """Unpack an archive of the blob store, once for all who use it. Atomic by rename."""
    folder = unpacked(places, digest)
    if folder:
        return folder
    import tarfile

    folder = places.unpacked(digest)
    staged = f"{folder}.{os.getpid()}.part"
    os.mkdir(staged, 0o700)
    try:
        with tarfile.open(need(blobs, digest, what)) as archive:
            _extract(archive, staged)
    except (tarfile.TarError, EOFError) as error:
        raise Failure("input", f"{what} {digest} is not a good archive: {error}") from error
    _write_protect(staged)
    try:
        os.rename(staged, folder)
    except OSError:
        if not os.path.isdir(folder):
            raise
        remove(staged)  # somebody else was faster
    return folder


def _extract(archive: Any, folder: str) -> None:
    """Only plain files, folders and links inside; whatever leads out is refused."""
    if hasattr(archive, "extraction_filter") or hasattr(__import__("tarfile"), "data_filter"):
        archive.extractall(folder, filter="data")
        return
    root = os.path.realpath(folder)
    for member in archive.getmembers():
        target = os.path.realpath(os.path.join(root, member.name))
        inside = target == root or target.startswith(root + os.sep)
        if not inside or not (member.isfile() or member.isdir()):
            raise Failure("input", f"the archive holds {member.name!r}, which is not a plain file")
        archive.extract(member, root, set_attrs=False)


def _write_protect(folder: str) -> None:
    for path, _folders, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                full = os.path.join(path, name)
                if not os.path.islink(full):
                    os.chmod(full, os.stat(full).st_mode & 0o555)


def need(blobs: str, digest: str, what: str) -> str:
    """The path of a blob that must be there."""
    path = layout.blob(blobs, digest)
    if not os.path.exists(path):
        raise Failure("input", f"{what} is not in the blob store: {digest}")
    return path


def remove(path: str) -> None:
    """Delete a tree that may hold write-protected folders."""
    import shutil

    def _unlock(function: Any, name: str, _error: Any) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(name), 0o700)
            os.chmod(name, 0o700)
            function(name)

    shutil.rmtree(path, onerror=_unlock)


def inputs(
    places: layout.Layout, blobs: str, wanted: dict[str, Any], folder: str
) -> dict[str, dict[str, Any]]:
    """Input slots as the user's process gets them: paths instead of digests."""
    made: dict[str, dict[str, Any]] = {}
    for name, slot in wanted.items():
        kind, source = slot["kind"], slot.get("source") or name
        made[name] = {"kind": kind, "source": source}
        if kind == "value":
            made[name]["value"] = slot.get("value")
        elif kind == "table":
            files = [need(blobs, digest, f"a file of {source}") for digest in slot["files"]]
            made[name]["files"] = files
        elif kind == "folder":
            made[name]["path"] = bring_folder(places, blobs, slot)
        else:
            made[name]["path"] = _named(need(blobs, slot["digest"], source), slot, name, folder)
            made[name]["json"] = bool(slot.get("meta", {}).get("json"))
    return made


def _named(path: str, slot: dict[str, Any], name: str, folder: str) -> str:
    """A `file` input under the name that people gave it: many readers go by the suffix."""
    label = os.path.basename(str(slot.get("meta", {}).get("name") or name)) or name
    home = os.path.join(folder + ".in", layout.safe(name))
    os.makedirs(home, exist_ok=True)
    link = os.path.join(home, label)
    with contextlib.suppress(FileExistsError):
        os.symlink(path, link)
    return link


def bring_folder(places: layout.Layout, blobs: str, slot: dict[str, Any]) -> str:
    """A `folder` input: an archive, or the stored files of an earlier output, linked together."""
    source = slot.get("source") or "a folder input"
    names = slot.get("meta", {}).get("paths")
    if names is None:
        return unpack(places, blobs, slot["digest"], source)
    folder = unpacked(places, slot["digest"])
    if folder:
        return folder
    folder = places.unpacked(slot["digest"])
    staged = f"{folder}.{os.getpid()}.part"
    root = os.path.realpath(staged)
    for name, digest in zip(names, slot["files"], strict=True):
        target = os.path.realpath(os.path.join(root, name))
        if not target.startswith(root + os.sep):
            raise Failure("input", f"{source} holds {name!r}, which leads out of it")
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        os.link(need(blobs, digest, f"{name} of {source}"), target)
    try:
        os.rename(staged, folder)
    except OSError:
        if not os.path.isdir(folder):
            raise
        remove(staged)  # somebody else was faster
    return folder


def present(places: layout.Layout, request: dict[str, Any]) -> bool:
    """Whether nothing slow is left to do: every archive is unpacked, the environment is built."""
    digests = [request["bundle"]] if request.get("bundle") else []
    for role in request["roles"]:
        slots = role.get("inputs", {}).values()
        digests += [slot["digest"] for slot in slots if slot["kind"] == "folder"]
    environment = request["environment"]
    if environment.get("lock") and not os.path.isdir(places.environment(environment["digest"])):
        return False
    return all(os.path.isdir(places.unpacked(digest)) for digest in digests)
