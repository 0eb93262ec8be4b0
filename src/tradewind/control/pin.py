"""Pin: every name in a spec becomes a digest. The one stage that may have to wait for the world.

Resolving dependencies takes seconds and the network, so it never happens here: `pin` answers from
what is known, or raises `NotYet` with the work that would make it known.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from tradewind.base.errors import (
    InvalidData,
    Location,
    NotFound,
    TradewindError,
    UserError,
    from_json,
)
from tradewind.base.ids import digest_json
from tradewind.blobs.base import Blobs
from tradewind.control import code, devices, sources
from tradewind.records.pinned import Pinned
from tradewind.records.runs import Run
from tradewind.records.steering import Child
from tradewind.records.tasks import Environment, Input
from tradewind.store.base import Store
from tradewind.store.rows import DatasetVersion, ModelVersion

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".arrow", ".feather", ".ipc")


class NotYet(Exception):
    """Something slow is needed first. `start` begins it, `why` says what the run waits for."""

    def __init__(self, key: str, why: str, work: Callable[[], Any]) -> None:
        super().__init__(why)
        self.key = key
        self.why = why
        self.work = work


class ImportFirst(Exception):
    """An input is a file of the user's: it becomes a dataset by a child run first."""

    def __init__(self, key: str, spec: dict[str, Any]) -> None:
        super().__init__(key)
        self.key = key
        self.spec = spec


class Resolver(Protocol):
    """Turns requirements into a lock. Raises UserError with the resolver's own words."""

    def __call__(self, requirements: list[str], python: str) -> str: ...


class Ground(Protocol):
    """What depends on where it will run."""

    def environment(self, pool: str) -> str:
        """The digest of the default interpreter there."""

    def here(self, pool: str) -> bool:
        """Whether tasks there see this machine's files."""


