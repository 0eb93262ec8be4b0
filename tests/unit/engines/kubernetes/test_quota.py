"""A quota's refusal as people read it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.engines.kubernetes import quota, refusals

REFUSED = 'pods "p-0" is forbidden: exceeded quota: small, requested: {}, used: {}, limited: {}'


@pytest.mark.parametrize(
    "asked, used, limited, words",
    [
        ("pods=1", "pods=4", "pods=4", "quota for pods is used up (used 4 of 4)"),
        (
            "requests.memory=2Gi", "requests.memory=3Gi", "requests.memory=4Gi",
            "quota for memory has no room for it (used 3Gi of 4Gi, it needs 2Gi)",
        ),
        ("limits.cpu=1", "limits.cpu=0", "limits.cpu=0", "quota for CPU is used up (used 0 of 0)"),
        (
            "pods=1,requests.nvidia.com/gpu=1", "pods=1,requests.nvidia.com/gpu=2",
            "pods=1,requests.nvidia.com/gpu=2", "quota for pods is used up (used 1 of 1)",
        ),
        (
            "count/jobs.batch=1", "count/jobs.batch=5", "count/jobs.batch=5",
            "quota for jobs is used up (used 5 of 5)",
        ),
    ],
)  # fmt: skip
def test_a_quota_is_told_in_words(asked: str, used: str, limited: str, words: str) -> None:
    message = "Error creating: " + REFUSED.format(asked, used, limited)
    why = refusals.blocked([{"reason": "FailedCreate", "message": message}], 5.0)
    assert why is not None
    assert (why.words, why.fails) == (f"the namespace's {words}", None)
    assert why.native == {"reason": "FailedCreate", "message": message}, "for operators"


@given(st.text())
def test_whatever_it_says_there_are_words(message: str) -> None:
    assert quota.words("exceeded quota: " + message).startswith("the namespace's quota")
