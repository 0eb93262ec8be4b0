"""A pinned spec: every name has become a digest. Later stages read digests only.

Its digest is the cache key; the difference of two pinned specs is the explanation of a cache miss.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tradewind.base.ids import digest_json
from tradewind.records.tasks import Environment, Input


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """`spec` is the spec's document. `code` maps each part of the code that the entry can reach to
    its digest, so that an edit elsewhere in the bundle changes nothing here."""

    kind: str
    name: str
    project: str
    spec: dict[str, Any]
    bundle: str = ""
    code: dict[str, str] = field(default_factory=dict)
    environment: Environment
    inputs: dict[str, Input] = field(default_factory=dict)


# What a spec says about how well and where does not change its result. (Its name says where the
# result is published, see `parts`.)
_NOT_RESULT = frozenset(
    {
        "kind", "name", "project", "labels", "description", "bundle", "input", "dependencies",
        "performance", "budget", "availability", "consistency", "resources", "timeout", "retries",
        "queue", "pool", "cache", "at_once", "backend", "output", "value", "priority", "topology",
    }
)  # fmt: skip


def parts(pinned: Pinned) -> dict[str, str]:
    """What a result depends on: a readable name → a digest or a short value."""
    target = output(pinned.name, pinned.spec)
    found = {"kind": pinned.kind, "output": target, "environment": pinned.environment.digest}
    for name, digest in pinned.code.items():
        found[f"code {name}"] = digest
    for name, bound in pinned.inputs.items():
        found[f"input {name}"] = bound.digest or digest_json(bound.value)
    for name, value in pinned.spec.items():
        if name == "params" and isinstance(value, dict):
            for key, param in value.items():
                found[f"parameter {key}"] = digest_json(param)
        elif name not in _NOT_RESULT:
            found[name] = digest_json(value)
    return found


def output(name: str, spec: dict[str, Any]) -> str:
    """Where the result of a spec of this name is published."""
    return str(spec.get("output") or name)


def apart_from_rows(pinned: Pinned) -> str:
    """A digest of what decides, besides the rows of its tables and its code, how long it takes: its
    parameters, and inputs that are no tables, such as a model."""
    tables = {f"input {name}" for name, bound in pinned.inputs.items() if bound.kind == "table"}
    given = {name: value for name, value in parts(pinned).items() if name not in tables}
    return digest_json({k: v for k, v in given.items() if k.startswith(("input ", "parameter "))})


def digest(pinned: Pinned) -> str:
    """The cache key."""
    return digest_json(parts(pinned))


def difference(old: Pinned, new: Pinned) -> list[str]:
    """The names of the parts in which two pinned specs differ, in reading order."""
    before, after = parts(old), parts(new)
    return [name for name in {**before, **after} if before.get(name) != after.get(name)]
