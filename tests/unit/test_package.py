"""The package says of itself what its files say."""

import re
from importlib import metadata
from pathlib import Path

import pytest

import tradewind

ROOT = Path(__file__).resolve().parents[2]


def test_one_version_everywhere() -> None:
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None, "CHANGELOG.md names no release"
    assert tradewind.__version__ == newest[1]
    assert metadata.version("tradewind") == tradewind.__version__


@pytest.mark.xdist_group("together")
def test_a_group_of_tests_stays_on_one_worker(request: pytest.FixtureRequest) -> None:
    """By the end of its id; else each worker starts the group's servers once more."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("this run is not distributed")
    assert request.node.nodeid.endswith("@together")
