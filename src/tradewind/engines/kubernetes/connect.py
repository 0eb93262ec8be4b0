"""The way to a cluster: from a kubeconfig, or from the pod that the server runs in, by way of
lightkube, which knows the ways to sign in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tradewind.base.errors import InvalidSpec, NotFound, Refused, missing_extra
from tradewind.engines.kubernetes.api import ANSWER, CONNECT, Api, Where


def connect(options: Mapping[str, Any]) -> Api:
    """The cluster that these pool options name. Reads files; asks nothing over the network.

    Raises MissingExtra, InvalidSpec, NotFound.
    """
    single = _chosen(options)
    import httpx2

    def renew() -> Any:
        nonlocal single
        found = _chosen(options)
        if (found.user, found.cluster) == (single.user, single.cluster):
            return None
        client, single = _client(found), found
        return client

    return Api(_client(single), _where(options, single), httpx2, renew)


def _client(single: Any) -> Any:
    import httpx2
    from lightkube.config.client_adapter import AsyncClient, ConnectionParams

    limits = httpx2.Timeout(ANSWER, connect=CONNECT)
    try:
        client = AsyncClient(single, ConnectionParams(timeout=limits, trust_env=False))
    except Exception as error:
        raise InvalidSpec(
            f"the credentials of context {single.context_name!r} are no good: {error}",
            hint="sign in again, or mend that context in the kubeconfig",
        ) from error
    client.event_hooks = {"request": [_watch_over]}
    return client


async def _watch_over(request: Any) -> None:
    """Close a connection whose request is given up in its handshake. The library closes it only if
    the handshake fails, and it would stay open until memory is tidied up."""
    opened: list[Any] = []

    async def told(event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            opened.append(info["return_value"])
        elif event == "connection.start_tls.failed":
            await opened.pop().aclose()

    request.extensions["trace"] = told


def check_server(server: str, cluster: str) -> None:
    """Raise Refused if tasks of a cluster elsewhere would look for the server on their own machine.
    `cluster` is the cluster's address."""
    if _own(server) and not _own(cluster):
        raise Refused(
            f"tasks of the cluster at {cluster} would not reach this server at {server}: to them "
            "that is their own machine",
            hint="set `server` in the pool's options, or TRADEWIND_URL, to an address of this "
            "server that the cluster's machines reach (docs/cluster.md)",
        )


def _own(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def where(options: Mapping[str, Any]) -> Where:
    """The place that these options name."""
    return _where(options, _chosen(options))


def _where(options: Mapping[str, Any], single: Any) -> Where:
    return Where(
        context=single.context_name or "in-cluster",
        namespace=str(options.get("namespace") or single.namespace),
        server=single.cluster.server,
    )


def _read(path: str) -> dict[str, Any]:
    """What stands in a kubeconfig. Raises InvalidSpec for what is none, OSError, YAMLError."""
    with open(path, encoding="utf-8") as file:
        found = yaml.safe_load(file)
    if found is None:
        why = "it is empty"
    elif not isinstance(found, dict):
        why = "it is something else: there are no clusters and contexts in it"
    elif missing := [name for name in ("clusters", "contexts") if not found.get(name)]:
        why = f"it names no {' and no '.join(missing)}"
    else:
        return found
    raise InvalidSpec(
        f"{path} is no good kubeconfig: {why}",
        hint="get one from whoever runs the cluster, or from the cloud's own program; then: "
        f"kubectl --kubeconfig {path} get pods",
    )


def _chosen(options: Mapping[str, Any]) -> Any:
    """One context with its cluster and user."""
    try:
        from lightkube.config.kubeconfig import SERVICE_ACCOUNT, KubeConfig
    except ImportError as error:
        raise missing_extra("lightkube", "kubernetes") from error
    path = os.path.expanduser(str(options.get("kubeconfig") or os.environ.get("KUBECONFIG") or ""))
    if not path and os.path.exists(os.path.join(SERVICE_ACCOUNT, "token")):
        return KubeConfig.from_service_account().get()
    path = path or os.path.expanduser("~/.kube/config")
    if os.path.isdir(path):
        raise InvalidSpec(
            f"{path} is a folder, no kubeconfig", hint=f"name the file in it: {path}/config"
        )
    if not os.path.exists(path):
        raise NotFound(
            f"there is no kubeconfig at {path}",
            hint="name one in the pool's options (kubeconfig: PATH) or in KUBECONFIG",
        )
    context = str(options.get("context") or "") or None
    try:
        loaded = KubeConfig.from_dict(_read(path), fname=Path(path))
        if context and context not in loaded.contexts:
            known = ", ".join(sorted(loaded.contexts)) or "none"
            raise InvalidSpec(f"{path} has no context {context!r}", hint=f"contexts: {known}")
        single = loaded.get(context)
    except InvalidSpec:
        raise
    except Exception as error:  # a file of somebody else's may break its reader in any way
        why = f"{error} is missing in it" if isinstance(error, KeyError) else error
        raise InvalidSpec(
            f"{path} is no good kubeconfig: {why}",
            hint=f"try it with: kubectl --kubeconfig {path} config view",
        ) from error
    if single is None:
        raise InvalidSpec(
            f"{path} names no context to use", hint="name one in the pool's options (context: NAME)"
        )
    return single
