"""The Pod Security Standard "restricted" as code: what a pod's spec does against it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.unit.engines.kubernetes.cases import containers

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}
SELINUX = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
PROFILES = {"RuntimeDefault", "Localhost"}


def violations(pod: dict[str, Any]) -> list[str]:
    """What the standard refuses; empty for a pod that it takes."""
    return [*_pod(pod), *(each for one in containers(pod) for each in _container(pod, one))]


def _pod(pod: dict[str, Any]) -> Iterator[str]:
    yield from (flag for flag in ("hostNetwork", "hostPID", "hostIPC") if pod.get(flag))
    for volume in pod.get("volumes", ()):
        if not set(volume) - {"name"} <= VOLUMES:
            yield f"volume {volume['name']}"
    security = pod.get("securityContext", {})
    for sysctl in security.get("sysctls", ()):
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    if any(key.startswith("container.apparmor") for key in pod.get("annotations", {})):
        yield "apparmor"
    yield from _both(security)


def _both(security: dict[str, Any]) -> Iterator[str]:
    """What may stand at the pod or at a container, and is refused at either."""
    if security.get("windowsOptions", {}).get("hostProcess"):
        yield "hostProcess"
    if security.get("runAsUser") == 0:
        yield "runAsUser 0"
    if security.get("runAsNonRoot") is False:
        yield "runAsNonRoot false"
    if security.get("seccompProfile", {}).get("type", "RuntimeDefault") not in PROFILES:
        yield "seccomp"
    if security.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in PROFILES:
        yield "apparmor"
    selinux = security.get("seLinuxOptions", {})
    if selinux.get("type") not in SELINUX or selinux.get("user") or selinux.get("role"):
        yield "selinux"


def _container(pod: dict[str, Any], container: dict[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    merged = {**pod.get("securityContext", {}), **own}
    yield from _both(own)
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()):
        yield "capabilities are kept"
    if not set(capabilities.get("add", ())) <= {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if merged.get("runAsNonRoot") is not True:
        yield "runAsNonRoot"
    if "seccompProfile" not in merged:
        yield "no seccomp"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield "hostPort"
    hooks = [
        container.get(each, {}) for each in ("startupProbe", "readinessProbe", "livenessProbe")
    ]
    hooks += container.get("lifecycle", {}).values()
    if any(hook.get(way, {}).get("host") for hook in hooks for way in ("httpGet", "tcpSocket")):
        yield "a probe of another host"
