"""Make .venv hold exactly what requirements/SET.txt locks, and this project, compiled.

Usage: setup.py demo|test. Needs only Python >= 3.11 and its own venv module; what is missing is
said in one line. Called by the Makefile, which skips it while nothing changed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - whoever calls it may have an older one
    sys.exit(f"setup: Tradewind needs Python 3.11 or newer, and this is {sys.version.split()[0]}")

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOG = VENV / "setup.log"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
LOCKS = ROOT / "requirements"

# Bytecode is compiled here, whatever the caller's environment says: without it every start of
# every process takes about twice as long.
ENV = {k: v for k, v in os.environ.items() if k not in {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}}
ENV |= {"VIRTUAL_ENV": str(VENV), "UV_PYTHON_DOWNLOADS": "never"}


def main(name: str) -> None:
    if not works(PYTHON):
        make_venv()
    LOG.unlink(missing_ok=True)
    if not works(UV, "--version"):
        say("fetching uv")
        run(PYTHON, "-m", "pip", "install", "-q", "--require-hashes", "-r", LOCKS / "uv.txt")
    if "UV_DEFAULT_INDEX" not in ENV and (index := pip_index()):
        ENV["UV_DEFAULT_INDEX"] = index
    say(f"installing requirements/{name}.txt")
    build = ("--build-constraints", LOCKS / "build.txt")
    run(UV, "pip", "sync", "-q", "--require-hashes", "--compile-bytecode", *build,
        LOCKS / f"{name}.txt")  # fmt: skip
    run(UV, "pip", "install", "-q", "--no-deps", *build, "--editable", ROOT)


def make_venv() -> None:
    say(f"making .venv with Python {sys.version.split()[0]}")
    shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "venv", VENV], capture_output=True, text=True, env=ENV
    )
    if done.returncode:
        LOG.write_text(done.stdout + done.stderr)
        if "ensurepip" in LOG.read_text():
            fail("this Python has no ensurepip (on Debian: apt install python3-venv)")
        fail(f"python -m venv failed: {last_line(LOG)} (all of it: {short(LOG)})")


def works(program: Path, *args: str) -> bool:
    """Whether it starts: the Python below a virtual environment may have gone away."""
    try:
        command = [str(program), *(args or ("-c", ""))]
        return subprocess.run(command, capture_output=True, env=ENV).returncode == 0
    except OSError:
        return False


def pip_index() -> str:
    """The package index that pip is set to use, if any: uv does not read pip's settings."""
    for key in (":env:.index-url", "install.index-url", "global.index-url"):
        done = subprocess.run(
            [PYTHON, "-m", "pip", "config", "get", key], capture_output=True, text=True, env=ENV
        )
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.strip()
    return ""


def run(*command: str | Path) -> None:
    with LOG.open("a") as log:
        done = subprocess.run(command, stdout=log, stderr=log, env=ENV, cwd=ROOT)
    if done.returncode:
        text = LOG.read_text().lower()
        signs = ("connection", "connect", "dns", "resolve host", "name resolution", "timed out")
        if any(sign in text for sign in signs):
            fail(f"the package index cannot be reached: no network? Details: {short(LOG)}")
        fail(f"{Path(command[0]).name} failed: {last_line(LOG)} (all of it: {short(LOG)})")


def last_line(path: Path) -> str:
    return (path.read_text().strip().splitlines() or ["nothing"])[-1].strip()


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def say(what: str) -> None:
    print(f"setup: {what}", flush=True)


def fail(why: str) -> None:
    sys.exit(f"setup: {why}")


if __name__ == "__main__":
    main(sys.argv[1])
