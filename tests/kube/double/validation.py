"""What the API server refuses as invalid: 422 with a cause for each fault."""

import base64
import binascii
import re

from tests.kube.double.objects import Object, containers_of, labels_of, quantity
from tests.kube.double.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    SECRETS,
    SERVICES,
    Resource,
)  # fmt: skip
from tests.kube.double.selectors import selected
from tests.kube.double.statuses import Faults, not_modelled

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and"
    " must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex"
    f" used for validation is '{_LABEL}')"
)
SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or"
    " '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used"
    f" for validation is '{_SUBDOMAIN}')"
)
VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or"
    " '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',"
    f"  or '12345', regex used for validation is '{_VALUE}')"
)
QUALIFIED_WORDS = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end"
    " with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for"
    f" validation is '{_QUALIFIED}')"
)


def check(resource: Resource, obj: Object, old: Object | None = None) -> None:
    """Raises 422 when the object is invalid, or changes what may not change."""
    faults = Faults(resource, str(obj["metadata"].get("name", "")))
    _metadata(resource, obj, faults)
    if resource is PODS:
        pod_spec(obj["spec"], "spec", faults)
    elif resource is JOBS:
        _job(obj, faults)
    elif resource in (DEPLOYMENTS, REPLICASETS):
        _replicated(obj, faults)
    elif resource in (SECRETS, CONFIGMAPS):
        _data(obj, faults)
    elif resource is SERVICES:
        _service(obj, faults)
    if old is not None:
        _update(resource, old, obj, faults)
    faults.settle()


def _update(resource: Resource, old: Object, new: Object, faults: Faults) -> None:
    if resource is PODS:
        _pod_update(old["spec"], new["spec"], faults)
    elif resource is JOBS:
        _job_update(old["spec"], new["spec"], faults)
    elif resource in (DEPLOYMENTS, REPLICASETS):
        _immutable(old["spec"], new["spec"], ("selector",), faults)
        if old["spec"]["template"] != new["spec"]["template"]:
            raise not_modelled(f"a change of the template of {resource.plural}")
    elif resource is SERVICES:
        if old["spec"]["clusterIP"] != new["spec"].get("clusterIP"):
            faults.add(
                "invalid", "spec.clusterIPs[0]", "may not change once set",
                [new["spec"].get("clusterIP")],
            )  # fmt: skip
    elif resource in (SECRETS, CONFIGMAPS) and old.get("immutable"):
        for field in ("data", "binaryData"):
            if old.get(field) != new.get(field):
                faults.add("forbidden", field, "field is immutable when `immutable` is set")
        if not new.get("immutable"):
            faults.add("forbidden", "immutable", "field is immutable when `immutable` is set")


def _metadata(resource: Resource, obj: Object, faults: Faults) -> None:
    metadata = obj["metadata"]
    name = str(metadata.get("name") or "")
    if not name:
        faults.add("required", "metadata.name", "name or generateName is required")
    elif resource is SERVICES:
        _name(name, _LABEL, LABEL_WORDS, 63, faults)
    elif resource is NAMESPACES:
        words = "must not contain dots" if "." in name else LABEL_WORDS
        _name(name, _LABEL, words, 63, faults)
    else:
        _name(name, _SUBDOMAIN, SUBDOMAIN_WORDS, 253, faults)
    # A job that names no labels has its template's, which are looked at there.
    if resource is not JOBS or labels_of(obj) != labels_of(obj["spec"]["template"]):
        check_labels(labels_of(obj), "metadata.labels", faults)
    for key in metadata.get("annotations") or {}:
        _key(key.lower(), "metadata.annotations", faults)
    size = sum(len(k) + len(v) for k, v in (metadata.get("annotations") or {}).items())
    if size > 262144:
        faults.add("too long", "metadata.annotations", "may not be more than 262144 bytes")
    for owner in metadata.get("ownerReferences") or []:
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                place = f"metadata.ownerReferences.{field}"
                faults.add("invalid", place, "must not be empty", "")


