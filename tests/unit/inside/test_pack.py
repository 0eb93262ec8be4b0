"""The file that travels into users' interpreters."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tradewind.inside import pack


def test_equal_sources_give_equal_bytes(tmp_path: Path) -> None:
    assert pack.build() == pack.build()
    first = pack.install(str(tmp_path))
    assert pack.install(str(tmp_path)) == first
    names = zipfile.ZipFile(first).namelist()
    assert "__main__.py" in names and "tradewind/__init__.py" in names


def test_every_module_travels() -> None:
    """One that another imports late would be missed only there."""
    names = zipfile.ZipFile(io.BytesIO(pack.build())).namelist()
    packed = {Path(name).stem for name in names if name.startswith("tradewind_inside/")}
    here = {path.stem for path in Path(pack.__file__).parent.glob("*.py")}
    assert here - packed <= {"pack", "standin"}


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.13"])
def test_old_and_new_interpreters_import_it(tmp_path: Path, version: str) -> None:
    python = shutil.which(f"python{version}")
    if (
        python is None
        or subprocess.run([python, "-V"], check=False, capture_output=True).returncode
    ):
        pytest.skip(f"there is no Python {version} here")
    path = pack.install(str(tmp_path))
    code = (
        f"import sys; sys.path.insert(0, {path!r});"
        "import tradewind_inside.zygote; from tradewind import function, log_metric;"
        "f = lambda: 1; assert function(f) is f; assert function(performance='1s')(f) is f;"
        "log_metric('m', 1); print('ok')"
    )
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ok\n" and "nothing is recorded" in done.stderr
