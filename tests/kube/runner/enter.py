"""A second process inside a running container."""

import asyncio
import shutil
import subprocess

from tests.kube.runner.process import Process, isolation


async def enter(
    process: Process, command: list[str], piped: bool = False, stdin: bool = False
) -> asyncio.subprocess.Process:
    """Start it in the container's namespaces, as its user, with its environment. It ends with the
    container."""
    plan = process.plan
    words = ["setpriv", "--pdeathsig", "KILL", shutil.which("nsenter") or "nsenter"]
    words += ["-t", str(process.pid), "-m", "-u", "-i", "-p", "-r", "-w"]
    if "--map-root-user" in isolation():
        words += ["-U", "--preserve-credentials"]
    elif plan.user is not None:
        groups = ",".join(map(str, plan.groups))
        words += ["setpriv", f"--reuid={plan.user}", f"--regid={plan.group}", f"--groups={groups}"]
        words += ["--bounding-set=-all"] * plan.drop + ["--no-new-privs"] * plan.no_new_privs
    pipe = subprocess.PIPE if piped else subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(
        *words,
        *command,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        env=plan.env,
    )
