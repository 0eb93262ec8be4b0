"""Somebody takes away or changes what the engine has made: it mends it, or says what was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.kube.puppet import ENDS, SPACE, STAYS, Plan, Site, site, surely, task, until
from tests.kube.test_faults import LONG, by_name, ends_once
from tradewind.base.errors import Conflict, Gone
from tradewind.engines.kubernetes import engine, names, track
from tradewind.records.tasks import Array, Gang, Replicas, Restart, Stop
from tradewind.testing.engine_suite import Session

Object = dict[str, Any]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as found:
        yield found


def edit(here: Site, kind: str, name: str, **merge: Any) -> None:
    """As `kubectl patch` with a merge."""

    def into(target: Object, change: Object) -> None:
        for key, value in change.items():
            if value is None:
                target.pop(key, None)
            elif isinstance(value, dict):
                into(target.setdefault(key, {}), value)
            else:
                target[key] = value

    here.double.edit(kind, SPACE, name, lambda obj: into(obj, merge))


def first(here: Site, kind: str) -> Object:
    return here.double.objects(kind, SPACE)[0]


def name(found: Object) -> str:
    return str(found["metadata"]["name"])


# -- taken away ------------------------------------------------------------------------------------


@pytest.mark.parametrize("force", [False, True])
def test_a_members_pod_is_deleted(here: Site, force: bool) -> None:
    async def test(session: Session) -> None:
        await session.launch(task("p1", Gang(least=2, most=2)))
        await session.reached("running")
        options = {"gracePeriodSeconds": 0} if force else {}
        here.double.delete("pods", SPACE, name(here.double.pods()[1]), **options)
        told = await session.end("p1")
        assert told.ends() == {"p1": "lost"} and told.states()[-1] == (1, "lost")
        assert told.reason()["rank"] == 1

    here.sit(test)
    here.empty()


def test_an_items_pod_is_deleted_and_that_is_no_try_of_its_own(here: Site) -> None:
    async def test(session: Session) -> None:
        await session.launch(task("p1", Array(count=1), restart=Restart(most=0)))
        await session.reached("running")
        here.double.delete("pods", SPACE, name(first(here, "pods")))
        await session.reached("running", attempt=2)
        here.puppet.plan = lambda _: ENDS
        told = await session.end("p1")
        assert told.ends() == {"p1": "succeeded"}
        assert told.states() == [(1, "running"), (1, "lost"), (2, "running"), (2, "succeeded")]

    here.sit(test)
    here.empty()


def test_a_replicas_pod_is_deleted_and_another_is_as_it_was(here: Site) -> None:
    async def test(session: Session) -> None:
        await session.launch(task("p1", Replicas(count=2)))
        await session.reached("running", 0)
        await session.reached("running", 1)
        await surely(lambda: all(index(pod) is not None for pod in here.double.pods()))
        for attempt in (2, 3, 4):
            live = [p for p in here.double.pods() if "deletionTimestamp" not in p["metadata"]]
            goes = next(pod for pod in live if index(pod) == 1)
            here.double.delete("pods", SPACE, name(goes), gracePeriodSeconds=attempt % 2)
            await session.reached("running", 1, attempt)
        assert session.told.states(0) == [(1, "running")] and ends_once(session.told)
        made: Any = session.engine
        followed = made.track("p1")
        await surely(lambda: len(followed.pods) == 2 and not followed.gone)
        await session.engine.stop("p1", Stop())
        await session.end("p1")

    here.sit(test)
    here.empty()


def index(pod: Object) -> int | None:
    import json

    told = (pod["metadata"].get("annotations") or {}).get(names.UNIT)
    return None if told is None else int(json.loads(told)["index"])


def test_a_replica_replaced_while_nobody_looked_is_another_try(here: Site) -> None:
    async def before(session: Session) -> None:
        await session.launch(task("p1", Replicas(count=1)))
        await session.reached("running", 0)
        root = names.base("p1")
        await surely(
            lambda: (
                names.TRIES
                in (here.double.object("configmaps", SPACE, root) or {})["metadata"]["annotations"]
            )
        )

    async def after(session: Session) -> None:
        told = await session.reached("running", 0, attempt=2)
        assert (1, "running") not in told.states()
        await session.engine.stop("p1", Stop())
        await session.end("p1")

    here.sit(before)
    gone = name(first(here, "pods"))
    here.double.delete("pods", SPACE, gone, gracePeriodSeconds=0)
    asyncio.run(surely(lambda: here.double.pods() and name(first(here, "pods")) != gone))
    here.sit(after)
    here.empty()


@pytest.mark.parametrize("shape", [Gang(), Array(count=2), Replicas(count=1)])
@pytest.mark.parametrize("what", ["workload", "root"])
def test_what_keeps_it_going_is_deleted(here: Site, shape: Any, what: str) -> None:
    async def test(session: Session) -> None:
        await session.launch(task("p1", shape))
        await session.reached("running")
        kind = "configmaps" if what == "root" else "jobs"
        if what == "workload" and isinstance(shape, Replicas):
            kind = "deployments"
        goes = names.base("p1") if what == "root" else name(first(here, kind))
        here.double.delete(kind, SPACE, goes)
        told = await session.end("p1")
        assert told.ends() == {"p1": "lost"} and told.reason()["message"]
        assert told.states()[-1] == (1, "lost") and ends_once(told)

    here.sit(test)
    here.empty()


@pytest.mark.parametrize("shape", [Gang(), Array(count=3, at_once=2), Replicas(count=1)])
def test_the_namespace_is_deleted(here: Site, shape: Any) -> None:
    """The cluster deletes the pods first of all, and an array's stay until others stand for them,
    which it takes in no more."""

    async def test(session: Session) -> None:
        await session.launch(task("p1", shape))
        await session.reached("running")
        here.double.delete("namespaces", "", SPACE)
        told = await session.end("p1")
        assert ends_once(told) and (1, "lost") in told.states()
        if isinstance(shape, Array):
            assert told.ends() == {"p1": "failed"}
            assert "is being deleted" in told.reason()["message"] and told.reason()["hint"]
        else:
            assert told.ends() == {"p1": "lost"}

    here.sit(test)
    here.empty()
    until(lambda: not here.double.object("namespaces", "", SPACE))


def test_a_pod_is_evicted(here: Site) -> None:
    from tests.kube.double import eviction

    async def test(session: Session) -> None:
        await session.launch(task("p1", Array(count=1), restart=Restart(most=0)))
        await session.reached("running")
        pod = first(here, "pods")
        double = here.double
        double._do(lambda: eviction.evict(double._registry, SPACE, name(pod), {}))
        told = await session.reached("running", attempt=2)
        lost = next(each for each in told if each.body.get("state") == "lost")
        assert lost.body["exit"]["message"] == "its machine was being emptied"
        here.puppet.plan = lambda _: ENDS
        assert (await session.end("p1")).ends() == {"p1": "succeeded"}

    here.sit(test)
    here.empty()


@pytest.mark.parametrize("shape", [Gang(), Array(count=2), Replicas(count=1)])
def test_a_machine_that_does_not_answer(
    here: Site, monkeypatch: pytest.MonkeyPatch, shape: Any
) -> None:
    monkeypatch.setattr(track, "OVERDUE", 0.5)
    monkeypatch.setattr(engine, "EVERY", 0.3)

    async def test(session: Session) -> None:
        await session.launch(task("p1", shape))
        await session.reached("running")
        here.puppet.frozen = True
        for pod in here.double.pods():
            here.double.delete("pods", SPACE, name(pod), gracePeriodSeconds=1)
        if isinstance(shape, Replicas):
            told = await session.reached("lost")
            await session.engine.stop("p1", Stop(way="kill"))
            here.puppet.frozen = False
            await session.end("p1")
        else:
            told = await session.end("p1")
            assert told.ends() == {"p1": "lost"}
        assert ends_once(told)

    here.sit(test)
    here.puppet.frozen = False
    here.empty()


def test_who_runs_on_a_machine_that_was_given_up_is_told(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it asks or tells anything: another may be at its work."""
    monkeypatch.setattr(track, "OVERDUE", 0.5)
    monkeypatch.setattr(engine, "EVERY", 0.3)
    placed = task("p1", Replicas(count=1))

    async def test(session: Session) -> None:
        await session.launch(placed)
        await session.reached("running")
        pod, made = name(first(here, "pods")), cast(Any, session.engine)
        await made._units.hear(placed, pod, [])
        here.puppet.frozen = True
        here.double.delete("pods", SPACE, pod, gracePeriodSeconds=1)
        await session.reached("lost")
        with pytest.raises(Gone):
            await made._units.hear(placed, pod, [])
        await session.engine.stop("p1", Stop(way="kill"))
        here.puppet.frozen = False
        await session.end("p1")

    here.sit(test)
    here.empty()


