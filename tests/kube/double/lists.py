"""Lists: selectors, pages, and how things were at an earlier version."""

import base64
import binascii
import json

from tests.kube.double.objects import Object, namespace_of
from tests.kube.double.resources import Resource
from tests.kube.double.selectors import Match
from tests.kube.double.statuses import bad_request, expired, not_modelled, too_large
from tests.kube.double.storage import Storage
from tests.kube.double.wire import Request

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start"
    " a new list without the continue parameter, or use the continue token in this response to"
    " retrieve the remainder of the results. Continuing with the provided token results in an"
    " inconsistent list - objects that were created, modified, or deleted between the time the"
    " first chunk was returned and now may show up in the list."
)


def page(
    storage: Storage, resource: Resource, namespace: str, match: Match, request: Request
) -> Object:
    """Returns a list object: all, or the next `limit` of them."""
    limit, start = int(request.one("limit") or 0), ""
    version = _version(storage, request, limit)
    if token := request.one("continue"):
        version, start = _read(token)
        if version == -1:
            version = storage.version
        elif version < storage.compacted:
            raise expired(_TOO_OLD, token=_token(-1, start))
    rows = storage.at(resource, version)
    keys = sorted(
        key
        for key, row in rows.items()
        if (not namespace or namespace_of(row) == namespace)
        and "/".join(key) > start
        and match(row)
    )
    metadata: Object = {"resourceVersion": str(version)}
    chosen = keys[:limit] if limit else keys
    if len(chosen) < len(keys):
        metadata["continue"] = _token(version, "/".join(chosen[-1]))
        if not request.one("labelSelector") and not request.one("fieldSelector"):
            metadata["remainingItemCount"] = len(keys) - len(chosen)
    return {
        "kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata,
        "items": [_item(rows[key]) for key in chosen],
    }  # fmt: skip


def _item(obj: Object) -> Object:
    """Items of a list say neither kind nor version."""
    return {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}


def _version(storage: Storage, request: Request, limit: int) -> int:
    asked, match = request.one("resourceVersion"), request.one("resourceVersionMatch")
    if match and match not in ("Exact", "NotOlderThan"):
        raise not_modelled(f"resourceVersionMatch={match}")
    if not asked or asked == "0":
        return storage.version
    version = number(asked)
    if version > storage.version:
        raise too_large(version, storage.version)
    if match == "Exact" or (limit and not match):
        if version < storage.compacted:
            raise expired("The resourceVersion for the provided list is too old.")
        return version
    return storage.version


def number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'Invalid value: "{text}": strconv.ParseUint: invalid syntax') from None


def _token(version: int, start: str) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read(token: str) -> tuple[int, str]:
    try:
        found = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(found["rv"]), str(found["start"])
    except (ValueError, binascii.Error, KeyError, TypeError):
        raise bad_request("invalid continue token: continue key is not valid") from None
