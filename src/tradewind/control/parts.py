"""The parts of an array as one version of a table.

Each part's rows are bytes in the blob store when its end is told. Here they are linked together
into one commit of the open table, outside every transaction; the registry's row comes after it. A
commit carries the run and the number of the set of parts, so that doing it again does it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tradewind.base.errors import InvalidData
from tradewind.base.ids import digest_json
from tradewind.blobs.base import Blobs
from tradewind.control.pin import NotYet
from tradewind.data import isolated


@dataclass(slots=True)
class Parts:
    """Commits parts below `tables`, and remembers what the last commits made."""

    tables: Path
    blobs: Blobs
    made: dict[str, dict[str, Any]] = field(default_factory=dict)

    def together(
        self, key: str, project: str, name: str, parts: Sequence[dict[str, Any]]
    ) -> dict[str, Any]:
        """The parts' outputs, in this order, as the body of one version. `key` is unique for this
        set of parts. Raises NotYet until it is committed, InvalidData when there is no table."""
        if key in self.made:
            return self.made[key]
        files = [file for part in parts for file in part["files"]]
        if not files:
            raise InvalidData(
                "no part returned a table, so the result has no columns",
                hint="return an empty table with its columns where there are no rows",
            )
        work = partial(self._commit, key, (project, name), files, _told(parts))
        raise NotYet(f"parts:{key}", f"putting {len(parts)} parts together", work)

    def forget(self, run: str) -> None:
        """Its version is written down: nobody will ask again."""
        for key in [each for each in self.made if each.startswith(f"{run}.")]:
            del self.made[key]

    def _commit(
        self, key: str, table: tuple[str, str], files: list[dict[str, Any]], meta: dict[str, Any]
    ) -> None:
        order = {
            "root": str(self.tables),
            "table": list(table),
            "attempt": key,
            "digest": digest_json([each["digest"] for each in files]),
            "outlined": True,
        }
        paths = [self.blobs.path(each["digest"]) for each in files]
        made = isolated.commit(order, paths, self.tables / f".parts-{key}")
        self.made[key] = {"kind": "table", "files": files, "meta": meta, **made}


def _told(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the parts say beside their rows: how many were skipped."""
    skipped = sum(int((part.get("meta") or {}).get("skipped", 0)) for part in parts)
    return {"skipped": skipped} if skipped else {}
