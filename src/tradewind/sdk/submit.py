"""From documents to runs: code is packed and sent first, then all runs are accepted at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tradewind.sdk import binding, code
from tradewind.sdk.handles import RunHandle
from tradewind.sdk.http import loopback

if TYPE_CHECKING:
    from tradewind.sdk.client import Client
    from tradewind.sdk.decorators import Decorated

Json = dict[str, Any]


def complete(
    client: Client, decorated: Decorated[..., Any], bound: Json, more: Json | None = None
) -> Json:
    """The document of a decorated function with these arguments, checked, its code sent."""
    document = {**decorated._document(bound), **(more or {})}
    if decorated.kind == "pipeline":
        for step in document["steps"]:
            of = getattr(step["uses"], "of", None)
            if of is not None:
                step["uses"] = {**step["uses"], "bundle": client.blobs.put(code.pack(of).data)}
    else:
        document["bundle"] = client.blobs.put(code.pack(decorated).data)
    return checked(client, document)


def checked(client: Client, document: Json) -> Json:
    """The document as the specs room writes it. Raises InvalidSpec."""
    from tradewind import specs

    whole = specs.to_document(specs.from_document(document))
    if not loopback(client.url):
        binding.refuse_files(whole)
    return whole


def start(client: Client, documents: Sequence[Json], **order: Any) -> list[RunHandle]:
    """Have these runs accepted. `order` may hold `quote` and `plan`."""
    given = {key: value for key, value in order.items() if value not in (None, "")}
    made = client.runs.create([{"spec": document, **given} for document in documents])
    return [RunHandle(client, body) for body in made]
