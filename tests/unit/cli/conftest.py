from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sdk.fake import Fake
from tradewind import cli
from tradewind.sdk import local


@dataclass(frozen=True)
class Said:
    """What one command did."""

    status: int
    out: str
    err: str


Tw = Callable[..., Said]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    """The API in memory, as the verbs find it; and an empty folder to stand in."""
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path / "tradewind"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TRADEWIND_URL", raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    fake = Fake()

    def connect(**_: Any) -> Any:
        return fake.client()

    monkeypatch.setattr(local, "connect", connect)
    return fake


@pytest.fixture
def tw(fake: Fake, capsys: pytest.CaptureFixture[str]) -> Tw:
    def run(*words: str) -> Said:
        capsys.readouterr()
        try:
            status = cli.main(list(words))
        except SystemExit as leaving:  # argparse, after --help
            status = int(leaving.code or 0)
        said = capsys.readouterr()
        return Said(status, said.out, said.err)

    return run
