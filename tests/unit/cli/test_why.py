"""`tw why`: what is said of when a run starts."""

from __future__ import annotations

import pytest

from tests.unit.cli.conftest import Tw


@pytest.mark.parametrize(
    ("seconds", "words"),
    [((0.0, 0.0, 0.1), "starts at once\n"),
     ((0.2, 0.0, 29.0), "starts at once; nine times out of ten within 29s\n"),
     ((90.0, 0.0, 120.0), "starts in about 1m 30s; nine times out of ten within 2m\n"),
     ((90.0, 60.0, 120.0), "nine times out of ten between 1m and 2m\n")],
)  # fmt: skip
def test_why_says_when_it_starts(
    tw: Tw, monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, float, float], words: str
) -> None:
    estimate = dict(zip(("seconds", "low", "high"), seconds, strict=True))
    told = {"run": "r1", "state": "queued", "waiting": "", "estimate": estimate, "changes": []}
    monkeypatch.setattr("tradewind.sdk.runs.Runs.why", lambda *_: told)
    assert tw("why", "r1").out.endswith(words)