def test_a_machine_is_taken_away(here: Site) -> None:
    async def test(session: Session) -> None:
        await session.launch(task("p1"))
        await session.reached("running")
        here.puppet.frozen = True
        here.double.delete("nodes", "", "n1")
        told = await session.end("p1")
        assert told.ends() == {"p1": "lost"}
        assert told.reason()["message"].endswith("its machine is gone")

    here.sit(test)
    here.empty()


# -- changed ---------------------------------------------------------------------------------------


def test_how_many_run_is_put_right(here: Site) -> None:
    async def test(session: Session) -> None:
        await session.launch(task("p1", Replicas(count=2)))
        await session.launch(task("p2", Array(count=3, at_once=2)))
        await session.until(lambda told: len(told) >= 4)
        edit(here, "deployments", name(first(here, "deployments")), spec={"replicas": 5})
        edit(here, "jobs", name(first(here, "jobs")), spec={"parallelism": 0})
        await surely(lambda: first(here, "deployments")["spec"]["replicas"] == 2)
        await surely(lambda: first(here, "jobs")["spec"]["parallelism"] == 2)
        edit(here, "jobs", name(first(here, "jobs")), spec={"suspend": True})
        await surely(lambda: not first(here, "jobs")["spec"]["suspend"])
        here.puppet.plan = by_name("p2", ENDS)
        assert (await session.end("p2")).ends() == {"p2": "succeeded"}
        await session.engine.stop("p1", Stop())
        await session.end("p1")

    here.sit(test)
    here.empty()


