"""Code that travels: a content-addressed, reproducible `tar.gz` of a folder.

The same files give the same bytes: sorted, no times, no owners, one of two modes. What `.gitignore`
leaves out stays (nested ones too, and those above the folder up to the repository's top); so do
secrets, version control and caches (`never`), always. Links are resolved: what a link inside the
folder points at travels in its place, and a link that leaves the folder stays behind, so that a
bundle holds plain files and nothing else.
"""

from __future__ import annotations

import ast
import gzip
import io
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from tradewind.base import ids, units
from tradewind.base.errors import InvalidData, InvalidSpec, NotFound, Refused
from tradewind.sdk import never

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

LIMIT = 100 * 2**20
_LARGEST = 5


@dataclass(frozen=True, slots=True)
class Item:
    """One path of a listing. `reason` says why it stays; empty: it travels."""

    path: str
    size: int = 0
    reason: str = ""
    source: str = ""
    executable: bool = False
    changed: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """What travels and what does not. A folder that stays is one item, its files unread."""

    root: Path
    travels: tuple[Item, ...]
    stays: tuple[Item, ...]

    @property
    def size(self) -> int:
        """The bytes of the files that travel, before compression."""
        return sum(item.size for item in self.travels)


@dataclass(frozen=True, slots=True)
class Bundle:
    """The packed bytes and their digest."""

    digest: str
    data: bytes
    listing: Listing


@dataclass(frozen=True, slots=True)
class Code:
    """Which code a file belongs to: the folder that travels, and the file's path in it. `only` are
    the files that travel when the folder itself is too much (a home folder); empty: all of it.
    `apart` are absolute paths and patterns of what the run is given as data, which stays."""

    root: Path
    file: str
    only: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()


def code_of(file: str | Path, root: str | Path | None = None) -> Code:
    """The folder that travels with this file: its own, or for a module of a package the one above
    the package, as Python's own path has it. Of a home folder, a temporary folder or the root of
    the file system travel only the file and the modules beside it that it imports."""
    path = Path(file).absolute()
    if not path.is_file():
        raise NotFound(f"there is no file {file}")
    if root is not None:
        top = Path(root).absolute()
        if not path.is_relative_to(top):
            raise Refused(f"{path} does not lie in {top}", hint="the root holds what it runs")
        return Code(top, path.relative_to(top).as_posix())
    top = path.parent
    while (top / "__init__.py").exists() and top != top.parent:
        top = top.parent
    inside = path.relative_to(top).as_posix()
    return Code(top, inside, only_of(top, [path]))


def only_of(top: Path, files: Iterable[Path]) -> tuple[str, ...]:
    """What travels of a folder that is too much to travel whole; empty for any other folder."""
    if not _too_much(top):
        return ()
    return tuple(sorted(name for file in files for name in needed(top, file)))


def _too_much(folder: Path) -> bool:
    """A folder that nobody means to send as a whole."""
    real = folder.resolve()
    home = Path.home().resolve()
    named = {home, home.parent, Path("/"), Path(tempfile.gettempdir()).resolve(), Path("/var/tmp")}
    common = {home / name for name in ("Desktop", "Downloads", "Documents")}
    return real in named | common


def needed(root: Path, file: Path) -> set[str]:
    """The file and, of the modules beside it, those that it imports, and they, and so on."""
    found: set[str] = set()
    waiting = [file]
    while waiting:
        path = waiting.pop()
        inside = path.relative_to(root).as_posix()
        if inside in found:
            continue
        found.add(inside)
        if path.suffix in {".py", ".tw"}:
            for name in _imported(path):
                waiting.extend(_beside(root, name))
    return found


