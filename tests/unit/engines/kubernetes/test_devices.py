"""Classes of devices on a cluster: counted from its machines, asked for by its own names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.engines.kubernetes.cases import CONTEXT, placement, role, workloads
from tradewind.base.errors import Refused
from tradewind.engines.kubernetes import nodes
from tradewind.engines.kubernetes.render import render
from tradewind.engines.kubernetes.states import Object
from tradewind.records.tasks import Gang, Resources
from tradewind.specs import DeviceSpec

PRODUCT = "nvidia.com/gpu.product"
L4 = DeviceSpec(name="l4", resource="nvidia.com/gpu", nodes={PRODUCT: "NVIDIA-L4"})
SHARED = DeviceSpec(name="t4", resource="nvidia.com/gpu", parts=4,
                    nodes={PRODUCT: "Tesla-T4-SHARED"})  # fmt: skip
SLICE = DeviceSpec(name="a100-1g", resource="nvidia.com/mig-1g.5gb")
CLASSES = nodes.clustered([SLICE, L4, DeviceSpec(name="local-only"), SHARED])


def node(product: str, **found: str) -> Object:
    named = {f"nvidia.com/{name}": count for name, count in found.items()}
    return {
        "metadata": {"name": "n", "labels": {PRODUCT: product}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"cpu": "8", "memory": "16Gi", "hugepages-2Mi": "0", **named},
        },
    }


def pod(wanted: dict[str, Any]) -> Object:
    made = placement(role("main", Gang(), resources=Resources(accelerators=wanted)))
    [work] = workloads(render(made, replace(CONTEXT, classes=CLASSES))["objects"])
    spec: Object = work["spec"]["template"]["spec"]
    return spec


def main(spec: Object) -> Object:
    limits: Object = spec["containers"][0]["resources"]["limits"]
    return limits


def test_devices_go_by_the_class_of_their_machine() -> None:
    found = nodes.capacity(
        [node("NVIDIA-L4", gpu="2"), node("Tesla-T4-SHARED", gpu="8"), node("H100", gpu="1"),
         node("A100", **{"mig-1g.5gb": "7"})],
        CLASSES,
    )  # fmt: skip
    assert found.total.accelerators == {"l4": 2, "t4": 2, "nvidia.com/gpu": 1, "a100-1g": 7}
    assert found.parts == {"t4": 4}
    assert nodes.capacity([node("NVIDIA-L4", gpu="2")]).total.accelerators == {"nvidia.com/gpu": 2}


def test_a_class_is_asked_for_by_the_clusters_name_on_machines_that_have_it() -> None:
    spec = pod({"l4": 2})
    assert main(spec) == {"nvidia.com/gpu": "2"}
    assert spec["nodeSelector"] == {PRODUCT: "NVIDIA-L4"}
    assert "nvidia.com/gpu" not in str(spec["initContainers"])
    assert main(pod({"nvidia.com/gpu": 1})) == {"nvidia.com/gpu": "1"}
    assert "nodeSelector" not in pod({"nvidia.com/gpu": 1})


def test_a_part_is_one_of_what_the_plugin_gives_away() -> None:
    spec = pod({"t4": 0.25})
    assert main(spec) == {"nvidia.com/gpu": "1"}
    assert spec["nodeSelector"] == {PRODUCT: "Tesla-T4-SHARED"}


@pytest.mark.parametrize("name", ["l4", "nvidia.com/gpu"])
def test_a_part_of_what_nobody_shares_is_never_sent(name: str) -> None:
    with pytest.raises(Refused, match=r"away whole, not 0\.5 of one"):
        pod({name: 0.5})