@pytest.mark.parametrize("kind", ["pods", "jobs"])
def test_what_is_out_of_sight_is_lost_and_nothing_of_it_stays(here: Site, kind: str) -> None:
    async def test(session: Session) -> None:
        await session.launch(task("p1"))
        await session.reached("running")
        labels = {names.MANAGED_BY: None}
        edit(here, kind, name(first(here, kind)), metadata={"labels": labels})
        assert (await session.end("p1")).ends() == {"p1": "lost"}

    here.sit(test)
    here.empty()


@pytest.mark.parametrize("key", [names.PLACEMENT, names.ROLES, names.WANTED])
@pytest.mark.parametrize("value", [None, "{", "[1]"])
def test_a_root_that_was_spoilt(here: Site, key: str, value: str | None) -> None:
    """The others go on; what is known of this one does as well."""

    async def test(session: Session) -> None:
        await session.launch(task("p1"))
        await session.launch(task("p2"))
        await session.until(lambda told: len(told) == 2)
        edit(here, "configmaps", names.base("p1"), metadata={"annotations": {key: value}})
        await asyncio.sleep(0.2)
        here.puppet.plan = lambda _: ENDS
        assert (await session.end("p1", "p2")).ends() == {"p1": "succeeded", "p2": "succeeded"}

    here.sit(test)
    here.empty()


def test_a_root_that_was_spoilt_keeps_nobody_from_coming_back(here: Site) -> None:
    async def before(session: Session) -> None:
        await session.launch(task("p1"))
        await session.launch(task("p2"))

    async def after(session: Session) -> None:
        assert "p2" in await session.engine.known()
        here.puppet.plan = lambda _: ENDS
        assert (await session.end("p2")).ends()["p2"] == "succeeded"
        await session.engine.stop("p1", Stop(way="kill"))

    here.sit(before)
    edit(here, "configmaps", names.base("p1"), metadata={"annotations": {names.ROLES: "{"}})
    here.sit(after)


