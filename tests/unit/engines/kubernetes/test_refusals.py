"""Why no pod is made, as the cluster's events tell it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engines.kubernetes.watched import START
from tradewind.engines.kubernetes import refusals, states

BORN = states.when(START.format(0))
QUOTA = (
    'Error creating: pods "p-0-x" is forbidden: exceeded quota: small, requested: pods=1, '
    "used: pods=4, limited: pods=4"
)
POLICY = (
    "Error creating: pods \"p-0-x\" is forbidden: ValidatingAdmissionPolicy 'own.corp' with "
    "binding 'own' denied request: tasks need a team label"
)


def event(message: str, first: int, last: int | None = None, reason: str = "FailedCreate") -> Any:
    stamps = {"firstTimestamp": START.format(first), "lastTimestamp": START.format(last or first)}
    return {"reason": reason, "message": message, **stamps}


def why(*events: Any) -> states.Why:
    found = refusals.blocked(list(events), BORN)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "message, words, hint",
    [
        (POLICY, "a rule of the cluster refuses it: tasks need a team label", "operators"),
        (
            'pods "p" is forbidden: error looking up service account ns/nope: '
            'serviceaccount "nope" not found',
            "the account that tasks run under, 'nope', does not exist in namespace 'ns'",
            "service_account",
        ),
        (
            'Error creating: pods "p" is forbidden: maximum cpu usage per Container is 1',
            "the cluster refuses it: maximum cpu usage per Container is 1",
            "operators",
        ),
        (
            'admission webhook "w.corp" denied the request without explanation',
            'a rule of the cluster refuses it: admission webhook "w.corp" denied the request '
            "without explanation",
            "operators",
        ),
    ],
)
def test_a_rule_is_told_in_words_and_given_up(message: str, words: str, hint: str) -> None:
    found = why(event(message, 3))
    assert (found.words, found.fails, found.since) == (words, refusals.REFUSED, BORN + 3)
    assert hint in found.hint and found.native["message"] == message


@pytest.mark.parametrize(
    "message",
    [
        QUOTA,
        'pods "p" is forbidden: status unknown for quota: small, resources: pods',
        'pods "p" is forbidden: not yet ready to handle request',
        "Internal error occurred: failed calling webhook",
    ],
)
def test_what_may_pass_is_waited_for(message: str) -> None:
    assert why(event(message, 3)).fails is None


def test_it_counts_since_when_it_is_refused_for_good() -> None:
    found = why(event(QUOTA, 1, 30), event(POLICY, 40), event(POLICY, 50))
    assert (found.since, found.worded, found.heard) == (BORN + 40, BORN + 40, BORN + 50)


def test_words_that_come_again_are_new() -> None:
    found = why(event(QUOTA.replace("4", "5"), 20), event(QUOTA, 1, 30))
    assert found.worded == BORN + 20


def test_what_was_refused_before_a_pod_was_made_has_passed() -> None:
    made = event("Created pod: p", 10, reason="SuccessfulCreate")
    assert refusals.blocked([event(POLICY, 9), made], BORN) is None
    assert why(event(POLICY, 9), made, event(QUOTA, 10)).words.startswith("the namespace's quota")


@given(st.text())
def test_whatever_it_says_there_are_words(message: str) -> None:
    assert why(event(message, 1)).words
