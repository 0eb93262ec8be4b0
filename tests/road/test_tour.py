"""The README's tour, typed by nobody: each of its commands runs against a real server."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# One place for all that starts servers on one machine with few cores.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tour")]
PATIENCE = 300.0


class Tour:
    """A shell in a folder and a home of its own; the folder it is in stays from block to block."""

    def __init__(self, place: Path) -> None:
        home = place / "home"
        home.mkdir()
        (place / "examples").symlink_to(ROOT / "examples")
        (place / ".venv").symlink_to(sys.prefix)
        kept = {"PATH", "LANG", "LC_ALL", "TMPDIR"}
        self.env = {name: value for name, value in os.environ.items() if name in kept}
        self.env |= {"HOME": str(home), "TRADEWIND_HOME": str(home / ".tradewind")}
        self.folder = place
        self.state = place / "state"

    def type(self, block: str) -> str:
        """What one block of the README printed. Any command that fails fails it."""
        keep = f'\nprintf "%s\\n%s" "$PWD" "$PATH" > {self.state}\n'
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block + keep],
            cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{block}\n{said}"
        folder, self.env["PATH"] = self.state.read_text().split("\n")
        self.folder = Path(folder)
        return said

    def until_ready(self, service: str) -> None:
        """Wait as the reader is told to: until the service has a replica that answers."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            told = json.loads(self.type("tw get services -o json"))
            replicas = [each for one in told if one["name"] == service for each in one["replicas"]]
            if any(each["state"] == "ready" for each in replicas):
                return
            time.sleep(0.3)
        pytest.fail(f"{service} is not ready: {told}")


@pytest.fixture
def tour(tmp_path: Path) -> Iterator[Tour]:
    made = Tour(tmp_path)
    yield made
    tw = f"{Path(sys.prefix) / 'bin' / 'tw'}"
    subprocess.run([tw, "down", "--stop-runs"], env=made.env, check=False, capture_output=True)


def blocks() -> list[str]:
    """The commands of the tour, in order."""
    readme = (ROOT / "README.md").read_text("utf-8")
    part = re.search(r"^## Five minutes\n(.*?)^## ", readme, re.M | re.S)
    assert part is not None
    return re.findall(r"^```sh\n(.*?)^```$", part[1], re.M | re.S)


def test_every_command_of_the_tour_runs(tour: Tour) -> None:
    said: dict[str, str] = {}
    for block in blocks():
        before, asks, rest = block.partition("python ask.py\n")
        if before:
            said[before] = tour.type(before)
        if asks:
            tour.until_ready("late")
            said[asks] = tour.type(asks + rest)
    told = "\n".join(said.values())
    for line in (
        "train succeeded in", "metrics: loss", "holds until", "output: flights@2, 1,499 rows",
        "my_logic@", "from the cache", "code late.py:learn", "late@2", "predictions",
        "the server has ended",
    ):  # fmt: skip
        assert line in told, f"{line!r} was not said:\n{told}"
    home = Path(tour.env["TRADEWIND_HOME"])
    assert not left_running(home), "the tour ends with nothing left running"


def left_running(home: Path) -> list[str]:
    """Processes that name this data folder, once those that are ending have ended."""
    for _ in range(100):
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(home) in line:
                found.append(line)
        if not found:
            return []
        time.sleep(0.1)
    return found
