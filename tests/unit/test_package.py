"""The package says of itself what its files say."""

import re
from importlib import metadata
from pathlib import Path

import tradewind

ROOT = Path(__file__).resolve().parents[2]


def test_one_version_everywhere() -> None:
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None, "CHANGELOG.md names no release"
    assert tradewind.__version__ == newest[1]
    assert metadata.version("tradewind") == tradewind.__version__
