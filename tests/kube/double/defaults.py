"""What the API server fills in, so that an object read back is not the object sent."""

import base64
import itertools
from typing import Any

from tests.kube.double.objects import Object, canonical, containers_of, labels_of, suffix
from tests.kube.double.resources import (
    BUDGETS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICASETS,
    SECRETS,
    SERVICES,
    Resource,
)  # fmt: skip

UNLIMITED = 2147483647
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
_addresses = itertools.count(2)


def fill(resource: Resource, obj: Object) -> None:
    """Sets the defaults of a kind, on each write."""
    if resource is PODS:
        _pod_spec(obj["spec"])
    elif resource is JOBS:
        _job(obj)
    elif resource in (DEPLOYMENTS, REPLICASETS):
        _replicated(resource, obj)
    elif resource is SERVICES:
        _service(obj)
    elif resource is SECRETS:
        _secret(obj)


def begin(resource: Resource, obj: Object) -> None:
    """Sets what a new object has: its first status, labels that come with its uid."""
    if resource is PODS:
        obj["status"] = {"phase": "Pending", "qosClass": _quality(obj["spec"])}
    elif resource is JOBS:
        _own(obj)
        obj["status"] = {}
    elif resource is REPLICASETS:
        obj["status"] = {"replicas": 0}
    elif resource is DEPLOYMENTS:
        obj["status"] = {}
    elif resource is BUDGETS:
        numbers = ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods")
        obj["status"] = dict.fromkeys(numbers, 0)
    elif resource is SERVICES:
        _addressed(obj)
        obj["status"] = {"loadBalancer": {}}
    elif resource is NAMESPACES:
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"][
            "name"
        ]
    elif resource is NODES:
        _node(obj)


def _default(obj: Object, **values: Any) -> None:
    for name, value in values.items():
        if obj.get(name) is None:
            obj[name] = value


def _pod_spec(spec: Object) -> None:
    for _, container in containers_of(spec):
        tag = str(container.get("image", "")).rpartition("/")[2]
        latest = (":" not in tag and "@" not in tag) or tag.endswith(":latest")
        _default(
            container, resources={}, terminationMessagePath="/dev/termination-log",
            terminationMessagePolicy="File",
            imagePullPolicy="Always" if latest else "IfNotPresent",
        )  # fmt: skip
        _container(container)
    for volume in spec.get("volumes") or []:
        for kind in ("secret", "configMap", "projected", "downwardAPI"):
            if kind in volume:
                _default(volume[kind], defaultMode=420)
        if set(volume) == {"name"}:
            volume["emptyDir"] = {}
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    _default(
        spec, restartPolicy="Always", terminationGracePeriodSeconds=30, dnsPolicy="ClusterFirst",
        securityContext={}, schedulerName="default-scheduler",
    )  # fmt: skip


def _container(container: Object) -> None:
    for port in container.get("ports") or []:
        _default(port, protocol="TCP")
    for row in container.get("env") or []:
        if row.get("value") == "":
            del row["value"]
        if "fieldRef" in (row.get("valueFrom") or {}):
            _default(row["valueFrom"]["fieldRef"], apiVersion="v1")
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        if probe := container.get(name):
            _default(
                probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3
            )
            if "httpGet" in probe:
                _default(probe["httpGet"], path="/", scheme="HTTP")
    resources = container["resources"]
    for sort in set(resources) & {"limits", "requests"}:
        resources[sort] = {key: canonical(text) for key, text in (resources[sort] or {}).items()}
    for name, amount in (resources.get("limits") or {}).items():
        resources.setdefault("requests", {}).setdefault(name, amount)


def _quality(spec: Object) -> str:
    rows = [container["resources"] for _, container in containers_of(spec)]
    if not any(row.get("requests") or row.get("limits") for row in rows):
        return "BestEffort"
    for row in rows:
        limits, requests = row.get("limits") or {}, row.get("requests") or {}
        if not all(
            name in limits and limits[name] == requests.get(name) for name in ("cpu", "memory")
        ):
            return "Burstable"
    return "Guaranteed"


def admit_pod(obj: Object) -> None:
    """What admission adds to each new pod."""
    spec = obj["spec"]
    if not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = spec["serviceAccount"] = "default"
    if spec.get("automountServiceAccountToken") is not False:
        _mount_token(spec)
    tolerations = spec.get("tolerations") or []
    for key in (NOT_READY, UNREACHABLE):
        if not any(_covers(one, key) for one in tolerations):
            tolerations.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            )
    spec["tolerations"] = tolerations
    _default(spec, priority=0, preemptionPolicy="PreemptLowerPriority", enableServiceLinks=True)


def _covers(toleration: Object, key: str) -> bool:
    effect = toleration.get("effect") or "NoExecute"
    return toleration.get("key", key) == key and effect == "NoExecute"


