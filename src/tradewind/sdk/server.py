"""The server itself over the wire: how it is, what it does, how it ends."""

from __future__ import annotations

from typing import Any

from tradewind.base.errors import TryAgain
from tradewind.sdk.http import Http, path_of

Json = dict[str, Any]


class Server:
    """`/status`, `/top`, `/prune`, `/shutdown`, `/login-codes`."""

    def __init__(self, http: Http) -> None:
        """Made by the client."""
        self._http = http

    def status(self) -> Json:
        """Version, uptime, URLs, the node's limits, counts, disk."""
        found: Json = self._http.get(path_of("status"))
        return found

    def ready(self) -> bool:
        """Whether it takes requests."""
        try:
            self._http.data("/readyz")
        except TryAgain:
            return False
        return True

    def top(self) -> Any:
        """Live usage of each run and attempt."""
        return self._http.get(path_of("top"))

    def prune(self, asked: Json) -> Json:
        """Free what nothing needs; what was freed."""
        found: Json = self._http.call("POST", path_of("prune"), body=asked, timeout=600)
        return found

    def shutdown(self, *, stop_runs: bool = False) -> Json:
        """Ask it to end; `going_on` says what it leaves behind."""
        found: Json = self._http.call("POST", path_of("shutdown"), body={"stop_runs": stop_runs})
        return found

    def login_url(self) -> str:
        """An address that signs a browser in, once."""
        return str(self._http.call("POST", path_of("login-codes"))["url"])
