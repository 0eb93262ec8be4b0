"""A wheel, installed in an empty environment away from the checkout, works."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import tradewind

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(tradewind.__file__).parent
UV = str(Path(sys.executable).parent / "uv")


def run(*command: str | Path, cwd: Path) -> str:
    env = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    constraints = ("--build-constraints", ROOT / "requirements/build.txt", "--require-hashes")
    run(UV, "build", "-q", "--wheel", *constraints, "--out-dir", out, ROOT, cwd=out)
    [made] = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    away = tmp_path_factory.mktemp("away")
    python = away / "env/bin/python"
    run(UV, "venv", "-q", "--python", sys.executable, "env", cwd=away)
    core = ROOT / "requirements/core.txt"
    run(UV, "pip", "sync", "-q", "--python", python, "--require-hashes", core, cwd=away)
    run(UV, "pip", "install", "-q", "--python", python, "--no-deps", wheel, cwd=away)
    return python.parent


def test_it_holds_every_file_of_the_package(wheel: Path) -> None:
    ours = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("tradewind/")}
    assert inside == ours


def test_its_metadata_names_no_path_of_this_machine(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        text = archive.read(metadata).decode()
    assert f"Version: {tradewind.__version__}\n" in text
    assert str(ROOT) not in text


def test_it_imports_there_and_not_from_the_checkout(bin_folder: Path, tmp_path: Path) -> None:
    code = "import tradewind; print(tradewind.__file__, tradewind.__version__)"
    file, version = run(bin_folder / "python", "-I", "-c", code, cwd=tmp_path).split()
    assert Path(file).is_relative_to(bin_folder.parent)
    assert version == tradewind.__version__


@pytest.mark.skipif(not (PACKAGE / "cli").is_dir(), reason="there is no tradewind.cli yet")
@pytest.mark.parametrize("name", ["tw", "tradewind"])
def test_its_commands_answer(bin_folder: Path, tmp_path: Path, name: str) -> None:
    assert "Usage" in run(bin_folder / name, "--help", cwd=tmp_path)
