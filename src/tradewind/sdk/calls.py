"""A request to a running service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from tradewind.base.errors import NotFound, TryAgain
from tradewind.sdk.http import loopback, mapped, raise_for

if TYPE_CHECKING:
    from tradewind.sdk.client import Client

CALL_SECONDS = 60.0


def call(client: Client, name: str, body: dict[str, Any]) -> Any:
    """What the service of this name answers to `POST /predict` with this body."""
    services = {str(each["name"]): each for each in client.services.list()}
    if name not in services:
        raise NotFound(
            f"no service {name!r} runs", hint=f"running: {', '.join(sorted(services)) or 'none'}"
        )
    url = str(services[name].get("url") or "").rstrip("/")
    if not url:
        raise TryAgain(f"the service {name!r} is not ready yet", after=1.0)
    here = loopback(url)
    with (
        mapped(url),
        httpx.Client(timeout=CALL_SECONDS, trust_env=not here, verify=not here) as http,
    ):
        response = http.post(f"{url}/predict", json=body)
    raise_for(response)
    return response.json()
