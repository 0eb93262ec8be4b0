"""Pack this package into one zip file that any interpreter can start (`python FILE …`).

The file also holds a stand-in `tradewind` package, so that a user's file with
`from tradewind import function, log_metric` imports where Tradewind is not installed.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile

_MODULES = (
    "__init__", "brackets", "convert", "counting", "decimals", "ends", "entry", "explain",
    "expression", "failing", "groups", "inputs", "keeper", "keys", "keysample", "linux", "loading",
    "measure", "outputs", "places", "probing", "process", "profiling", "samples", "serving",
    "session", "shares", "sink", "spark", "sparksql", "staged", "start", "styles", "tables",
    "tracking", "versions", "wire", "zygote",
)  # fmt: skip
_MAIN = """\
import sys
from tradewind_inside import start

start.main(sys.argv)
"""


def build() -> bytes:
    """The file's bytes: equal sources give equal bytes."""
    here = os.path.dirname(os.path.abspath(__file__))
    members = {"__main__.py": _MAIN}
    for name in _MODULES:
        members[f"tradewind_inside/{name}.py"] = _source(here, name)
    members["tradewind/__init__.py"] = _source(here, "standin")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(members):
            archive.writestr(zipfile.ZipInfo(path), members[path])
    return buffer.getvalue()


def _source(folder: str, name: str) -> str:
    with open(os.path.join(folder, name + ".py"), encoding="utf-8") as file:
        return file.read()


def install(folder: str) -> str:
    """Write the file into `folder` under a name with its digest, once; returns its path."""
    data = build()
    path = os.path.join(folder, f"inside-{hashlib.sha256(data).hexdigest()[:16]}.zip")
    if not os.path.exists(path):
        staged = f"{path}.{os.getpid()}"
        with open(staged, "wb") as file:
            file.write(data)
        os.replace(staged, path)
    return path
