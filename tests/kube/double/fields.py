"""The fields that the double knows, per kind. What is not here is answered 501.

A leaf says what the field holds: `str`, `int`, `bool`, `MAP` (strings by name), `ANY` (passed on,
honoured by the node or by nobody), a set (only these values are modelled).
"""

from typing import Any, Final

from tests.kube.double.objects import Object
from tests.kube.double.resources import Resource
from tests.kube.double.statuses import bad_request, not_modelled

ANY: Final = None
MAP: Final = "map"
QUANTITIES: Final = "quantities"
Shape = Any

_OWNER = {
    "apiVersion": str, "kind": str, "name": str, "uid": str, "controller": bool,
    "blockOwnerDeletion": bool,
}  # fmt: skip
METADATA = {
    "name": str, "generateName": str, "namespace": str, "uid": str, "resourceVersion": str,
    "generation": int, "creationTimestamp": ANY, "deletionTimestamp": ANY,
    "deletionGracePeriodSeconds": ANY, "labels": MAP, "annotations": MAP,
    "ownerReferences": [_OWNER], "finalizers": [str], "managedFields": ANY, "selfLink": ANY,
}  # fmt: skip
_SELECTOR = {
    "matchLabels": MAP,
    "matchExpressions": [{"key": str, "operator": str, "values": [str]}],
}
_VALUE_FROM = {
    "fieldRef": {"apiVersion": str, "fieldPath": str},
    "secretKeyRef": {"name": str, "key": str, "optional": bool},
    "configMapKeyRef": {"name": str, "key": str, "optional": bool},
    "resourceFieldRef": ANY,
}
_PROBE = {
    "httpGet": {"path": str, "port": ANY, "host": str, "scheme": str, "httpHeaders": ANY},
    "tcpSocket": {"port": ANY, "host": str}, "exec": {"command": [str]},
    "initialDelaySeconds": int, "timeoutSeconds": int, "periodSeconds": int,
    "successThreshold": int, "failureThreshold": int, "terminationGracePeriodSeconds": int,
}  # fmt: skip
_PROFILE = {"type": str, "localhostProfile": str}
_RESOURCES = {"requests": QUANTITIES, "limits": QUANTITIES}
CONTAINER = {
    "name": str, "image": str, "imagePullPolicy": str, "command": [str], "args": [str],
    "workingDir": str, "resources": _RESOURCES, "terminationMessagePath": str,
    "terminationMessagePolicy": str, "tty": bool, "stdin": bool, "stdinOnce": bool,
    "env": [{"name": str, "value": str, "valueFrom": _VALUE_FROM}],
    "ports": [{"name": str, "containerPort": int, "protocol": str, "hostPort": int}],
    "volumeMounts": [{"name": str, "mountPath": str, "readOnly": bool, "subPath": str}],
    "startupProbe": _PROBE, "readinessProbe": _PROBE, "livenessProbe": _PROBE,
    "lifecycle": {"preStop": ANY, "postStart": ANY},
    "securityContext": {
        "allowPrivilegeEscalation": bool, "capabilities": {"drop": [str], "add": [str]},
        "privileged": bool, "readOnlyRootFilesystem": bool, "runAsNonRoot": bool,
        "runAsUser": int, "runAsGroup": int, "seccompProfile": _PROFILE, "procMount": str,
    },
}  # fmt: skip
_VOLUME = {
    "name": str, "emptyDir": {"medium": str, "sizeLimit": ANY},
    "secret": {"secretName": str, "items": ANY, "defaultMode": int, "optional": bool},
    "configMap": {"name": str, "items": ANY, "defaultMode": int, "optional": bool},
    "projected": {"sources": ANY, "defaultMode": int}, "downwardAPI": ANY,
    "hostPath": {"path": str, "type": str},
}  # fmt: skip
_TOLERATION = {
    "key": str, "operator": str, "value": str, "effect": str, "tolerationSeconds": int
}  # fmt: skip
POD_SPEC = {
    "containers": [CONTAINER], "initContainers": [CONTAINER], "volumes": [_VOLUME],
    "restartPolicy": {"Always", "OnFailure", "Never"}, "terminationGracePeriodSeconds": int,
    "activeDeadlineSeconds": int, "dnsPolicy": str, "serviceAccountName": str,
    "serviceAccount": str, "automountServiceAccountToken": bool, "nodeName": str,
    "nodeSelector": MAP, "hostname": str, "subdomain": str, "schedulerName": {"default-scheduler"},
    "imagePullSecrets": [{"name": str}], "enableServiceLinks": bool, "priority": int,
    "preemptionPolicy": str, "tolerations": [_TOLERATION],
    "hostNetwork": bool, "hostPID": bool, "hostIPC": bool,
    "securityContext": {
        "runAsNonRoot": bool, "runAsUser": int, "runAsGroup": int, "fsGroup": int,
        "fsGroupChangePolicy": str, "supplementalGroups": [int], "seccompProfile": _PROFILE,
    },
    "topologySpreadConstraints": [{
        "maxSkew": int, "topologyKey": str, "whenUnsatisfiable": {"ScheduleAnyway"},
        "labelSelector": _SELECTOR,
    }],
}  # fmt: skip
TEMPLATE = {"metadata": METADATA, "spec": POD_SPEC}
_ON_EXIT_CODES = {"containerName": str, "operator": {"In", "NotIn"}, "values": [int]}
JOB_SPEC = {
    "parallelism": int, "completions": int, "completionMode": {"Indexed", "NonIndexed"},
    "backoffLimit": int, "backoffLimitPerIndex": int, "maxFailedIndexes": int, "suspend": bool,
    "activeDeadlineSeconds": int, "ttlSecondsAfterFinished": int, "template": TEMPLATE,
    "podReplacementPolicy": {"Failed", "TerminatingOrFailed"}, "selector": _SELECTOR,
    "manualSelector": {False},
    "podFailurePolicy": {"rules": [{
        "action": {"FailJob", "FailIndex", "Ignore", "Count"}, "onExitCodes": _ON_EXIT_CODES,
        "onPodConditions": [{"type": str, "status": str}],
    }]},
}  # fmt: skip
SERVICE_SPEC = {
    "ports": [{
        "name": str, "port": int, "targetPort": ANY, "protocol": {"TCP"}, "appProtocol": str,
    }],
    "selector": MAP, "clusterIP": str, "clusterIPs": [str], "type": {"ClusterIP"},
    "publishNotReadyAddresses": bool, "sessionAffinity": {"None"}, "ipFamilies": [str],
    "ipFamilyPolicy": str, "internalTrafficPolicy": {"Cluster"},
}  # fmt: skip
SPECS: dict[str, Shape] = {
    "Pod": {"spec": POD_SPEC},
    "Job": {"spec": JOB_SPEC},
    "Deployment": {"spec": {
        "replicas": int, "selector": _SELECTOR, "template": TEMPLATE, "minReadySeconds": {0},
        "revisionHistoryLimit": int, "progressDeadlineSeconds": int, "paused": {False},
        "strategy": {
            "type": {"RollingUpdate", "Recreate"},
            "rollingUpdate": {"maxUnavailable": ANY, "maxSurge": ANY},
        },
    }},
    "ReplicaSet": {"spec": {
        "replicas": int, "selector": _SELECTOR, "template": TEMPLATE, "minReadySeconds": {0},
    }},
    "Service": {"spec": SERVICE_SPEC},
    "Secret": {"data": MAP, "stringData": MAP, "type": str, "immutable": bool},
    "ConfigMap": {"data": MAP, "binaryData": MAP, "immutable": bool},
    "ServiceAccount": {"automountServiceAccountToken": bool, "imagePullSecrets": ANY},
    "Namespace": {"spec": {"finalizers": [str]}},
    "Node": {"spec": {
        "podCIDR": str, "podCIDRs": [str], "providerID": str, "unschedulable": bool,
        "taints": [{"key": str, "value": str, "effect": str, "timeAdded": ANY}],
    }},
    "PodDisruptionBudget": {"spec": {
        "maxUnavailable": ANY, "minAvailable": ANY, "selector": _SELECTOR,
        "unhealthyPodEvictionPolicy": {"AlwaysAllow", "IfHealthyBudget"},
    }},
    "Lease": {"spec": {
        "holderIdentity": str, "leaseDurationSeconds": int, "acquireTime": str, "renewTime": str,
        "leaseTransitions": int,
    }},
    "ResourceQuota": {"spec": {"hard": QUANTITIES}},
    "Event": {
        "involvedObject": ANY, "reason": str, "message": str, "source": ANY, "type": str,
        "firstTimestamp": ANY, "lastTimestamp": ANY, "count": int, "eventTime": ANY,
        "action": str, "reportingComponent": str, "reportingInstance": str,
    },
    "SelfSubjectAccessReview": {"spec": {"resourceAttributes": {
        "namespace": str, "verb": str, "group": str, "version": str, "resource": str,
        "subresource": str, "name": str,
    }}},
    "SelfSubjectRulesReview": {"spec": {"namespace": str}},
    "Binding": {"target": {"kind": {"Node"}, "name": str, "apiVersion": str}},
    "Eviction": {"deleteOptions": {
        "apiVersion": str, "kind": str, "gracePeriodSeconds": int, "dryRun": [str],
    }},
    "DeleteOptions": {
        "gracePeriodSeconds": int, "propagationPolicy": {"Background", "Foreground"},
        "preconditions": {"uid": str, "resourceVersion": str},
    },
}  # fmt: skip
# What stands beside the spec in each object.
_FRAME = {"apiVersion": str, "kind": str, "metadata": METADATA, "status": ANY}


