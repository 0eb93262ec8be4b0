"""Which code a decorated function brings along: the folder of its file, or the text of its cell."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.base.errors import Refused, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tradewind.sdk.bundle import Bundle, Code


class Written:
    """A function of the user's. `root` is the folder that travels, where one was named, seen from
    the function's file."""

    function: Callable[..., Any]
    name: str
    root: str | Path | None


def plain(value: Any) -> Any:
    """The function behind one that is decorated; anything else as it is."""
    return value.function if isinstance(value, Written) else value


def entry_of(written: Written) -> str:
    """`file.py:name` below the folder that travels."""
    function = written.function
    if _from_cell(written):
        return f"{cell_file(written)}:{function.__name__}"
    return f"{_code(written).file}:{function.__qualname__}"


def pack(written: Written, apart: Iterable[str] = ()) -> Bundle:
    """The bundle that holds this function and what it needs, without these paths: its data."""
    from tradewind.sdk import bundle

    if _from_cell(written):
        return _pack_cell(written)
    return pack_code(replace(_code(written), apart=tuple(apart)), bundle.LIMIT)


def pack_code(code: Code, limit: int) -> Bundle:
    """The bundle of this folder, in which the file must be."""
    from tradewind.sdk import bundle

    packed = bundle.pack(code.root, code.only, limit, code.apart)
    if all(item.path != code.file for item in packed.listing.travels):
        stays = {item.path: item.reason for item in packed.listing.stays}
        folders = [path for path in stays if path.endswith("/") and code.file.startswith(path)]
        reason = stays.get(code.file) or (stays[folders[0]] if folders else "not found")
        raise Refused(
            f"{code.file} does not travel: {reason}", hint="`tw bundle` lists what does, and why"
        )
    return packed


def cell_file(written: Written) -> str:
    """The name of the module that is written for a cell."""
    return f"{written.function.__name__}_cell.py"


def _from_cell(written: Written) -> bool:
    from tradewind.sdk import cells

    # A function inside a function cannot be imported either: its text is taken.
    return cells.in_session(written.function) or "<locals>" in written.function.__qualname__


def _code(written: Written) -> Code:
    from tradewind.sdk import bundle

    file = inspect.getsourcefile(written.function)
    if file is None:
        raise UserError(f"the file of {written.name} cannot be found")
    root = written.root
    top = (Path(file).parent / root).resolve() if root is not None else None
    return bundle.code_of(file, top)


def _pack_cell(written: Written) -> Bundle:
    from tradewind.sdk import bundle, cells

    cell = cells.Cell(written.function, plain)
    files = {cell_file(written): cell.text.encode()}
    for module in sorted(cell.local_modules):
        path = Path(module)
        top = path.parent.parent if path.name == "__init__.py" else path.parent
        for inside in bundle.needed(top, path):
            files[inside] = (top / inside).read_bytes()
        if path.name == "__init__.py":
            for each in sorted(path.parent.rglob("*.py")):
                files[each.relative_to(top).as_posix()] = each.read_bytes()
    return bundle.pack_files(files)
