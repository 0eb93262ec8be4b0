"""The size budget: no file over 600 lines, and at most 2 % of functions over 60."""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("src", "tests", "scripts", "examples", "benchmarks")
FILE_LINES, FUNCTION_LINES, LONG_SHARE = 600, 60, 0.02


def main() -> int:
    faults, functions, long = [], 0, []
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        name, text = path.relative_to(ROOT), path.read_text(encoding="utf-8")
        if (lines := text.count("\n")) > FILE_LINES:
            faults.append(f"{name}: {lines} lines, and {FILE_LINES} is the limit")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions += 1
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    long.append(f"{name}:{node.lineno}: {node.name} has {length} lines")
    if len(long) > LONG_SHARE * functions:
        faults += long
        faults.append(f"{len(long)} of {functions} functions are over {FUNCTION_LINES} lines")
    print(*faults, sep="\n", end="\n" if faults else "")
    print("sizes: over budget" if faults else f"sizes: {functions} functions, {len(long)} long")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
