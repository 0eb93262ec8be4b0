"""`tw queue`: what is shown of each queue."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Tw
from tradewind.base.errors import InvalidSpec, Location


@pytest.mark.parametrize("verb", ["apply", "diff"])
@pytest.mark.parametrize(
    ("named", "place"), [("b", "q.yaml:6:9 (parent)"), ("else", "queue/else (parent)")]
)
def test_what_the_server_refuses_of_a_queue_is_told_with_its_line(
    tw: Tw, monkeypatch: pytest.MonkeyPatch, verb: str, named: str, place: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        where = Location(file=f"queue/{named}", field="parent")
        raise InvalidSpec("it is below itself", where=where)

    monkeypatch.setattr("tradewind.sdk.stored.Specs.apply", refused)
    Path("q.yaml").write_text("kind: queue\nname: a\n---\nkind: queue\nname: b\nparent: a\n")
    said = tw(verb, "q.yaml")
    assert said.status == 2 and f"{place}: it is below itself" in said.err, said.err


def test_a_share_of_what_no_pool_has_any_more(tw: Tw, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {"used": {"cpu": 1.0, "accelerators": {"l4": 1}}, "share": None, "waiting": 0}
    queue = {"name": "a", "parent": "", "guarantee": {}, "most": {}, **gone,
             "projects": [{"name": "p", "most": {}, **gone}]}  # fmt: skip
    monkeypatch.setattr("tradewind.sdk.catalog.Queues.list", lambda *_: [queue])
    said = tw("queue")
    assert said.status == 0, said.err
    assert [line.split()[-2:] for line in said.out.splitlines()[1:]] == [["-", "0"]] * 2
