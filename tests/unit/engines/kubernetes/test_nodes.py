from tradewind.engines.kubernetes.nodes import capacity
from tradewind.engines.kubernetes.states import Object
from tradewind.engines.kubernetes.template import OURS_BYTES


def node(memory: str) -> Object:
    status = {"conditions": [{"type": "Ready", "status": "True"}]}
    return {
        "metadata": {"name": "n"},
        "status": {**status, "allocatable": {"cpu": "8", "memory": memory}},
    }


def test_a_machine_holds_what_a_task_on_it_can_have() -> None:
    found = capacity([node("16Gi"), node("8Gi"), node("64Mi")])
    assert found.largest.memory == (16 << 30) - OURS_BYTES
    assert found.total.memory == (24 << 30) - 2 * OURS_BYTES
    assert [(lot.each.memory, lot.count) for lot in found.sizes] == [
        ((16 << 30) - OURS_BYTES, 1),
        ((8 << 30) - OURS_BYTES, 1),
        (0, 1),
    ]


def test_alike_machines_are_told_together() -> None:
    found = capacity([node("8Gi"), node("16Gi"), node("8Gi")])
    assert [lot.count for lot in found.sizes] == [1, 2]


def test_labels_tell_where_machines_are() -> None:
    def at(**told: str) -> Object:
        keys = {"region": "topology.kubernetes.io/region", "zone": "topology.kubernetes.io/zone",
                "rack": "example.com/rack"}  # fmt: skip
        found = node("8Gi")
        found["metadata"]["labels"] = {keys[level]: name for level, name in told.items()}
        return found

    machines = [at(zone="a", rack="r1"), at(region="eu", zone="b", rack="r2"), node("8Gi")]
    found = capacity([*machines, at(zone="a", rack="r1")], rack="example.com/rack")
    assert found.zones == 3
    assert {lot.where: lot.count for lot in found.sizes} == {
        (): 1,
        (("zone", "a"), ("rack", "r1")): 2,
        (("region", "eu"), ("zone", "b"), ("rack", "r2")): 1,
    }
    assert {lot.where for lot in capacity(machines).sizes} == {
        (),
        (("zone", "a"),),
        (("region", "eu"), ("zone", "b")),
    }
