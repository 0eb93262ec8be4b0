"""Environments for user code: resolved to a lock with hashes, made with uv, cached by digest.

`resolve` is for the control plane, at pin. `build` is for the supervisor: one folder per digest,
under a lock file, visible by rename, so a hit is one look at a folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import sys

from tradewind.supervisor.helper import Failure

_TORCH = re.compile(r"^\s*(torch|torchvision|torchaudio)\s*(\[|[=<>!~;@ ]|$)", re.IGNORECASE)
_TORCH_HINT = (
    "uv would add 5.6 GB of CUDA libraries. Install the CPU build with pip into the interpreter"
    " that the pool uses (pip install torch --index-url https://download.pytorch.org/whl/cpu), and"
    " leave it out of `dependencies`"
)


def uv_binary() -> str:
    """The uv that came with Tradewind, else the one on the path; empty if there is none."""
    with contextlib.suppress(ImportError, FileNotFoundError):
        import uv

        return str(uv.find_uv_bin())
    import shutil

    return shutil.which("uv") or ""


def resolve(
    requirements: list[str] | os.PathLike[str] | str, python: str = "", uv: str = ""
) -> str:
    """The lock (exact versions with hashes) for requirements: a list as in `dependencies`, or the
    path of a requirements or pyproject file. Raises errors.UserError in the resolver's words."""
    from tradewind.base import errors

    tool = uv or uv_binary()
    if not tool:
        raise errors.MissingExtra("uv is not installed", hint="pip install uv")
    command = [tool, "pip", "compile", "--generate-hashes", "--no-header", "--no-annotate"]
    command += ["--quiet", "--no-progress", "--python", python or sys.executable]
    text = None
    if isinstance(requirements, list):
        _refuse_torch(requirements)
        command, text = [*command, "-"], "\n".join(requirements) + "\n"
    else:
        path = os.fspath(requirements)
        if not os.path.exists(path):
            raise errors.NotFound(f"there is no requirements file {path}")
        command.append(path)
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, env=_environment(), check=False
    )
    if done.returncode:
        raise errors.UserError(
            f"the dependencies cannot be resolved:\n{_words(done.stderr)}",
            hint="change the versions asked for in `dependencies`",
        )
    _refuse_torch(done.stdout.splitlines())
    return done.stdout


def _refuse_torch(lines: list[str]) -> None:
    from tradewind.base import errors

    for line in lines:
        found = _TORCH.match(line)
        if found:
            name = found[1].lower()
            raise errors.Refused(f"{name} is not resolved into an environment", hint=_TORCH_HINT)


def build(folder: str, lock: str, python: str, uv: str = "") -> bool:
    """Make the environment of this lock file in `folder`, unless it is there. Whether it was made
    now. Raises helper.Failure in uv's own words."""
    if os.path.isdir(folder):
        return False
    tool = uv or uv_binary()
    if not tool:
        raise Failure("environment", "uv is not installed, so no environment can be made",
                      "pip install uv")  # fmt: skip
    held = os.open(folder + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        if os.path.isdir(folder):
            return False
        staged = folder + ".part"
        _clear(staged)
        _run([tool, "venv", "--relocatable", "--no-project", "--python", python, staged])
        sync = [tool, "pip", "sync", "--require-hashes", "--compile-bytecode", "--no-progress"]
        inner = os.path.join(staged, "bin", "python")
        _run([*sync, "--python", inner, "--allow-empty-requirements", _text_copy(lock, staged)])
        os.rename(staged, folder)
        return True
    finally:
        os.close(held)


def _text_copy(lock: str, staged: str) -> str:
    """uv goes by the suffix; a blob has none."""
    target = os.path.join(staged, "requirements.txt")
    with open(lock, "rb") as source, open(target, "wb") as file:
        file.write(source.read())
    return target


def _clear(folder: str) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
    if done.returncode:
        words = _words(done.stderr) or f"uv ended with status {done.returncode}"
        raise Failure("environment", f"the environment cannot be made:\n{words}")


def _environment() -> dict[str, str]:
    """uv's environment: nothing that would point it at another project or switch off bytecode."""
    hidden = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX")
    env = {key: value for key, value in os.environ.items() if key not in hidden}
    return {**env, "NO_COLOR": "1", "UV_NO_CONFIG": "1", "UV_NO_PROGRESS": "1"}


def _words(text: str) -> str:
    """What the tool said, without lines that only tell of its progress."""
    noise = ("warning: Failed to hardlink", "Using CPython", "Using Python")
    lines = [line.rstrip() for line in text.splitlines() if not line.strip().startswith(noise)]
    return "\n".join(lines).strip()
