"""Who may do what, and what is refused to everybody."""

from __future__ import annotations

import time
from typing import Any

from tests.kube.double.compare.objects import CONTAINER, SAFE, SAFE_POD, Seen, job, pod
from tests.kube.double.compare.side import Side
from tests.kube.double.compare.workloads import said

Json = Any


def standards(side: Side) -> Seen:
    """Pod Security, quotas."""
    pods = f"{side.base}/pods"
    seen: Seen = []
    quota = {"pods": "1", "requests.cpu": "150m", "requests.memory": "1Gi"}
    side.raw(
        "POST", f"{side.base}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": quota}}
    )
    side.until(lambda: side.get(f"{side.base}/resourcequotas/q").get("status", {}).get("used"))
    seen.append(("fits", side.raw("POST", pods, pod("a")).status_code))
    seen.append(("too many", side.ask("POST", pods, pod("b"))))
    bare = {"name": "main", "image": "x"}
    seen.append(("asks for nothing", side.ask("POST", pods, pod("c", containers=[bare]))))
    side.raw("POST", side.jobs, job("j"))
    side.until(lambda: said(side, "j"))
    seen.append(("a job's pod", said(side, "j")[:1]))
    side.raw("DELETE", f"{side.jobs}/j?propagationPolicy=Background")
    side.raw("DELETE", f"{side.base}/resourcequotas/q")
    levels = {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
    }
    side.raw("PATCH", f"/api/v1/namespaces/{side.namespace}", {"metadata": {"labels": levels}})
    time.sleep(0.5)
    safe = {**CONTAINER, "securityContext": SAFE}
    added = {**SAFE, "capabilities": {"drop": ["ALL"], "add": ["SYS_TIME"]}}
    tried: dict[str, Json] = {
        "good": {"containers": [safe], "securityContext": SAFE_POD},
        "bare": {},
        "two": {
            "containers": [CONTAINER, {**CONTAINER, "name": "b"}],
            "initContainers": [{**safe, "name": "i"}],
        },
        "host": {
            "hostNetwork": True,
            "hostPID": True,
            "containers": [safe],
            "securityContext": SAFE_POD,
        },
        "path": {
            "volumes": [{"name": "h", "hostPath": {"path": "/"}}],
            "containers": [safe],
            "securityContext": SAFE_POD,
        },
        "root": {"containers": [safe], "securityContext": {**SAFE_POD, "runAsUser": 0}},
        "privileged": {
            "containers": [{**safe, "securityContext": {"privileged": True}}],
            "securityContext": SAFE_POD,
        },
        "added": {"containers": [{**safe, "securityContext": added}], "securityContext": SAFE_POD},
        "port": {
            "containers": [{**safe, "ports": [{"containerPort": 1, "hostPort": 1}]}],
            "securityContext": SAFE_POD,
        },
    }
    for label, spec in tried.items():
        seen.append((label, side.ask("POST", f"{pods}?dryRun=All", pod("x", **spec))[1:]))
    seen.append(("a job is warned", side.ask("POST", side.jobs, job("w"))[:2]))
    side.until(lambda: said(side, "w"))
    seen.append(("a job's pods", said(side, "w")[:1]))
    return seen


def access(side: Side) -> Seen:
    """What an account with few rights is told."""
    rules = [
        {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mine"], "verbs": ["get"]},
    ]
    token, base = side.grant(rules), side.base
    seen: Seen = []
    side.until(lambda: side.raw("GET", f"{base}/pods", token=token).status_code == 200)
    review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    for label, method, path, body in [
        ("list", "GET", f"{base}/pods", None),
        ("watch", "GET", f"{base}/pods?watch=1", None),
        ("get", "GET", f"{base}/pods/x", None),
        ("delete", "DELETE", f"{base}/pods/x", None),
        ("log", "GET", f"{base}/pods/x/log", None),
        ("exec", "POST", f"{base}/pods/x/exec?command=ls", None),
        ("status", "PATCH", f"{base}/pods/x/status", {}),
        ("create a job", "POST", f"{side.jobs}?dryRun=All", job("j", suspend=True)),
        ("list jobs", "GET", side.jobs, None),
        ("patch a job", "PATCH", f"{side.jobs}/j", {}),
        ("a lease", "POST", side.leases, {"metadata": {"name": "l"}}),
        ("my secret", "GET", f"{base}/secrets/mine", None),
        ("another secret", "GET", f"{base}/secrets/other", None),
        ("all secrets", "GET", f"{base}/secrets", None),
        ("elsewhere", "GET", "/api/v1/namespaces/default/pods", None),
        ("everywhere", "GET", "/api/v1/pods", None),
        ("nodes", "GET", "/api/v1/nodes", None),
        ("a node", "GET", "/api/v1/nodes/n", None),
        ("a namespace", "GET", f"/api/v1/namespaces/{side.namespace}", None),
        ("version", "GET", "/readyz", None),
    ]:
        seen.append((label, side.ask(method, path, body, token=token)))
    for attributes in (
        {"verb": "create", "group": "batch", "resource": "jobs"},
        {"verb": "delete", "group": "batch", "resource": "jobs"},
        {"verb": "get", "resource": "pods", "subresource": "log"},
        {"verb": "get", "resource": "secrets", "name": "mine"},
        {"verb": "get", "resource": "secrets"},
    ):
        spec = {"resourceAttributes": {"namespace": side.namespace, **attributes}}
        found = side.raw("POST", review, {"spec": spec}, token=token)
        seen.append((str(attributes), [found.status_code, found.json()["status"]["allowed"]]))
    seen.append(("nobody", side.ask("GET", f"{base}/pods", token="nonsense")))
    return seen