def test_a_finalizer_of_somebody_else(here: Site) -> None:
    root = names.base("p1")

    async def test(session: Session) -> None:
        await session.launch(task("p1"))
        edit(here, "configmaps", root, metadata={"finalizers": ["corp/backup"]})
        here.puppet.plan = lambda _: ENDS
        assert (await session.end("p1")).ends() == {"p1": "succeeded"}
        assert list(await session.engine.known()) == []

    here.sit(test)

    async def again(session: Session) -> None:
        assert list(await session.engine.known()) in ([], ["p1"])

    here.sit(again)
    edit(here, "configmaps", root, metadata={"finalizers": []})
    here.empty()


@pytest.mark.parametrize("what", ["root", "workload"])
def test_somebody_elses_object_has_our_name(here: Site, what: str) -> None:
    async def test(session: Session) -> None:
        placed = task("p1")
        objects = session.engine.render(placed)["objects"]
        theirs = objects[0] if what == "root" else objects[-1]
        meta = {"name": theirs["metadata"]["name"], "namespace": SPACE}
        here.double.create({**theirs, "metadata": meta})
        with pytest.raises(Conflict, match="somebody else") as told:
            await session.launch(placed)
        assert meta["name"] in told.value.message and told.value.hint

    here.sit(test)
    kinds = {"configmaps"} if what == "root" else {"jobs", "pods"}
    asyncio.run(surely(lambda: set(here.left()) <= kinds))


def test_asked_at_once_after_another_launched(here: Site) -> None:
    """Who comes in place of another need not have heard of it yet."""

    async def test(session: Session) -> None:
        await session.engine.observe(0.0)
        here.double.faults.delay(1.0, times=8, verb="watch")
        here.double.faults.cut()
        other = here.engine("one")
        await other.begin()
        await other.launch(other.render(task("p1", Array(count=2, at_once=1))))
        await session.engine.resize("p1", 2)
        await session.engine.stop("p1", Stop(way="kill"))
        assert (await session.end("p1")).ends() == {"p1": "stopped"}
        await other.close()

    here.sit(test)
    here.empty()


def test_widths_asked_for_in_one_breath(here: Site) -> None:
    async def test(session: Session) -> None:
        await session.launch(task("p1", Gang(least=1, most=4)))
        await session.reached("running")
        await session.engine.resize("p1", 2)
        await session.engine.resize("p1", 3)
        told = await session.until(lambda told: told[-1].body.get("width") == 3)
        assert told[-1].body["epoch"] in (2, 3)
        await session.engine.stop("p1", Stop())
        await session.end("p1")

    here.sit(test)
    here.empty()


# -- many ------------------------------------------------------------------------------------------


def test_a_crowd_leaves_nothing(here: Site) -> None:
    here.puppet.plan = lambda _: Plan(seconds=0.0)
    many = 150 if LONG else 40

    async def test(session: Session) -> None:
        made: Any = session.engine
        await made.begin()
        placed = [task(f"g{number}") for number in range(many)]
        await asyncio.gather(*(session.launch(each) for each in placed))
        await session.launch(task("items", Array(count=2 * many, at_once=many)))
        told = await session.end("items", *(each.id for each in placed))
        assert set(told.ends().values()) == {"succeeded"} and ends_once(told)
        await surely(lambda: not here.left())
        await surely(lambda: not made._doing)
        held = ("_tracks", "_rooted", "_asked", "_removals", "_queue", "_dirty", "_doing")
        assert {key: len(getattr(made, key)) for key in held} == dict.fromkeys(held, 0)
        await surely(lambda: not any(mirror.objects for mirror in made._mirrors))
        here.double.forget_calls()
        await asyncio.sleep(3.0)
        assert len(here.double.calls) <= 3

    here.sit(test)


def test_a_waiting_task_asks_seldom(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here.puppet, "plan", lambda _: STAYS)

    async def test(session: Session) -> None:
        await session.launch(task("p1"))
        await session.launch(task("p2", Replicas(count=1)))
        await session.until(lambda told: len(told) == 2)
        await asyncio.sleep(0.5)
        here.double.forget_calls()
        await asyncio.sleep(2.0)
        assert len(here.double.calls) <= 2
        for each in ("p1", "p2"):
            await session.engine.stop(each, Stop(way="kill"))
        await session.end("p1", "p2")

    here.sit(test)
    here.empty()
