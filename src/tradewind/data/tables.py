"""Versions on disk: one Delta Lake table per dataset, through the library `deltalake`.

Only a process that may fault calls this (`python -m tradewind.data.commit`, or a task).

- **Data is not copied.** Staged Parquet files are linked into the table's folder under names of
  their own, and a commit makes them visible. Only what a table cannot hold is written anew.
- **Once.** The commit carries the attempt's id as a Delta application transaction and the result as
  commit information, so a replay returns what the first one returned.
- **Nothing is lost.** An attempt that fails before its commit leaves the old version and takes its
  files away; one that is killed leaves files that no version knows, which `prune` removes. Old
  versions stay readable: Delta's own clean-up of its log is switched off.
- **Order.** The rows of a version are those of its files in the order of names, which begin with a
  number that rises with every commit.
"""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tradewind.base import errors
from tradewind.blobs.base import disk_faults
from tradewind.data import parquet
from tradewind.data.profile import Profile, outline, profile
from tradewind.data.types import arrow, first_line, name_of, stored_schema

if TYPE_CHECKING:
    import pyarrow as pa

Mode = Literal["overwrite", "append"]

_ATTEMPT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")
_TRIES = 30
_FOREVER = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}
_INFO = "tradewind"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedVersion:
    """What a commit made. `files` are names below the table's folder, in order of rows; `stats` are
    the columns of a `Profile`. `replayed`: it had been committed before."""

    table_version: int
    files: tuple[str, ...]
    rows: int
    schema: list[dict[str, str]]
    stats: list[dict[str, Any]]
    digest: str
    replayed: bool = False

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {**asdict(self), "files": list(self.files)}


def library() -> Any:
    """deltalake, or the error that names how to install it."""
    try:
        import deltalake
    except ImportError as error:
        raise errors.missing_extra("deltalake", "data") from error
    return deltalake


def table_folder(root: Path, project: str, name: str) -> Path:
    """`<root>/<project>/<name>`; what is no safe file name is written `%XX`."""
    return root / _safe(project) / _safe(name)


def _safe(name: str) -> str:
    kept = re.sub(
        rb"[^A-Za-z0-9_.-]|^[.]|%", lambda one: b"%%%02X" % one[0][0], name.encode()
    ).decode()
    if not kept or len(kept) > 200:
        raise errors.InvalidSpec(f"{name[:80]!r} is too long or too short for a name")
    return kept


def commit(
    root: Path,
    files: Sequence[Path],
    attempt: str,
    *,
    mode: Mode = "overwrite",
    digest: str = "",
    stats: list[dict[str, Any]] | None = None,
    outlined: bool = False,
) -> CommittedVersion:
    """Make these staged Parquet files the next version (`append`: the last version and these).

    `digest` and `stats` are those of the files, if known (from `import_dataset`); an append works
    them out anew over all rows. `outlined`: `digest` is that of the whole new version, and its
    statistics are those of the files' footers. The staged files are gone afterwards.
    """
    library()
    if not _ATTEMPT.match(attempt):
        raise errors.Bug(f"{attempt!r} is not an attempt's id")
    if not files:
        raise errors.InvalidData("there is no file to commit", hint="a table of no rows has one")
    for tried in range(_TRIES):
        table = _open(root)
        if table is not None and (hint := table.transaction_version(attempt)) is not None:
            _remove(files)
            return replace(_written(root, attempt, hint), replayed=True)
        done = _try(root, table, files, attempt, mode, digest, stats or [], outlined)
        if done is not None:
            _remove(files)
            return done
        time.sleep(min(2.0, 0.01 * 2**tried) * random.random())
    raise errors.TryAgain(f"{_TRIES} other commits to {root.name} came first", after=5.0)


