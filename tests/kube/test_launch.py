"""A launch that is refused: what runs goes on, and of what never ran nothing stays."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.kube.double import Webhook
from tests.kube.puppet import NOTHING, SPACE, Site, site, surely, task
from tests.kube.test_faults import LONG, Dead, abandon
from tradewind.base.errors import Refused, TryAgain
from tradewind.engines.kubernetes import names, track
from tradewind.records.placements import Placement
from tradewind.records.tasks import Array, Gang, Replicas, Stop
from tradewind.testing.engine_suite import Session, a_placement, a_role

KINDS = ("configmaps", "secrets", "services", "poddisruptionbudgets", "jobs", "deployments")
GROUPS = {"jobs": "batch", "deployments": "apps", "poddisruptionbudgets": "policy"}
_count = itertools.count()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


@dataclass(frozen=True)
class Try:
    """A launch, by a server that came back or by the same one; from a request on a kind of object
    is refused, from another one on the server is no more."""

    restart: bool
    kind: str
    by: str = "rule"
    refused: int = 0
    dies: int | None = None


def placed(roles: int) -> Placement:
    gang, serve = (
        a_role(NOTHING, Gang(least=2, most=2)),
        a_role(NOTHING, Replicas(count=1), name="serve"),
    )
    chosen = ([gang], [serve], [gang, serve], [a_role(NOTHING, Array(count=2))])[roles]
    return a_placement(f"p{next(_count)}", *chosen)


def of(here: Site, placement: Placement, *kinds: str) -> dict[str, Any]:
    """Its objects that are not being deleted, by uid."""
    mark = names.base(placement.id)
    return {
        each["metadata"]["uid"]: each
        for kind in kinds
        for each in here.double.objects(kind, SPACE)
        if (each["metadata"].get("labels") or {}).get(names.INSTANCE) == mark
        and "deletionTimestamp" not in each["metadata"]
    }


def refuse(here: Site, kind: str, by: str) -> None:
    if by == "rule":
        hook = Webhook(name="rule.corp", resources=(kind,), denies="not here")
        here.double.webhooks.append(hook)
        return
    name = ".".join(filter(None, (kind, GROUPS.get(kind))))
    meta = {"name": "small", "namespace": SPACE}
    spec = {"hard": {f"count/{name}": "0"}}
    if not here.double.object("resourcequotas", SPACE, "small"):
        here.double.create(
            {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": spec}
        )


def allow(here: Site) -> None:
    here.double.webhooks.clear()
    if here.double.object("resourcequotas", SPACE, "small"):
        here.double.delete("resourcequotas", SPACE, "small")


def meddle(made: Any, each: Try, then: Callable[[], None]) -> None:
    """Count what goes out from now on."""
    cluster, sent = made.connected(), itertools.count()
    send = type(cluster)._send

    async def counted(*args: Any) -> Any:
        number = next(sent)
        if number == each.refused:
            await asyncio.to_thread(then)
        if each.dies is not None and number >= each.dies:
            raise Dead
        return await send(cluster, *args)

    cluster._send = counted


tries = st.builds(
    Try,
    restart=st.booleans(),
    kind=st.sampled_from(KINDS),
    by=st.sampled_from(["rule", "quota"]),
    refused=st.integers(0, 7),
    dies=st.none() | st.integers(0, 7),
)


@settings(
    max_examples=300 if LONG else 15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(2, [Try(False, "", dies=99), Try(True, "services")])
@example(2, [Try(False, "", dies=99), Try(True, "configmaps")])
@example(2, [Try(False, "deployments", "quota"), Try(True, "deployments")])
@given(st.integers(0, 3), st.lists(tries, min_size=1, max_size=3))
def test_what_runs_goes_on_and_what_is_refused_leaves_nothing(
    here: Site, roles: int, course: list[Try]
) -> None:
    asyncio.run(_course(here, placed(roles), course))
    here.empty()


async def _course(here: Site, placement: Placement, course: list[Try]) -> None:
    made = here.engine()
    await made.begin()
    ended = False
    for each in course:
        before = of(here, placement, "jobs", "deployments", "pods")
        if each.restart:
            await abandon(made)
            made = here.engine()
            await made.begin()
        meddle(made, each, lambda each=each: refuse(here, each.kind, each.by))  # type: ignore[misc]
        try:
            await made.launch(made.render(placement))
        except (TryAgain, Dead):
            pass
        except Refused:
            ended = True
            assert not before, "what runs is not refused"
        finally:
            allow(here)
            made.connected().__dict__.pop("_send")
        now = of(here, placement, "jobs", "deployments", "pods")
        assert before.keys() <= now.keys(), "what ran goes on"
        if ended:
            assert not of(here, placement, *KINDS)
            assert placement.id not in await made.known()
            break
    await abandon(made)
    if not ended:
        await _whole(here, placement)


async def _whole(here: Site, placement: Placement) -> None:
    """Nothing stands in the way any more: it runs, once, however often it is launched."""
    wanted: set[str] = set()
    for _server in range(2):
        made = here.engine()
        session = Session(made)
        await session.launch(placement)
        works = of(here, placement, "jobs", "deployments")
        assert len(works) == len(placement.task.roles)
        assert not wanted or works.keys() == wanted
        wanted = set(works)
        if _server:
            await made.stop(placement.id, Stop(way="kill"))
            await session.end(placement.id)
        await made.close()
    await surely(lambda: not of(here, placement, *KINDS))


def test_a_gang_of_another_width_is_not_begun_anew(here: Site) -> None:
    """Its work has another name by then."""
    placement = task(f"p{next(_count)}", Gang(least=1, most=2))

    async def before(session: Session) -> None:
        await session.launch(placement)
        await session.reached("running")
        (first,) = of(here, placement, "jobs")
        await session.engine.resize(placement.id, 2)
        await surely(lambda: [*of(here, placement, "jobs")] not in ([first], []))

    async def after(session: Session) -> None:
        jobs = of(here, placement, "jobs").keys()
        await session.launch(placement)
        assert of(here, placement, "jobs").keys() == jobs
        await session.engine.stop(placement.id, Stop(way="kill"))
        await session.end(placement.id)

    here.sit(before)
    here.sit(after)
    here.empty()


def test_a_launch_put_off_is_not_lost_when_the_server_comes_back(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(track, "LAUNCHING", 1.0)
    placement = task(f"p{next(_count)}")

    async def before(session: Session) -> None:
        with pytest.raises(TryAgain, match="quota"):
            await session.launch(placement)

    async def after(session: Session) -> None:
        await session.engine.observe(0.0)
        await asyncio.sleep(0.3)
        await session.launch(placement)
        await session.reached("running")
        assert not session.told.ends()
        await session.engine.stop(placement.id, Stop(way="kill"))
        await session.end(placement.id)

    refuse(here, "jobs", "quota")
    here.sit(before)
    allow(here)
    time.sleep(2.1)  # the cluster's clock tells whole seconds
    here.sit(after)
    here.empty()


def limit(here: Site, hard: dict[str, str]) -> None:
    """What the namespace may hold from now on."""
    if here.double.object("resourcequotas", SPACE, "small"):
        here.double.delete("resourcequotas", SPACE, "small")
    meta = {"name": "small", "namespace": SPACE}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": hard}}
    here.double.create(quota)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("shape", [Gang(least=2, most=2), Array(count=2), Replicas(count=1)])
def test_what_it_has_made_does_not_stand_in_its_way(here: Site, shape: Any, restart: bool) -> None:
    """A quota that its own objects fill is room enough for the rest, once there is any for that."""
    placement = task(f"p{next(_count)}", shape)
    # The cluster keeps a ConfigMap of its own there.
    room = {
        "secrets": "1",
        "count/configmaps": str(len(here.double.objects("configmaps", SPACE)) + 1),
    }
    works = {"count/jobs.batch": "0", "count/deployments.apps": "0"}

    async def refused(session: Session) -> None:
        for _time in range(1 if restart else 2):
            with pytest.raises(TryAgain, match=r"jobs|deployments"):
                await session.launch(placement)

    async def allowed(session: Session) -> None:
        for _time in range(5):
            try:
                await session.launch(placement)
                break
            except TryAgain:
                await asyncio.sleep(0.1)
        await session.reached("running")
        assert len(of(here, placement, "secrets")) == 1
        assert not session.told.ends()
        await session.engine.stop(placement.id, Stop(way="kill"))
        await session.end(placement.id)

    async def both(session: Session) -> None:
        await refused(session)
        limit(here, room)
        await allowed(session)

    limit(here, {**room, **works})
    try:
        if restart:
            here.sit(refused)
            limit(here, room)
            here.sit(allowed)
        else:
            here.sit(both)
    finally:
        allow(here)
    here.empty()
