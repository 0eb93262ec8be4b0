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


def test_what_only_some_pools_and_services_are_is_shown_of_those(
    tw: Tw, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools = [{"name": "a", "state": "ready", "production": True}, {"name": "b", "state": "ready"}]
    monkeypatch.setattr(Fake, "_pools", lambda *_: pools)
    monkeypatch.setattr(Fake, "_status", lambda *_: {"pools": pools})
    for words in (("get", "pools"), ("status",)):
        found = [line for line in tw(*words).out.splitlines() if "production" in line]
        assert len(found) == 1 and "a" in found[0].split("production")[0].split("pools")[-1]
    assert "production  yes: what it cannot give" in tw("describe", "pool/a").out
    assert "production" not in tw("describe", "pool/b").out
    lacking = "availability: region, since pool 'local' has one machine"
    fake.services = [
        {"name": "web", "state": "running", "replicas": [], "why": "late", "not_given": lacking},
        {"name": "well", "state": "running", "replicas": [], "why": "", "not_given": ""},
    ]
    assert f"late; not given: {lacking}" in (said := tw("get", "services").out)
    assert said.count("not given") == 1
    assert f"not given  {lacking}" in tw("describe", "service/web").out
    assert "not given" not in tw("describe", "service/well").out
