"""A function as a service, on the real engine."""

from __future__ import annotations

from typing import Any

import pytest

from tests.road.home import Home, until
from tradewind.base.errors import TradewindError

pytestmark = pytest.mark.xdist_group("local-services")

CODE = """
def shout(text: str, times: int = 1) -> str:
    if text == "boom":
        raise ValueError("no such word")
    return text.upper() * times
"""
SPEC = "kind: service\nname: shout\nentry: shout.py:shout\nparams: {times: 2}\n"


def ask(home: Home, body: Any) -> Any:
    with home.client() as client:
        return client.http.call("POST", "/services/shout/predict", body=body)


def test_it_answers_with_what_the_function_returns(home: Home) -> None:
    folder = home.write({"shout.py": CODE, "shout.yaml": SPEC}, "shout")
    home.good("apply", "shout.yaml", cwd=folder)

    def ready() -> bool:
        try:
            return bool(ask(home, {"text": "ahoy"}) == "AHOYAHOY")
        except TradewindError:
            return False

    until(ready)
    assert ask(home, {"text": "né", "times": 1}) == "NÉ"
    for body, words in (
        ({"txt": "a"}, "missing a required argument"),
        ({"text": "boom"}, "no such word"),
        ([1], "arguments by name"),
    ):
        with pytest.raises(TradewindError, match=words):
            ask(home, body)
    home.good("delete", "service/shout")
