"""What is asked of the double and of a real cluster alike. Each returns what was seen, in order."""

from __future__ import annotations

from typing import Any

from tests.kube.double.compare.side import JSON_PATCH, Side

Json = Any
Seen = list[tuple[str, Json]]

OTHER = "00000000-0000-0000-0000-000000000000"
CONTAINER = {
    "name": "main",
    "image": "busybox",
    "command": ["work"],
    "resources": {"requests": {"cpu": "100m", "memory": "32Mi"}},
}
SAFE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
SAFE_POD = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}


def pod(name: str, **spec: Json) -> Json:
    metadata = {"name": name, "labels": {"app": name[0]}}
    return {"metadata": metadata, "spec": {"containers": [CONTAINER], **spec}}


def job(name: str, **spec: Json) -> Json:
    template = {"spec": {"restartPolicy": "Never", "containers": [CONTAINER]}}
    return {"metadata": {"name": name}, "spec": {"template": template, **spec}}


def deployment(name: str, **spec: Json) -> Json:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [CONTAINER]}}
    rest = {"selector": {"matchLabels": labels}, "template": template, **spec}
    return {"metadata": {"name": name}, "spec": rest}


def service(name: str, port: Json) -> Json:
    return {"metadata": {"name": name}, "spec": {"ports": [port]}}


