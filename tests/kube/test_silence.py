"""A machine that stops answering: people are told at once, nobody is sent there, and if it comes
back all is as it was.

Over the double, and over the real control plane that `KUBECONFIG` names, if any.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kube.double import Double
from tests.kube.pupil import KubernetesPupil
from tests.kube.runner import Runner
from tests.kube.runner.fixtures import CLUSTERS, chosen
from tests.kube.space import machine, namespace
from tradewind.records.tasks import Gang, Readiness, Replicas, Stop
from tradewind.testing.engine_suite import Session, a_placement, a_role


@pytest.fixture(params=CLUSTERS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Runner, Path]]:
    """A node that can be frozen, and where it is."""
    with contextlib.ExitStack() as stack:
        path = chosen(request.param)
        if path is None:
            double = Double(job_backoff=0.1, create_backoff=0.2, node_grace=1.5)
            stack.enter_context(double.serve())
            path = double.kubeconfig(tmp_path / "config")
        yield stack.enter_context(machine(path)), path


def last(session: Session, index: int = 0) -> dict[str, Any]:
    found = [
        report.body for report in session.told if report.kind == "attempt" and report.index == index
    ]
    return found[-1] if found else {}


@pytest.mark.parametrize("shape", [Gang(least=2, most=2), Replicas(count=1)])
def test_who_does_not_answer_is_told_and_so_is_who_does_again(
    place: tuple[Runner, Path], tmp_path: Path, shape: Any
) -> None:
    node, path = place
    serves = isinstance(shape, Replicas)

    async def test(pupil: KubernetesPupil) -> None:
        made = pupil.engine()
        session = Session(made)
        more = {"readiness": Readiness(timeout=30.0), "ports": ("http",)} if serves else {}
        entry = pupil.entry("serve" if serves else "stay")
        await session.launch(a_placement("p1", a_role(entry, shape, **more)))
        await session.reached("ready" if serves else "running")
        node.freeze()
        await session.until(lambda _: "stopped answering" in last(session).get("why", ""))
        silent = last(session)
        assert silent["state"] == "running" and silent["native"]["reason"] == "NodeNotReady"
        member = "member 0 of 2: " if not serves else ""
        assert silent["why"].startswith(f"{member}its machine exam-")
        # The next server has not seen it, and tells that it is over all the same.
        await made.close()
        node.thaw()
        made = pupil.engine()
        session.engine = made
        before = len(session.told)
        state = "ready" if serves else "running"
        await session.until(
            lambda told: any(
                report.kind == "attempt"
                and report.body["state"] == state
                and "why" not in report.body
                and report.at >= silent_at(session)
                for report in told[before:]
            )
        )
        await made.stop("p1", Stop(way="kill"))
        assert (await session.end("p1")).ends() == {"p1": "stopped"}
        await made.close()

    with namespace(path) as name:
        asyncio.run(test(KubernetesPupil(tmp_path, {"kubeconfig": str(path), "namespace": name})))


def silent_at(session: Session) -> float:
    return max(report.at for report in session.told if "answering" in report.body.get("why", ""))
