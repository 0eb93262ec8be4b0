"""The time of the cluster: the real one, which a test may move on."""

import time
from collections.abc import Callable


class Clock:
    """Real time plus what `advance` added; listeners hear of each step."""

    def __init__(self) -> None:
        self._offset = 0.0
        self.listeners: list[Callable[[], None]] = []

    def now(self) -> float:
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        self._offset += seconds
        for listener in self.listeners:
            listener()
