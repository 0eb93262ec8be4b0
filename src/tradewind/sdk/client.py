"""The client: one server, one token, one attribute for each noun of the API.

It speaks the wire's own JSON: what a method returns is what `-o json` prints. What people hold
instead is a handle (`handles.RunHandle`). Synchronous only; a transport may be given, so that the
same client talks to an application in this process.
"""

from __future__ import annotations

import httpx

from tradewind.sdk.catalog import Datasets, Models, Pools, Queues, Services
from tradewind.sdk.events import Events
from tradewind.sdk.http import Http
from tradewind.sdk.prices import Prices
from tradewind.sdk.runs import Runs
from tradewind.sdk.server import Server
from tradewind.sdk.stored import Blobs, Quotes, Specs


class Client:
    """A door to one server. Close it, or use it in a `with` statement."""

    def __init__(
        self, url: str, token: str = "", transport: httpx.BaseTransport | None = None
    ) -> None:
        """Nothing is sent yet. `local.connect()` finds the URL and the token by itself."""
        self.http = Http(url, token, transport)
        self.runs = Runs(self.http)
        self.events = Events(self.http)
        self.specs = Specs(self.http)
        self.quotes = Quotes(self.http)
        self.blobs = Blobs(self.http)
        self.datasets = Datasets(self.http)
        self.models = Models(self.http)
        self.pools = Pools(self.http)
        self.queues = Queues(self.http)
        self.services = Services(self.http)
        self.prices = Prices(self.http)
        self.server = Server(self.http)

    @property
    def url(self) -> str:
        """Where the server is."""
        return self.http.url

    def close(self) -> None:
        """Drop the connections."""
        self.http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"
