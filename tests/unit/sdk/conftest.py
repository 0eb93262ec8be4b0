from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.sdk.fake import Fake
from tradewind.sdk import session


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Fake]:
    """The API in memory, as decorated functions find it."""
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path / "tradewind"))
    fake = Fake()
    with fake.client() as client:
        session.use(client)
        yield fake
        session.use(None)
