"""A file of a package is loaded as a member of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tradewind.inside import loading


def test_relative_imports_of_a_package_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    package = tmp_path / "voyage" / "legs"
    package.mkdir(parents=True)
    (tmp_path / "voyage" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (tmp_path / "voyage" / "rates.py").write_text("RATE = 3\n")
    (package / "flow.py").write_text("from ..rates import RATE\n\ndef f():\n    return RATE\n")
    load = {"entry": {"kind": "function", "target": "voyage/legs/flow.py:f"}}
    function = loading.load({**load, "bundle": str(tmp_path)})
    assert function() == 3
    assert function.__module__ == "voyage.legs.flow"
