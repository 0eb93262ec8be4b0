"""The store over SQL: its parts put together. Each part is the file of its noun."""

from __future__ import annotations

from collections.abc import Collection

from tradewind.base.clock import Clock
from tradewind.store import retention, rows, schema
from tradewind.store.connect import Database
from tradewind.store.events import SqlEvents
from tradewind.store.ledger import SqlLeases, SqlLedger
from tradewind.store.placements import SqlPlacements
from tradewind.store.registry import SqlRegistry
from tradewind.store.reports import SqlReports
from tradewind.store.revisions import SqlRevisions
from tradewind.store.runs import SqlRuns
from tradewind.store.tenants import SqlSettings, SqlTenants


class SqlStore:
    """`base.Store` over SQLite or PostgreSQL."""

    def __init__(self, where: str, clock: Clock) -> None:
        self._database = Database(where)
        try:
            schema.prepare(self._database)
        except BaseException:
            self._database.close()
            raise
        self.runs = SqlRuns(self._database, clock)
        self.placements = SqlPlacements(self._database)
        self.reports = SqlReports(self._database, clock)
        self.events = SqlEvents(self._database)
        self.revisions = SqlRevisions(self._database, clock)
        self.registry = SqlRegistry(self._database, clock)
        self.ledger = SqlLedger(self._database)
        self.leases = SqlLeases(self._database)
        self.tenants = SqlTenants(self._database)
        self.settings = SqlSettings(self._database)

    def prune(self, older_than: float, keep: int = 0) -> rows.Pruned:
        return retention.prune(self._database, older_than, keep)

    def forget(self, run_ids: Collection[str]) -> rows.Pruned:
        return retention.forget(self._database, run_ids)

    def size(self) -> int:
        return retention.size(self._database)

    def close(self) -> None:
        self._database.close()
