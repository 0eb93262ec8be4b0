"""What `deploy/` grants is what the engine needs, neither more nor less: a course through all that
it does, as an account that has just those rights."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kube.double import Double, Rule, rules_of
from tests.kube.pupil import KubernetesPupil
from tests.kube.puppet import ENDS, USER, Site, site, task
from tests.kube.runner import Runner
from tests.kube.runner.fixtures import QUICK
from tests.kube.runner.process import isolation
from tradewind.base.errors import NotAllowed, TryAgain
from tradewind.engines.base import NoSuchPlace
from tradewind.engines.desk import Desk
from tradewind.engines.kubernetes import KubernetesEngine, engine, rules
from tradewind.records.tasks import Array, Gang, Replicas, Stop
from tradewind.testing.engine_suite import Session, a_placement, a_role

ACCOUNT = Path(__file__).parents[2] / "deploy" / "base" / "account.yaml"


def granted() -> list[Rule]:
    return rules_of(each for each in yaml.safe_load_all(ACCOUNT.read_text("utf-8")) if each)


def permissions(found: list[Rule]) -> set[tuple[str, str, str, str]]:
    """Verb, group, resource, subresource of each single right."""
    return {
        (verb, group, *(resource.split("/") if "/" in resource else (resource, "")))
        for rule in found
        for group in rule.groups
        for resource in rule.resources
        for verb in rule.verbs
    }


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as found:
        found.double.rules = granted()
        yield found


def test_what_is_granted_is_used_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SLOW", 0.2)
    try:
        isolation()
    except RuntimeError as error:
        pytest.skip(str(error))
    double = Double(job_backoff=0.1, create_backoff=0.2)
    with double.serve():
        double.rules = granted()
        with Runner(double.kubeconfig(tmp_path / "admin"), node="n1", **QUICK):
            path = double.kubeconfig(tmp_path / "config", user=USER)
            options = {"kubeconfig": str(path), "namespace": "default"}
            pupil = KubernetesPupil(tmp_path, options)
            asyncio.run(_course(pupil, double, tmp_path))
    asked = {call.permission for call in double.calls if call.user == USER}
    asked = {each for each in asked if each[1] != "authorization.k8s.io"}
    assert asked == permissions(granted())


async def _course(pupil: KubernetesPupil, double: Double, tmp_path: Path) -> None:
    made: Any = pupil.engine()
    session = Session(made)
    await made.begin()
    assert (await made.capacity()).machines == 1
    serving = a_role(pupil.entry("stay", log="up"), Replicas(count=1), name="serve")
    gang = a_role(pupil.entry("stay", log="up"), Gang(least=1, most=2))
    await session.launch(a_placement("p1", gang, serving))
    await session.launch(a_placement("p2", a_role(pupil.entry("stay"), Array(count=2, at_once=1))))
    await session.until(lambda told: "serve" in {report.role for report in told})
    await session.until(
        lambda told: {"p1", "p2"} <= {r.placement for r in told if r.role == "main"}
    )
    assert await session.log("p1", b"up") == b"up"
    said = [part async for part in made.exec("p1", "serve", 0, ["true"])]
    assert said[-1] == 0
    await made.resize("p1", 2)
    await made.resize("p2", 2)
    await session.until(lambda told: any(report.body.get("epoch") == 2 for report in told))
    await made.launch(made.render(pupil.placements["p1"]))
    # Who comes later knows p1 from the cluster alone.
    desk = Desk(b"exam", tmp_path / "blobs", pupil.placements.get)
    other = KubernetesEngine(replace(pupil.place(), desk=desk))
    assert set(await other.known()) == {"p1", "p2"}
    await other.stop("gone", Stop())
    await other.close()
    spec = {"hard": {"pods": "0"}}
    meta = {"name": "none", "namespace": "default"}
    double.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": spec})
    await session.launch(a_placement("p3", a_role(pupil.entry("done"))))
    await session.until(lambda told: any(r.placement == "p3" and r.body.get("why") for r in told))
    for name in ("p1", "p2", "p3"):
        await made.stop(name, Stop(way="kill"))
    await session.end("p1", "p2", "p3")
    await made.close()


def _singles() -> list[tuple[str, str, str]]:
    """Each right of the namespace by itself: group, resource, verb."""
    return [
        (kind.group, f"{kind.plural}/{part}" if part else kind.plural, verb)
        for kind, part, verbs in rules.NAMESPACED
        for verb in verbs
    ]


def test_each_missing_right_is_named(here: Site) -> None:
    async def whole() -> None:
        for group, resource, verb in _singles():
            here.double.rules = list(_without(granted(), group, resource, verb))
            made = here.engine()
            with pytest.raises(NotAllowed) as told:
                await made.begin()
            assert told.value.message.endswith(f"to {verb} {resource}")
            wanted = [{"apiGroups": [group], "resources": [resource], "verbs": [verb]}]
            text = told.value.hint.partition("\n")[2]
            assert yaml.safe_load(text) == wanted
            await made.close()

    asyncio.run(whole())
    assert not here.left()


def _without(found: list[Rule], group: str, resource: str, verb: str) -> Iterator[Rule]:
    for rule in found:
        verbs = rule.verbs
        if rule.groups == (group,) and rule.resources == (resource,):
            verbs = tuple(each for each in verbs if each != verb)
        yield Rule(groups=rule.groups, resources=rule.resources, verbs=verbs)


def test_all_that_is_missing_is_named_at_once(here: Site) -> None:
    rest = [rule for rule in granted() if rule.resources != ("nodes",)]
    here.double.rules = list(_without(rest, "", "pods/log", "get"))

    async def whole() -> None:
        made = here.engine()
        with pytest.raises(NotAllowed) as told:
            await made.begin()
        assert told.value.message.endswith("to get pods/log; list nodes")
        assert "ClusterRole" in told.value.hint
        await made.close()

    asyncio.run(whole())
    assert not here.left()


@pytest.mark.parametrize("told", [False, True])
def test_rights_that_went_with_their_namespace(here: Site, told: bool) -> None:
    """They say nothing; who may ask for the namespace from outside learns that it is gone."""
    asks = Rule(groups=("",), resources=("namespaces",), verbs=("get",))
    here.double.rules = [*granted(), *([asks] if told else [])]

    async def whole() -> None:
        made = here.engine(namespace="nowhere")
        with pytest.raises(NoSuchPlace if told else NotAllowed):
            await made.begin()
        await made.close()

    asyncio.run(whole())


def test_a_right_that_is_taken_away_later_only_makes_it_wait(here: Site) -> None:
    async def test(session: Session) -> None:
        await session.engine.observe(0.0)
        here.double.rules = list(_without(granted(), "batch", "jobs", "create"))
        with pytest.raises(TryAgain, match="create jobs"):
            await session.launch(task("p1"))
        here.double.rules = granted()
        await session.launch(task("p1"))
        here.puppet.plan = lambda _: ENDS
        await session.end("p1")

    here.sit(test)
    here.empty()
