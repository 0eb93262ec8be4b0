"""One DuckDB connection over named tables of Parquet files, and nothing else.

Each table is a view over its files, in order. Then the door is shut: no other file, no network, no
extension, no change of settings. What DuckDB spills goes to a folder of this process.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tradewind.base import errors
from tradewind.data.types import first_line

_LINE = re.compile(r"^LINE (\d+): (.*)\n( *)\^", re.MULTILINE)


def library() -> Any:
    """duckdb, or the error that names how to install it."""
    try:
        import duckdb
    except ImportError as error:
        raise errors.missing_extra("duckdb", "data") from error
    return duckdb


def quoted(name: str) -> str:
    """An identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def connect(
    tables: Mapping[str, Sequence[Path | str]],
    *,
    threads: int = 0,
    memory: int = 0,
    file: Path | None = None,
) -> Iterator[Any]:
    """A connection in which these tables exist; `threads` and `memory` (bytes) 0: DuckDB's own.
    `file` is one that it may write besides."""
    duckdb = library()
    spill = Path(tempfile.mkdtemp(prefix="tradewind-duckdb-"))
    connection = duckdb.connect()
    try:
        files = {name: [str(Path(path).absolute()) for path in paths]
                 for name, paths in tables.items()}  # fmt: skip
        reached = [path for paths in files.values() for path in paths]
        everything = ", ".join(map(literal, [*reached, *([str(file.absolute())] if file else [])]))
        connection.execute(f"SET allowed_paths = [{everything}]")
        connection.execute(f"SET temp_directory = {literal(str(spill / 'spill'))}")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET python_enable_replacements = false")
        if threads:
            connection.execute(f"SET threads = {int(threads)}")
        if memory:
            connection.execute(f"SET memory_limit = '{int(memory)}B'")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        for name, paths in files.items():
            if not paths:
                raise errors.InvalidData(f"the input {name} has no files")
            listed = ", ".join(map(literal, paths))
            connection.execute(
                f"CREATE VIEW {quoted(name)} AS SELECT * FROM read_parquet([{listed}])"
            )
        yield connection
    except duckdb.Error as error:
        raise fault(error, "") from error
    finally:
        connection.close()
        shutil.rmtree(spill, ignore_errors=True)


def check(connection: Any, query: str) -> None:
    """Bind a query without running it. A relation's own errors do not say where they lie."""
    try:
        connection.execute(f"PREPARE checked AS\n{query}")
    except library().Error as error:
        raise fault(error, query, above=1) from error


def fault(error: Exception, query: str, above: int = 0) -> errors.TradewindError:
    """DuckDB's error as one of ours, located in the query where DuckDB says where. `above` lines
    were put before the query."""
    text = str(error).strip()
    message = text.split("\n\nLINE ", 1)[0]
    hint = "; ".join(line.strip() for line in message.splitlines()[1:] if line.strip())[:500]
    message = first_line(Exception(message)).split(" Error: ", 1)[-1]
    where = None
    if match := _LINE.search(text):
        # DuckDB prints "LINE n: " and the line, cut to a window for long lines; the caret is below.
        column = max(1, len(match[3]) - len(f"LINE {match[1]}: ") + 1)
        where = errors.Location(line=int(match[1]) - above, column=column, field="sql")
    kind = type(error).__name__
    if kind == "OutOfMemoryException":
        hint = "give it more memory (resources: memory), or select fewer rows or columns"
        return errors.Refused(f"the query needs more memory than it may take: {message}", hint=hint)
    if "No space left" in text:
        return errors.Broken(f"the disk is full: {message}", hint="free some space (tw prune)")
    if kind == "PermissionException":
        return errors.InvalidSpec(
            "a query reads its inputs only: no other file, no address, no setting",
            hint="bind the file as an input (input:, or --data NAME=PATH)",
            where=where or errors.Location(field="sql"),
        )
    users_words = ("ParserException", "BinderException", "CatalogException", "SyntaxException",
                   "InvalidInputException", "NotImplementedException")  # fmt: skip
    if kind in users_words and not query:
        return errors.Bug(f"a query of ours is wrong: {message}")
    if kind in users_words:
        where = where or errors.Location(field="sql")
        return errors.InvalidSpec(message, hint=hint, where=where)
    if kind in ("InternalException", "FatalException"):
        return errors.Bug(f"DuckDB failed inside: {message}")
    return errors.InvalidData(message, hint=hint, where=where)
