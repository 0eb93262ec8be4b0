"""The tree of errors over the wire; ids and digests."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.base import errors, ids

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("code", sorted(errors.BY_CODE))
@given(
    message=st.text(), hint=st.text(), after=st.none() | st.floats(0, 1e6), line=st.integers(0, 9)
)
def test_every_error_crosses_the_wire(
    code: str, message: str, hint: str, after: float | None, line: int
) -> None:
    kind = errors.BY_CODE[code]
    where = errors.Location(file="a.yaml", line=line, field="x") if line else None
    made = kind(message, hint=hint, where=where, after=after)
    body = json.loads(json.dumps(made.to_json()))
    back = errors.from_json(body)
    assert type(back) is kind and back.to_json() == made.to_json()
    assert str(back) == str(made)


def test_each_branch_says_who_must_act() -> None:
    assert {kind.exit_status for kind in errors.BY_CODE.values()} == {2, 3, 4, 5, 70}
    for kind in errors.BY_CODE.values():
        assert 400 <= kind.http_status < 600
        for branch in (errors.UserError, errors.Denied, errors.TryAgain):
            if issubclass(kind, branch):
                assert kind.exit_status == branch.exit_status


def test_an_unknown_code_is_our_bug() -> None:
    assert type(errors.from_json({"code": "from the future", "message": "x"})) is errors.Bug
    assert type(errors.from_json({})) is errors.Bug


def test_a_body_with_more_in_it_is_read() -> None:
    where = {"file": "a", "line": 3, "length": 9}
    body = {"code": "invalid_spec", "message": "x", "where": where, "traceback": "…"}
    back = errors.from_json(body)
    assert back.where == errors.Location(file="a", line=3)


@given(st.binary(min_size=8, max_size=8))
def test_an_id_is_a_label_without_vowels(entropy: bytes) -> None:
    made = ids.new_id("r", lambda _: entropy)
    assert len(made) == 12 and made[0] == "r"
    assert not set(made[1:]) & set("aeiou01l")
    assert made.isascii() and made.isalnum() and made == made.lower()


def test_ids_do_not_repeat() -> None:
    assert len({ids.new_id("r") for _ in range(10_000)}) == 10_000


@given(JSON)
def test_a_digest_does_not_hang_on_the_order_of_keys(value: object) -> None:
    turned = json.loads(json.dumps(value))
    if isinstance(turned, dict):
        turned = dict(reversed(turned.items()))
    made = ids.digest_json(value)
    assert ids.digest_json(turned) == made and made.startswith("sha256:")


def test_a_place_that_is_none_is_not_told() -> None:
    error = errors.InvalidData("bad", where=errors.Location())
    assert str(error) == "bad" and "where" not in error.to_json()
    assert str(errors.InvalidData("bad", where=errors.Location(field="sql"))) == "sql: bad"
