"""The exam's part about revisions, versions, money, leases, tenants and settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tradewind.base import errors
from tradewind.records.plans import Interval, Option, Plan, Quote
from tradewind.records.states import RunState
from tradewind.records.tasks import Resources
from tradewind.store import rows
from tradewind.store.base import Store
from tradewind.testing.store_makers import (
    StepClock,
    StoreExam,
    a_dataset,
    a_model,
    a_run,
    a_usage,
)


def revise(store: Store, digest: str, name: str = "svc", bundle: str = "") -> tuple[int, bool]:
    """Apply a revision; its number and whether it is new."""
    revision, new = store.revisions.apply(
        "p", "service", name, document={"d": digest}, digest=digest, bundle=bundle, user="ann"
    )
    return revision.number, new


class RegistryExam(StoreExam):
    """Names, versions and figures keep their promises."""

    def test_revisions_count_changes(self, store: Store) -> None:
        assert revise(store, "a") == (1, True)
        assert revise(store, "a") == (1, False)
        assert revise(store, "b") == (2, True)
        assert revise(store, "b", bundle="code") == (3, True)
        assert revise(store, "a") == (4, True)
        assert store.revisions.get("p", "service", "svc").document == {"d": "a"}
        assert store.revisions.get("p", "service", "svc", 2).digest == "b"
        numbers = [r.number for r in store.revisions.history("p", "service", "svc")]
        assert numbers == [4, 3, 2, 1]
        revise(store, "z", name="other")
        assert [r.name for r in store.revisions.newest("p")] == ["other", "svc"]
        assert store.revisions.newest("p", "model") == []

    def test_a_deleted_revision_stays_in_history(self, store: Store, clock: StepClock) -> None:
        revise(store, "a")
        clock.time = 1234.0
        assert store.revisions.delete("p", "service", "svc").number == 1
        with pytest.raises(errors.NotFound):
            store.revisions.get("p", "service", "svc")
        with pytest.raises(errors.NotFound):
            store.revisions.delete("p", "service", "svc")
        assert store.revisions.newest() == []
        assert store.revisions.get("p", "service", "svc", 1).deleted == 1234.0
        assert revise(store, "a") == (2, True)
        with pytest.raises(errors.NotFound):
            store.revisions.get("p", "service", "svc", 7)

    def test_versions_count_and_come_back_equal(self, store: Store) -> None:
        made = store.registry.publish_dataset(a_dataset(origin="x", meta={"a": 1}, run="ra"))
        assert made == a_dataset(origin="x", meta={"a": 1}, run="ra", number=1, created=1000.0)
        assert store.registry.dataset("p", "d") == made
        again = store.registry.publish_dataset(a_dataset(origin="x", digest="other"))
        assert again == made
        other = store.registry.publish_dataset(a_dataset(origin="y"))
        assert other.number == 2
        assert [v.number for v in store.registry.dataset_versions("p", "d")] == [2, 1]
        assert store.registry.dataset("p", "d", 1) == made
        assert [v.number for v in store.registry.datasets()] == [2]
        assert store.registry.datasets("other") == []
        assert store.registry.made_by("ra") == ([made], [])
        told = [e.subject for e in store.events.after(0) if e.type == "dataset.version"]
        assert told == ["d@1", "d@2"]
        for number in (0, 3):
            with pytest.raises(errors.NotFound):
                store.registry.dataset("p", "nobody" if not number else "d", number)

    def test_aliases_and_their_history(self, store: Store) -> None:
        store.registry.publish_model(a_model())
        store.registry.publish_model(a_model())
        alias = rows.Alias(project="p", model="m", alias="champion", number=1, user="ann")
        store.registry.set_alias(alias)
        store.registry.set_alias(replace(alias, number=2, user="bob"))
        assert store.registry.model("p", "m", alias="champion").number == 2
        assert [a.user for a in store.registry.alias_history("p", "m", "champion")] == [
            "bob",
            "ann",
        ]
        with pytest.raises(errors.NotFound):
            store.registry.set_alias(replace(alias, number=9))
        store.registry.set_alias(replace(alias, number=0))
        assert store.registry.aliases("p", "m") == []
        with pytest.raises(errors.NotFound, match="champion"):
            store.registry.model("p", "m", alias="champion")

    def test_a_change_publishes_with_its_run(self, store: Store) -> None:
        store.registry.publish_dataset(a_dataset())
        store.runs.accept([a_run("ra")])
        (claim,) = self.claim(store)
        result = {"out": {"name": "d"}, "model": {"name": "m"}, "text": 5}
        change = rows.Change(
            claim=claim,
            run=replace(claim.run, state=RunState.PINNED, result=result),
            datasets=(a_dataset(origin="ra-main-1", run="ra"),),
            models=(a_model(origin="ra-main-1", run="ra"),),
            aliases=(rows.Alias(project="p", model="m", alias="new", number=-1),),
        )
        assert store.runs.apply([change]) == set()
        assert store.runs.get("ra").result == {
            "out": {"name": "d", "version": 2},
            "model": {"name": "m", "version": 1},
            "text": 5,
        }
        assert store.registry.model("p", "m", alias="new").number == 1
        told = [e.type for e in store.events.after(0, run="ra")]
        assert told == ["dataset.version", "model.version"]
        assert store.registry.publish_dataset(a_dataset(origin="ra-main-1")).number == 2

    def test_lineage_both_ways(self, store: Store) -> None:
        store.registry.publish_dataset(a_dataset())
        source = rows.Ref(kind="dataset", name="d", number=1)
        code = rows.Ref(kind="bundle", digest="sha256:b")
        store.registry.publish_model(a_model(sources=(source, code), run="ra"))
        model = rows.Ref(kind="model", name="m", number=1)
        came = store.registry.lineage("p", model, "sources")
        assert [edge.source for edge in came] == [source, code]
        used = store.registry.lineage("p", source, "users")
        assert [(edge.target, edge.run) for edge in used] == [(model, "ra")]
        service = rows.Edge(
            project="p", source=model, target=rows.Ref(kind="service", name="s"), run="rb"
        )
        store.registry.add_edges([service, service])
        assert store.registry.lineage("p", model, "users") == [service]
        assert store.registry.model("p", "m").sources == (source, code)

    def test_quotes_and_promises(self, store: Store) -> None:
        plan = Plan(
            pool="local",
            engine="local",
            option=Option(backend="python"),
            seconds=Interval(p50=1.0, p90=2.0),
        )
        quote = Quote(id="q1", pinned="d", plans=(plan,), made=1.0, expires=2.0)
        store.ledger.put_quote("p", quote)
        assert store.ledger.quote("q1") == quote
        with pytest.raises(errors.NotFound):
            store.ledger.quote("q2")
        promise = rows.Promise(run="ra", project="p", quote="q1", made=1.0, seconds=2.0)
        store.ledger.put_promise(promise)
        settled = replace(promise, outcome="kept", actual_seconds=1.5, settled=3.0)
        store.ledger.put_promise(settled)
        assert store.ledger.promise("ra") == settled and store.ledger.promise("rb") is None
        assert store.ledger.promises("p") == [settled] and store.ledger.promises("x") == []

    def test_bills(self, store: Store) -> None:
        store.runs.accept([a_run("ra"), a_run("rb", parent="ra", root="ra", key="k")])
        store.ledger.put_usage([a_usage("ra"), a_usage("rb"), a_usage("rb", "y", at=200.0)])
        store.ledger.put_usage([a_usage("ra", nanodollars=2**40)])
        tree = store.ledger.bill_of_tree("ra")
        assert tree == rows.Bill(project="p", nanodollars=2**40 + 10, seconds=1.5, runs=2)
        assert [u.part for u in store.ledger.usage("rb")] == ["x", "y"]
        (late,) = store.ledger.bills(since=150.0)
        assert (late.nanodollars, late.runs) == (5, 1)
        assert store.ledger.bills(until=50.0) == []
        assert store.ledger.bill_of_tree("rz").nanodollars == 0

    def test_what_was_billed_after_a_moment_in_the_order_of_time(self, store: Store) -> None:
        store.runs.accept([a_run("ra")])
        lines = [a_usage("ra", part, at=at) for part, at in (("z", 9.0), ("y", 5.0), ("x", 7.0))]
        store.ledger.put_usage(lines)
        assert [each.part for each in store.ledger.since(5.0)] == ["x", "z"]

    def test_a_pool_has_what_it_had_until_something_else_is_told(self, store: Store) -> None:
        whole = Resources(cpu=8.0, memory=2**40, accelerators={"t4": 2})
        first = rows.Capacity(pool="far", at=1.0, capacity=whole, price=2**40)
        other = replace(first, pool="near", at=2.0)
        dearer, back = replace(first, at=3.0, price=2**41), replace(first, at=5.0)
        for each in (first, other, replace(first, at=2.0), dearer, replace(dearer, at=4.0), back):
            store.ledger.put_capacity(each)
        assert store.ledger.capacities() == [first, other, dearer, back]

    def test_leases_exclude_and_their_numbers_rise(self, store: Store) -> None:
        assert store.leases.current("local") is None
        first = store.leases.take("local", "one", 100.0, 10.0)
        assert first is not None
        assert store.leases.take("local", "two", 105.0, 10.0) is None
        assert store.leases.take("local", "one", 105.0, 10.0) == first
        assert store.leases.renew("local", "one", first, 110.0, 10.0)
        assert store.leases.take("local", "two", 119.0, 10.0) is None
        second = store.leases.take("local", "two", 120.0, 10.0)
        assert second is not None and second > first
        assert not store.leases.renew("local", "one", first, 121.0, 10.0)
        store.leases.release("local", "one", first)
        current = store.leases.current("local")
        assert current == rows.Lease(pool="local", holder="two", number=second, expires=130.0)
        store.leases.release("local", "two", second)
        assert store.leases.current("local") is None
        third = store.leases.take("local", "one", 121.0, 10.0)
        assert third is not None and third > second

    def test_tenants_and_tokens(self, store: Store) -> None:
        project = rows.Project(name="p", created=1.0, document={"quota": {"cpu": 4}})
        user = rows.User(name="ann", created=1.0)
        token = rows.Token(digest="t1", user="ann", kind="user", created=1.0, scope={"p": "*"})
        store.tenants.put_project(project)
        store.tenants.put_user(replace(user, document={"x": 1}))
        store.tenants.put_user(user)
        store.tenants.put_token(token)
        store.tenants.put_token(replace(token, digest="t2", expires=50.0))
        assert store.tenants.project("p") == project and store.tenants.project("x") is None
        assert store.tenants.projects() == [project] and store.tenants.users() == [user]
        assert store.tenants.user("ann") == user
        assert store.tenants.token("t1") == token
        assert store.tenants.drop_tokens(expired_at=60.0) == 1
        assert store.tenants.token("t2") is None
        assert store.tenants.drop_tokens(["t1", "t9"]) == 1

    def test_settings(self, store: Store) -> None:
        store.settings.put("a.x", {"deep": [1]})
        store.settings.put("a.y", None)
        store.settings.put("b", 0)
        store.settings.put("b", "two")
        assert store.settings.get("a.x") == {"deep": [1]} and store.settings.get("b") == "two"
        assert store.settings.get("a.y", 5) is None and store.settings.get("c", 5) == 5
        assert store.settings.all("a.") == {"a.x": {"deep": [1]}, "a.y": None}
        store.settings.remove([])
        store.settings.remove(["a.x", "a", "never"])
        assert store.settings.all() == {"a.y": None, "b": "two"}
