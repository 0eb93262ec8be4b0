"""`deploy`: the document of a service for a model version. Submitting it is the pipeline's act."""

from __future__ import annotations

from typing import Any

from tradewind.specs.service import ServiceSpec


def deploy(
    *,
    model: str,
    version: int | str = "",
    name: str = "",
    replicas: int | str = 1,
    performance: str = "",
    availability: str = "",
) -> dict[str, Any]:
    """A `service` spec as a user would write it; checked here, so that a fault is named here."""
    reference = model
    if version != "":
        # A number is a version, a word an alias.
        reference = f"{model}{'/' if str(version).isdigit() else '@'}{version}"
    document: dict[str, Any] = {
        "kind": "service",
        "name": name or model.partition("@")[0].partition("/")[0],
        "model": reference,
        "replicas": replicas,
    }
    if performance:
        document["performance"] = performance
    if availability:
        document["availability"] = availability
    ServiceSpec(**document)
    return document
