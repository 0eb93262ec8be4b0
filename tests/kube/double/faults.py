"""What a test may make go wrong between a client and the cluster."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.kube.double.access import Call
from tests.kube.double.statuses import Refusal

_REASONS = {
    429: (
        "TooManyRequests",
        "the server has received too many requests and has asked us to try again later",
    ),
    500: ("InternalError", "Internal error occurred: etcdserver: request timed out"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "Timeout: request did not complete within requested timeout"),
}


class Dropped(Exception):
    """The connection ends without an answer."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """Happens `times` times to the calls that it matches; an empty field matches all."""

    times: int
    verb: str = ""
    resource: str = ""
    subresource: str = ""
    user: str = ""
    code: int = 0
    retry_after: int = 0
    drops: bool = False
    delay: float = 0

    def matches(self, call: Call) -> bool:
        return (
            self.times > 0
            and self.verb in ("", call.verb)
            and self.resource in ("", call.resource)
            and self.subresource in ("", call.subresource)
            and self.user in ("", call.user)
        )


class Faults:
    """Switches. All may be used from any thread."""

    def __init__(self) -> None:
        self._list: list[Fault] = []
        self.cut: Callable[[], None] = lambda: None
        self.refuse: Callable[[], None] = lambda: None
        self.accept: Callable[[], None] = lambda: None

    def answer(
        self, code: int, times: int = 1, *, retry_after: int = 0, verb: str = "",
        resource: str = "", user: str = "",
    ) -> Fault:  # fmt: skip
        """The next calls are answered with 429, 500, 503 or 504, and are not carried out."""
        return self.add(
            Fault(
                times=times,
                code=code,
                retry_after=retry_after,
                verb=verb,
                resource=resource,
                user=user,
            )
        )

    def drop(self, times: int = 1, *, verb: str = "", resource: str = "", user: str = "") -> Fault:
        """The next calls are carried out, and the client never hears of it."""
        return self.add(Fault(times=times, drops=True, verb=verb, resource=resource, user=user))

    def delay(
        self, seconds: float, times: int = 1, *, verb: str = "", resource: str = "", user: str = ""
    ) -> Fault:
        """The answers to the next calls come later; they are carried out at once."""
        return self.add(Fault(times=times, delay=seconds, verb=verb, resource=resource, user=user))

    def add(self, fault: Fault) -> Fault:
        self._list.append(fault)
        return fault

    def clear(self) -> None:
        self._list.clear()

    def before(self, call: Call) -> None:
        """Raises what the client is to see instead of an answer."""
        for fault in self._take(call, lambda one: bool(one.code)):
            reason, message = _REASONS[fault.code]
            details = {"retryAfterSeconds": fault.retry_after} if fault.retry_after else {}
            raise Refusal(
                fault.code, reason, message, details=details, retry_after=fault.retry_after
            )

    def after(self, call: Call) -> float:
        """Returns how long the answer waits; raises `Dropped` when it never comes."""
        for fault in self._take(call, lambda one: one.drops):
            raise Dropped(fault)
        return sum(fault.delay for fault in self._take(call, lambda one: one.delay > 0))

    def _take(self, call: Call, sort: Callable[[Fault], bool]) -> list[Fault]:
        found = next((one for one in self._list if sort(one) and one.matches(call)), None)
        if found is None:
            return []
        found.times -= 1
        return [found]
