"""Why a run works again: each part in which its pinned spec differs from the one before, in words.

The names of the parts come from `records.pinned.difference`; here each gets what was and what is:
the version of an input, the line of the code, the value of a parameter, the package.
"""

from __future__ import annotations

import difflib
import io
import re
import tokenize
from collections.abc import Iterator
from typing import Any, Protocol

from tradewind.base.errors import TradewindError
from tradewind.base.ids import canonical
from tradewind.blobs.base import Blobs
from tradewind.control import code
from tradewind.control.reach import Part
from tradewind.records.pinned import Pinned, difference

MOST = 20
_LONGEST = 120
_PACKAGE = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


class Settings(Protocol):
    """Where the packages of a pool's own interpreter are remembered."""

    def get(self, key: str, default: Any = None) -> Any: ...


def explain(old: Pinned, new: Pinned, blobs: Blobs, settings: Settings) -> list[str]:
    """One line for each part that differs, in reading order, at most twenty."""
    found: list[str] = []
    for name in difference(old, new):
        what, _, rest = name.partition(" ")
        match what:
            case "code" if rest:
                found.append(f"{name}: {_code(old, new, rest, blobs)}")
            case "input":
                found.append(f"{name}: {_input(old, new, rest)}")
            case "parameter":
                before, after = (each.spec.get("params") or {} for each in (old, new))
                found.append(f"{name}: {_values(before, after, rest)}")
            case "environment":
                found.append(f"{name}: {_environment(old, new, blobs, settings)}")
            case _:
                found.append(f"{name}: {_values(old.spec, new.spec, name)}")
    more = len(found) - MOST
    return found[:MOST] + ([f"and {more} more"] if more > 0 else [])


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _values(before: dict[str, Any], after: dict[str, Any], name: str) -> str:
    was, now = (
        _short(canonical(each[name])) if name in each else "nothing" for each in (before, after)
    )
    return f"{was} → {now}"


def _input(old: Pinned, new: Pinned, name: str) -> str:
    was, now = old.inputs.get(name), new.inputs.get(name)
    if was is None or now is None:
        return "was not there before" if was is None else "is not there any more"
    if was.kind == now.kind == "value" and not (was.source or now.source):
        return f"{_short(canonical(was.value))} → {_short(canonical(now.value))}"
    if was.source == now.source:
        return f"{now.source or 'its content'} changed"
    return f"{was.source} → {now.source}"


def _environment(old: Pinned, new: Pinned, blobs: Blobs, settings: Settings) -> str:
    before, after = (_packages(each, blobs, settings) for each in (old, new))
    changed = [
        f"{name} {before.get(name, 'absent')} → {after.get(name, 'absent')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    if not changed or not before or not after:
        return "another interpreter or other packages"
    shown = ", ".join(changed[:5])
    return shown + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")


def _packages(pinned: Pinned, blobs: Blobs, settings: Settings) -> dict[str, str]:
    """Package → version, as far as it is known."""
    environment = pinned.environment
    if environment.lock:
        if not blobs.exists(environment.lock):
            return {}
        text = blobs.path(environment.lock).read_text("utf-8", "replace")
        return dict(_PACKAGE.findall(text))
    told = settings.get(f"environment:{environment.digest}") or {}
    found = {name: str(value) for name, value in told.items() if name != "packages"}
    for each in told.get("packages", ()):
        name, _, version = str(each).removesuffix(".dist-info").rpartition("-")
        found[name] = version
    return found


def _code(old: Pinned, new: Pinned, name: str, blobs: Blobs) -> str:
    was, now = old.code.get(name), new.code.get(name)
    if was is None or now is None:
        return "is used now and was not before" if was is None else "is not used any more"
    try:
        sides = [_lines(each, name, blobs) for each in (old, new)]
    except (TradewindError, OSError):
        return "changed"
    return _first_change(sides[0], sides[1]) if all(sides) else "changed"


Lines = list[tuple[str, str, str]]
"""Place, normal form and text of each line that counts."""


def _lines(pinned: Pinned, name: str, blobs: Blobs) -> Lines:
    entry = str(pinned.spec.get("entry") or "")
    part = code.reached(blobs, pinned.bundle, entry).get(name)
    if part is None:
        return []
    text = code.text_of(blobs, pinned.bundle, part.file)
    return list(_counted(part, text))


def _counted(part: Part, text: str) -> Iterator[tuple[str, str, str]]:
    """The lines of a part without blanks and comments, which change nothing."""
    lines = text.splitlines()
    normal = _normal(text) if part.file.endswith(".py") else {}
    for first, last in part.lines or ((1, len(lines)),):
        for number in range(first, min(last, len(lines)) + 1):
            shown = lines[number - 1].strip()
            form = normal.get(number, "") if normal else shown
            if form:
                yield f"{part.file}:{number}", form, shown


def _normal(text: str) -> dict[int, str]:
    """Line → its tokens, blanks and comments left out."""
    found: dict[int, list[str]] = {}
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.DEDENT, tokenize.ENDMARKER}
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type not in skipped:
                for offset, piece in enumerate(token.string.split("\n")):
                    found.setdefault(token.start[0] + offset, []).append(piece)
    except (tokenize.TokenError, SyntaxError):
        return {}
    return {number: " ".join(pieces) for number, pieces in found.items()}


def _first_change(old: Lines, new: Lines) -> str:
    matcher = difflib.SequenceMatcher(
        None, [form for _, form, _ in old], [form for _, form, _ in new], autojunk=False
    )
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        if tag == "equal":
            continue
        if i < i_end and j < j_end:
            return f"{new[j][0]}: {_short(old[i][2])} → {_short(new[j][2])}"
        if j < j_end:
            return f"{new[j][0]}: added {_short(new[j][2])}"
        return f"{old[i][0]}: removed {_short(old[i][2])}"
    return "changed"
