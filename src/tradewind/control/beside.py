"""The desk of another server of this database, asked in place of ours.

A task knows the address of the server that launched it. That one may have died since, and come back
when another one had taken over the task's pool.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from tradewind.base.errors import TradewindError, TryAgain, from_json
from tradewind.engines.desk import Fact, Unit
from tradewind.records.placements import Placement

# So long the other one may take to answer: facts wait there until they are stored.
ANSWER = 30.0


class Beside:
    """A desk's host for pools of other servers. `where` gives the address of the one that places on
    a pool, or nothing; it blocks on the store."""

    def __init__(self, where: Callable[[str], str], token: str) -> None:
        self._where, self._token = where, token

    async def unit(self, placement: Placement, pod: str) -> Unit:
        told = await self._ask(placement, "GET", "", params={"pod": pod})
        unit: Unit = told["unit"]
        return unit

    async def gate(self, placement: Placement, pod: str) -> bool:
        return bool((await self._ask(placement, "GET", "/gate", params={"pod": pod}))["open"])

    async def falls(self, placement: Placement, pod: str) -> None:
        await self._ask(placement, "POST", "/falls", json={"pod": pod})

    async def hear(self, placement: Placement, pod: str, facts: Sequence[Fact]) -> None:
        await self._ask(placement, "POST", "/facts", json={"pod": pod, "facts": list(facts)})

    async def _ask(self, placement: Placement, method: str, path: str, **more: Any) -> Any:
        url = await asyncio.to_thread(self._where, placement.pool)
        if not url:
            raise TryAgain(f"pool {placement.pool!r} is not connected here yet", after=1.0)
        signed = {"Authorization": f"Bearer {self._token}"}
        try:
            async with httpx.AsyncClient(timeout=ANSWER, headers=signed) as client:
                answer = await client.request(method, f"{url}/api/v1/work{path}", **more)
        except httpx.HTTPError as error:
            raise TryAgain(f"the server at {url} cannot be reached: {error}", after=1.0) from None
        if answer.status_code >= 400:
            raise _error(answer)
        return answer.json() if answer.content else None


def _error(answer: httpx.Response) -> TradewindError:
    """What the other one answered, as it answered."""
    try:
        return from_json(answer.json()["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return TryAgain(f"another server answers {answer.status_code}", after=1.0)
