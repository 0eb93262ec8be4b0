"""The promises about imports that the contracts in .importlinter cannot see."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tradewind

PACKAGE = Path(tradewind.__file__).parent
ROOMS = sorted(init.parent.name for init in PACKAGE.glob("*/__init__.py"))

# Imported on use, beside user code. Exams are for test environments.
HEAVY = {"deltalake", "duckdb", "ibis", "ipykernel", "jupyter_client", "lightgbm", "numpy"}
HEAVY |= {"onnxruntime", "pandas", "polars", "pyarrow", "scipy", "sklearn", "torch"}
SERVER = [room for room in ROOMS if room != "testing"]


@pytest.mark.parametrize("room", SERVER)
def test_a_room_loads_no_heavy_library(room: str) -> None:
    code = f"import sys, tradewind.{room}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not HEAVY & set(done.stdout.split())


def test_inside_uses_the_standard_library_alone() -> None:
    for path in (PACKAGE / "inside").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    modules = [alias.name for alias in names]
                case ast.ImportFrom(module=str(module), level=0):
                    modules = [module]
                case _:
                    continue
            for module in modules:
                # `standin` is packed beside this room, which is called so there.
                own = module.startswith(("tradewind.inside", "tradewind_inside."))
                assert own or module.partition(".")[0] in sys.stdlib_module_names, (path, module)


@pytest.mark.parametrize("what", ["import tradewind", "from tradewind.cli import main; main()"])
def test_neither_the_package_nor_its_help_loads_a_heavy_library(what: str) -> None:
    """The running server counts with numpy; nobody else waits for that."""
    told = "atexit.register(lambda: print(*sys.modules))"
    code = f"import atexit, sys; sys.argv = ['tw', '--help']; {told}; {what}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not HEAVY & set(done.stdout.split()), "it loads what only the server needs"
    assert "tradewind" in done.stdout.split()
