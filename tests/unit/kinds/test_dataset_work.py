"""An import reads the files that were brought to it as it reads those of its own machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradewind.kinds.dataset.work import import_table


def test_brought_files_make_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("TRADEWIND_OUT", str(tmp_path / "out"))
    first, second = tmp_path / "in/z.csv", tmp_path / "in/a.csv"
    first.parent.mkdir()
    first.write_text("x;y\n1;-\n")
    second.write_text("x;y\n2;b\n")
    source = {"path": [str(first), str(second)], "delimiter": ";", "nulls": ["-"]}
    here = import_table({"kind": "dataset", "name": "d", "source": source})
    brought = tmp_path / "brought"
    for number, file in enumerate((first, second)):
        (brought / f"{number:06}").mkdir(parents=True)
        file.rename(brought / f"{number:06}" / file.name)
    there = import_table({"kind": "dataset", "name": "d", "source": source}, brought)
    assert (there.told["digest"], there.told["rows"]) == (here.told["digest"], 2)
