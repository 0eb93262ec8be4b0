"""The first process of a container: builds what the command sees, then becomes the command.

Runs inside fresh mount, PID, UTS and IPC namespaces (`unshare` made them), as PID 1, from a plain
interpreter: standard library only. What to do comes as JSON on a descriptor; why the command could
not be started goes to a named pipe, which closes without a word once it has been.

The root is an overlay on the machine's own root: what a container writes stays in it and goes with
it, and a mount point can be made anywhere. Where no overlay can be had, the machine's top folders
are bound, not to be written to: a mount point has to be there already, or be a new top folder.
"""

import ctypes
import json
import os
import signal
import socket
import sys
from typing import Any

RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC = 1, 2, 4, 8, 32, 4096, 16384
PDEATHSIG, CAPBSET_DROP, NO_NEW_PRIVS = 1, 24, 38
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
HIDDEN = ("proc", "sys", "dev")

libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    done = libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        data.encode(),
    )
    if done != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"mount {kind or 'bind'} {source} at {target}: {os.strerror(code)}")


def bind(source: str, target: str, read_only: bool = False) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.lexists(target):
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, target, flags=BIND)
    if read_only:
        mount("none", target, flags=BIND | REMOUNT | RDONLY)


def build(plan: dict[str, Any]) -> None:
    """Move into the container's root, with everything mounted."""
    stage = plan["stage"]
    mount("tmpfs", stage, "tmpfs", NOSUID | NODEV, "mode=755")
    root = os.path.join(stage, "root")
    for name in ("upper", "work", "root"):
        os.mkdir(os.path.join(stage, name))
    try:
        layers = f"lowerdir=/,upperdir={stage}/upper,workdir={stage}/work"
        mount("overlay", root, "overlay", 0, layers)
    except OSError:
        copy_top(root)
        layered = False
    else:
        layered = True
    system(root)
    sources = [os.open(item["source"], os.O_PATH) for item in plan["mounts"]]
    os.chroot(root)  # from here on a link in a path leads to where it does for the container
    if layered:
        for path in plan["open"]:
            os.chmod(path, os.stat(path).st_mode | 0o755)
        write("/etc/host.conf", "multi on\n")
        write("/etc/hostname", plan["hostname"] + "\n")
    for item, source in zip(plan["mounts"], sources, strict=True):
        bind(f"/proc/self/fd/{source}", item["target"], item["read_only"])
        os.close(source)
    if layered:
        os.makedirs(plan["cwd"], exist_ok=True)
        if plan["read_only"]:
            mount("none", "/", flags=REMOUNT | RDONLY)


def copy_top(root: str) -> None:
    """The machine's top folders, links and all, read-only."""
    for entry in os.scandir("/"):
        target = os.path.join(root, entry.name)
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), target)
        elif entry.is_dir() and entry.name not in HIDDEN:
            os.mkdir(target)
            mount(entry.path, target, flags=BIND | REC)
            kept = os.statvfs(target).f_flag & (NOSUID | NODEV | NOEXEC)
            mount("none", target, flags=BIND | REMOUNT | RDONLY | kept)


def system(root: str) -> None:
    """/proc of these processes only, /sys without cgroups, a /dev of its own."""
    for name in HIDDEN:
        os.makedirs(f"{root}/{name}", exist_ok=True)
    mount("proc", root + "/proc", "proc")
    try:
        bind("/sys", root + "/sys", read_only=True)
    except OSError:  # a user namespace may not uncover what is mounted below
        mount("/sys", root + "/sys", flags=BIND | REC)
    mount("tmpfs", root + "/dev", "tmpfs", NOSUID, "mode=755,size=65536k")
    for name in DEVICES:
        bind("/dev/" + name, f"{root}/dev/{name}")
    os.mkdir(root + "/dev/shm")
    mount("shm", root + "/dev/shm", "tmpfs", NOSUID | NODEV, "mode=1777,size=64m")
    for target, name in (("", "fd"), ("/0", "stdin"), ("/1", "stdout"), ("/2", "stderr")):
        os.symlink("/proc/self/fd" + target, f"{root}/dev/{name}")


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def become(plan: dict[str, Any]) -> None:
    """Give up the rights that the container shall not have."""
    if plan["drop"]:
        for capability in range(64):
            libc.prctl(CAPBSET_DROP, capability, 0, 0, 0)
    if plan["user"] is not None and mapped(plan["user"]):
        os.setgroups(plan["groups"])
        os.setgid(plan["group"])
        os.setuid(plan["user"])
    # After the change of user, which takes it away.
    libc.prctl(PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if plan["no_new_privs"]:
        libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)


def mapped(user: int) -> bool:
    """May we act for this user: as root, but not in a user namespace that knows only its root."""
    with open("/proc/self/uid_map") as file:
        lines = [list(map(int, line.split())) for line in file]
    there = any(first <= user < first + count for first, _, count in lines)
    return there and os.geteuid() == 0


def main() -> None:
    given, said = int(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY | os.O_CLOEXEC)
    with os.fdopen(given) as file:
        plan = json.load(file)
    try:
        socket.sethostname(plan["hostname"])
        os.umask(0o022)
        build(plan)
        os.chdir(plan["cwd"])
        become(plan)
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # Python ignores them; that is inherited
        execute(plan["command"], plan["env"])
    except Exception as error:
        os.write(said, str(error).encode())
        os._exit(128)


def execute(command: list[str], env: dict[str, str]) -> None:
    try:
        os.execvpe(command[0], command, env)
    except FileNotFoundError:
        where = (
            "no such file or directory"
            if "/" in command[0]
            else "executable file not found in $PATH"
        )
        raise OSError(f'exec: "{command[0]}": {where}') from None


if __name__ == "__main__":
    main()
