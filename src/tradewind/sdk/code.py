"""Which code a decorated function brings along: the folder of its file, or the text of its cell."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.base.errors import Refused, UserError

if TYPE_CHECKING:
    from tradewind.sdk.bundle import Bundle, Code
    from tradewind.sdk.decorators import Decorated


def entry_of(decorated: Decorated[..., Any]) -> str:
    """`file.py:name` below the folder that travels."""
    function = decorated.function
    if _from_cell(decorated):
        return f"{cell_file(decorated)}:{function.__name__}"
    return f"{_code(decorated).file}:{function.__qualname__}"


def pack(decorated: Decorated[..., Any]) -> Bundle:
    """The bundle that holds this function and what it needs."""
    from tradewind.sdk import bundle

    if _from_cell(decorated):
        return _pack_cell(decorated)
    return pack_code(_code(decorated), bundle.LIMIT)


def pack_code(code: Code, limit: int) -> Bundle:
    """The bundle of this folder, in which the file must be."""
    from tradewind.sdk import bundle

    packed = bundle.pack(code.root, code.only, limit)
    if all(item.path != code.file for item in packed.listing.travels):
        stays = {item.path: item.reason for item in packed.listing.stays}
        folders = [path for path in stays if path.endswith("/") and code.file.startswith(path)]
        reason = stays.get(code.file) or (stays[folders[0]] if folders else "not found")
        raise Refused(
            f"{code.file} does not travel: {reason}", hint="`tw bundle` lists what does, and why"
        )
    return packed


def cell_file(decorated: Decorated[..., Any]) -> str:
    """The name of the module that is written for a cell."""
    return f"{decorated.function.__name__}_cell.py"


def _from_cell(decorated: Decorated[..., Any]) -> bool:
    from tradewind.sdk import cells

    # A function inside a function cannot be imported either: its text is taken.
    return cells.in_session(decorated.function) or "<locals>" in decorated.function.__qualname__


def _code(decorated: Decorated[..., Any]) -> Code:
    from tradewind.sdk import bundle

    file = inspect.getsourcefile(decorated.function)
    if file is None:
        raise UserError(f"the file of {decorated.name} cannot be found")
    root = decorated.root
    top = (Path(file).parent / root).resolve() if root is not None else None
    return bundle.code_of(file, top)


def _pack_cell(decorated: Decorated[..., Any]) -> Bundle:
    from tradewind.sdk import bundle, cells
    from tradewind.sdk.decorators import plain

    cell = cells.Cell(decorated.function, plain)
    files = {cell_file(decorated): cell.text.encode()}
    for module in sorted(cell.local_modules):
        path = Path(module)
        top = path.parent.parent if path.name == "__init__.py" else path.parent
        for inside in bundle.needed(top, path):
            files[inside] = (top / inside).read_bytes()
        if path.name == "__init__.py":
            for each in sorted(path.parent.rglob("*.py")):
                files[each.relative_to(top).as_posix()] = each.read_bytes()
    return bundle.pack_files(files)
