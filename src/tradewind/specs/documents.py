"""Spec ↔ document: the plain mapping behind YAML, `.tw`, JSON and the wire.

`from_document(to_document(spec)) == spec` holds for every spec. The control plane and the client
both speak documents; only people write text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from tradewind.base.errors import Location
from tradewind.base.ids import digest_json
from tradewind.specs import nodes
from tradewind.specs.common import Spec
from tradewind.specs.faults import (
    InvalidSpecs,
    Path,
    Problem,
    Where,
    Written,
    from_validation,
    nearest,
    reject,
    shown,
)
from tradewind.specs.kinds import KINDS


def from_document(document: object, *, file: str = "", node: Written | None = None) -> Spec:
    """The spec a plain mapping describes, or InvalidSpec with every fault.

    `node` is the same mapping as it was written in `file`, for the places of the faults.
    """

    def where(path: Path, key: bool = False) -> Location:
        if node is None:
            return Location(file=file, field=".".join(map(str, path)))
        return node.location(file, path, key)

    try:
        return _validated(document, where)
    except RecursionError:
        reject([Problem("this is nested too deeply", "", where(()))])


def _validated(document: object, where: Where) -> Spec:
    if not isinstance(document, Mapping):
        message = f"expected a spec (kind, name and fields), not {shown(document)}"
        reject([Problem(message, "write kind: function, name: …", where((), False))])
    kind = document.get("kind")
    if "kind" not in document:
        hint = f"write kind: and one of {', '.join(KINDS)}"
        reject([Problem("the field 'kind' is missing", hint, where(("kind",), False))])
    if not isinstance(kind, str) or kind not in KINDS:
        hint = nearest(kind if isinstance(kind, str) else "", KINDS)
        reject([Problem(f"there is no kind {shown(kind)}", hint, where(("kind",), False))])
    model = KINDS[kind]
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = from_validation(error, model, document, where)
    reject(problems)


def to_document(spec: Spec) -> dict[str, Any]:
    """The spec as a flat mapping of JSON values, units as people write them, defaults left out."""
    return spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def digest(spec: Spec) -> str:
    """`sha256:…` of the document: equal documents, equal digests."""
    return digest_json(to_document(spec))


def to_yaml(specs: Spec | Iterable[Spec]) -> str:
    """The YAML of one spec, or of several as documents of one text."""
    many = [specs] if isinstance(specs, Spec) else list(specs)
    documents = [to_document(spec) for spec in many]
    text: str = yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )
    return text


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.1 or 1.2 would read as anything but text, and writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _name, _pattern in (("bool", nodes.BOOL), ("int", nodes.INT), ("float", nodes.FLOAT)):
    _whole = re.compile(f"(?:{_pattern.pattern})$")
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _whole, None)


Placed = tuple[Spec, Written]
"""A spec and what it was read from."""


def collect(found: Iterable[nodes.Node], file: str, problems: list[Problem]) -> list[Placed]:
    """The specs of all documents read; faults are added to `problems`."""
    specs: list[Placed] = []
    places: dict[tuple[str, str, str], int] = {}
    for node in found:
        try:
            spec = from_document(node.value, file=file, node=node)
        except InvalidSpecs as error:
            problems.extend(error.problems)
            continue
        key = (spec.kind, spec.project, spec.name)
        if key in places:
            message = f"the {spec.kind} {spec.name!r} stands here a second time"
            where = node.location(file, ("name",))
            problems.append(Problem(message, f"the first is in line {places[key]}", where))
        places.setdefault(key, node.line)
        specs.append((spec, node))
    return specs
