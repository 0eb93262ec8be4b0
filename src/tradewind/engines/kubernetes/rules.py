"""What the engine may have to do in a cluster: the least it needs. `deploy/` grants just this, and
a test compares it with what the engine asks."""

from __future__ import annotations

import asyncio

from tradewind.base.errors import NotAllowed, TradewindError
from tradewind.engines.base import NoSuchPlace
from tradewind.engines.kubernetes import api
from tradewind.engines.kubernetes.api import Api, Kind, Object

ACCESS = Kind("authorization.k8s.io", "v1", "selfsubjectaccessreviews", namespaced=False)

NAMESPACES = Kind("", "v1", "namespaces", namespaced=False)

# (kind, subresource, verbs) in the pool's namespace.
NAMESPACED: tuple[tuple[Kind, str, tuple[str, ...]], ...] = (
    (api.ROOTS, "", ("get", "list", "watch", "create", "patch", "delete")),
    (api.SECRETS, "", ("create",)),
    (api.SERVICES, "", ("create",)),
    (api.BUDGETS, "", ("create",)),
    (api.JOBS, "", ("list", "watch", "create", "patch", "delete")),
    (api.DEPLOYMENTS, "", ("list", "watch", "create", "patch")),
    (api.PODS, "", ("list", "watch", "patch", "delete")),
    (api.PODS, "log", ("get",)),
    (api.PODS, "exec", ("get", "create")),
    (api.EVENTS, "", ("list",)),
    (api.LEASES, "", ("get", "create", "patch", "delete")),
)
# In the whole cluster, to learn what it holds.
CLUSTER: tuple[tuple[Kind, str, tuple[str, ...]], ...] = ((api.NODES, "", ("list",)),)


async def check(cluster: Api) -> None:
    """Ask the cluster whether all that is needed is allowed. Raises NotAllowed with every missing
    rule; NoSuchPlace."""
    needed = (*NAMESPACED, *CLUSTER)
    asked = [(kind, subresource, verb) for kind, subresource, verbs in needed for verb in verbs]
    answers = await asyncio.gather(*(_may(cluster, *each) for each in asked))
    missing: dict[tuple[str, str], list[str]] = {}
    for (kind, subresource, verb), fine in zip(asked, answers, strict=True):
        if not fine:
            name = f"{kind.plural}/{subresource}" if subresource else kind.plural
            missing.setdefault((kind.group, name), []).append(verb)
    within = [fine for (kind, _, _), fine in zip(asked, answers, strict=True) if kind.namespaced]
    if not any(within):
        await _check_there(cluster)
    if missing:
        what = "; ".join(f"{', '.join(v)} {name}" for (_, name), v in missing.items())
        rules = "\n".join(
            f'- apiGroups: ["{group}"]\n  resources: ["{name}"]\n  verbs: [{", ".join(verbs)}]'
            for (group, name), verbs in missing.items()
        )
        where = cluster.where
        raise NotAllowed(
            f"no permission in namespace {where.namespace!r} (context {where.context!r}) to {what}",
            hint="an operator adds to a Role of this account there (to a ClusterRole what is about "
            f"nodes):\n{rules}",
        )


async def _check_there(cluster: Api) -> None:
    """Raise NoSuchPlace if the namespace, and with it every Role in it, is gone. That may be asked
    only by whom somebody allowed to get it from outside."""
    try:
        await cluster.get(NAMESPACES, cluster.where.namespace)
    except NoSuchPlace:
        raise
    except TradewindError:
        return  # then the missing rules are all that is known


async def _may(cluster: Api, kind: Kind, subresource: str, verb: str) -> bool:
    wanted: Object = {
        "namespace": cluster.where.namespace if kind.namespaced else "",
        "verb": verb,
        "group": kind.group,
        "resource": kind.plural,
    }
    if subresource:
        wanted["subresource"] = subresource
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": wanted},
    }
    return bool((await cluster.create(ACCESS, review))["status"]["allowed"])
