"""Carry out an import: read a spec's source, write Parquet, tell rows, schema, statistics, hash.

Called in the task of a dataset's run, and by `python -m tradewind.data.commit`. What it writes lies
in the staging folder until a commit takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tradewind.base import errors
from tradewind.data import bounds, parquet, sources
from tradewind.data.digest import TableDigest
from tradewind.data.passing import Passing
from tradewind.data.profile import Profile, profile
from tradewind.data.types import schema_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """An import's result; `files` lie in the staging folder, in order of rows."""

    files: tuple[str, ...]
    rows: int
    schema: list[dict[str, str]]
    stats: list[dict[str, Any]]
    digest: str
    sources: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        body = asdict(self)
        return {**body, "files": list(self.files), "sources": list(self.sources)}


def import_dataset(spec: Mapping[str, Any], staging: Path, base: Path) -> Imported:
    """`spec` is a dataset spec's document; relative paths of its source are below `base`.

    After an error nothing is left in `staging`. Declared `keys`, `event_time` and `write_time` must
    be columns.
    """
    rows = sources.read(spec.get("source"), base)
    named = [("keys", name) for name in spec.get("keys") or ()]
    named += [(one, spec[one]) for one in ("event_time", "write_time") if spec.get(one)]
    for place, name in named:
        if name not in rows.schema.names:
            raise errors.InvalidData(
                f"{place} names {name!r}, which is no column",
                hint="the columns are " + ", ".join(rows.schema.names[:30]),
                where=errors.Location(field=place),
            )
    digest, passing = TableDigest(rows.schema), Passing(rows.schema)
    with parquet.Writer(staging, rows.schema) as writer:
        for batch in rows.batches():
            digest.update(batch)
            passing.update(batch)
            writer.write(batch)
    try:
        made = _profile(writer, digest, passing)
    except BaseException:
        writer.discard()
        raise
    return Imported(
        files=tuple(map(str, writer.files)),
        rows=made.rows,
        schema=made.schema,
        stats=made.to_json()["columns"],
        digest=made.digest,
        sources=tuple(map(str, rows.files)),
    )


def _profile(writer: parquet.Writer, digest: TableDigest, passing: Passing) -> Profile:
    size = sum(path.stat().st_size for path in writer.files)
    if not bounds.large(writer.rows, len(writer.schema), size, bounds.IMPORTED):
        return profile(writer.files, digest.value())
    schema = schema_json(writer.schema)
    return Profile(
        rows=writer.rows, schema=schema, digest=digest.value(), columns=passing.columns()
    )
