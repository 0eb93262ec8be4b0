"""Events: what a controller says about an object."""

from tests.kube.double.clock import Clock
from tests.kube.double.objects import Object, name_of, namespace_of, stamp, uid_of
from tests.kube.double.registry import Registry
from tests.kube.double.resources import EVENTS
from tests.kube.double.statuses import Refusal


def tell(
    registry: Registry, clock: Clock, source: str, about: Object, reason: str, message: str,
    *, warning: bool = False,
) -> None:  # fmt: skip
    """Writes an Event; where its namespace ends or refuses it, it is lost as a real one is."""
    now = clock.now()
    namespace = namespace_of(about) or "default"
    involved = {
        "kind": about["kind"], "namespace": namespace_of(about), "name": name_of(about),
        "uid": uid_of(about), "apiVersion": about["apiVersion"],
        "resourceVersion": about["metadata"].get("resourceVersion", ""),
    }  # fmt: skip
    event: Object = {
        "kind": "Event", "apiVersion": "v1",
        "metadata": {"name": f"{name_of(about)}.{int(now * 1e9):x}", "namespace": namespace},
        "involvedObject": {key: value for key, value in involved.items() if value},
        "reason": reason, "message": message, "source": {"component": source},
        "type": "Warning" if warning else "Normal", "firstTimestamp": stamp(now),
        "lastTimestamp": stamp(now), "count": 1, "eventTime": None,
        "reportingComponent": source, "reportingInstance": "",
    }  # fmt: skip
    while registry.storage.get(EVENTS, namespace, event["metadata"]["name"]):
        event["metadata"]["name"] += "0"
    try:
        registry.create(EVENTS, event)
    except Refusal:
        return
