"""Datasets, models, pools and services over the wire."""

from __future__ import annotations

import builtins
from typing import Any

from tradewind.sdk.http import Http, path_of

Json = dict[str, Any]


class _Noun:
    """A collection with items by name."""

    path = ""

    def __init__(self, http: Http) -> None:
        """Made by the client."""
        self._http = http

    def list(self) -> list[Json]:
        """All of them."""
        found = self._http.get(path_of(self.path))
        items: list[Json] = found["items"] if isinstance(found, dict) else found
        return items


class Datasets(_Noun):
    """`/datasets`: versioned tables."""

    path = "datasets"

    def get(self, name: str) -> Json:
        """One dataset with its versions."""
        found: Json = self._http.get(path_of("datasets", name))
        return found

    def version(self, name: str, number: int) -> Json:
        """One version: rows, schema, statistics, files, lineage."""
        found: Json = self._http.get(path_of("datasets", name, "versions", number))
        return found

    def diff(self, name: str, old: int, new: int) -> Json:
        """What changed between two versions."""
        found: Json = self._http.get(path_of("datasets", name, "diff"), {"old": old, "new": new})
        return found


class Models(_Noun):
    """`/models`: versioned models and their aliases."""

    path = "models"

    def get(self, name: str) -> Json:
        """One model with its versions and aliases."""
        found: Json = self._http.get(path_of("models", name))
        return found

    def alias(self, name: str, alias: str, version: int) -> Json:
        """Point an alias such as `production` at a version."""
        path = path_of("models", name, "aliases", alias)
        found: Json = self._http.call("PUT", path, body={"version": version})
        return found


class Pools(_Noun):
    """`/pools`: places with capacity and prices."""

    path = "pools"

    def bill(self, since: float, until: float) -> builtins.list[Json]:
        """What each cost from `since` until before `until`, in seconds since 1970; who pays."""
        found: builtins.list[Json] = self._http.get(
            path_of("bill"), {"since": since, "until": until}
        )
        return found


class Queues(_Noun):
    """`/queues`: who may use how much, who uses it, who waits."""

    path = "queues"


class Services(_Noun):
    """`/services`: what answers requests, and where."""

    path = "services"
