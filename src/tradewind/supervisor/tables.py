"""Make a task's tables versions of their datasets' open tables, before anybody is told of them.

The table library may fault, and is heavy: it runs in a process of its own, in our environment. What
it commits is not visible to users until the control plane writes the registry row; a commit that
carries the same attempt is done once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tradewind.supervisor import layout
from tradewind.supervisor.helper import Failure

SECONDS = 600.0


def wanted(declared: dict[str, Any], staged: dict[str, Any]) -> list[str]:
    """The slots whose tables belong to a dataset."""
    return [
        slot
        for slot, output in staged.items()
        if output["kind"] == "table" and declared.get(slot, {}).get("target")
    ]


def commit(
    slot: str, stored: dict[str, Any], declared: dict[str, Any], request: dict[str, Any], unit: str
) -> dict[str, Any]:
    """What the commit adds to a stored table: its version there, schema, statistics, digest."""
    from tradewind.base.errors import TradewindError
    from tradewind.data import isolated

    target = declared[slot]
    links = _links(stored, request["blobs"], unit)
    try:
        root = Path(request["tables"])
        made = isolated.call(
            {
                "op": "commit",
                "root": str(root),
                "table": [target.get("project") or "default", target["target"]],
                "files": [str(link) for link in links],
                "attempt": f"{request['placement']}.{os.path.basename(unit)}.{len(slot)}{slot}",
                "digest": stored.get("digest", ""),
                "stats": stored.get("stats"),
            },
            timeout=SECONDS,
        )
    except TradewindError as error:
        raise Failure("output", f"output {slot!r}: {error.message}", error.hint) from error
    finally:
        for link in links:
            link.unlink(missing_ok=True)
    return {
        "table_uri": made["uri"],
        "table_version": made["table_version"],
        "rows": made["rows"],
        "schema": made["schema"],
        "stats": made["stats"],
        "digest": made["digest"],
    }


def _links(stored: dict[str, Any], blobs: str, unit: str) -> list[Path]:
    """Names of its own for each file: the library takes away what it was given."""
    folder = Path(unit + ".out")
    folder.mkdir(exist_ok=True)
    links = []
    for number, each in enumerate(stored["files"]):
        link = folder / f"commit-{number}.parquet"
        os.link(layout.blob(blobs, each["digest"]), link)
        links.append(link)
    return links
