"""Prometheus metrics, made from the store when asked."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from tradewind.records.states import RunState
from tradewind.store.base import Store


def exposition(store: Store) -> tuple[bytes, str]:
    """The text and its content type."""
    registry = CollectorRegistry()
    runs = Gauge("tradewind_runs", "Runs by state.", ["state"], registry=registry)
    counts = store.runs.counts()
    for state in RunState:
        runs.labels(state=str(state)).set(counts.get(state, 0))
    live = Gauge("tradewind_live_placements", "Placements that have not ended, by pool.",
                 ["pool"], registry=registry)  # fmt: skip
    for placement in store.placements.live():
        live.labels(pool=placement.pool).inc()
    spent = Gauge("tradewind_project_cost_dollars", "Cost so far, by project.",
                  ["project"], registry=registry)  # fmt: skip
    for bill in store.ledger.bills():
        spent.labels(project=bill.project).set(bill.nanodollars / 1e9)
    size = Gauge("tradewind_store_bytes", "Size of the store on disk.", registry=registry)
    size.set(store.size())
    return generate_latest(registry), CONTENT_TYPE_LATEST
