"""What the API asks about things that stay: applied specs, datasets, models and their aliases."""

from __future__ import annotations

from typing import Any

from tradewind.base.clock import Clock
from tradewind.base.errors import NotFound
from tradewind.blobs.base import Blobs
from tradewind.data import isolated
from tradewind.records import codec
from tradewind.specs import ModelSpec, digest, from_document, to_document
from tradewind.store.base import Store
from tradewind.store.rows import Alias, Revision

DIFF_SECONDS = 300.0


class Shelf:
    """One per server. Every call blocks."""

    def __init__(self, store: Store, blobs: Blobs, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock

    def apply(self, documents: list[Any], user: str, dry_run: bool) -> list[dict[str, Any]]:
        """Store specs as revisions, all valid before the first is stored; what changed in each."""
        specs = [from_document(each) for each in documents]
        for spec in specs:
            if isinstance(spec, ModelSpec):
                self._version_of(spec)
        answers = []
        for spec in specs:
            document = to_document(spec)
            before = self._newest(spec.project, spec.kind, spec.name)
            changed = difference(before.document if before else {}, document)
            change = "unchanged" if before and not changed else "changed" if before else "created"
            number = before.number if before else 0
            if not dry_run:
                stored, _ = self._store.revisions.apply(
                    spec.project,
                    spec.kind,
                    spec.name,
                    document=document,
                    digest=digest(spec),
                    bundle=str(document.get("bundle") or ""),
                    user=user,
                )
                number = stored.number
                if isinstance(spec, ModelSpec):
                    self._point(spec, user)
            answers.append(
                {
                    "kind": spec.kind,
                    "name": spec.name,
                    "revision": number,
                    "change": change,
                    "diff": changed,
                }
            )
        return answers

    def _version_of(self, spec: ModelSpec) -> int:
        """The version that a model spec's aliases are to point at: that of the run it names, else
        the newest. Raises NotFound."""
        registry = self._store.registry
        if spec.source is None:
            return registry.model(spec.project, spec.name).number if spec.alias else 0
        run = self._store.runs.find(spec.source)
        _, models = registry.made_by(run.id)
        for model in models:
            if model.name == spec.name:
                return model.number
        raise NotFound(
            f"run {run.id} made no version of model {spec.name!r}",
            hint="it made: " + (", ".join(f"{m.name}/{m.number}" for m in models) or "no model"),
        )

    def _point(self, spec: ModelSpec, user: str) -> None:
        number = self._version_of(spec)
        for alias in spec.alias:
            self.set_alias(spec.project, spec.name, alias, number, user)

    def _newest(self, project: str, kind: str, name: str) -> Revision | None:
        for revision in self._store.revisions.newest(project, kind):
            if revision.name == name:
                return revision
        return None

    def specs(self, project: str, kind: str) -> list[dict[str, Any]]:
        """The newest revision of each name."""
        return [codec.to_json(each) for each in self._store.revisions.newest(project, kind)]

    def spec(self, project: str, kind: str, name: str, number: int) -> dict[str, Any]:
        """One revision; 0 is the newest. Raises NotFound."""
        return codec.to_json(self._store.revisions.get(project, kind, name, number))

    def delete(self, project: str, kind: str, name: str) -> dict[str, Any]:
        """Hide a name. Raises NotFound."""
        return codec.to_json(self._store.revisions.delete(project, kind, name))

    def datasets(self, project: str) -> list[dict[str, Any]]:
        """The newest version of each dataset."""
        return [codec.to_json(each) for each in self._store.registry.datasets(project)]

    def dataset(self, project: str, name: str, number: int = 0) -> dict[str, Any]:
        """One version with the numbers of all. Raises NotFound."""
        body = codec.to_json(self._store.registry.dataset(project, name, number))
        versions = self._store.registry.dataset_versions(project, name)
        body["versions"] = [
            {"number": each.number, "rows": each.rows, "created": each.created, "run": each.run,
             "digest": each.digest}
            for each in versions
        ]  # fmt: skip
        return body

    def diff(self, project: str, name: str, old: int, new: int) -> dict[str, Any]:
        """How two versions of a dataset differ; see `data.diff`. Raises NotFound."""
        before = self._store.registry.dataset(project, name, old)
        after = self._store.registry.dataset(project, name, new)
        keys: list[str] = []
        declared = self._newest(project, "dataset", name)
        if declared is not None:
            keys = list(declared.document.get("keys") or ())
        return isolated.call(
            {
                "op": "diff",
                "old": [str(self._blobs.path(each)) for each in before.files],
                "new": [str(self._blobs.path(each)) for each in after.files],
                "keys": keys,
            },
            timeout=DIFF_SECONDS,
        )

    def models(self, project: str) -> list[dict[str, Any]]:
        """The newest version of each model, with its aliases."""
        return [
            {**codec.to_json(each), "aliases": self._aliases(each.project, each.name)}
            for each in self._store.registry.models(project)
        ]

    def model(self, project: str, name: str, number: int = 0, alias: str = "") -> dict[str, Any]:
        """One version with the numbers of all and the aliases. Raises NotFound."""
        body = codec.to_json(self._store.registry.model(project, name, number, alias))
        body["versions"] = [
            {"number": each.number, "metrics": each.metrics, "created": each.created,
             "run": each.run}
            for each in self._store.registry.model_versions(project, name)
        ]  # fmt: skip
        body["aliases"] = self._aliases(project, name)
        return body

    def _aliases(self, project: str, name: str) -> dict[str, int]:
        return {each.alias: each.number for each in self._store.registry.aliases(project, name)}

    def set_alias(self, project: str, model: str, alias: str, number: int, user: str) -> None:
        """Point an alias at a version. Raises NotFound."""
        self._store.registry.set_alias(
            Alias(
                project=project,
                model=model,
                alias=alias,
                number=number,
                at=self._clock.now(),
                user=user,
            )
        )


def difference(old: dict[str, Any], new: dict[str, Any], at: str = "") -> list[dict[str, Any]]:
    """Field by field: what was, what is. Nested mappings are compared by path."""
    found: list[dict[str, Any]] = []
    for key in {**old, **new}:
        before, after = old.get(key), new.get(key)
        path = f"{at}.{key}" if at else key
        if isinstance(before, dict) and isinstance(after, dict):
            found += difference(before, after, path)
        elif before != after:
            found.append({"field": path, "old": before, "new": after})
    return found