def _mount_token(spec: Object) -> None:
    name, mount = f"kube-api-access-{suffix()}", "/var/run/secrets/kubernetes.io/serviceaccount"
    field = {
        "path": "namespace",
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
    }
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [field]}},
    ]
    for _, container in containers_of(spec):
        mounts = container.setdefault("volumeMounts", [])
        if any(one["mountPath"] == mount for one in mounts):
            return
        mounts.append({"name": name, "readOnly": True, "mountPath": mount})
    projected = {"sources": sources, "defaultMode": 420}
    spec["volumes"] = [*(spec.get("volumes") or []), {"name": name, "projected": projected}]


def _job(obj: Object) -> None:
    spec = obj["spec"]
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    per_index = spec.get("backoffLimitPerIndex") is not None
    policy = "Failed" if spec.get("podFailurePolicy") is not None else "TerminatingOrFailed"
    _default(
        spec, parallelism=1, backoffLimit=UNLIMITED if per_index else 6,
        completionMode="NonIndexed", suspend=False, podReplacementPolicy=policy,
        manualSelector=False,
    )  # fmt: skip
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or []:
        for pattern in rule.get("onPodConditions") or []:
            _default(pattern, status="True")
    template = spec.setdefault("template", {})
    _template(template)


def _template(template: Object) -> None:
    template.setdefault("metadata", {})
    # The one field that no template keeps.
    template["metadata"].pop("creationTimestamp", None)
    template.setdefault("spec", {})
    _pod_spec(template["spec"])


def _own(job: Object) -> None:
    uid, name = job["metadata"]["uid"], job["metadata"]["name"]
    labels = {
        "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name,
        "controller-uid": uid, "job-name": name,
    }  # fmt: skip
    template = job["spec"]["template"]["metadata"]
    template["labels"] = {**(template.get("labels") or {}), **labels}
    job["spec"]["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    if not labels_of(job):
        job["metadata"]["labels"] = dict(template["labels"])


def _replicated(resource: Resource, obj: Object) -> None:
    spec = obj["spec"]
    _default(spec, replicas=1)
    if resource is DEPLOYMENTS:
        _default(spec, revisionHistoryLimit=10, progressDeadlineSeconds=600, strategy={})
        _default(spec["strategy"], type="RollingUpdate")
        if spec["strategy"]["type"] == "RollingUpdate":
            _default(spec["strategy"], rollingUpdate={})
            _default(spec["strategy"]["rollingUpdate"], maxUnavailable="25%", maxSurge="25%")
    _template(spec.setdefault("template", {}))


def _service(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _default(spec, type="ClusterIP", sessionAffinity="None", internalTrafficPolicy="Cluster")
    for port in spec.get("ports") or []:
        _default(port, protocol="TCP")
        _default(port, targetPort=port.get("port"))


def _addressed(obj: Object) -> None:
    spec = obj["spec"]
    if not spec.get("clusterIP"):
        high, low = divmod(next(_addresses), 256)
        spec["clusterIP"] = f"10.96.{high % 256}.{low}"
    spec["clusterIPs"] = [spec["clusterIP"]]
    _default(spec, ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")


def _secret(obj: Object) -> None:
    _default(obj, type="Opaque")
    for name, text in (obj.pop("stringData", None) or {}).items():
        if obj.get("data") is None:
            obj["data"] = {}
        obj["data"][name] = base64.b64encode(text.encode()).decode()


def _node(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    taints = spec.setdefault("taints", [])
    if not any(one["key"] == NOT_READY for one in taints):
        taints.append({"key": NOT_READY, "effect": "NoSchedule"})
    status = obj.setdefault("status", {})
    _default(status, daemonEndpoints={"kubeletEndpoint": {"Port": 0}}, nodeInfo={})


def shape(resource: Resource, obj: Object) -> None:
    """Drops what is null, as decoding does, and gives each kind the parts it always has."""
    for key in [key for key, value in obj.items() if value is None]:
        del obj[key]
    for key in ("data", "binaryData"):
        if obj.get(key) == {}:
            del obj[key]
    if resource in (PODS, JOBS, DEPLOYMENTS, REPLICASETS, NODES, BUDGETS):
        obj["spec"] = _pruned(obj.get("spec") or {})


def fill_status(resource: Resource, obj: Object) -> None:
    """Gives conditions and containers' states the parts that they always have."""
    if resource not in (PODS, NODES):
        return
    status = obj["status"]
    seen = "lastProbeTime" if resource is PODS else "lastHeartbeatTime"
    for row in status.get("conditions") or []:
        row.setdefault(seen, None)
        row.setdefault("lastTransitionTime", None)
        for key in [key for key, value in row.items() if value is None]:
            if key not in (seen, "lastTransitionTime"):
                del row[key]
    for field in ("containerStatuses", "initContainerStatuses"):
        for row in status.get(field) or []:
            _default(row, ready=False, restartCount=0, image="", imageID="", state={}, lastState={})


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(inner) for key, inner in value.items() if inner is not None}
    return [_pruned(inner) for inner in value] if isinstance(value, list) else value