@dataclass(slots=True)
class Pinner:
    """What pinning needs to know of the world."""

    store: Store
    blobs: Blobs
    resolve: Resolver
    ground: Ground
    python: str = ""

    def pin(self, run: Run, children: dict[str, Child]) -> Pinned:
        """The pinned form of a run's spec.

        Raises UserError when a name means nothing, NotYet and ImportFirst when something must
        happen before.
        """
        spec = devices.shared(run.spec, self.store)
        bundle = str(spec.get("bundle") or "")
        if bundle and not self.blobs.exists(bundle):
            raise NotFound(
                f"the code of this run ({bundle[:19]}…) is not here",
                hint="submit it again: the client sends the code first",
            )
        embedded, nested = self._embedded(run) if run.kind == "pipeline" else (spec, {})
        return Pinned(
            kind=run.kind,
            name=run.name,
            project=run.project,
            spec=embedded,
            bundle=bundle,
            code=code.parts(self.blobs, bundle, str(spec.get("entry") or "")),
            environment=self._environment(spec, bundle),
            inputs={**self._inputs(run, children), **nested},
        )

    def landed(self, made: Pinned, pool: str) -> Pinned:
        """The same with the default interpreter of this pool, unless it brings its own packages."""
        if made.environment.lock:
            return made
        return replace(made, environment=Environment(digest=self.ground.environment(pool)))

    def _embedded(self, run: Run) -> tuple[dict[str, Any], dict[str, Input]]:
        """A pipeline's spec with what its steps use by name written out; a pipeline that a step
        uses cannot stand there, and comes as an input."""
        steps, nested = [], {}
        for step in run.spec["steps"]:
            uses = step["uses"]
            if isinstance(uses, str) and "/" in uses:
                kind, _, name = uses.partition("/")
                revision = self.store.revisions.get(run.project, kind, name)
                document = revision.document
                if kind == "pipeline":
                    nested[uses] = Input(
                        kind="value",
                        source=f"{uses}@{revision.number}",
                        value=document,
                        digest=digest_json(document),
                    )
                    steps.append(step)
                else:
                    steps.append({**step, "uses": document})
            else:
                steps.append(step)
        return {**run.spec, "steps": steps}, nested

    def _environment(self, spec: dict[str, Any], bundle: str) -> Environment:
        wanted = spec.get("dependencies")
        if not wanted:
            return Environment(digest=self.ground.environment(str(spec.get("pool") or "")))
        if isinstance(wanted, str):
            requirements = code.text_of(self.blobs, bundle, wanted).splitlines()
        else:
            requirements = [str(each) for each in wanted]
        key = digest_json({"requirements": requirements, "python": self.python})
        if lock := self._lock(key):
            return Environment(digest=lock, lock=lock)

        def work() -> None:
            if self._lock(key):  # made since this run looked, by work that had ended already
                return
            text = self.resolve(requirements, self.python)
            self.store.settings.put(f"lock:{key}", self.blobs.put_bytes(text.encode()))

        raise NotYet(f"lock:{key}", "resolving its dependencies", work)

    def _lock(self, key: str) -> str:
        lock = self.store.settings.get(f"lock:{key}")
        return str(lock) if lock is not None and self.blobs.exists(lock) else ""

    def _inputs(self, run: Run, children: dict[str, Child]) -> dict[str, Input]:
        bound = dict(run.spec.get("input") or {})
        if run.kind == "service" and run.spec.get("model"):
            bound["model"] = f"model:{run.spec['model']}"
        made = {}
        for name, value in sorted(bound.items()):
            try:
                made[name] = self._input(run, name, value, children)
            except UserError as error:
                error.where = error.where or Location(field=f"input.{name}")
                raise
        if run.spec.get("source") and run.kind == "dataset":
            made["source"] = self._source(run)
        return made

    def _source(self, run: Run) -> Input:
        """The files that a dataset is imported from; where they cannot be seen, their bytes."""
        source, settings = run.spec["source"], self.store.settings
        files = sources.seen(source)
        if self.ground.here(str(run.spec.get("pool") or "")):
            return files
        stored = sources.sent(files, self.blobs, settings)
        if stored is None:
            work = partial(sources.send, source, files, self.blobs, settings)
            raise NotYet(sources.key(files), f"reading {files.source}", work)
        return folder_input(files.source, stored)

    def _input(self, run: Run, name: str, value: Any, children: dict[str, Child]) -> Input:
        if isinstance(value, list):
            return self._together(run, name, value, children)
        text = str(value)
        if text.startswith("model:"):
            return self._model(run.project, text.removeprefix("model:"))
        if text.startswith("run:"):
            return self._output(text)
        if _is_path(text):
            return self._path(run, name, text, children)
        return self.table(run.project, text)

    def _together(
        self, run: Run, name: str, values: list[Any], children: dict[str, Child]
    ) -> Input:
        """Several inputs as one: tables one after the other, values as a list."""
        parts = [self._input(run, f"{name}-{i}", each, children) for i, each in enumerate(values)]
        digest = digest_json([part.digest for part in parts])
        if all(part.kind == "value" for part in parts):
            return Input(kind="value", value=[part.value for part in parts], digest=digest)
        if all(part.kind == "table" for part in parts):
            return Input(
                kind="table",
                source=", ".join(part.source for part in parts),
                digest=digest,
                files=tuple(file for part in parts for file in part.files),
            )
        raise InvalidData(
            f"input {name!r} mixes {', '.join(sorted({part.kind for part in parts}))}",
            hint="a list of inputs holds tables only, or values only",
        )

    def model(self, project: str, ref: str) -> ModelVersion:
        """The version that `name`, `name@alias` or `name/3` means now. Raises NotFound."""
        name, mark, rest = re.fullmatch(r"([^@/]+)(?:([@/])(.+))?", ref).groups()  # type: ignore[union-attr]
        number = int(rest) if mark == "/" and rest.isdigit() else 0
        try:
            return self.store.registry.model(project, name, number, rest if mark == "@" else "")
        except NotFound as error:
            known = sorted({each.name for each in self.store.registry.models(project)})
            near = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else "models: " + (", ".join(known) or "none")
            )
            raise NotFound(error.message, hint=hint) from error

    def _model(self, project: str, ref: str) -> Input:
        """A model version as a folder."""
        version = self.model(project, ref)
        return folder_input(
            f"{version.name}/{version.number}",
            list(version.meta.get("files", ())),
            version=str(version.number),
        )

    def _output(self, text: str) -> Input:
        """Any output of another run: `run:ID/SLOT`."""
        run_id, _, slot = text.removeprefix("run:").partition("/")
        body = self.store.runs.get(run_id).result.get(slot or "output", {})
        files = list(body.get("files", ()))
        match body.get("kind"):
            case "json" if "value" in body:
                return Input(kind="value", value=body["value"], digest=digest_json(body["value"]))
            case "folder":
                return folder_input(text, files)
            case "table":
                return Input(
                    kind="table",
                    source=text,
                    digest=folder_digest(files),
                    files=tuple(each["digest"] for each in files),
                )
            case "file" | "bytes" | "npy" | "json" if len(files) == 1:
                return Input(
                    kind="file",
                    source=text,
                    digest=files[0]["digest"],
                    meta={"name": files[0]["path"], "json": body["kind"] == "json"},
                )
        raise NotFound(f"{text} is no output that can be an input")

    def table(self, project: str, ref: str) -> Input:
        """A dataset, or one version of it (`flights@3`). Raises NotFound."""
        return table_input(self.dataset(project, ref))

    def dataset(self, project: str, ref: str) -> DatasetVersion:
        """The version that a reference means now."""
        name, _, number = ref.partition("@")
        if number and not number.isdigit():
            raise NotFound(f"{ref!r}: a version is a number, as in {name}@3")
        try:
            return self.store.registry.dataset(project, name, int(number or 0))
        except NotFound as error:
            known = sorted({each.name for each in self.store.registry.datasets(project)})
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else _known(known)
            raise NotFound(error.message, hint=hint) from error

    def _path(self, run: Run, name: str, text: str, children: dict[str, Child]) -> Input:
        path = Path(text.removeprefix("file://"))
        if not path.exists():
            raise NotFound(f"input {name!r}: there is no file {path}")
        if path.is_file() and path.name.lower().removesuffix(".gz").endswith(TABLE_SUFFIXES):
            return self._imported(run, name, path, children)
        if path.is_file():
            return Input(kind="file", source=str(path), digest=self.blobs.put_file(path))
        raise InvalidData(
            f"input {name!r}: {path} is a folder",
            hint="declare a `dataset` with this folder as its source, and name that",
        )

    def _imported(self, run: Run, name: str, path: Path, children: dict[str, Child]) -> Input:
        key = f"input:{name}"
        child = children.get(key)
        if child is None or not child.ended:
            spec = {
                "kind": "dataset",
                "name": f"{run.name}-{name}",
                "project": run.project,
                "source": str(path),
            }
            raise ImportFirst(key, spec)
        if child.error:
            raise _about(from_json(child.error), name)
        if "output" not in child.result:
            raise UserError(f"input {name!r}: the import of {path} was {child.state}")
        made = child.result["output"]
        return self.table(run.project, f"{made['name']}@{made['version']}")


