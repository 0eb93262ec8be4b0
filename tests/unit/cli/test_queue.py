"""`tw queue`: what is shown of each queue."""

from __future__ import annotations

import pytest

from tests.unit.cli.conftest import Tw


def test_a_share_of_what_no_pool_has_any_more(tw: Tw, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {"used": {"cpu": 1.0, "accelerators": {"l4": 1}}, "share": None, "waiting": 0}
    queue = {"name": "a", "parent": "", "guarantee": {}, "most": {}, **gone,
             "projects": [{"name": "p", "most": {}, **gone}]}  # fmt: skip
    monkeypatch.setattr("tradewind.sdk.catalog.Queues.list", lambda *_: [queue])
    said = tw("queue")
    assert said.status == 0, said.err
    assert [line.split()[-2:] for line in said.out.splitlines()[1:]] == [["-", "0"]] * 2
