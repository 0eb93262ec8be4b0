"""Make a task's tables versions of their datasets' open tables, before anybody is told of them.

The table library may fault, and is heavy: it runs in a process of its own, in our environment. What
it commits is not visible to users until the control plane writes the registry row; a commit that
carries the same attempt is done once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.data import bounds
from tradewind.supervisor import layout
from tradewind.supervisor.helper import Failure

if TYPE_CHECKING:
    from tradewind.data.isolated import Process


def expected(role: dict[str, Any]) -> bool:
    """Whether it will surely make a table that belongs to a dataset, if it ends well: our own
    modules do, and what is called in a style."""
    declared = role.get("outputs", {}).values()
    sure = role["entry"]["kind"] == "module" or role["entry"].get("call")
    return bool(sure) and any(each["kind"] == "result" and each.get("target") for each in declared)


def begun() -> Process:
    """What commits, begun ahead."""
    from tradewind.data import isolated

    return isolated.Process(ahead=True)


def wanted(declared: dict[str, Any], staged: dict[str, Any]) -> list[str]:
    """The slots whose tables belong to a dataset."""
    return [
        slot
        for slot, output in staged.items()
        if output["kind"] == "table" and declared.get(slot, {}).get("target")
    ]


def large(stored: dict[str, Any]) -> bool:
    """Whether it has the statistics of its files' footers, and as digest that of its files."""
    size = sum(each["size"] for each in stored["files"])
    return bounds.large(stored.get("rows"), len(stored.get("schema") or ()), size)


def commit(
    slot: str,
    stored: dict[str, Any],
    declared: dict[str, Any],
    request: dict[str, Any],
    unit: str,
    begun: Process | None = None,
) -> dict[str, Any]:
    """What the commit adds to a stored table: its version there, schema, statistics, digest."""
    from tradewind.base.errors import TradewindError, TryAgain
    from tradewind.base.ids import digest_json
    from tradewind.data import isolated

    target = declared[slot]
    order = {
        "root": str(Path(request["tables"])),
        "table": [target.get("project") or "default", target["target"]],
        "attempt": f"{request['placement']}.{os.path.basename(unit)}.{len(slot)}{slot}",
        "digest": stored.get("digest", ""),
        "stats": stored.get("stats"),
    }
    if not stored.get("digest") and large(stored):
        order |= {"digest": digest_json([each["digest"] for each in stored["files"]])}
        order |= {"outlined": True}
    files = [layout.blob(request["blobs"], each["digest"]) for each in stored["files"]]
    try:
        return isolated.commit(order, files, Path(unit + ".out", ".commit"), begun)
    except TradewindError as error:
        reason = "lost" if isinstance(error, TryAgain) else "output"
        raise Failure(reason, f"output {slot!r}: {error.message}", error.hint) from error
