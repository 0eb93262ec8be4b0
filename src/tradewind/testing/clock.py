"""A clock that only moves when told to."""

from __future__ import annotations


class FakeClock:
    """`base.clock.Clock` for tests: hours pass in no time, and never by themselves."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._monotonic = now

    def now(self) -> float:
        """Wall time, as `advance` and `jump` left it."""
        return self._now

    def monotonic(self) -> float:
        """Time that passed; a `jump` does not touch it."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or NTP does."""
        self._now += seconds
