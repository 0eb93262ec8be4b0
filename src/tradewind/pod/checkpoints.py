"""The checkpoint folder of a unit: brought here before it starts, kept on the server while it runs.

What has come to rest in it is told in one go, so that the next try finds no half of a change. No
trouble with it ends a task: its log says so, and it goes on.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tradewind.pod.place import Place
from tradewind.supervisor import layout

if TYPE_CHECKING:
    from tradewind.pod.desk import Desk

# A file that has not changed for REST seconds is whole; if others never rest it goes without them
# after LONGEST. The folder is looked at every LOOK seconds and told of at most every PAUSE; when
# that failed, after TROUBLE more.
LOOK, REST, PAUSE, LONGEST, TROUBLE = 1.0, 2.0, 10.0, 60.0, 50.0
MOST = 10_000
KEPT = "checkpoint.json"

File = dict[str, Any]


class Mark(NamedTuple):
    """What changes when a file does. `link` is a symbolic link's target."""

    size: int
    mtime: int
    ctime: int
    inode: int
    mode: int
    link: str = ""


class _Moved(Exception):
    """A file changed while it was read: it was not at rest after all."""


def folder(place: Place, work: dict[str, Any]) -> str:
    """Where the unit finds it."""
    # To its supervisor it is a gang of one.
    return layout.Layout(place.home).checkpoint(work["request"], work["unit"]["role"], 0)


def shelf(work: dict[str, Any]) -> str:
    """Where its bytes are, at the desk."""
    from urllib.parse import urlencode

    from tradewind.pod.desk import CHECKPOINT

    unit = work["unit"]
    named = urlencode({"role": unit["role"], "index": int(unit.get("index", 0))})
    return f"{CHECKPOINT}?{named}"


def scan(root: str) -> dict[str, Mark]:
    """Files and links below a folder, by their paths from there."""
    return dict(_walk(root, ""))


def _walk(root: str, below: str) -> Iterator[tuple[str, Mark]]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(root) as found:
        for each in found:
            with contextlib.suppress(FileNotFoundError):
                if each.is_dir(follow_symlinks=False):
                    yield from _walk(each.path, f"{below}{each.name}/")
                    continue
                seen = each.stat(follow_symlinks=False)
                if stat.S_ISREG(seen.st_mode) or stat.S_ISLNK(seen.st_mode):
                    link = os.readlink(each.path) if stat.S_ISLNK(seen.st_mode) else ""
                    yield below + each.name, _mark(seen, link)


def _mark(seen: os.stat_result, link: str = "") -> Mark:
    mode = 0 if link else seen.st_mode & 0o777
    return Mark(seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, mode, link)


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


# -- before the unit starts ------------------------------------------------------------------------


def bring(desk: Desk, place: Place, work: dict[str, Any]) -> None:
    """Lay out what earlier tries have kept. What cannot be had is said when the unit starts."""
    import shutil

    from tradewind.pod.desk import Refused, together
    from tradewind.supervisor.helper import Failure

    if place.recall(KEPT) is not None:
        return  # this pod was set up before: what it has is newer
    root, files, said = folder(place, work), [], ""
    brought = place.file("brought")
    try:
        answer = desk.claim(begin=False)
        files = answer["files"]
        if answer["damaged"]:
            said = "the checkpoint of earlier tries is damaged: this one starts without it"
        digests = sorted({file["digest"] for file in files if "digest" in file})
        together(partial(desk.fetch, digest, brought, shelf(work)) for digest in digests)
        _lay(root, files, brought)
    except (Refused, Failure, OSError) as error:
        shutil.rmtree(root, ignore_errors=True)
        said = f"the checkpoint of earlier tries cannot be had ({error}): this one starts without"
    finally:
        shutil.rmtree(brought, ignore_errors=True)
    here = scan(root)
    kept = {file["path"]: [here[file["path"]], file] for file in files if file["path"] in here}
    place.remember(KEPT, {"kept": kept, "said": said})