def _name(name: str, pattern: str, words: str, most: int, faults: Faults) -> None:
    if len(name) > most:
        why = f"must be no more than {most} characters"
        faults.add("invalid", "metadata.name", why, name)
    if not re.fullmatch(pattern, name):
        faults.add("invalid", "metadata.name", words, name)


def check_labels(labels: dict[str, str], field: str, faults: Faults) -> None:
    for key, value in labels.items():
        _key(key, field, faults)
        if len(value) > 63:
            faults.add("invalid", field, "must be no more than 63 bytes", value)
        if not re.fullmatch(_VALUE, value):
            faults.add("invalid", field, VALUE_WORDS, value)


def _key(key: str, field: str, faults: Faults) -> None:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not re.fullmatch(_SUBDOMAIN, prefix)):
        faults.add("invalid", field, f"prefix part {SUBDOMAIN_WORDS}", key)
    if not name:
        faults.add("invalid", field, "name part must be non-empty", key)
    elif len(name) > 63:
        faults.add("invalid", field, "name part must be no more than 63 bytes", key)
    elif not re.fullmatch(_QUALIFIED, name):
        faults.add("invalid", field, QUALIFIED_WORDS, key)


def pod_spec(spec: Object, path: str, faults: Faults) -> None:
    if not spec.get("containers"):
        faults.add("required", f"{path}.containers")
    volumes = {one.get("name") for one in spec.get("volumes") or []}
    names: set[str] = set()
    counts = {"initContainers": 0, "containers": 0}
    for field, container in containers_of(spec):
        place = f"{path}.{field}[{counts[field]}]"
        counts[field] += 1
        _container(container, place, volumes, faults)
        if container.get("name") in names:
            faults.add("duplicate", f"{place}.name", "", container["name"])
        names.add(container.get("name", ""))
    for field in ("hostname", "subdomain"):
        if text := spec.get(field):
            if len(text) > 63:
                faults.add("invalid", f"{path}.{field}", "must be no more than 63 characters", text)
            if not re.fullmatch(_LABEL, text):
                faults.add("invalid", f"{path}.{field}", LABEL_WORDS, text)
    check_labels(spec.get("nodeSelector") or {}, f"{path}.nodeSelector", faults)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2147483647:
        why = "must be between 1 and 2147483647, inclusive"
        faults.add("invalid", f"{path}.activeDeadlineSeconds", why, deadline)


def _container(container: Object, place: str, volumes: set[str | None], faults: Faults) -> None:
    name = str(container.get("name") or "")
    if not name:
        faults.add("required", f"{place}.name")
    elif not re.fullmatch(_LABEL, name) or len(name) > 63:
        faults.add("invalid", f"{place}.name", LABEL_WORDS, name)
    if not container.get("image"):
        faults.add("required", f"{place}.image")
    for number, port in enumerate(container.get("ports") or []):
        if not port.get("containerPort"):
            faults.add("required", f"{place}.ports[{number}].containerPort")
        elif not 1 <= port["containerPort"] <= 65535:
            why = "must be between 1 and 65535, inclusive"
            faults.add(
                "invalid", f"{place}.ports[{number}].containerPort", why, port.get("containerPort")
            )
        if len(port.get("name", "")) > 15:
            why = "must be no more than 15 characters"
            faults.add("invalid", f"{place}.ports[{number}].name", why, port["name"])
    for number, row in enumerate(container.get("env") or []):
        if not row.get("name"):
            faults.add("required", f"{place}.env[{number}].name")
        if row.get("value") and row.get("valueFrom"):
            why = "may not be specified when `value` is not empty"
            faults.add("invalid", f"{place}.env[{number}].valueFrom", why, "")
    for number, mount in enumerate(container.get("volumeMounts") or []):
        if mount.get("name") not in volumes:
            faults.add("not found", f"{place}.volumeMounts[{number}].name", "", mount.get("name"))
    _resources(container.get("resources") or {}, f"{place}.resources", faults)


