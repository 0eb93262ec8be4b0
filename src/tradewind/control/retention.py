"""Free what nothing needs: old runs, and bytes that nothing names any more.

Versions of datasets and models stay, with their bytes: what a model came from can always be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tradewind.base.clock import Clock
from tradewind.blobs.base import Blobs
from tradewind.blobs.checkpoints import Checkpoints
from tradewind.control.planning import APPROVED
from tradewind.records import codec
from tradewind.records.runs import Run
from tradewind.records.states import ENDED
from tradewind.store.base import Store
from tradewind.store.rows import RunFilter

PAGE = 500
# Bytes may have been sent whose run is not accepted yet.
GRACE_SECONDS = 3600.0
# A user's own value may begin like a digest and be none.
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def prune(
    store: Store,
    blobs: Blobs,
    checkpoints: Checkpoints,
    clock: Clock,
    older_than: float,
    keep: int,
) -> dict[str, int]:
    """Delete runs that ended more than `older_than` seconds ago, but the newest `keep` of each
    name; then the bytes that only they named, and their checkpoints. Counts of what was removed."""
    now = clock.now()
    removed = store.prune(now - older_than, keep)
    _forget_approvals(store)
    checkpoints.forget(lambda run: not store.runs.get_many([run]))
    keep_bytes = {each for each in named(store) if _DIGEST.fullmatch(each)}
    freed = blobs.prune(keep_bytes, older_than=now - GRACE_SECONDS)
    return {**codec.to_json(removed), "blobs": freed.blobs, "bytes": freed.size}


def _forget_approvals(store: Store) -> None:
    """What was said of runs that ask nothing any more."""
    approved = {key.removeprefix(APPROVED): key for key in store.settings.all(APPROVED)}
    runs = store.runs.get_many(list(approved))
    asking = {run.id for run in runs.values() if run.state not in ENDED}
    store.settings.remove([key for run, key in approved.items() if run not in asking])


def named(store: Store) -> Iterator[str]:
    """Every text in the store that may be the digest of a blob."""
    for dataset in store.registry.datasets():
        for version in store.registry.dataset_versions(dataset.project, dataset.name):
            yield from version.files
    for model in store.registry.models():
        for one in store.registry.model_versions(model.project, model.name):
            yield from (str(each["digest"]) for each in one.meta.get("files", ()))
    for revision in store.revisions.newest():
        for old in store.revisions.history(revision.project, revision.kind, revision.name):
            yield old.bundle
    for value in store.settings.all("lock:").values():
        yield str(value)
    for run in _runs(store):
        yield str(run.spec.get("bundle", ""))
        yield from _digests(run.pinned)
        yield from _digests(run.result)


def _runs(store: Store) -> Iterator[Run]:
    cursor = ""
    while True:
        page = store.runs.page(RunFilter(), PAGE, cursor)
        yield from store.runs.get_many([line.id for line in page.runs]).values()
        cursor = page.cursor
        if not cursor:
            return


def _digests(value: Any) -> Iterator[str]:
    """Every text in a document that could be a digest."""
    if isinstance(value, str):
        if value.startswith("sha256:"):
            yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _digests(each)
    elif isinstance(value, list):
        for each in value:
            yield from _digests(each)
