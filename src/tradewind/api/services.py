"""Routes about services, and the way through to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from tradewind.api.deps import Here
from tradewind.base.errors import TryAgain

router = APIRouter()
gateway = APIRouter(include_in_schema=False)
CALL_SECONDS = 60.0
# Headers about one connection, not about the message (RFC 9110, 7.6.1), and what we set ourselves.
_HOP = frozenset(
    {"host", "connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade",
     "proxy-authorization", "authorization", "cookie", "content-length"}
)  # fmt: skip


@router.get("/services")
def services(here: Here, request: Request, project: str = "") -> Any:
    """What answers requests, and where."""
    base = str(request.base_url).rstrip("/")
    return [
        {**each, "url": f"{base}/services/{each['name']}"} for each in here.services.all(project)
    ]


@gateway.api_route("/services/{name}/{path:path}", methods=["GET", "POST"])
async def through(here: Here, request: Request, name: str, path: str) -> StreamingResponse:
    """Hand a request on to a ready replica; another one takes it if that one cannot be reached."""
    addresses = await asyncio.to_thread(here.services.pick, name)
    body = await request.body()
    headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
    headers["authorization"] = f"Bearer {here.service_token}"
    client: httpx.AsyncClient = request.app.state.replicas
    for address in addresses:
        url = f"http://{address}/{path}"
        asked = client.build_request(
            request.method, url, params=request.query_params, content=body, headers=headers
        )
        try:
            answer = await client.send(asked, stream=True)
        except httpx.ConnectError:
            continue
        except httpx.HTTPError as error:
            raise TryAgain(f"the replica at {address} broke off", after=0.5) from error
        kept = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP}
        return StreamingResponse(_bytes(answer), status_code=answer.status_code, headers=kept)
    raise TryAgain(f"no replica of {name!r} can be reached", after=0.5)


async def _bytes(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()