def _try(
    root: Path,
    table: Any,
    files: Sequence[Path],
    attempt: str,
    mode: Mode,
    digest: str,
    stats: list[dict[str, Any]],
    outlined: bool,
) -> CommittedVersion | None:
    """One try; None if another commit came first."""
    before = names(table) if table is not None and mode == "append" else []
    if outlined and not before:
        schema = stored_schema(parquet.common_schema(files))
    else:
        schema = stored_schema(parquet.schema_of([root / before[0]] if before else files))
    placed = _place(root, files, attempt, schema, exact=not outlined)
    try:
        everything = [*before, *placed]
        paths = [root / name for name in everything]
        if outlined:
            made: Profile | None = outline(paths, digest)
        else:
            made = profile(paths) if before or not stats else None
        body = CommittedVersion(
            table_version=table.version() + 1 if table is not None else 0,
            files=tuple(everything),
            rows=made.rows if made else sum(_rows(root / name) for name in placed),
            schema=[{"name": one.name, "type": name_of(one.type)} for one in schema],
            stats=made.to_json()["columns"] if made else stats,
            digest=made.digest if made else digest,
        )
        _write(root, table, placed, schema, attempt, mode, body)
    except BaseException as error:
        now = _open(root)
        hint = now.transaction_version(attempt) if now is not None else None
        if hint is None:
            _remove([root / name for name in placed])
            moved = now is not None and (table is None or now.version() != table.version())
            if moved and isinstance(error, Exception) and not _ours(error):
                return None
            raise _fault(error, root) from error
        # It was made visible, by this try or by a twin of it: what is visible stays.
        done = _written(root, attempt, hint)
        _remove([root / name for name in placed if name not in done.files])
        return done
    return _written(root, attempt, body.table_version)


def _ours(error: BaseException) -> bool:
    return isinstance(error, errors.TradewindError)


def _fault(error: BaseException, root: Path) -> BaseException:
    if _ours(error) or not isinstance(error, Exception):
        return error
    text = first_line(error)
    if "No space left" in str(error):
        return errors.Broken("the disk is full while committing", hint="free some space (tw prune)")
    return errors.Broken(f"the table {root.name} cannot be written: {text}")


def _place(
    root: Path, files: Sequence[Path], attempt: str, schema: pa.Schema, exact: bool
) -> list[str]:
    """Link the files into the table's folder under new names; all or none."""
    with disk_faults("committing a table"):
        root.mkdir(parents=True, exist_ok=True)
        numbers = [int(path.name[:8]) for path in root.glob("[0-9]" * 8 + "-*.parquet")]
        stem = f"{max(numbers, default=0) + 1:08d}-{attempt}-{secrets.token_hex(3)}"
        placed: list[str] = []
        try:
            for number, path in enumerate(files):
                placed.append(f"{stem}-{number:05d}.parquet")
                _place_one(path, root / placed[-1], schema, exact)
        except BaseException:
            _remove([root / name for name in placed])
            raise
        _flush(root)
    return placed


def _place_one(path: Path, target: Path, schema: pa.Schema, exact: bool) -> None:
    pa = arrow()
    with parquet.open_file(path) as reader:
        found = pa.schema([(one.name, one.type) for one in reader.schema_arrow])
        fits = found.equals(schema)
        if not fits and exact:
            _check_same(stored_schema(found, str(path)), schema, path)
    if not fits:
        folder = target.with_suffix(".fitting")
        try:
            with parquet.Writer(folder, schema) as writer:
                for batch in parquet.batches([path], schema):
                    writer.write(batch)
            if len(writer.files) > 1:
                raise errors.InvalidData("a file is too large to be fitted; write several")
            writer.files[0].rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        os.link(path, target)
    except OSError:  # another disk, or one without links
        part = target.with_suffix(".part")
        try:
            shutil.copyfile(path, part)
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)
    target.chmod(0o444)
    _flush(target)


def _check_same(found: pa.Schema, wanted: pa.Schema, path: Path) -> None:
    for name in [*wanted.names, *found.names]:
        where = errors.Location(file=path.name, field=name)
        if name not in found.names:
            raise errors.InvalidData(f"column {name!r} is missing", where=where)
        if name not in wanted.names:
            raise errors.InvalidData(f"column {name!r} is not in the table", where=where)
        one, other = found.field(name).type, wanted.field(name).type
        if one != other:
            text = f"{name} is {name_of(one)} here, but {name_of(other)} in the table"
            hint = "convert it, or write a whole new version (mode: overwrite)"
            raise errors.InvalidData(text, hint=hint, where=where)


def _write(
    root: Path,
    table: Any,
    placed: list[str],
    schema: pa.Schema,
    attempt: str,
    mode: Mode,
    body: CommittedVersion,
) -> None:
    deltalake = library()
    from deltalake import transaction

    actions = [_action(root / name, schema) for name in placed]
    properties = deltalake.CommitProperties(
        custom_metadata={_INFO: json.dumps({**body.to_json(), "attempt": attempt})},
        app_transactions=[deltalake.Transaction(attempt, body.table_version)],
        max_commit_retries=0,
    )
    fields = deltalake.Schema.from_arrow(schema)
    if table is None:
        transaction.create_table_with_add_actions(
            str(root), fields, actions, configuration=_FOREVER, commit_properties=properties
        )
    else:
        if "timestamp_ntz" in fields.to_json():
            _allow_local_times(deltalake, table)
        table.create_write_transaction(actions, mode, fields, commit_properties=properties)
    log = root / "_delta_log"
    if (entry := _entry(root, body.table_version)).exists():
        _flush(entry)
    _flush(log)


