"""Versions of datasets and models, aliases, lineage.

A version is visible when its row is, and the row is written last: by `Runs.apply`, in the same
transaction as the run that made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from tradewind.base import errors
from tradewind.base.clock import Clock
from tradewind.records.events import Event
from tradewind.store import events, rows, tables
from tradewind.store.connect import Database, upsert

_Version = TypeVar("_Version", rows.DatasetVersion, rows.ModelVersion)
_ALIAS = tuple(rows.Alias.__dataclass_fields__)
_REF = ("kind", "name", "number", "digest")
_TABLES: dict[type[Any], Table] = {
    rows.DatasetVersion: tables.datasets,
    rows.ModelVersion: tables.models,
}
_KINDS: dict[type[Any], str] = {rows.DatasetVersion: "dataset", rows.ModelVersion: "model"}


@dataclass(frozen=True, slots=True)
class Published:
    """The run's result with the numbers in it, and what to tell."""

    result: dict[str, Any]
    events: list[Event]


def next_number(connection: Connection, scope: str, project: str, name: str, step: int = 1) -> int:
    """The next number of a sequence; others who want one wait for this transaction's end."""
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    table = tables.numbers
    row = {"scope": scope, "project": project, "name": name, "last": step}
    statement = (
        make(table)
        .values(row)
        .on_conflict_do_update(
            index_elements=["scope", "project", "name"], set_={"last": table.c.last + step}
        )
        .returning(table.c.last)
    )
    return int(connection.execute(statement).scalar_one())


def publish_all(connection: Connection, change: rows.Change, now: float) -> Published:
    """Publish what a change carries, and its aliases."""
    if not (change.datasets or change.models or change.aliases):
        return Published(change.run.result, [])
    stored: list[rows.DatasetVersion | rows.ModelVersion] = []
    told: list[Event] = []
    for dataset in change.datasets:
        stored.append(_publish(connection, dataset, now, told))
    for model in change.models:
        stored.append(_publish(connection, model, now, told))
    result = dict(change.run.result)
    for version in stored:
        if isinstance(result.get(version.slot), dict):
            result[version.slot] = {**result[version.slot], "version": version.number}
    models = {v.name: v.number for v in stored if isinstance(v, rows.ModelVersion)}
    for alias in change.aliases:
        if alias.number < 0:
            if alias.model not in models:
                raise errors.Bug(f"this change publishes no version of the model {alias.model}")
            alias = replace(alias, number=models[alias.model])
        _set_alias(connection, alias, now, told)
    return Published(result, told)


def _publish(connection: Connection, version: _Version, now: float, told: list[Event]) -> _Version:
    """Insert with the next number, or find what the same origin published; adds what to tell."""
    kind, word = type(version), _KINDS[type(version)]
    table = _TABLES[kind]
    if version.origin:
        c = table.c
        there = _read(
            connection,
            kind,
            [c.origin == version.origin, c.slot == version.slot, tables.HAS_ORIGIN],
        )
        if there:
            return there[0]
    number = next_number(connection, word, version.project, version.name)
    version = replace(version, number=number, created=version.created or now)
    values = {name: getattr(version, name) for name in kind.__dataclass_fields__}
    values["sources"] = [{name: getattr(ref, name) for name in _REF} for ref in version.sources]
    if "files" in values:
        values["files"] = list(values["files"])
    connection.execute(insert(table).values(values))
    target = rows.Ref(kind=word, name=version.name, number=number)
    write_edges(
        connection,
        [
            rows.Edge(
                project=version.project,
                source=source,
                target=target,
                run=version.run,
                at=version.created,
            )
            for source in version.sources
        ],
    )
    event = Event(
        type=f"{word}.version",
        at=version.created,
        project=version.project,
        subject=str(target),
        run=version.run,
        body={"name": version.name, "number": number, "slot": version.slot},
    )
    told.append(event)
    return version


def write_edges(connection: Connection, edges: Sequence[rows.Edge]) -> None:
    """Insert edges that are not there."""
    values = [
        {
            "project": edge.project,
            **{f"source_{name}": getattr(edge.source, name) for name in _REF},
            **{f"target_{name}": getattr(edge.target, name) for name in _REF},
            "run": edge.run,
            "at": edge.at,
        }
        for edge in edges
    ]
    upsert(connection, tables.lineage, values, [], update=False)


def _set_alias(
    connection: Connection, alias: rows.Alias, now: float, told: list[Event]
) -> rows.Alias:
    c = tables.models.c
    if alias.number:
        where = [c.project == alias.project, c.name == alias.model, c.number == alias.number]
        if not _read(connection, rows.ModelVersion, where):
            raise errors.NotFound(f"there is no model {alias.model}@{alias.number}")
    alias = replace(alias, at=alias.at or now)
    values = {name: getattr(alias, name) for name in _ALIAS}
    connection.execute(insert(tables.aliases).values(values))
    event = Event(
        type="model.alias",
        at=alias.at,
        project=alias.project,
        subject=alias.model,
        run=alias.run,
        body={"alias": alias.alias, "number": alias.number, "user": alias.user},
    )
    told.append(event)
    return alias


def _read(
    connection: Connection, kind: type[_Version], where: Sequence[Any], limit: int = 0
) -> list[_Version]:
    table, names = _TABLES[kind], tuple(kind.__dataclass_fields__)
    query = select(*(table.c[name] for name in names)).where(*where)
    query = query.order_by(table.c.number.desc())
    found = []
    for row in connection.execute(query.limit(limit) if limit else query):
        values = dict(zip(names, row, strict=True))
        values["sources"] = tuple(rows.Ref(**ref) for ref in values["sources"])
        if "files" in values:
            values["files"] = tuple(values["files"])
        found.append(kind(**values))
    return found


