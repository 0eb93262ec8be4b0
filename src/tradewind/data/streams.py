"""Source files as streams of bytes: found, decompressed, and checked to be UTF-8 on the way.

Nothing is read whole: a file larger than memory passes through in blocks.
"""

from __future__ import annotations

import codecs
import glob
import io
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from tradewind.base import errors
from tradewind.data.types import arrow, first_line

COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
FORMATS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".psv": "csv", ".parquet": "parquet",
    ".pq": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow", ".arrows": "arrow",
}  # fmt: skip
NULLS = ("", "NA", "N/A", "n/a", "#N/A", "NULL", "null", "NaN", "nan")
SAMPLE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """A spec's `source`, as it comes out of its JSON."""

    paths: tuple[str, ...]
    format: str = "auto"
    delimiter: str | None = None
    quote: str | None = None
    header: bool = True
    nulls: tuple[str, ...] = ()
    encoding: str = "utf-8"
    schema: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, source: Any) -> Options:
        """A path, a list of paths, or the mapping of a dataset spec's `source`."""
        if isinstance(source, str):
            source = {"path": source}
        elif isinstance(source, list | tuple):
            source = {"path": list(source)}
        if not isinstance(source, Mapping) or not source.get("path"):
            raise errors.InvalidSpec(
                "the dataset has no source to import from",
                where=errors.Location(field="source"),
            )
        body = dict(source)
        path = body.pop("path")
        known = {"format", "delimiter", "quote", "header", "nulls", "encoding", "schema"}
        if unknown := sorted(body.keys() - known):
            raise errors.InvalidSpec(
                f"{unknown[0]!r} is no option of a source",
                hint="the options are path, " + ", ".join(sorted(known)),
                where=errors.Location(field=f"source.{unknown[0]}"),
            )
        nulls = body.pop("nulls", None) or ()
        return cls(
            paths=(path,) if isinstance(path, str) else tuple(path),
            nulls=(nulls,) if isinstance(nulls, str) else tuple(nulls),
            **{name: value for name, value in body.items() if value is not None},
        )


def find(options: Options, base: Path) -> list[Path]:
    """The files that the paths name: files, folders (all their data files, at any depth) and
    globs, each in the order of names. Names with `.` or `_` first are left out."""
    found: list[Path] = []
    for text in options.paths:
        if "://" in text:
            raise errors.Refused(
                f"{text} is an address; a source is read from files",
                hint="fetch it first, or mount the store and name the folder",
                where=errors.Location(field="source.path"),
            )
        place = base / Path(text).expanduser()
        if place.is_dir():
            part = _in_folder(place)
            if not part:
                raise errors.NotFound(f"the folder {text} holds no data files")
        elif place.exists():
            part = [place]
        else:
            part = [Path(name) for name in sorted(glob.glob(str(place), recursive=True))]
            part = [path for path in part if path.is_file()]
        if not part:
            kind = "no file matches" if glob.has_magic(text) else "there is no file"
            where = errors.Location(field="source.path")
            raise errors.NotFound(f"{kind} {text}", hint=f"looked in {base}", where=where)
        found += part
    return found


def _in_folder(folder: Path) -> list[Path]:
    found = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part[0] in "._" for part in path.relative_to(folder).parts)
        if not hidden and path.is_file() and _named_format(path):
            found.append(path)
    return found


def _named_format(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and (suffixes[-1] in COMPRESSED or suffixes[-1] == ".zip"):
        suffixes.pop()
    return FORMATS.get(suffixes[-1], "") if suffixes else ""


def format_of(path: Path, options: Options) -> str:
    """`csv`, `parquet`, `jsonl` or `arrow`: as declared, else by name, else by the first bytes."""
    if options.format != "auto":
        if options.format not in FORMATS.values():
            known = ", ".join(sorted(set(FORMATS.values())))
            where = errors.Location(field="source.format")
            raise errors.InvalidSpec(f"{options.format!r} is no format: {known}", where=where)
        return options.format
    if named := _named_format(path):
        return named
    with reading(path), open_bytes(path) as stream:
        head = stream.read(4096)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"ARROW1"):
        return "arrow"
    return "jsonl" if head.lstrip().startswith(b"{") else "csv"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Map what unreadable, cut-off and damaged files raise."""
    where = errors.Location(file=str(path))
    try:
        yield
    except FileNotFoundError as error:
        raise errors.NotFound("the file does not exist", where=where) from error
    except PermissionError as error:
        raise errors.InvalidData("no right to read this file", where=where) from error
    except (OSError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        text = f"the file is damaged or cut off: {first_line(error)}"
        raise errors.InvalidData(text, where=where) from error


def open_bytes(path: Path) -> BinaryIO:
    """The file's bytes, decompressed by its name: .gz .bz2 .zst .lz4, or a .zip of one file."""
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return _open_zip(path)
    if suffix in COMPRESSED:
        pa = arrow()
        stream: BinaryIO = pa.input_stream(str(path), compression=COMPRESSED[suffix])
        return stream
    return path.open("rb")


