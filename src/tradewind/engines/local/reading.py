"""Read a unit's log from its files, across tries and while it is written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from tradewind.supervisor import layout, logs

EVERY = 0.1


async def read(
    places: layout.Layout, placement: str, role: str, index: int, offset: int, follow: bool
) -> AsyncIterator[bytes]:
    """Bytes from `offset`. The tries of a unit follow each other in one count."""
    before, number = 0, 1  # bytes of earlier tries, and the try we are at
    while True:
        over = not follow or _over(places, placement)
        while True:
            folder = _unit(places, placement, role, index, number)
            later = logs.exists(_unit(places, placement, role, index, number + 1))
            for after, data in logs.read(folder, max(0, offset - before)):
                offset = before + after
                yield data
            if not later:
                break
            before += logs.length(folder)
            offset = max(offset, before) if offset > before else offset
            number += 1
        if over:
            return
        await asyncio.sleep(EVERY)


def _home(places: layout.Layout, placement: str) -> str:
    folder = places.attempt(placement)
    return folder if os.path.isdir(folder) else places.past(placement)


def _unit(places: layout.Layout, placement: str, role: str, index: int, number: int) -> str:
    return os.path.join(_home(places, placement), layout.unit(role, index, number))


def _over(places: layout.Layout, placement: str) -> bool:
    """Whether the placement has come to its end, or is unknown."""
    home = _home(places, placement)
    if not os.path.isdir(home):
        return True
    path = os.path.join(home, layout.JOURNAL)
    try:
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            file.seek(max(0, size - 65536))
            tail = file.read().splitlines()[-1:]
    except OSError:
        return False
    return any(b'"kind":"placement"' in line and b'"running"' not in line for line in tail)
