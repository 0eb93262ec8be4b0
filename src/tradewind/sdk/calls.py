"""A request to a running service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tradewind.base.errors import NotFound

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
    return client.http.call(
        "POST", f"/services/{quote(name)}/predict", body=body, timeout=CALL_SECONDS
    )