class SqlRegistry:
    """`base.Registry`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def publish_dataset(self, version: rows.DatasetVersion) -> rows.DatasetVersion:
        return self._publish(version)

    def publish_model(self, version: rows.ModelVersion) -> rows.ModelVersion:
        return self._publish(version)

    def _publish(self, version: _Version) -> _Version:
        now = self._clock.now()

        def work(connection: Connection) -> _Version:
            told: list[Event] = []
            stored = _publish(connection, version, now, told)
            events.append(connection, told)
            return stored

        return self._database.write(work)

    def dataset(self, project: str, name: str, number: int = 0) -> rows.DatasetVersion:
        return self._one(rows.DatasetVersion, project, name, number)

    def datasets(self, project: str = "") -> list[rows.DatasetVersion]:
        return self._newest(rows.DatasetVersion, project)

    def dataset_versions(self, project: str, name: str) -> list[rows.DatasetVersion]:
        return self._versions(rows.DatasetVersion, project, name)

    def model(self, project: str, name: str, number: int = 0, alias: str = "") -> rows.ModelVersion:
        if alias:
            found = {a.alias: a.number for a in self.aliases(project, name)}
            if alias not in found:
                known = ", ".join(found) or "none"
                raise errors.NotFound(
                    f"the model {name} has no alias {alias}", hint=f"its aliases: {known}"
                )
            number = found[alias]
        return self._one(rows.ModelVersion, project, name, number)

    def models(self, project: str = "") -> list[rows.ModelVersion]:
        return self._newest(rows.ModelVersion, project)

    def model_versions(self, project: str, name: str) -> list[rows.ModelVersion]:
        return self._versions(rows.ModelVersion, project, name)

    def made_by(self, run: str) -> tuple[list[rows.DatasetVersion], list[rows.ModelVersion]]:
        with self._database.read() as connection:
            return (
                _read(connection, rows.DatasetVersion, [tables.datasets.c.run == run]),
                _read(connection, rows.ModelVersion, [tables.models.c.run == run]),
            )

    def _one(self, kind: type[_Version], project: str, name: str, number: int) -> _Version:
        c = _TABLES[kind].c
        where: list[Any] = [c.project == project, c.name == name]
        with self._database.read() as connection:
            found = _read(
                connection, kind, [*where, c.number == number] if number else where, limit=1
            )
        if not found:
            which = f"{name}@{number}" if number else name
            raise errors.NotFound(f"there is no {_KINDS[kind]} {which} in project {project}")
        return found[0]

    def _newest(self, kind: type[_Version], project: str) -> list[_Version]:
        table = _TABLES[kind]
        others = table.alias()
        same_name = (others.c.project == table.c.project) & (others.c.name == table.c.name)
        top = select(func.max(others.c.number)).where(same_name)
        where: list[Any] = [table.c.number == top.scalar_subquery()]
        if project:
            where.append(table.c.project == project)
        with self._database.read() as connection:
            return sorted(_read(connection, kind, where), key=lambda v: (v.project, v.name))

    def _versions(self, kind: type[_Version], project: str, name: str) -> list[_Version]:
        c = _TABLES[kind].c
        with self._database.read() as connection:
            return _read(connection, kind, [c.project == project, c.name == name])

    def set_alias(self, alias: rows.Alias) -> rows.Alias:
        now = self._clock.now()
        if alias.number < 0:
            raise errors.Bug("only a change that publishes can point an alias at its own version")

        def work(connection: Connection) -> rows.Alias:
            told: list[Event] = []
            stored = _set_alias(connection, alias, now, told)
            events.append(connection, told)
            return stored

        return self._database.write(work)

    def aliases(self, project: str, model: str) -> list[rows.Alias]:
        newest: dict[str, rows.Alias] = {}
        for move in reversed(self.alias_history(project, model)):
            newest[move.alias] = move
        return [newest[name] for name in sorted(newest) if newest[name].number]

    def alias_history(self, project: str, model: str, alias: str = "") -> list[rows.Alias]:
        c = tables.aliases.c
        query = select(*(c[name] for name in _ALIAS)).where(c.project == project, c.model == model)
        if alias:
            query = query.where(c.alias == alias)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(c.seq.desc())).all()
        return [rows.Alias(**dict(zip(_ALIAS, row, strict=True))) for row in found]

    def add_edges(self, edges: Sequence[rows.Edge]) -> None:
        self._database.write(lambda connection: write_edges(connection, edges))

    def lineage(self, project: str, ref: rows.Ref, direction: rows.Direction) -> list[rows.Edge]:
        c = tables.lineage.c
        side = "target" if direction == "sources" else "source"
        query = (
            select(
                *(c[f"source_{name}"] for name in _REF),
                *(c[f"target_{name}"] for name in _REF),
                c.run,
                c.at,
            )
            .where(c.project == project, *(c[f"{side}_{n}"] == getattr(ref, n) for n in _REF))
            .order_by(c.seq)
        )
        with self._database.read() as connection:
            found = connection.execute(query).all()
        return [
            rows.Edge(
                project=project,
                source=rows.Ref(**dict(zip(_REF, row[:4], strict=True))),
                target=rows.Ref(**dict(zip(_REF, row[4:8], strict=True))),
                run=row[8],
                at=row[9],
            )
            for row in found
        ]
