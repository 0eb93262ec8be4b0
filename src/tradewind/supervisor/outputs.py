"""Move what a unit staged into the blob store, and describe it for the report of its end.

Nothing is visible to users until the control plane writes the registry row; a blob that nobody
points to is swept later.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from tradewind.supervisor import layout

# Above this many staged bytes the work is done in a child process.
SLOW = 4 << 20


def sha256(data: bytes = b"") -> Any:
    """OpenSSL's if it is loaded or worth loading, else the small built-in one."""
    if len(data) < 1 << 16:
        for name in ("_sha256", "_sha2"):
            with contextlib.suppress(ImportError):
                return __import__(name).sha256(data)
    import hashlib

    return hashlib.sha256(data)


def put(blobs: str, data: bytes) -> dict[str, Any]:
    """Store bytes; returns their digest and size."""
    digest = sha256(data).hexdigest()
    target = layout.blob(blobs, digest)
    if not _there(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        staged = _part(target)
        fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o444)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
            os.rename(staged, target)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(staged)
            raise
    return {"digest": "sha256:" + digest, "size": len(data)}


def _there(target: str) -> bool:
    """Whether the store has it; then it becomes young again, so that no prune takes it now."""
    try:
        os.utime(target)
    except OSError:
        return False
    return True


def _part(target: str) -> str:
    """Where it is written before it appears; the store sweeps what a killed writer leaves."""
    folder, name = os.path.split(target)
    return os.path.join(folder, f".part-{os.getpid()}-{name}")


def move(blobs: str, path: str) -> dict[str, Any]:
    """Move a file into the store, flushed to disk; returns its digest and size."""
    import hashlib
    from concurrent.futures import ThreadPoolExecutor

    seen, size = hashlib.sha256(), 0
    with open(path, "rb") as file, ThreadPoolExecutor(1) as beside:
        flushed = beside.submit(os.fsync, file.fileno())  # which waits as long as reading works
        while chunk := file.read(1 << 20):
            seen.update(chunk)
            size += len(chunk)
        flushed.result()
    target = layout.blob(blobs, seen.hexdigest())
    if not _there(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.chmod(path, 0o444)
        try:
            os.rename(path, target)
        except OSError as error:
            if error.errno != 18:  # another file system: copy
                raise
            import shutil

            staged = _part(target)
            shutil.copyfile(path, staged)
            os.rename(staged, target)
    return {"digest": "sha256:" + seen.hexdigest(), "size": size}


def staged_size(staged: dict[str, dict[str, Any]]) -> int:
    """How many bytes have to be moved."""
    total = 0
    for output in staged.values():
        if "path" in output:
            total += sum(os.lstat(path).st_size for path in _files(output["path"]))
    return total


def _files(path: str) -> list[str]:
    if os.path.isfile(path):
        return [path]
    found = []
    for folder, folders, names in os.walk(path):
        folders.sort()
        found += [os.path.join(folder, name) for name in sorted(names)]
    return [name for name in found if os.path.isfile(name) and not os.path.islink(name)]


def store(staged: dict[str, dict[str, Any]], blobs: str) -> dict[str, Any]:
    """Every staged output in its stored form: `kind`, `files`, and what the kind knows besides."""
    return {slot: _store_one(output, blobs) for slot, output in staged.items()}


def _store_one(output: dict[str, Any], blobs: str) -> dict[str, Any]:
    made = {key: value for key, value in output.items() if key != "path"}
    made["files"] = []
    if "path" not in output:
        if output.get("value") is not None:
            text = json.dumps(output["value"], separators=(",", ":"), ensure_ascii=False)
            data = text.encode("utf-8", "surrogatepass")
            made["files"].append({**put(blobs, data), "path": "result.json"})
        return made
    root = output["path"]
    for path in _files(root):
        name = os.path.relpath(path, root) if os.path.isdir(root) else os.path.basename(path)
        made["files"].append({**move(blobs, path), "path": name})
    if made["kind"] == "table" and len(made["files"]) == 1:
        made["files"][0]["rows"] = made.get("rows")
    return made


def folders(out: str, declared: dict[str, Any], artifacts: list[str]) -> dict[str, dict[str, Any]]:
    """The outputs that are written as files: `folder` and `model` slots, and artifacts."""
    found = {}
    for slot, output in declared.items():
        path = os.path.join(out, slot)
        if output["kind"] in ("folder", "model") and os.path.isdir(path):
            found[slot] = {"kind": "folder", "path": path}
    for name in artifacts:
        path = os.path.join(out, "artifacts", name)
        kind = "folder" if os.path.isdir(path) else "file"
        found["artifacts/" + name] = {"kind": kind, "path": path}
    return found
