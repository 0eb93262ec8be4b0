"""Make outputs visible: a staged output becomes the next version of a dataset or a model.

The row is written in the same transaction as the run's end and under its claim, so an output is
visible when, and only when, the run that made it has succeeded; `origin` makes a replay harmless.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tradewind.base.errors import Bug
from tradewind.control.draft import Draft
from tradewind.control.parts import Parts
from tradewind.control.pin import Pinner, folder_digest
from tradewind.records.states import LIVE
from tradewind.records.steering import Publish
from tradewind.store.rows import DatasetVersion, ModelVersion, Ref, RunFilter


def carry_out(draft: Draft, decision: Publish, pinner: Pinner, parts: Parts) -> None:
    """Add the version's row to the draft. Raises NotYet while parts are put together."""
    if "parts" in decision.body:
        key = f"{draft.run.id}.{decision.slot}.{decision.body['set']}"
        found = parts.together(key, draft.run.project, decision.name, decision.body["parts"])
        decision = replace(decision, body=found)
    match decision.kind:
        case "dataset":
            draft.datasets.append(_dataset(draft, decision, pinner))
        case "model":
            draft.models.append(_model(draft, decision, pinner))
        case "service":
            _serve(draft, decision, pinner)
        case _:
            raise Bug(f"nothing publishes a {decision.kind}")


def results(draft: Draft, produced: dict[str, Any]) -> dict[str, Any]:
    """The run's result: what was published by name (the store adds the number), the rest as is."""
    shown = dict(produced)
    for version in draft.datasets:
        shown[version.slot] = {
            "kind": "dataset",
            "name": version.name,
            "rows": version.rows,
            "digest": version.digest,
            **({"skipped": left} if (left := version.meta.get("skipped")) else {}),
        }
    for model in draft.models:
        shown[model.slot] = {"kind": "model", "name": model.name, "digest": model.artifact}
    return shown


def _sources(draft: Draft) -> tuple[Ref, ...]:
    made = draft.run.pinned
    refs = [
        Ref(kind="dataset", name=source.partition("@")[0], number=int(source.partition("@")[2]))
        for each in made.get("inputs", {}).values()
        if each["kind"] == "table" and "@" in (source := each["source"])
    ]
    if made.get("bundle"):
        refs.append(Ref(kind="bundle", digest=made["bundle"]))
    refs.append(Ref(kind="environment", digest=made["environment"]["digest"]))
    return tuple(refs)


def _dataset(draft: Draft, decision: Publish, pinner: Pinner) -> DatasetVersion:
    body = decision.body
    return DatasetVersion(
        project=draft.run.project,
        name=decision.name,
        digest=str(body.get("digest") or folder_digest(list(body["files"]))),
        rows=int(body["rows"]),
        schema=_by_name(body.get("schema")),
        stats=_by_name(body.get("stats")),
        files=tuple(str(each["digest"]) for each in body["files"]),
        bytes=sum(int(each["size"]) for each in body["files"]),
        table_uri=str(body.get("table_uri", "")),
        table_version=int(body.get("table_version", 0)),
        run=draft.run.id,
        origin=decision.origin,
        slot=decision.slot,
        spec_digest=draft.run.pinned_digest,
        created=draft.now,
        sources=_sources(draft),
        meta=dict(body.get("meta") or {}),
    )


def _by_name(columns: Any) -> dict[str, Any]:
    """One entry for each column, in the order of the table."""
    if isinstance(columns, dict):
        return dict(columns)
    return {
        each["name"]: each["type"] if set(each) <= {"name", "type"} else each
        for each in columns or ()
    }


def _serve(draft: Draft, decision: Publish, pinner: Pinner) -> None:
    """Put this run's replicas into service; an older run of the same service is stopped, which
    drains it."""
    run = draft.run
    where = RunFilter(project=run.project, kind=run.kind, name=run.name, states=LIVE)
    newest_first = [each.id for each in pinner.store.runs.page(where, 1000).runs]
    draft.stops += newest_first[newest_first.index(run.id) + 1 :]
    model = run.pinned["inputs"].get("model", {}).get("source", "")
    draft.set(result={"output": {"kind": "service", "name": run.name, "model": model}})
    if run.parent:
        draft.pokes.append(run.parent)  # its pipeline need not wait for an end that never comes
    draft.note("service.ready", run.name, model=model)


def manifest_of(files: list[dict[str, Any]], pinner: Pinner) -> dict[str, Any]:
    """The `model.json` among a model's files; empty when the model has none."""
    for each in files:
        if each["path"] == "model.json":
            with pinner.blobs.open(each["digest"]) as file:
                return dict(json.load(file))
    return {}


def _model(draft: Draft, decision: Publish, pinner: Pinner) -> ModelVersion:
    body = decision.body
    files = list(body.get("files", ()))
    manifest = manifest_of(files, pinner)
    return ModelVersion(
        project=draft.run.project,
        name=decision.name,
        artifact=folder_digest(files),
        format=str(manifest.get("format", "")),
        signature=dict(manifest.get("signature") or {}),
        metrics=dict(manifest.get("metrics") or {}),
        environment=draft.run.pinned["environment"]["digest"],
        bytes=sum(int(each["size"]) for each in files),
        run=draft.run.id,
        origin=decision.origin,
        slot=decision.slot,
        spec_digest=draft.run.pinned_digest,
        created=draft.now,
        sources=_sources(draft),
        meta={"files": files},
    )