def _imported(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(_python(path))
    except (SyntaxError, ValueError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def _python(path: Path) -> str | bytes:
    if path.suffix == ".py":
        return path.read_bytes()
    from tradewind import specs

    return specs.parse_tw(path.read_text(encoding="utf-8"), str(path)).source


def _beside(root: Path, name: str) -> Iterator[Path]:
    """The files of a module or package that lies in the root; a package travels whole."""
    top = name.partition(".")[0]
    if (module := root / f"{top}.py").is_file():
        yield module
    elif (root / top / "__init__.py").is_file():
        yield from sorted((root / top).rglob("*.py"))


def listing(root: str | Path, only: Iterable[str] = (), apart: Iterable[str] = ()) -> Listing:
    """What would travel from this folder, and what would not and why."""
    top = Path(root).absolute()
    if not top.is_dir():
        raise NotFound(f"there is no folder {root}")
    chosen = set(only)
    walk = _Walk(top, tuple(apart))
    items = [walk.file(*_split(name)) for name in sorted(chosen)] if chosen else list(walk.all())
    items.sort(key=lambda item: item.path)
    return Listing(
        top,
        tuple(item for item in items if not item.reason),
        tuple(item for item in items if item.reason),
    )


def _split(path: str) -> tuple[str, str]:
    folder, _, name = path.rpartition("/")
    return folder, name


def pack(
    root: str | Path, only: Iterable[str] = (), limit: int = LIMIT, apart: Iterable[str] = ()
) -> Bundle:
    """The bundle of this folder. Raises Refused when it is over the limit (bytes)."""
    found = listing(root, only, apart)
    if found.size > limit:
        raise Refused(_over(found, limit), hint=_OVER_HINT)
    last = _last.get(found.root)
    if last is None or last.listing != found:
        last = _packed(found, [(item, _content(item)) for item in found.travels])
        _last[found.root] = last
    return last


# The last bundle of each root: a loop that starts runs packs once, while no file changes.
_last: dict[Path, Bundle] = {}


def pack_files(files: dict[str, bytes]) -> Bundle:
    """A bundle of what stands in no folder: path → content."""
    contents = [(Item(name, len(data)), data) for name, data in sorted(files.items())]
    found = Listing(Path("/"), tuple(item for item, _ in contents), ())
    return _packed(found, contents)


_OVER_HINT = (
    "name what the code does not need in .gitignore; `tw bundle` lists what travels; data is "
    "imported as a dataset instead (`tw run … --data PATH`)"
)


def _over(found: Listing, limit: int) -> str:
    largest = sorted(found.travels, key=lambda item: -item.size)[:_LARGEST]
    files = ", ".join(f"{item.path} ({units.format_bytes(item.size)})" for item in largest)
    return (
        f"the code in {found.root} is {units.format_bytes(found.size)}, over the limit of "
        f"{units.format_bytes(limit)}; the largest files: {files}"
    )


def _content(item: Item) -> bytes:
    path = Path(item.source)
    try:
        data = path.read_bytes()
        # A `.tw` file travels as its Python: whoever runs it needs no reader of declarations.
        return _as_bytes(_python(path)) if path.suffix == ".tw" else data
    except OSError as error:
        raise InvalidData(f"{item.path} cannot be read: {error.strerror}") from error
    except (InvalidSpec, ValueError):
        return data  # it does not parse; who runs it is told so, others need not know


def _as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _packed(found: Listing, contents: list[tuple[Item, bytes]]) -> Bundle:
    out = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=out, compresslevel=6, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for item, data in contents:
            info = tarfile.TarInfo(item.path)
            info.size = len(data)
            info.mode = 0o755 if item.executable else 0o644
            tar.addfile(info, io.BytesIO(data))
    data = out.getvalue()
    return Bundle(ids.digest_bytes(data), data, found)


class _Walk:
    """One walk through a folder: rules from above to below, links resolved."""

    def __init__(self, root: Path, apart: tuple[str, ...]) -> None:
        self.root = root
        self.apart = apart
        self.real = root.resolve()
        self._rules = list(_rules_above(self.real))

    def all(self) -> Iterator[Item]:
        """Every file that is reached, and every folder that is not entered."""
        yield from self._folder("", frozenset({str(self.real)}))

    def _folder(self, inside: str, entered: frozenset[str]) -> Iterator[Item]:
        here = self.root / inside
        rules = _rules_of(here, inside)
        if rules:
            self._rules.append(rules)
        try:
            names = sorted(os.listdir(here))
        except OSError as error:
            yield Item(f"{inside}/", reason=f"cannot be read: {error.strerror}")
            names = []
        for name in names:
            path = f"{inside}/{name}" if inside else name
            if os.path.isdir(here / name):
                yield from self._subfolder(path, name, entered)
            else:
                yield self.file(inside, name)
        if rules:
            self._rules.pop()

    def _subfolder(self, path: str, name: str, entered: frozenset[str]) -> Iterator[Item]:
        full = self.root / path
        reason = never.why_not(name, folder=True) or never.why_not_folder(str(full))
        reason = reason or self._ignored(path + "/") or self._link(full) or self._data(full)
        real = str(full.resolve())
        if not reason and real in entered:
            reason = "a link to a folder around it"
        if reason:
            yield Item(path + "/", reason=reason)
        else:
            yield from self._folder(path, entered | {real})

    def file(self, inside: str, name: str) -> Item:
        """One file of a folder."""
        path = f"{inside}/{name}" if inside else name
        full = self.root / path
        reason = never.why_not(name, folder=False) or self._ignored(path) or self._link(full)
        if reason := reason or self._data(full):
            return Item(path, reason=reason)
        try:
            found = full.stat()
            if not stat.S_ISREG(found.st_mode):
                return Item(path, reason="no plain file")
            with open(full, "rb") as file:
                if never.is_private_key(file.read(256)):
                    return Item(path, found.st_size, "holds a private key")
        except OSError as error:
            return Item(path, reason=f"cannot be read: {error.strerror}")
        return Item(
            path,
            found.st_size,
            source=str(full),
            executable=bool(found.st_mode & 0o111),
            changed=found.st_mtime_ns,
        )

    def _data(self, full: Path) -> str:
        given = any(str(full) == each or fnmatch(str(full), each) for each in self.apart)
        return "given as data" if given else ""

    def _link(self, full: Path) -> str:
        """Why what this link points at stays; empty also for what is no link."""
        if not full.is_symlink():
            return ""
        real = full.resolve()
        if not real.exists():
            return "a link to nothing"
        if not real.is_relative_to(self.real):
            return "a link that leaves the folder"
        *folders, last = real.relative_to(self.real).parts or (".",)
        reasons = [never.why_not(part, folder=True) for part in folders]
        reasons.append(never.why_not(last, folder=real.is_dir()))
        reason = next(filter(None, reasons), "")
        return f"a link to what stays: {reason}" if reason else ""

    def _ignored(self, path: str) -> str:
        """What git would do: the last rule that fits decides, the deepest file's first."""
        for base, spec in reversed(self._rules):
            if base.startswith("/"):  # a file above the root: its paths begin higher
                asked = os.path.relpath(self.real, base) + "/" + path
            elif base and not path.startswith(base + "/"):
                continue
            else:
                asked = path[len(base) + 1 :] if base else path
            include = spec.check_file(asked).include
            if include is not None:
                return ".gitignore" if include else ""
        return ""


_Rules = tuple[str, "GitIgnoreSpec"]


def _rules_of(folder: Path, base: str) -> _Rules | None:
    path = folder / ".gitignore"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    from pathspec import GitIgnoreSpec

    return base, GitIgnoreSpec.from_lines(text.splitlines())


def _rules_above(root: Path) -> list[_Rules]:
    """The files between the repository's top and the root, highest first."""
    above: list[Path] = []
    for folder in (root, *root.parents):
        if folder != root:
            above.append(folder)
        if (folder / ".git").exists():
            found = (_rules_of(each, str(each)) for each in reversed(above))
            return [rules for rules in found if rules]
    return []
