"""From documents to runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tradewind.sdk import binding
from tradewind.sdk.handles import RunHandle
from tradewind.sdk.http import loopback

if TYPE_CHECKING:
    from tradewind.sdk.client import Client
    from tradewind.specs import Written

Json = dict[str, Any]


def checked(client: Client, document: Json, written: Written | None = None) -> Json:
    """The document as the specs room writes it. Raises InvalidSpec, with the places where it was
    `written`."""
    from tradewind import specs

    whole = specs.to_document(specs.from_document(document, node=written))
    if not loopback(client.url):
        binding.refuse_files(whole)
    return whole


def start(client: Client, documents: Sequence[Json], **order: Any) -> list[RunHandle]:
    """Have these runs accepted. `order` may hold `quote` and `plan`."""
    given = {key: value for key, value in order.items() if value not in (None, "")}
    made = client.runs.create([{"spec": document, **given} for document in documents])
    return [RunHandle(client, body) for body in made]