def _lay(root: str, files: list[File], brought: str) -> None:
    import shutil

    uses: dict[str, int] = {}
    for file in files:
        uses[file.get("digest", "")] = uses.get(file.get("digest", ""), 0) + 1
    for file in sorted(files, key=lambda file: "link" in file):  # nothing is laid through a link
        path = os.path.join(root, file["path"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if "link" in file:
            with contextlib.suppress(FileExistsError):
                os.symlink(file["link"], path)
            continue
        source = layout.blob(brought, file["digest"])
        uses[file["digest"]] -= 1
        if uses[file["digest"]]:
            shutil.copyfile(source, path)
        else:
            os.replace(source, path)
        os.chmod(path, file["mode"])
        os.utime(path, ns=(file["mtime"], file["mtime"]))


# -- while it runs ---------------------------------------------------------------------------------


class Keeping(threading.Thread):
    """Keeps what comes to rest; once more when the unit has ended."""

    def __init__(
        self, place: Place, work: dict[str, Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(daemon=True)
        self._clock = clock
        self._place, self._work, self._root = place, work, folder(place, work)
        known = place.recall(KEPT) or {}
        # What the server has, and what each file looked like then.
        self._kept: dict[str, tuple[Mark, File]] = {
            path: (Mark(*mark), file) for path, (mark, file) in known.get("kept", {}).items()
        }
        self._said = {""}
        self._say(known.get("said", ""))
        # How each file looked last, None if it was gone, and since when it has looked so.
        self._seen: dict[str, tuple[Mark | None, float]] = {}
        self._dirty_since = 0.0
        self._not_before = 0.0
        self._scanning = 0.0
        self._unclaimed, self._superseded = not self._kept, False
        self._desk: Desk | None = None
        self._over = threading.Event()
        self._patience_from = float("inf")

    def finish(self) -> None:
        """The unit has ended: what it left is told, and that is all."""
        self._patience_from = self._clock()
        self._over.set()
        if self._desk is not None:
            self._desk.patience_from = self._patience_from

    def give_up(self) -> None:
        """There is no time left for it."""
        with contextlib.suppress(RuntimeError, OSError):  # it is still being looked at
            if self.is_alive() and self._changes(self._scan()) != ([], []):
                self._say("there was no time to keep all of the checkpoint on the server")

    def run(self) -> None:
        pause = LOOK
        while not self._superseded:
            over = self._over.wait(pause)
            self.look(over)
            if over:
                break
            pause = max(LOOK, 10 * self._scanning)
        self.close()

    def close(self) -> None:
        """Drop the connections."""
        if self._desk is not None:
            self._desk.close()

    def look(self, over: bool = False) -> None:
        """Keep what is to be kept now; `over`: all that is there."""
        from tradewind.pod.desk import Superseded

        try:
            self._keep_what_rests(self._clock(), over)
        except _Moved:
            if over:
                self._say("the checkpoint still changes after the task's end: it is not kept")
        except Superseded:
            self._superseded = True
        except Exception as error:
            self._unclaimed = True
            self._not_before += TROUBLE
            self._say(f"the checkpoint cannot be kept on the server: {error}")

    def _keep_what_rests(self, now: float, over: bool) -> None:
        here = self._scan()
        before, self._seen = self._seen, {}
        for path, mark in [*here.items(), *((path, None) for path in self._kept.keys() - here)]:
            last = before.get(path)
            self._seen[path] = last if last is not None and last[0] == mark else (mark, now)
        changed, dropped = self._changes(here)
        if not changed and not dropped:
            self._dirty_since = 0.0
            return
        self._dirty_since = self._dirty_since or now
        if not over:
            if now < self._not_before:
                return
            restless = {path for path, (_mark, since) in self._seen.items() if now - since < REST}
            if restless and now - self._dirty_since < LONGEST:
                return
            changed = [path for path in changed if path not in restless]
            dropped = [path for path in dropped if path not in restless]
        if changed or dropped:
            self._dirty_since = 0.0
            try:
                self._keep(here, changed, dropped)
            finally:
                took = self._clock() - now
                self._not_before = now + took + max(PAUSE, took)

    def _scan(self) -> dict[str, Mark]:
        began = self._clock()
        found = scan(self._root)
        self._scanning = self._clock() - began
        odd = [path for path, mark in found.items() if not _is_text(path + mark.link)]
        for path in odd:
            del found[path]
        if odd:
            self._say(f"not kept of the checkpoint, for its name is no text: {odd[0]!r}")
        return found

    def _changes(self, here: dict[str, Mark]) -> tuple[list[str], list[str]]:
        changed = [
            path for path, mark in here.items() if self._unclaimed or self._mark(path) != mark
        ]
        return sorted(changed), sorted(self._kept.keys() - here.keys())

    def _mark(self, path: str) -> Mark | None:
        return self._kept[path][0] if path in self._kept else None

    def _keep(self, here: dict[str, Mark], changed: list[str], dropped: list[str]) -> None:
        from tradewind.pod.desk import Desk, together

        if len(here) > MOST:
            raise ValueError(f"it has {len(here)} files, and {MOST} is the limit")
        desk = self._desk
        if desk is None:
            desk = Desk(self._place.server, self._place.token, self._place.pod)
            desk.patience_from = float("inf")
            self._desk = desk
            if self._over.is_set():
                desk.patience_from = self._patience_from
        anew = self._unclaimed
        if anew:  # it may be that the server has none of it yet, or no longer
            desk.claim(begin=True)
        files = {path: self._file(path, here[path]) for path in changed}
        where = shelf(self._work)
        together(
            partial(self._put, desk, where, path, here[path], file["digest"])
            for path, file in files.items()
            if "digest" in file
        )
        new = [
            file
            for path, file in files.items()
            if anew or path not in self._kept or self._kept[path][1] != file
        ]
        if new or dropped:
            desk.change(new, dropped)
        self._unclaimed = False
        self._kept |= {path: (here[path], file) for path, file in files.items()}
        for path in dropped:
            del self._kept[path]
        with contextlib.suppress(OSError):  # a full disk: another start would tell it again
            self._place.remember(KEPT, {"kept": self._kept})

    def _file(self, path: str, mark: Mark) -> File:
        if self._mark(path) == mark:
            return self._kept[path][1]
        if mark.link:
            return {"path": path, "link": mark.link}
        import hashlib

        with self._open(path, mark) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {
            "path": path,
            "digest": "sha256:" + digest,
            "size": mark.size,
            "mtime": mark.mtime,
            "mode": mark.mode,
        }

    def _put(self, desk: Desk, where: str, path: str, mark: Mark, digest: str) -> None:
        from tradewind.pod.desk import Refused

        try:
            desk.put(digest, partial(self._open, path, mark), where)
        except Refused:
            self._open(path, mark).close()  # it has moved, or the server means it
            raise

    def _open(self, path: str, mark: Mark) -> io.FileIO:
        try:
            file = io.FileIO(os.path.join(self._root, path))
        except FileNotFoundError:
            raise _Moved from None
        if _mark(os.fstat(file.fileno())) != mark:
            file.close()
            raise _Moved
        return file

    def _say(self, words: str) -> None:
        """In the task's log; the same only once."""
        if words in self._said:
            return
        self._said.add(words)
        with contextlib.suppress(OSError):
            os.write(2, f"tradewind: {words}\n".encode("utf-8", "replace"))
