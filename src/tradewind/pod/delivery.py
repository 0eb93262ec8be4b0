"""Brings what the unit says and makes to the server, in a thread beside the supervisor's watcher.

While the unit runs a server that is away is waited for without end: the work goes on. After the
unit's end it is waited for as long as the desk is patient.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tradewind.pod import ending
from tradewind.pod.place import Place
from tradewind.supervisor import journal, layout, outputs

if TYPE_CHECKING:
    from tradewind.pod.desk import Desk

KINDS = ("metric", "param", "progress", "phase")
# The seconds between two posts, and about how much of the journal travels in one.
EVERY, MOST = 0.2, 1 << 20
# Who has had nothing to say for so long, in seconds, asks whether this try is over.
SILENT = 60.0
POSTED = "posted.json"


class Delivery(threading.Thread):
    """Follows a journal to its end; `ending` is set when it is over, and `wake` gets a byte."""

    def __init__(
        self,
        place: Place,
        path: str,
        before: int,
        wake: int,
        last: Callable[[], None],
        others: bool,
    ) -> None:
        """`last` returns when all else that the unit left is where it belongs; `others` says that
        it is one member of several."""
        super().__init__(daemon=True)
        self.ending: ending.Ending | None = None
        self.end: journal.Report | None = None
        self._place, self._path, self._before, self._wake = place, path, before, wake
        self._last, self._others = last, others
        self._offset = int(place.recall(POSTED, 0))
        self._missing = ending.made("lost", "lost", "the process beside the task was killed")
        self._more = threading.Event()
        self._over = threading.Event()
        self._patience_from = float("inf")
        self._desk: Desk | None = None

    def more(self) -> None:
        """The journal has grown."""
        self._more.set()

    def finish(self, missing: ending.Ending | None, unwritten: list[journal.Report]) -> None:
        """The journal will not grow any more. `missing`: the end, if none stands in it;
        `unwritten`: what found no room in it."""
        self._missing = missing or self._missing
        for report in unwritten:
            self._note(report)
        self._patience_from = time.monotonic()
        if self._desk is not None:
            self._desk.patience_from = self._patience_from
        self._over.set()
        self._more.set()

    def run(self) -> None:
        from tradewind.pod import desk

        try:
            self._desk = desk.Desk(self._place.server, self._place.token, self._place.pod)
            self._desk.patience_from = self._patience_from
            self._follow(self._desk)
            self.ending = self._whole(self._desk)
        except desk.Trouble as error:
            self.ending = error.ending()
        except BaseException as error:
            self.ending = ending.made("lost", "lost", f"{type(error).__name__}: {error}")
        finally:
            os.write(self._wake, b"\0")

    def _follow(self, desk: Desk) -> None:
        while True:
            over = self._over.is_set()  # asked before the journal: then nothing of it is missed
            self._more.clear()
            while self._tell(desk):
                self._over.wait(EVERY)
            if over:
                return
            if not self._more.wait(SILENT):
                self._post(desk, [])  # nothing is new: is it still wanted?

    def _tell(self, desk: Desk) -> bool:
        """Post what is new; whether there was anything."""
        try:
            reports, ends = journal.read(self._path, self._offset, MOST)
        except FileNotFoundError:
            return False
        if not reports:
            return False
        facts = [
            {name: report[name] for name in ("seq", "at", "kind", "body")}
            for report in reports
            if report["kind"] in KINDS
        ]
        for report in reports:
            self._note(report)
        if facts:
            self._post(desk, facts)
        self._offset = ends[-1]
        with contextlib.suppress(OSError):  # a full disk: another start would tell it again
            self._place.remember(POSTED, self._offset)
        return True

    @staticmethod
    def _post(desk: Desk, facts: list[dict[str, Any]]) -> None:
        from tradewind.pod.desk import Refused

        try:
            desk.post(facts)
        except Refused as error:
            # They are user code's. What the server makes no sense of ends nobody's work.
            if error.denied:
                raise

    def _note(self, report: journal.Report) -> None:
        """Keep the unit's end; the placement's, if the unit has none."""
        if report["seq"] <= self._before or report["body"].get("state") not in ending.STATUS:
            return
        if report["kind"] == "attempt" or (report["kind"] == "placement" and not self.end):
            self.end = report

    def _whole(self, desk: Desk) -> ending.Ending:
        """The end as it is told, once everything that it mentions is on the server."""
        from tradewind.pod.desk import Refused

        made = ending.told(self.end) if self.end else self._missing
        try:
            self._bring(desk, made)
        except Refused as error:
            ended = {"reason": "output", "message": str(error), "hint": error.hint}
            made |= {"state": "failed", "exit": ended, "outputs": {}}
        self._last()
        if self._others and made["state"] in ("failed", "lost"):
            desk.falls()
        if ending.fits(made):
            return made
        data = ending.encode(made)
        digest = "sha256:" + outputs.sha256(data).hexdigest()
        desk.put(digest, lambda: io.BytesIO(data))
        return ending.short(made, digest)

    def _bring(self, desk: Desk, made: ending.Ending) -> None:
        from tradewind.pod.desk import together

        outputs = made.get("outputs", {}).values()
        digests = {file["digest"] for output in outputs for file in output["files"]}
        paths = {digest: layout.blob(self._place.blobs, digest) for digest in sorted(digests)}
        together(partial(desk.put, digest, partial(io.FileIO, paths[digest])) for digest in paths)