def defaults(side: Side) -> Seen:
    """What the server makes of an object: each kind, sent sparely and read back."""
    base = side.base
    full = {
        **CONTAINER,
        "ports": [{"name": "http", "containerPort": 80}],
        "env": [
            {"name": "A", "value": ""},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "t"}}},
        ],
        "resources": {"limits": {"memory": "1Gi", "x.dev/gpu": "1"}, "requests": {"cpu": 0.5}},
        "readinessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 1},
        "startupProbe": {"tcpSocket": {"port": 80}, "failureThreshold": 60},
        "image": "a/b:1",
        "volumeMounts": [{"name": "w", "mountPath": "/w"}],
    }
    rich = pod(
        "rich",
        containers=[full],
        initContainers=[{"name": "stage", "image": "b@sha256:" + "a" * 64}],
        volumes=[{"name": "w", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "s"}}],
        automountServiceAccountToken=False,
        tolerations=[{"key": "k", "operator": "Exists"}],
        securityContext=SAFE_POD,
        nodeSelector={"a": "b"},
        hostname="h",
        subdomain="s",
        enableServiceLinks=False,
        restartPolicy="Never",
    )
    policy = {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}
    labelled = {"name": "l", "labels": {"x": "y"}}
    port = {"ports": [{"port": 80}]}
    named = {"ports": [{"name": "p", "port": 8, "targetPort": "p"}]}
    headless = {"clusterIP": "None", "selector": {"a": "b"}, "publishNotReadyAddresses": True}
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": {"a": "b"}}}
    secret = {"stringData": {"a": "é"}, "data": {"b": "YQ=="}}
    nulls = pod("nulls", nodeSelector=None, volumes=None)
    nulls["metadata"]["annotations"] = None
    sent = [
        ("pod", f"{base}/pods", pod("plain")),
        ("pod with much", f"{base}/pods", rich),
        ("pod with nulls", f"{base}/pods", nulls),
        ("job", side.jobs, job("plain", suspend=True)),
        (
            "indexed job",
            side.jobs,
            job(
                "indexed",
                suspend=True,
                completionMode="Indexed",
                completions=2,
                parallelism=2,
                backoffLimitPerIndex=1,
                podFailurePolicy=policy,
            ),
        ),
        ("labelled job", side.jobs, {**job("l", suspend=True), "metadata": labelled}),
        ("work queue job", side.jobs, job("queue", suspend=True, parallelism=2)),
        ("deployment", side.deployments, deployment("web", replicas=0)),
        ("service", f"{base}/services", {"metadata": {"name": "s"}, "spec": port}),
        (
            "headless service",
            f"{base}/services",
            {
                "metadata": {"name": "h"},
                "spec": headless,
            },
        ),
        (
            "named port",
            f"{base}/services",
            {"metadata": {"name": "n"}, "spec": named},
        ),
        ("secret", f"{base}/secrets", {"metadata": {"name": "s"}, **secret}),
        ("empty secret", f"{base}/secrets", {"metadata": {"name": "e"}, "immutable": True}),
        ("config map", f"{base}/configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}}),
        ("lease", side.leases, {"metadata": {"name": "l"}, "spec": {}}),
        (
            "budget",
            side.budgets,
            {"metadata": {"name": "b"}, "spec": budget},
        ),
        ("account", f"{base}/serviceaccounts", {"metadata": {"name": "bot"}}),
        ("dry run", f"{base}/configmaps?dryRun=All", {"metadata": {"name": "d"}}),
        ("generated", f"{base}/configmaps", {"metadata": {"generateName": "g-"}}),
        (
            "owned",
            f"{base}/configmaps",
            {"metadata": {"name": "o", "finalizers": ["x.dev/y"], "annotations": {"a": "b"}}},
        ),
    ]
    return [(label, side.ask("POST", path, body)) for label, path, body in sent]


def refusals(side: Side) -> Seen:
    """What the server says no to, and in which words."""
    base = side.base
    seen: Seen = []
    maps = f"{base}/configmaps"
    side.raw("POST", maps, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    side.raw("POST", f"{base}/pods", pod("p"))
    side.raw("POST", side.leases, {"metadata": {"name": "l"}, "spec": {}})
    services = f"{base}/services"
    node = {"target": {"kind": "Node", "name": "n"}}
    long = "x" * 64
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "c"}
    for label, method, path, body in [
        ("exists", "POST", maps, {"metadata": {"name": "c"}}),
        ("missing", "GET", f"{base}/pods/nope", None),
        ("missing job", "GET", f"{side.jobs}/nope", None),
        ("delete missing", "DELETE", f"{side.jobs}/nope?propagationPolicy=Background", None),
        ("patch missing", "PATCH", f"{side.jobs}/nope", {}),
        ("put missing", "PUT", f"{maps}/nope", {"metadata": {"name": "nope"}}),
        ("no namespace", "POST", "/api/v1/namespaces/nonesuch/pods", pod("x")),
        ("method", "PUT", f"{base}/pods", pod("x")),
        ("wrong namespace", "POST", maps, {"metadata": {"name": "x", "namespace": "other"}}),
        ("wrong name", "PUT", f"{maps}/c", {"metadata": {"name": "d"}}),
        ("version on create", "POST", maps, {"metadata": {"name": "v", "resourceVersion": "1"}}),
        ("no name", "POST", maps, {"metadata": {}}),
        ("name", "POST", maps, {"metadata": {"name": "Bad_Name"}}),
        ("long name", "POST", maps, {"metadata": {"name": "x" * 254}}),
        ("label value", "POST", maps, {"metadata": {"name": "x", "labels": {"a": "b c"}}}),
        ("label length", "POST", maps, {"metadata": {"name": "x", "labels": {"a": long}}}),
        ("label key", "POST", maps, {"metadata": {"name": "x", "labels": {"a b": "c"}}}),
        ("label prefix", "POST", maps, {"metadata": {"name": "x", "labels": {"A_/b": "c"}}}),
        ("owner", "POST", maps, {"metadata": {"name": "x", "ownerReferences": [owner]}}),
        ("namespace name", "POST", "/api/v1/namespaces", {"metadata": {"name": "a.b"}}),
        ("service name", "POST", services, service("1a", {"port": 1})),
        ("service port", "POST", services, service("a", {"port": 0})),
        ("no service port", "POST", f"{base}/services", {"metadata": {"name": "a"}, "spec": {}}),
        ("secret key", "POST", f"{base}/secrets", {"metadata": {"name": "x"}, "data": {"a b": ""}}),
        ("uid", "PUT", f"{maps}/c", {"metadata": {"name": "c", "uid": "1"}}),
        ("stale put", "PUT", f"{maps}/c", {"metadata": {"name": "c", "resourceVersion": "1"}}),
        ("stale patch", "PATCH", f"{maps}/c", {"metadata": {"resourceVersion": "1"}}),
        ("uid in patch", "PATCH", f"{maps}/c", {"metadata": {"uid": OTHER}}),
        ("lease without version", "PUT", f"{side.leases}/l", {"metadata": {"name": "l"}}),
        ("precondition", "DELETE", f"{maps}/c", {"preconditions": {"uid": OTHER}}),
        ("field selector", "GET", f"{maps}?fieldSelector=data.a%3D1", None),
        ("pod field", "GET", f"{base}/pods?fieldSelector=spec.bogus%3D1", None),
        ("binding", "POST", f"{base}/pods/nope/binding", {"metadata": {"name": "x"}, **node}),
        (
            "binding nobody",
            "POST",
            f"{base}/pods/nope/binding",
            {"metadata": {"name": "nope"}, **node},
        ),
        ("log of nobody", "GET", f"{base}/pods/nope/log", None),
        ("log unscheduled", "GET", f"{base}/pods/p/log", None),
        ("log of no container", "GET", f"{base}/pods/p/log?container=zz", None),
        ("exec unscheduled", "POST", f"{base}/pods/p/exec?command=ls&stdout=1", None),
        ("no account", "POST", f"{base}/pods", pod("x", serviceAccountName="nobody")),
    ]:
        seen.append((label, side.ask(method, path, body)))
    seen.append(
        (
            "json patch",
            side.ask(
                "PATCH",
                f"{maps}/c",
                [{"op": "test", "path": "/data/a", "value": "z"}],
                sort=JSON_PATCH,
            ),
        )
    )
    selector = side.ask("GET", f"{maps}?labelSelector=a%20b")
    seen.append(("label selector", [selector[0], selector[2]["reason"]]))
    seen.append(("patch type", side.ask("PATCH", f"{maps}/c", {}, sort="text/plain")))
    return seen


def pods_invalid(side: Side) -> Seen:
    """Pods, Jobs and Deployments that are no good."""
    one = {**CONTAINER}
    policy = [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}]
    seen: Seen = []
    bad: dict[str, Json] = {
        "none": {"containers": []},
        "container name": {"containers": [{**one, "name": "A_b"}]},
        "no image": {"containers": [{"name": "a"}]},
        "twice": {"containers": [one, one]},
        "port": {"containers": [{**one, "ports": [{"containerPort": 0}]}]},
        "port name": {"containers": [{**one, "ports": [{"containerPort": 1, "name": "x" * 16}]}]},
        "mount": {"containers": [{**one, "volumeMounts": [{"name": "w", "mountPath": "/w"}]}]},
        "request over limit": {
            "containers": [
                {**one, "resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}}
            ]
        },
        "extended without limit": {
            "containers": [{**one, "resources": {"requests": {"x.dev/gpu": "1"}}}]
        },
        "hostname": {"hostname": "A"},
        "subdomain": {"subdomain": "x" * 64},
        "deadline": {"activeDeadlineSeconds": 0},
        "env": {"containers": [{**one, "env": [{"name": ""}]}]},
    }
    for label, spec in bad.items():
        seen.append((f"pod: {label}", side.ask("POST", f"{side.base}/pods", pod("x", **spec))))
    bad = {
        "indexed without completions": {"completionMode": "Indexed"},
        "per index": {"backoffLimitPerIndex": 1},
        "max failed": {"completionMode": "Indexed", "completions": 1, "maxFailedIndexes": 1},
        "fail index": {"podFailurePolicy": {"rules": policy}},
        "negative": {"parallelism": -1, "completions": -1},
        "exit code 0": {
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [0, 1]}}
                ]
            }
        },
        "unordered codes": {
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2, 1]}}
                ]
            }
        },
    }
    for label, spec in bad.items():
        seen.append((f"job: {label}", side.ask("POST", side.jobs, job("x", **spec))))
    always = job("x")
    always["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    seen.append(("job: always", side.ask("POST", side.jobs, always)))
    long = job("x" * 60, completionMode="Indexed", completions=1000)
    seen.append(("job: long name", side.ask("POST", side.jobs, long)))
    seen.append(("job: 63", side.ask("POST", side.jobs, job("x" * 64))))
    wrong = deployment("x")
    wrong["spec"]["selector"] = {"matchLabels": {"app": "y"}}
    seen.append(("deployment: selector", side.ask("POST", side.deployments, wrong)))
    never = deployment("x")
    never["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    seen.append(("deployment: never", side.ask("POST", side.deployments, never)))
    return seen
