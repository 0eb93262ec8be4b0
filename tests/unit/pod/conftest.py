"""A server for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.pod.pods import Server


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()
