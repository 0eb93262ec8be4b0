"""Why a cluster refuses to make a pod, in a data scientist's words, and whether it ever will."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tradewind.engines.kubernetes import quota
from tradewind.engines.kubernetes.states import Object, Why, when

# Seconds after which a rule that may still be changed is taken for final.
REFUSED = 20.0
_OPERATORS = "show this to the cluster's operators, whose rule it is"
_ACCOUNT = re.compile(r"error looking up service account ([^\s/]+)/([^\s:]+): .*not found")
_RULES = ("denied the request: ", "denied request: ")
# What is forbidden for a moment: the cluster has not come so far.
_PASSING = ("status unknown for quota", "not yet ready to handle request")


@dataclass(frozen=True, slots=True)
class Refusal:
    """`fails` as in `states.Why`."""

    words: str
    fails: float | None = None
    hint: str = ""


def ending(words: str, hint: str, since: float) -> Why:
    """Why nothing more comes of a workload whose namespace is being deleted."""
    native = {"reason": "NamespaceTerminating", "message": words}
    return Why(words=words, native=native, since=since, fails=0.0, hint=hint)


def blocked(events: list[Object], since: float) -> Why | None:
    """Why the cluster makes no pods of a workload, by the events about it."""
    made = max(
        (_last(each) for each in events if each.get("reason") == "SuccessfulCreate"), default=0
    )
    refused = [
        each
        for each in events
        if each.get("reason") == "FailedCreate" and (_last(each) or made) >= made
    ]
    if not refused:
        return None
    whys = [_read(str(each.get("message") or "")) for each in refused]
    last = whys[-1]
    # How long it has said that this never will be, and so in these words.
    ends = _run([(each.fails is None) == (last.fails is None) for each in whys])
    same = _run([each.words == last.words for each in whys])
    began = max(when(refused[ends].get("firstTimestamp")), since)
    worded = max(when(refused[same].get("firstTimestamp")), began)
    if same:
        worded = max(worded, _last(refused[same - 1]))
    native = {"reason": "FailedCreate", "message": str(refused[-1].get("message") or "")}
    return Why(
        words=last.words,
        native=native,
        since=began,
        worded=worded,
        heard=_last(refused[-1]),
        fails=last.fails,
        hint=last.hint,
    )


def _last(event: Object) -> float:
    return when(event.get("lastTimestamp"))


def _run(same: list[bool]) -> int:
    """Where the run begins that lasts to the end."""
    return next((n + 1 for n in reversed(range(len(same))) if not same[n]), 0)


def _read(message: str) -> Refusal:
    """What the event says that tells that no pod could be made."""
    if "exceeded quota" in message:
        return Refusal(quota.words(message))
    if "is being terminated" in message:
        words = "the namespace is being deleted, nothing new can start in it"
        hint = "name another in the pool's options, or wait and create it anew"
        return Refusal(words, 0.0, hint)
    if found := _ACCOUNT.search(message):
        space, name = found.groups()
        words = f"the account that tasks run under, {name!r}, does not exist in namespace {space!r}"
        hint = "create that ServiceAccount, or name another in the pool's options (service_account)"
        return Refusal(words, REFUSED, hint)
    if "violates PodSecurity" in message:
        return Refusal("the cluster's security rules refuse it", REFUSED, _OPERATORS)
    ruled = "admission webhook" in message or "ValidatingAdmissionPolicy" in message
    if ruled and " denied " in message:
        said = next((text for rule in _RULES if (text := message.partition(rule)[2])), "")
        return Refusal(f"a rule of the cluster refuses it: {said or message}", REFUSED, _OPERATORS)
    if "is forbidden: " in message and not any(each in message for each in _PASSING):
        said = message.partition("is forbidden: ")[2]
        return Refusal(f"the cluster refuses it: {said}", REFUSED, _OPERATORS)
    return Refusal("the cluster does not start it yet")
