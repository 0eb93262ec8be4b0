"""The engine on a cluster that fails, or is meddled with: nothing is lost, nothing is doubled,
nothing is left behind, and people are told."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kube.double import Webhook
from tests.kube.puppet import ENDS, SPACE, STAYS, Plan, Site, role, site, surely, task
from tradewind.base.errors import Conflict, Refused, TryAgain, Unreachable
from tradewind.engines.kubernetes import api, engine, lease, mirror, names, refusals, track
from tradewind.records.tasks import Array, Gang, Readiness, Replicas, Restart, Stop
from tradewind.testing.engine_suite import Session, Told, a_placement

Object = dict[str, Any]
# More of the same, and with larger numbers.
LONG = bool(os.environ.get("TRADEWIND_LONG"))


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as found:
        yield found


def ends_once(told: Told) -> bool:
    """Whether no stream says anything twice, or anything after its end."""
    seen: dict[tuple[str, str], int] = {}
    for report in told:
        key = report.placement, report.stream
        if report.seq <= seen.get(key, 0):
            return False
        seen[key] = report.seq
    return True


def by_name(name: str, plan: Plan, otherwise: Plan = STAYS) -> Callable[[Object], Plan]:
    """A plan for the pods of one placement."""
    mark = names.base(name)
    return lambda pod: plan if pod["metadata"]["labels"][names.INSTANCE] == mark else otherwise


# -- a cluster that is away ------------------------------------------------------------------------


def test_a_cluster_that_is_away_for_a_while(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "DEAF", 0.5)
    monkeypatch.setattr(api, "PATIENCE", 1.0)
    monkeypatch.setattr(mirror, "LONGEST", 0.5)

    async def test(session: Session) -> None:
        await session.launch(task("p1"))
        await session.reached("running")
        here.double.faults.refuse()
        here.puppet.plan = by_name("p1", ENDS)
        with pytest.raises(TryAgain, match="cannot be reached"):
            await session.launch(task("p2"))
        with pytest.raises(Unreachable, match="cannot be reached"):
            await session.until(lambda told: bool(told.ends()))
        here.double.faults.accept()
        began = time.monotonic()
        while True:
            try:
                await session.launch(task("p2"))
                await session.end("p1")
                break
            except Unreachable:
                assert time.monotonic() < began + 15
                await asyncio.sleep(0.1)
        # What is heard again is not called out of reach, though nothing new happens.
        assert not await session.engine.observe(0.7)
        assert session.told.ends() == {"p1": "succeeded"} and ends_once(session.told)
        here.puppet.plan = lambda _: ENDS
        await session.end("p2")

    here.sit(test)
    here.empty()


def test_a_cut_after_a_long_silence_is_no_trouble(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "DEAF", 0.6)

    async def test(session: Session) -> None:
        await session.engine.observe(0.0)
        await asyncio.sleep(0.8)
        here.double.faults.cut()
        assert not await session.engine.observe(0.1)
        assert not await session.engine.observe(1.0)

    here.sit(test)


def test_letting_go_takes_no_longer_than_that(here: Site) -> None:
    async def test() -> float:
        made = here.engine()
        session = Session(made)
        here.puppet.plan = lambda _: ENDS
        await session.launch(task("p1"))
        seen: Any = ()
        while not Told(seen).ends():
            seen = await made.observe(1.0)
        here.double.faults.refuse()
        await made.acknowledge(seen)
        began = time.monotonic()
        await made.close()
        return time.monotonic() - began

    assert asyncio.run(test()) < 3 * engine.LETTING_GO
    here.double.faults.accept()


# -- a cluster that answers badly ------------------------------------------------------------------


@pytest.mark.parametrize("inside", [True, False])
def test_what_was_missed_is_found(here: Site, inside: bool) -> None:
    here.double.gone_inside(inside)

    async def test(session: Session) -> None:
        for name in ("stays", "goes"):
            await session.launch(task(name))
        await session.until(lambda told: len(told) == 2)
        faults = here.double.faults
        faults.answer(503, times=6, verb="watch")
        faults.answer(500, times=3, verb="list")
        faults.cut()
        here.double.delete("configmaps", SPACE, names.base("goes"))
        until_gone = names.base("goes")
        await surely(lambda: here.double.object("configmaps", SPACE, until_gone) is None)
        here.double.compact()
        told = await session.end("goes")
        assert told.ends() == {"goes": "lost"}
        here.puppet.plan = by_name("stays", ENDS)
        assert (await session.end("stays")).ends()["stays"] == "succeeded"
        assert ends_once(session.told)

    here.sit(test)
    here.empty()


def test_watches_that_are_cut_go_on_where_they_were(here: Site) -> None:
    here.double.bookmarks(0.2)

    async def test(session: Session) -> None:
        await session.launch(task("p1"))
        await session.reached("running")
        here.double.forget_calls()
        for _ in range(5):
            here.double.faults.cut()
            await asyncio.sleep(0.3)
        here.puppet.plan = lambda _: ENDS
        began = time.monotonic()
        await session.end("p1")
        assert time.monotonic() < began + 5
        lists = [call for call in here.double.calls if call.verb == "list"]
        assert not lists and ends_once(session.told)

    here.sit(test)


@pytest.mark.parametrize("code", [429, 500, 503, 504] if LONG else [429, 503])
def test_what_is_put_off_is_said_again(here: Site, code: int) -> None:
    here.puppet.plan = lambda _: Plan(seconds=0.2)

    async def test(session: Session) -> None:
        await session.engine.observe(0.0)
        for verb in ("create", "patch", "delete"):
            here.double.faults.answer(code, verb=verb, retry_after=code == 429)
        await session.launch(task("p1"))
        assert (await session.end("p1")).ends() == {"p1": "succeeded"}
        await surely(lambda: not here.left())

    here.sit(test)


def test_what_was_carried_out_unheard_is_done_once(here: Site) -> None:
    async def test(session: Session) -> None:
        await session.engine.observe(0.0)
        for verb in ("create", "patch", "delete"):
            here.double.faults.drop(times=3, verb=verb)
        shape = Replicas(count=1)
        await session.launch(task("p1", shape))
        await session.reached("running")
        await session.engine.resize("p1", 2)
        await session.reached("running", 1)
        here.double.faults.drop(times=2, verb="patch")
        await session.engine.stop("p1", Stop())
        assert (await session.end("p1")).ends() == {"p1": "stopped"}
        assert ends_once(session.told)

    here.double.faults.drop(times=1, verb="create", resource="leases")
    here.double.faults.drop(times=1, verb="patch", resource="leases")
    here.sit(test)
    here.empty()


def test_slow_answers(here: Site) -> None:
    here.double.faults.delay(0.4, times=12)

    async def test(session: Session) -> None:
        await session.launch(task("p1", Array(count=3)))
        here.puppet.plan = lambda _: ENDS
        assert (await session.end("p1")).ends() == {"p1": "succeeded"}

    here.sit(test)
    here.empty()


# -- a server that dies in the middle --------------------------------------------------------------


class Dead(Exception):
    """The process is no more."""


def dies_after(made: engine.KubernetesEngine, requests: int) -> None:
    """From then on, nothing goes out."""
    cluster = made.connected()
    send, left = cluster._send, iter(range(requests))

    async def fail(*args: Any) -> Any:
        if next(left, None) is None:
            raise Dead
        return await send(*args)

    cluster._send = fail  # type: ignore[assignment,method-assign]


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("requests", range(7) if LONG else [1, 3])
def test_a_launch_that_is_broken_off(here: Site, requests: int, again: bool) -> None:
    placed = a_placement("p1", role(Gang(least=2, most=2)), role(Replicas(count=1), name="serve"))

    async def first() -> None:
        made = here.engine()
        await made.begin()
        dies_after(made, requests)
        with pytest.raises(Dead):
            await made.launch(made.render(placed))
        await abandon(made)

    async def second(session: Session) -> None:
        if again:
            await session.launch(placed)
            await session.reached("running")
            assert here.left()["jobs"] == here.left()["deployments"] == 1
            assert here.left()["configmaps"] == here.left()["secrets"] == 1
            here.puppet.plan = by_part(ENDS)
            assert (await session.end("p1")).ends() == {"p1": "succeeded"}
        else:
            await session.engine.stop("p1", Stop(way="kill"))
            if requests:
                assert (await session.end("p1")).ends() == {"p1": "stopped"}

    asyncio.run(first())
    here.sit(second)
    here.empty()


def by_part(plan: Plan) -> Callable[[Object], Plan]:
    """A plan for the members of gangs."""
    part = names.COMPONENT
    return lambda pod: plan if pod["metadata"]["labels"][part] == "main" else STAYS


async def abandon(made: engine.KubernetesEngine) -> None:
    """As a process that is killed: no lease given back, nothing said."""
    for each in tuple(made._tasks):
        each.cancel()
    for follower in made._mirrors:
        await follower.close()
    await made.connected().close()


def test_a_launch_that_nobody_ends_is_lost(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track, "LAUNCHING", 1.0)

    async def first() -> None:
        made = here.engine()
        await made.begin()
        dies_after(made, 1)
        with pytest.raises(Dead):
            await made.launch(made.render(task("p1")))
        await abandon(made)

    asyncio.run(first())

    async def second(session: Session) -> None:
        assert list(await session.engine.known()) == ["p1"]
        assert (await session.end("p1")).ends() == {"p1": "lost"}

    here.sit(second)
    here.empty()


# -- several servers -------------------------------------------------------------------------------


def test_two_servers_on_one_pool(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SECONDS", 1)
    monkeypatch.setattr(engine, "RENEW", 0.3)

    async def test() -> None:
        first, second, other = here.engine("a"), here.engine("b"), here.engine("c", pool="q")
        await first.begin()
        await other.begin()
        with pytest.raises(Conflict, match="another server") as told:
            await second.begin()
        assert first._lease._holder in str(told.value)
        await asyncio.sleep(1.5)
        with pytest.raises(Conflict):
            await second.begin()
        for running in tuple(first._tasks):  # frozen: what it holds is not renewed
            running.cancel()
        with pytest.raises(Conflict):
            await second.begin()
        await asyncio.sleep(1.5)
        await second.begin()
        with pytest.raises(TryAgain, match="another server"):
            await first.launch(first.render(task("p1")))
        assert not here.left()
        session = Session(second)
        await session.launch(task("p2"))
        await other.launch(other.render(task("p3")))
        assert list(await other.known()) == ["p3"] and list(await second.known()) == ["p2"]
        for each in (first, second, other):
            await each.close()

    asyncio.run(test())


def test_a_server_that_goes_gives_its_pool_back(here: Site) -> None:
    async def nothing(session: Session) -> None:
        await session.engine.observe(0.0)

    for server in ("a", "b", "a"):
        here.sit(nothing, server=server)
        assert not here.double.objects("leases", SPACE)


def test_a_server_that_goes_takes_away_no_lease_of_another(here: Site) -> None:
    async def test() -> None:
        first, second = here.engine("a"), here.engine("b")
        await first.begin()
        name = here.double.objects("leases", SPACE)[0]["metadata"]["name"]
        late = {"renewTime": "2020-01-01T00:00:00.000000Z"}
        here.double.edit("leases", SPACE, name, lambda found: found["spec"].update(late))
        await second.begin()
        await first.close()
        assert second._lease.held
        [found] = here.double.objects("leases", SPACE)
        assert found["spec"]["holderIdentity"] == second._lease._holder
        await second.close()

    asyncio.run(test())


# -- quota, rules of the cluster -------------------------------------------------------------------


def quota(here: Site, **hard: str) -> None:
    spec = {"hard": {name.replace("_", "/"): amount for name, amount in hard.items()}}
    meta = {"name": "small", "namespace": SPACE}
    here.double.create(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": spec}
    )


def waits(told: Told) -> list[str]:
    return [report.body["why"] for report in told if report.body.get("state") == "preparing"]


@pytest.mark.parametrize("name", ["pods", "requests.cpu"])
def test_a_quota_of_pods_is_waited_for(
    here: Site, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(engine, "SLOW", 0.3)
    quota(here, **{name: "0", "requests.memory": "1Ti"})

    async def test(session: Session) -> None:
        await session.launch(task("p1"))
        told = await session.until(lambda told: bool(waits(told)))
        room = "CPU" if name == "requests.cpu" else name
        words = f"the namespace's quota for {room} is used up (used 0 of 0)"
        assert waits(told)[0] == words
        assert told[-1].body["native"]["reason"] == "FailedCreate"
        here.double.delete("resourcequotas", SPACE, "small")
        here.puppet.plan = lambda _: ENDS
        assert (await session.end("p1")).ends() == {"p1": "succeeded"}

    here.sit(test)
    here.empty()


def test_a_quota_of_jobs_is_waited_for(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track, "LAUNCHING", 0.5)
    quota(here, **{"count_jobs.batch": "0"})

    async def test(session: Session) -> None:
        for _ in range(4):
            with pytest.raises(TryAgain, match=r"the quota of namespace .* is used up") as told:
                await session.launch(task("p1"))
            assert "operators" in told.value.hint
            await asyncio.sleep(0.3)
        assert not await session.engine.observe(0.0), "whoever launches says why it waits"
        here.double.delete("resourcequotas", SPACE, "small")
        here.puppet.plan = lambda _: ENDS
        await session.launch(task("p1"))
        assert (await session.end("p1")).ends() == {"p1": "succeeded"}

    here.sit(test)
    here.empty()


@pytest.mark.parametrize("kind", ["configmaps", "secrets", "jobs"])
def test_what_a_rule_refuses_leaves_nothing(here: Site, kind: str) -> None:
    here.double.webhooks.append(Webhook(name="rule.corp", resources=(kind,), denies="no such pool"))

    async def test(session: Session) -> None:
        with pytest.raises(Refused, match="no such pool") as told:
            await session.launch(task("p1"))
        assert "operators" in told.value.hint

    here.sit(test)
    here.empty()


def test_pods_that_a_rule_refuses(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SLOW", 0.3)
    monkeypatch.setattr(refusals, "REFUSED", 1.0)
    here.double.webhooks.append(Webhook(name="rule.corp", resources=("pods",), denies="root only"))

    async def test(session: Session) -> None:
        await session.launch(task("p1"))
        told = await session.end("p1")
        assert told.ends() == {"p1": "failed"}
        assert "root only" in told.reason()["message"] and "operators" in told.reason()["hint"]

    here.sit(test)
    here.empty()


def test_a_reason_that_changes_is_told(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SLOW", 0.3)
    monkeypatch.setattr(engine, "EVERY", 0.3)
    monkeypatch.setattr(refusals, "REFUSED", 1.0)
    quota(here, pods="0")

    async def test(session: Session) -> None:
        await session.launch(task("p1", Array(count=2)))
        await session.until(lambda told: bool(waits(told)))
        here.double.webhooks.append(Webhook(name="a.corp", resources=("pods",), denies="no label"))
        told = await session.end("p1")
        assert waits(told) == [
            "the namespace's quota for pods is used up (used 0 of 0)",
            "a rule of the cluster refuses it: no label",
        ]
        assert told.ends() == {"p1": "failed"} and ends_once(told)

    here.sit(test)
    here.empty()


def test_an_account_that_is_not_there(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SLOW", 0.3)
    monkeypatch.setattr(refusals, "REFUSED", 1.0)

    async def test(session: Session) -> None:
        await session.launch(task("p1"))
        told = await session.end("p1")
        words = "the account that tasks run under, 'nope', does not exist in namespace 'default'"
        assert told.ends() == {"p1": "failed"} and words in told.reason()["message"]
        assert "service_account" in told.reason()["hint"]

    here.sit(test, service_account="nope")
    here.empty()


def test_a_webhook_that_fails_is_waited_for(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "PATIENCE", 0.5)
    here.double.webhooks.append(Webhook(name="rule.corp", resources=("jobs",), fails="timed out"))

    async def test(session: Session) -> None:
        with pytest.raises(Unreachable, match=r"rule\.corp"):
            await session.launch(task("p1"))
        here.double.webhooks.clear()
        here.puppet.plan = lambda _: ENDS
        await session.launch(task("p1"))
        assert (await session.end("p1")).ends() == {"p1": "succeeded"}

    here.sit(test)
    here.empty()


def test_ready_replicas_beside_a_gang(here: Site) -> None:
    async def test(session: Session) -> None:
        serving = role(Replicas(count=2), name="serve", readiness=Readiness(), ports=("http",))
        await session.launch(a_placement("p1", role(), serving))
        await session.until(lambda told: (1, "ready") in told.states(1, "serve"))
        here.puppet.plan = by_part(Plan(seconds=0.0, code=1))
        assert (await session.end("p1")).ends() == {"p1": "failed"}

    here.sit(test)
    here.empty()


def test_restarts_of_an_item_that_ran_out_of_memory(here: Site) -> None:
    here.puppet.plan = lambda _: Plan(seconds=0.0, code=137, reason="OOMKilled")

    async def test(session: Session) -> None:
        await session.launch(task("p1", Array(count=1), restart=Restart(most=1)))
        told = await session.end("p1")
        assert told.ends() == {"p1": "failed"} and told.reason()["reason"] == "memory"
        assert [state for _, state in told.states()] == ["running", "failed"] * 2

    here.sit(test)
    here.empty()
