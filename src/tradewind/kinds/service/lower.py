"""A pinned service to replicas. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from tradewind.compiler.availability import LEVELS
from tradewind.kinds import sizing
from tradewind.records.pinned import Pinned
from tradewind.records.plans import Option, Plan
from tradewind.records.tasks import (
    Entry,
    Readiness,
    Replicas,
    Restart,
    Role,
    Stop,
    Task,
)
from tradewind.specs import ServiceSpec, from_document

# A replica waits for requests most of the time.
CPU = 0.25
READY_SECONDS = 60.0
DRAIN_SECONDS = 10.0
# A replica is kept alive for as long as the service stands.
KEPT = Restart(most=1_000_000, backoff=0.5, factor=2.0, ceiling=30.0)


def reuses(pinned: Pinned) -> bool:
    """A service is no result."""
    return False


def options(pinned: Pinned) -> Sequence[Option]:
    """As many replicas as it has at least, one when it may go down to none; more where its
    availability needs them."""
    spec = _spec(pinned)
    return [
        Option(
            backend="python",
            width=max(LEVELS[spec.availability or "process"].replicas, spec.replicas.min),
            resources=sizing.resources(spec, CPU),
        )
    ]


def tasks(pinned: Pinned, plan: Plan) -> Sequence[Task]:
    """Replicas of the model's server, or of the user's own predictor."""
    spec = _spec(pinned)
    model = pinned.inputs.get("model")
    own = spec.entry
    role = Role(
        name="replica",
        shape=Replicas(count=plan.option.width),
        entry=Entry(kind="service", target=own)
        if own
        else Entry(kind="module", target="tradewind.kinds.service.work:main"),
        resources=plan.option.resources,
        params={
            **spec.params,
            **(
                {}
                if own
                else {"name": spec.name, "version": model.meta["version"] if model else ""}
            ),
        },
        inputs=pinned.inputs,
        env={**sizing.trusted(pinned.inputs), **spec.env},
        ports=tuple(spec.ports) or ("http",),
        readiness=Readiness(
            path="" if own else "/v2/health/ready", timeout=spec.ready_timeout or READY_SECONDS
        ),
        restart=KEPT,
        stop=Stop(way="drain", grace=DRAIN_SECONDS),
    )
    return [Task(name="main", roles=(role,), environment=pinned.environment, bundle=pinned.bundle)]


def _spec(pinned: Pinned) -> ServiceSpec:
    return cast(ServiceSpec, from_document(pinned.spec))