def _resources(resources: Object, place: str, faults: Faults) -> None:
    amounts: dict[tuple[str, str], float] = {}
    for sort in ("limits", "requests"):
        for name, text in (resources.get(sort) or {}).items():
            try:
                amounts[sort, name] = quantity(text)
            except ValueError:
                faults.add("invalid", f"{place}.{sort}[{name}]", "quantities must match", text)
                continue
            if amounts[sort, name] < 0:
                why = "must be greater than or equal to 0"
                faults.add("invalid", f"{place}.{sort}[{name}]", why, str(text))
    for (sort, name), amount in amounts.items():
        limit = amounts.get(("limits", name))
        extended = "/" in name and not name.startswith("kubernetes.io/")
        if sort == "requests" and limit is not None and amount > limit:
            text = resources["requests"][name]
            why = f"must be less than or equal to {name} limit of {resources['limits'][name]}"
            faults.add("invalid", f"{place}.requests", why, str(text))
        if sort == "requests" and extended and limit is None:
            faults.add(
                "required", f"{place}.limits", "Limit must be set for non overcommitable resources"
            )


def _pod_update(old: Object, new: Object, faults: Faults) -> None:
    words = (
        "pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only"
        " additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be"
        " set to 1 if it was previously negative)"
    )
    if _fixed(old) != _fixed(new):
        faults.add("forbidden", "spec", words)