def _allow_local_times(deltalake: Any, table: Any) -> None:
    """A table that began without timestamps without zone must be told of them first: the library
    writes such a version without asking, and then nobody can read the table."""
    if "timestampNtz" not in (table.protocol().writer_features or []):
        table.alter.add_feature(
            deltalake.TableFeatures.TimestampWithoutTimezone,
            allow_protocol_versions_increase=True,
        )


def _action(path: Path, schema: pa.Schema) -> Any:
    from deltalake import transaction

    status = path.stat()
    return transaction.AddAction(
        path=path.name,
        size=status.st_size,
        partition_values={},
        modification_time=int(status.st_mtime * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": _rows(path)}),
    )


def _rows(path: Path) -> int:
    with parquet.open_file(path) as reader:
        rows: int = reader.metadata.num_rows
        return rows


def _open(root: Path, version: int | None = None) -> Any:
    """The table, or None if no commit made it yet."""
    deltalake = library()
    if not any((root / "_delta_log").glob("*.json")):
        return None
    try:
        return deltalake.DeltaTable(str(root), version=version)
    except Exception as error:
        if version is not None and not _entry(root, version).exists():
            raise errors.NotFound(f"{root.name} has no version {version}") from error
        raise errors.Broken(f"the table {root} cannot be read: {first_line(error)}") from error


def _entry(root: Path, version: int) -> Path:
    return root / "_delta_log" / f"{version:020d}.json"


def _written(root: Path, attempt: str, hint: int) -> CommittedVersion:
    """The version that this attempt's commit made: at `hint`, or after it."""
    for version in range(hint, hint + 10_000):
        entry = _entry(root, version)
        if not entry.exists():
            break
        for line in entry.read_text().splitlines():
            body = json.loads(line).get("commitInfo", {}).get(_INFO)
            found = json.loads(body) if body else {}
            if found.pop("attempt", None) == attempt:
                found.update(table_version=version, files=tuple(found["files"]))
                return CommittedVersion(**found)
    raise errors.Broken(f"the log of {root} names the attempt {attempt} and lacks its commit")


def names(table: Any) -> list[str]:
    """The names of a version's files, in order of rows."""
    return sorted(Path(uri).name for uri in table.file_uris())


def latest(root: Path) -> int | None:
    """The last version's number, None before the first commit."""
    table = _open(root)
    return None if table is None else int(table.version())


def files(root: Path, table_version: int) -> list[Path]:
    """The files of a version, in order of rows. NotFound if it never was or is pruned."""
    table = _open(root, table_version)
    if table is None:
        raise errors.NotFound(f"{root.name} has no version {table_version}")
    found = [root / name for name in names(table)]
    if any(not path.exists() for path in found):
        raise errors.NotFound(f"version {table_version} of {root.name} was pruned")
    return found


def read(root: Path, table_version: int, columns: Sequence[str] | None = None) -> Any:
    """A version as a `pyarrow.RecordBatchReader`: its rows pass through, they are not held."""
    pa = arrow()
    found = files(root, table_version)
    schema = parquet.schema_of(found)
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    return pa.RecordBatchReader.from_batches(
        schema, parquet.batches(found, schema, columns=columns)
    )


def prune(root: Path, keep: Collection[int], *, older_than: float) -> tuple[int, int]:
    """Remove the data files that no version in `keep` (nor the last one) has and that are older
    than `older_than` (seconds since 1970): (files, bytes). A commit under way has younger files."""
    last = latest(root)
    if last is None:
        return 0, 0
    kept = {path.name for version in {*keep, last} for path in files(root, version)}
    count, freed = 0, 0
    with disk_faults("pruning a table"):
        for pattern in ("*.parquet", "*.part", "*.fitting/*", "*.fitting"):
            for path in root.glob(pattern):
                status = path.stat()
                if path.name in kept or status.st_mtime >= older_than:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
                    count, freed = count + 1, freed + status.st_size
    return count, freed


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
