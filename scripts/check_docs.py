"""Docs that do not lie: links resolve, named modules exist, Python blocks compile.

Checks every Markdown file that git tracks or does not ignore, and that each room has a page. That
generated parts are up to date and lists are whole, tests/unit/test_docs.py checks.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "tradewind"

LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
FENCE = re.compile(r"^([ \t]*)```(\w*)[^\n]*\n(.*?)^\1```[ \t]*$", re.MULTILINE | re.DOTALL)
DOTTED = re.compile(r"(?<![\w./:@-])tradewind((?:\.[A-Za-z_]\w*)+)(?![\w-]*/)")
# tradewind.yaml is a file, not a module.
FILES = {"db", "json", "log", "md", "py", "service", "sock", "toml", "tw", "txt", "yaml", "yml"}


def main() -> int:
    faults = [fault for page in pages() for fault in check_page(page)] + list(check_rooms())
    for fault in faults:
        print(fault)
    print(f"docs: {len(faults)} faults" if faults else "docs: links, modules, code blocks hold")
    return bool(faults)


def pages() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if listing.returncode:  # an unpacked copy is no checkout
        found = (p for p in ROOT.rglob("*.md") if ".venv" not in p.parts)
        return sorted(found)
    names = filter(None, listing.stdout.split("\0"))
    return sorted(path for name in names if (path := ROOT / name).is_file())


def check_page(page: Path) -> Iterator[str]:
    text = page.read_text(encoding="utf-8")

    def at(position: int, what: str) -> str:
        return f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, position) + 1}: {what}"

    for block in FENCE.finditer(text):
        if block[2] == "python" and (why := broken(block[3], block[1])):
            yield at(block.start(), f"this Python does not compile: {why}")
    # What is code is no link; the lengths stay, so that the line numbers do.
    prose = FENCE.sub(blank, text)
    prose = re.sub(r"`[^`\n]*`", blank, prose)
    for link in LINK.finditer(prose):
        if why := broken_link(page, link[1]):
            yield at(link.start(), why)
    for name in DOTTED.finditer(text):
        if name[1].split(".")[1] not in FILES and not exists(name[1].split(".")[1:]):
            yield at(name.start(), f"there is no {name[0]}")


def blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def broken(code: str, indent: str) -> str | None:
    code = "".join(line.removeprefix(indent) for line in code.splitlines(keepends=True))
    try:
        compile(code, "block", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        return f"{error.msg} (line {error.lineno} of the block)"
    return None


def broken_link(page: Path, target: str) -> str | None:
    if re.match(r"[a-z][a-z0-9+.-]*:", target):
        return None
    name, _, anchor = unquote(target).partition("#")
    place = (page.parent / name).resolve() if name else page
    if not place.exists():
        return f"the link {target} leads nowhere"
    if anchor and place.suffix == ".md":
        headings = map(slug, HEADING.findall(FENCE.sub("", place.read_text(encoding="utf-8"))))
        if anchor not in headings:
            return f"{name or 'this page'} has no heading for #{anchor}"
    return None


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def exists(parts: list[str]) -> bool:
    """Whether tradewind.PARTS is a module, or a name at the top of one."""
    place = PACKAGE
    for i, part in enumerate(parts):
        if (place / part).is_dir():
            place = place / part
        elif (place / f"{part}.py").is_file():
            return i + 1 == len(parts) or parts[i + 1] in names(place / f"{part}.py")
        else:
            return part in names(place / "__init__.py")
    return True


def names(module: Path) -> set[str]:
    if not module.is_file():
        return set()
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                found.add(name)
            case ast.AsyncFunctionDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.alias(name=name, asname=asname):
                found.add(asname or name)
            case ast.Constant(value=str(text)):  # __all__, and the table of lazy names
                found.add(text)
    return found


def check_rooms() -> Iterator[str]:
    described = {page.stem for page in (ROOT / "docs/rooms").glob("*.md")} - {"README", "index"}
    if not described:
        return
    rooms = {init.parent.name for init in PACKAGE.glob("*/__init__.py")}
    for room in sorted(rooms - described):
        yield f"docs/rooms/{room}.md is missing"
    for room in sorted(described - rooms):
        yield f"docs/rooms/{room}.md describes a room that is not there"


if __name__ == "__main__":
    sys.exit(main())