def folder_digest(files: list[dict[str, Any]]) -> str:
    """The digest of a folder: of its files' names and digests."""
    return digest_json(sorted((each["path"], each["digest"]) for each in files))


def folder_input(source: str, files: list[dict[str, Any]], **meta: Any) -> Input:
    """A stored folder as an input slot: its files by digest, with their names."""
    return Input(
        kind="folder",
        source=source,
        digest=folder_digest(files),
        files=tuple(each["digest"] for each in files),
        meta={
            "paths": [each["path"] for each in files],
            "manifest": next((f["digest"] for f in files if f["path"] == "model.json"), ""),
            **meta,
        },
    )


def table_input(version: DatasetVersion) -> Input:
    """One dataset version as an input slot."""
    return Input(
        kind="table",
        source=f"{version.name}@{version.number}",
        digest=version.digest,
        files=version.files,
        meta={"rows": version.rows, "schema": version.schema},
    )


def _is_path(text: str) -> bool:
    return text.startswith(("/", "./", "../", "file://")) or "/" in text


def _known(names: list[str]) -> str:
    if not names:
        return "there are no datasets yet: import one with `kind: dataset` and `tw run`"
    return "datasets: " + ", ".join(names[:10]) + (", …" if len(names) > 10 else "")


def _about(error: TradewindError, name: str) -> TradewindError:
    error.message = f"input {name!r}: {error.message}"
    return error