def _open_zip(path: Path) -> BinaryIO:
    archive = zipfile.ZipFile(path)
    members = [
        entry.filename
        for entry in archive.infolist()
        if not entry.is_dir() and not entry.filename.startswith("__MACOSX/")
    ]
    try:
        if len(members) != 1:
            raise errors.InvalidData(
                f"the archive holds {len(members)} files, expected one",
                hint="unpack it and name the folder",
                where=errors.Location(file=str(path)),
            )
        try:
            stream = archive.open(members[0])
        except RuntimeError as error:  # encrypted
            where = errors.Location(file=str(path))
            raise errors.InvalidData(first_line(error), where=where) from error
        return _Owning(stream, archive)  # type: ignore[return-value]
    except BaseException:
        archive.close()
        raise


class _Owning(io.RawIOBase):
    """A zip's member that closes the archive with itself."""

    def __init__(self, stream: Any, archive: zipfile.ZipFile) -> None:
        self._stream = stream
        self._archive = archive

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read(size)
        return data

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._archive.close()
        super().close()


class Utf8(io.RawIOBase):
    """Text in any encoding as UTF-8 bytes; a byte that is no text raises a located InvalidData.

    A byte order mark is removed; one of UTF-16 is believed even when UTF-8 was expected. `skip`
    bytes of the result are left out at the start.
    """

    def __init__(self, path: Path, encoding: str = "utf-8", skip: int = 0) -> None:
        super().__init__()
        self.path = path
        self._source = open_bytes(path)
        self._read_bytes, self._lines, self._tail = 0, 1, 0
        self._out = b""
        first = self._source.read(4096)
        if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and _is_utf8(encoding):
            encoding = "utf-16"
        self.encoding = encoding
        self._plain = _is_utf8(encoding)
        name = "utf-8" if self._plain else encoding
        try:
            self._decoder = codecs.getincrementaldecoder(name)()
            self._decoder.decode(b"")
        except (LookupError, AttributeError, TypeError) as error:
            self._source.close()
            raise errors.InvalidSpec(
                f"{encoding!r} is no text encoding",
                hint="such as utf-8, gb18030, latin-1, cp1252, shift_jis",
                where=errors.Location(field="source.encoding"),
            ) from error
        if self._plain and first.startswith(codecs.BOM_UTF8):
            first = first[3:]
            self._read_bytes = 3
        self._first: bytes | None = first
        while skip:
            got = self.read(min(skip, SAMPLE))
            if not got:
                break
            skip -= len(got)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; nothing at the end."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(SAMPLE), b""))
        while not self._out:
            if self._first is not None:
                raw, self._first = self._first, None
            else:
                raw = self._source.read(max(1, size) if self._plain else SAMPLE)
            self._out = self._decode(raw)
            if not raw:
                break
        out, self._out = self._out[:size], self._out[size:]
        return out

    def readinto(self, buffer: Any) -> int:
        """What io.BufferedReader asks for."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _decode(self, raw: bytes) -> bytes:
        try:
            text = self._decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            start = self._read_bytes - self._tail + error.start
            line = self._lines + error.object[: error.start].count(b"\n")
            raise self._fault(start, line, error.object[error.start]) from error
        except UnicodeError as error:
            raise self._fault(self._read_bytes, self._lines, None) from error
        self._read_bytes += len(raw)
        self._lines += text.count("\n")
        self._tail = len(self._decoder.getstate()[0])
        if not self._plain:
            return text.encode("utf-8", "surrogatepass") if text else b""
        return raw

    def _fault(self, offset: int, line: int, byte: int | None) -> errors.InvalidData:
        shown = "" if byte is None else f" ({byte:#04x})"
        return errors.InvalidData(
            f"byte {offset}{shown} is not {self.encoding.upper()} text",
            hint="say how it is written, such as `encoding: gb18030` (or latin-1, cp1252, "
            "shift_jis) under `source:`, or save it as UTF-8",
            where=errors.Location(file=str(self.path), line=line),
        )

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig")


def sample(path: Path, encoding: str) -> str:
    """The file's first text, about a million characters; InvalidData if there is none."""
    with reading(path), Utf8(path, encoding) as stream:
        parts: list[bytes] = []
        while sum(map(len, parts)) < SAMPLE and (got := stream.read(SAMPLE)):
            parts.append(got)
    text = b"".join(parts).decode("utf-8", "ignore")
    if not text.strip("\r\n \t"):
        raise errors.InvalidData(
            "the file is empty",
            hint="a table of no rows still needs its header line",
            where=errors.Location(file=str(path)),
        )
    return text


def text_lines(path: Path, encoding: str) -> Iterator[str]:
    """The lines of a text file, with their ends as they are."""
    with reading(path), Utf8(path, encoding) as stream:
        buffered: Any = io.BufferedReader(stream, 1 << 16)
        yield from io.TextIOWrapper(buffered, "utf-8", "surrogatepass", newline="")


def same_columns(
    first: tuple[Path, Sequence[str]], other: tuple[Path, Sequence[str]]
) -> errors.InvalidData | None:
    """The error that names the column in which two files of one table differ, if they do."""
    (path, names), (other_path, other_names) = first, other
    here = errors.Location(file=str(other_path))
    for name in names:
        if name not in other_names:
            text = f"column {name!r} is missing; {os.path.basename(path)} has it"
            return errors.InvalidData(text, where=here)
    for name in other_names:
        if name not in names:
            text = f"column {name!r} is not in {os.path.basename(path)}, the first file"
            return errors.InvalidData(text, where=here)
    return None