def _fixed(spec: Object) -> Object:
    """What of a pod's spec never changes."""
    free = {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"}
    kept = {key: value for key, value in spec.items() if key not in free}
    for field in ("containers", "initContainers"):
        if field in kept:
            kept[field] = [{**one, "image": ""} for one in kept[field]]
    return kept


def _immutable(
    old: Object, new: Object, fields: tuple[str, ...], faults: Faults, place: str = "spec"
) -> None:
    for field in fields:
        if old.get(field) != new.get(field):
            faults.add("invalid", f"{place}.{field}", "field is immutable", new.get(field))


def _job(job: Object, faults: Faults) -> None:
    spec, name = job["spec"], str(job["metadata"].get("name", ""))
    indexed = spec["completionMode"] == "Indexed"
    per_index = spec.get("backoffLimitPerIndex") is not None
    for field in (
        "parallelism", "completions", "backoffLimit", "backoffLimitPerIndex", "maxFailedIndexes",
        "activeDeadlineSeconds", "ttlSecondsAfterFinished",
    ):  # fmt: skip
        if (value := spec.get(field)) is not None and value < 0:
            faults.add("invalid", f"spec.{field}", "must be greater than or equal to 0", value)
    if indexed and spec.get("completions") is None:
        why = "when completion mode is Indexed"
        faults.add("required", "spec.completions", why)
    if per_index and not indexed:
        why = "requires indexed completion mode"
        faults.add("invalid", "spec.backoffLimitPerIndex", why, spec["backoffLimitPerIndex"])
    if spec.get("maxFailedIndexes") is not None and not per_index:
        why = "when maxFailedIndexes is specified"
        faults.add("required", "spec.backoffLimitPerIndex", why)
    if indexed and spec.get("completions"):
        host = f"{name}-{spec['completions'] - 1}"
        if len(host) > 63:
            why = f"will not able to create pod with invalid DNS label: {host}"
            faults.add("invalid", "metadata.name", why, name)
    _policy(spec, per_index, faults)
    template = spec["template"]
    check_labels(labels_of(template), "spec.template.labels", faults)
    pod_spec(template["spec"], "spec.template.spec", faults)
    _restart(spec, faults)


def _policy(spec: Object, per_index: bool, faults: Faults) -> None:
    rules = (spec.get("podFailurePolicy") or {}).get("rules") or []
    for number, rule in enumerate(rules):
        place = f"spec.podFailurePolicy.rules[{number}]"
        if rule.get("action") == "FailIndex" and not per_index:
            why = "requires the backoffLimitPerIndex to be set"
            faults.add("invalid", f"{place}.action", why, "FailIndex")
        exits = rule.get("onExitCodes") or {}
        codes: list[int] = exits.get("values") or []
        if sorted(set(codes)) != codes:
            faults.add("invalid", f"{place}.onExitCodes.values", "must be ordered", codes)
        if exits.get("operator") == "In" and 0 in codes:
            field = f"{place}.onExitCodes.values[{codes.index(0)}]"
            faults.add("invalid", field, "must not be 0 for the In operator", 0)
        if ("onExitCodes" in rule) == bool(rule.get("onPodConditions")):
            why = "specifying one of OnExitCodes and OnPodConditions is required"
            faults.add("invalid", place, why, "")


def _restart(spec: Object, faults: Faults) -> None:
    restart, field = spec["template"]["spec"]["restartPolicy"], "spec.template.spec.restartPolicy"
    if restart == "Always":
        faults.add("required", field, 'valid values: "OnFailure", "Never"')
    elif restart != "Never" and spec.get("podFailurePolicy") is not None:
        why = 'only "Never" is supported when podFailurePolicy is specified'
        faults.add("invalid", field, why, restart)


def _job_update(old: Object, new: Object, faults: Faults) -> None:
    both = old.get("completions") != new.get("completions")
    if both:
        together = (
            new["completionMode"] == "Indexed"
            and new.get("completions") is not None
            and new.get("completions") == new.get("parallelism")
        )
        if not together:
            why = "can only be modified in tandem with spec.parallelism"
            faults.add("invalid", "spec.completions", why, new.get("completions"))
    fixed = ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex")
    _immutable(old, new, ("selector",), faults)
    if old["template"]["spec"] != new["template"]["spec"] and new["suspend"]:
        _immutable(old["template"], new["template"], ("spec",), faults, "spec.template")
    else:
        _immutable(old, new, ("template",), faults)
    _immutable(old, new, fixed[1:], faults)


def _replicated(obj: Object, faults: Faults) -> None:
    spec = obj["spec"]
    if spec["replicas"] < 0:
        faults.add(
            "invalid", "spec.replicas", "must be greater than or equal to 0", spec["replicas"]
        )
    template = spec["template"]
    if not spec.get("selector"):
        faults.add("required", "spec.selector")
    elif not selected(spec["selector"], labels_of(template)):
        why = "`selector` does not match template `labels`"
        faults.add("invalid", "spec.template.metadata.labels", why, labels_of(template))
    check_labels(labels_of(template), "spec.template.labels", faults)
    pod_spec(template["spec"], "spec.template.spec", faults)
    restart = template["spec"]["restartPolicy"]
    if restart != "Always":
        faults.add(
            "unsupported", "spec.template.spec.restartPolicy", 'supported values: "Always"', restart
        )


def _data(obj: Object, faults: Faults) -> None:
    size, encoded = 0, obj["kind"] == "Secret"
    for key, text in (obj.get("data") or {}).items():
        if not re.fullmatch(r"[-._a-zA-Z0-9]+", key) or len(key) > 253:
            why = (
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g."
                " 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is"
                " '[-._a-zA-Z0-9]+')"
            )
            faults.add("invalid", f"data[{key}]", why, key)
        try:
            size += len(base64.b64decode(text, validate=True) if encoded else text)
        except binascii.Error:
            faults.add("invalid", f"data[{key}]", "illegal base64 data", text)
    if size > 1024 * 1024:
        faults.add("too long", "data", "may not be more than 1048576 bytes")


def _service(obj: Object, faults: Faults) -> None:
    spec = obj["spec"]
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None":
        faults.add("required", "spec.ports")
    for number, port in enumerate(ports):
        if len(ports) > 1 and not port.get("name"):
            faults.add("required", f"spec.ports[{number}].name")
        if not 1 <= (port.get("port") or 0) <= 65535:
            why = "must be between 1 and 65535, inclusive"
            faults.add("invalid", f"spec.ports[{number}].port", why, port.get("port"))
        target = port.get("targetPort")
        if isinstance(target, int) and not 1 <= target <= 65535:
            why = "must be between 1 and 65535, inclusive"
            faults.add("invalid", f"spec.ports[{number}].targetPort", why, target)
