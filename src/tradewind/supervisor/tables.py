"""Make a task's tables versions of their datasets' open tables, before anybody is told of them.

The table library may fault, and is heavy: it runs in a process of its own, in our environment. What
it commits is not visible to users until the control plane writes the registry row; a commit that
carries the same attempt is done once.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from tradewind.supervisor import layout
from tradewind.supervisor.helper import Failure

# A larger table is not read a second time for its statistics and its content's hash: it has those
# of its files' footers, and the hash of its files. What repeats itself is small on disk and no less
# work: two million rows of 25 columns in 17 MiB took 40 seconds of CPU.
LARGE = 32 << 20
VALUES = 16_000_000

SECONDS = 600.0
TRIES, PAUSE = 3, 0.2


def wanted(declared: dict[str, Any], staged: dict[str, Any]) -> list[str]:
    """The slots whose tables belong to a dataset."""
    return [
        slot
        for slot, output in staged.items()
        if output["kind"] == "table" and declared.get(slot, {}).get("target")
    ]


def large(stored: dict[str, Any]) -> bool:
    """Whether a second reading would take longer than the first is worth."""
    values = (stored.get("rows") or 0) * len(stored.get("schema") or ())
    return sum(each["size"] for each in stored["files"]) > LARGE or values > VALUES


def commit(
    slot: str, stored: dict[str, Any], declared: dict[str, Any], request: dict[str, Any], unit: str
) -> dict[str, Any]:
    """What the commit adds to a stored table: its version there, schema, statistics, digest."""
    from tradewind.base.errors import Broken, TradewindError, TryAgain
    from tradewind.base.ids import digest_json

    target = declared[slot]
    order = {
        "op": "commit",
        "root": str(Path(request["tables"])),
        "table": [target.get("project") or "default", target["target"]],
        "attempt": f"{request['placement']}.{os.path.basename(unit)}.{len(slot)}{slot}",
        "digest": stored.get("digest", ""),
        "stats": stored.get("stats"),
    }
    if not stored.get("digest") and large(stored):
        order |= {"digest": digest_json([each["digest"] for each in stored["files"]])}
        order |= {"outlined": True}
    for tried in range(1, TRIES + 1):
        try:
            made = _commit(order, stored, request["blobs"], unit)
            break
        except TradewindError as error:
            # The library may have been killed, or others came first; the same attempt commits once.
            passing = isinstance(error, Broken | TryAgain)
            if not passing or tried == TRIES:
                reason = "lost" if isinstance(error, TryAgain) else "output"
                text = f"output {slot!r}: {error.message}"
                raise Failure(reason, text, error.hint) from error
            time.sleep(PAUSE)
    return {
        "table_uri": made["uri"],
        "table_version": made["table_version"],
        "rows": made["rows"],
        "schema": made["schema"],
        "stats": made["stats"],
        "digest": made["digest"],
    }


def _commit(order: dict[str, Any], stored: dict[str, Any], blobs: str, unit: str) -> dict[str, Any]:
    from tradewind.data import isolated

    links = _links(stored, blobs, unit)
    try:
        return isolated.call({**order, "files": [str(link) for link in links]}, timeout=SECONDS)
    finally:
        for link in links:
            link.unlink(missing_ok=True)


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
