from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.road.home import Home, home_in


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One server for the tests of a file."""
    with home_in(tmp_path_factory.mktemp("home")) as home:
        yield home


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folder")
