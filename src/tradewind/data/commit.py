"""`python -m tradewind.data.commit`: one request as JSON on stdin, one result as JSON.

    {"op": "import",  "spec": {...}, "staging": DIR, "base": DIR}
    {"op": "commit",  "root": DIR, "table": [PROJECT, NAME], "files": [...], "attempt": ID,
                      "mode": "overwrite" | "append", "digest": "", "stats": [], "outlined": false}
    {"op": "files",   "root": DIR, "table_version": N}
    {"op": "profile", "files": [...]}
    {"op": "preview", "files": [...], "limit": 20}
    {"op": "diff",    "old": [...], "new": [...], "keys": [], "samples": 10}
    {"op": "prune",   "root": DIR, "keep": [N], "older_than": SECONDS}

The answer is {"ok": true, "result": {...}} or {"ok": false, "error": {"code": …, "message": …}}.
With `"result": PATH` in the request it is written there, whole or not at all; else it is one line
on stdout. It is written before the process leaves with os._exit, so that a library that faults at
exit cannot spoil it: callers read the answer, not the exit status, as `isolated.call` does.
Each operation imports only what it needs. With the argument `ahead`, what a commit needs is
imported before the request is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tradewind.base import errors

Request = Mapping[str, Any]


def _import(request: Request) -> dict[str, Any]:
    from tradewind.data import importing

    return importing.import_dataset(
        request["spec"], Path(request["staging"]), Path(request.get("base") or ".")
    ).to_json()


def _commit(request: Request) -> dict[str, Any]:
    from tradewind.data import tables

    root = Path(request["root"])
    if "table" in request:
        project, name = request["table"]
        root = tables.table_folder(root, project, name)
    made = tables.commit(
        root,
        [Path(path) for path in request["files"]],
        request["attempt"],
        mode=request.get("mode", "overwrite"),
        digest=request.get("digest", ""),
        stats=request.get("stats"),
        outlined=bool(request.get("outlined")),
    )
    return {**made.to_json(), "uri": str(root)}


def _files(request: Request) -> dict[str, Any]:
    from tradewind.data import tables

    found = tables.files(Path(request["root"]), int(request["table_version"]))
    return {"files": [str(path) for path in found]}


def _profile(request: Request) -> dict[str, Any]:
    from tradewind.data import profile

    return profile.profile(request["files"]).to_json()


def _preview(request: Request) -> dict[str, Any]:
    from tradewind.data import frames

    return frames.preview(request["files"], int(request.get("limit", 20)))


def _diff(request: Request) -> dict[str, Any]:
    from tradewind.data import diff

    return diff.diff(
        request["old"], request["new"], request.get("keys") or (), int(request.get("samples", 10))
    )


def _prune(request: Request) -> dict[str, Any]:
    from tradewind.data import tables

    count, freed = tables.prune(
        Path(request["root"]),
        [int(version) for version in request["keep"]],
        older_than=float(request["older_than"]),
    )
    return {"files": count, "bytes": freed}


OPERATIONS: dict[str, Callable[[Request], dict[str, Any]]] = {
    "import": _import,
    "commit": _commit,
    "files": _files,
    "profile": _profile,
    "preview": _preview,
    "diff": _diff,
    "prune": _prune,
}


def answer(request: Any) -> dict[str, Any]:
    """Carry out one request; never raises."""
    try:
        if not isinstance(request, dict) or request.get("op") not in OPERATIONS:
            raise errors.Bug(f"expected an op, one of {', '.join(OPERATIONS)}")
        return {"ok": True, "result": OPERATIONS[request["op"]](request)}
    except errors.TradewindError as error:
        return {"ok": False, "error": error.to_json()}
    except KeyError as error:
        return {"ok": False, "error": errors.Bug(f"the request lacks {error}").to_json()}
    except MemoryError:
        fault = errors.Refused("not enough memory", hint="give the run more (resources: memory)")
        return {"ok": False, "error": fault.to_json()}
    except Exception as error:
        traceback.print_exc()
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        return {"ok": False, "error": errors.Bug(text[:2000]).to_json()}


def _deliver(reply: dict[str, Any], place: str) -> None:
    text = json.dumps(reply, allow_nan=False, default=str)
    if not place:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        return
    part = Path(f"{place}.part")
    with part.open("w") as sink:
        sink.write(text)
        sink.flush()
        os.fsync(sink.fileno())
    part.rename(place)


class _Without:
    """pyarrow imports pandas and numpy, where they are installed, to recognise their objects. None
    come here, and those imports would be more than half of the start."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse these two, leave the rest to others."""
        if name in ("numpy", "pandas"):
            raise ModuleNotFoundError(f"{name} is not used here", name=name)


def _import_for_commit() -> None:
    """Before there is a request, which tells what is missing."""
    with contextlib.suppress(errors.TradewindError):
        from tradewind.data import tables
        from tradewind.data.types import arrow

        arrow()
        tables.library()


def main() -> int:
    """Read, carry out, answer."""
    sys.meta_path.insert(0, _Without())
    if "ahead" in sys.argv[1:]:
        _import_for_commit()
    try:
        request = json.load(sys.stdin)
    except ValueError as error:
        request = None
        print(f"the request is not JSON: {error}", file=sys.stderr)
    reply = answer(request)
    _deliver(reply, request.get("result", "") if isinstance(request, dict) else "")
    if reply["ok"]:
        return 0
    return errors.BY_CODE.get(reply["error"]["code"], errors.Bug).exit_status


if __name__ == "__main__":
    status = 70
    try:
        status = main()
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
