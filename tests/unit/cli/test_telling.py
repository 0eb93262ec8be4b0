"""What is told of a run, beside the figures."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.cli.conftest import Tw
from tests.unit.sdk.fake import Fake
from tradewind.cli.show import Out


def test_describe_tells_each_phase_once(tw: Tw, fake: Fake) -> None:
    Path("train.py").write_text("print(1)")
    tw("run", "train.py")
    told = [("wait", 0.1), ("start", 0.5), ("start", 0.25), ("call", 1.0)]
    fake.runs["r001"]["phases"] = [{"name": name, "seconds": took} for name, took in told]
    lines = [line.split() for line in tw("describe", "r001").out.splitlines()]
    assert [line for line in lines if line[:1] == ["start"]] == [["start", "750ms"]]


def test_a_note_is_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run says is written by another thread: it would come between a line and its end."""
    written: list[str] = []
    stream = SimpleNamespace(write=written.append, flush=lambda: None)
    monkeypatch.setattr("sys.stderr", stream)
    Out().note("failed in 1.3s")
    assert written == ["failed in 1.3s\n"]