def check_known(kind: str, version: str, obj: Object) -> None:
    """Raises 501 for a field that is not modelled, 400 for a value of the wrong sort."""
    _check(f'{kind} in version "{version}"', kind, "", {**_FRAME, **SPECS[kind]}, obj)


def check_resource(resource: Resource, obj: Object) -> None:
    check_known(resource.kind, resource.version, obj)


def _check(what: str, kind: str, path: str, shape: Shape, value: Any) -> None:
    if shape is ANY or value is None:
        return
    if isinstance(shape, dict):
        _expect(what, kind, path, value, dict, "object")
        for name, inner in value.items():
            field = f"{path}.{name}" if path else name
            if name not in shape:
                raise not_modelled(f"the field {field} of {what}")
            _check(what, kind, field, shape[name], inner)
    elif isinstance(shape, list):
        _expect(what, kind, path, value, list, "array")
        for row in value:
            _check(what, kind, path, shape[0], row)
    elif isinstance(shape, set):
        if value not in shape and value != "":
            raise not_modelled(f"{path}={value} of {what}")
    else:
        _leaf(what, kind, path, shape, value)


def _leaf(what: str, kind: str, path: str, shape: Shape, value: Any) -> None:
    if shape == MAP:
        _expect(what, kind, path, value, dict, "map[string]string")
        for inner in value.values():
            _expect(what, kind, path, inner, str, "string")
    elif shape == QUANTITIES:
        _expect(what, kind, path, value, dict, "object")
        for inner in value.values():
            if isinstance(inner, bool) or not isinstance(inner, str | int | float):
                raise _undecodable(what, kind, path, inner, "string")
    else:
        words = {str: "string", int: "int32", bool: "bool"}
        _expect(what, kind, path, value, shape, words[shape])


def _expect(what: str, kind: str, path: str, value: Any, sort: type, word: str) -> None:
    if not isinstance(value, sort) or (sort is int and isinstance(value, bool)):
        raise _undecodable(what, kind, path, value, word)


def _undecodable(what: str, kind: str, path: str, value: Any, word: str) -> Exception:
    sorts = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}
    found = sorts.get(type(value), "object")
    return bad_request(
        f"{what} cannot be handled as a {kind}: json: cannot unmarshal {found} into Go struct"
        f" field {kind}.{path} of type {word}"
    )
