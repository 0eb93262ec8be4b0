"""What is free is exact, whatever is taken and given back in which order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.scheduler.nodes import WHOLE, Ask, Node, Nodes
from tradewind.scheduler.rows import FirstFit
from tradewind.scheduler.value import Value

NODES = (
    Node(name="a", cpu=8000, memory=100, devices=(("T4", 2),)),
    Node(name="b", cpu=4000, memory=50, devices=(("A100", 4),)),
    Node(name="c", cpu=2000, memory=10),
    Node(name="d", cpu=9000, memory=90, devices=(("A100", 1), ("nic", 2))),
)
MODELS = st.sampled_from([frozenset(), frozenset({"T4"}), frozenset({"A100", "T4"})])
ASKS = st.one_of(
    st.builds(Ask, cpu=st.integers(0, 4000), memory=st.integers(0, 40)),
    st.builds(Ask, cpu=st.integers(0, 4000), devices=st.integers(1, 4), models=MODELS),
    st.builds(Ask, devices=st.just(1), share=st.integers(1, 999), models=MODELS),
    st.builds(Ask, devices=st.just(1), models=MODELS.filter(bool), others=st.just((("nic", 1),))),
)


@settings(deadline=None)
@given(asks=st.lists(ASKS, max_size=30), data=st.data())
def test_nothing_is_given_twice_and_all_comes_back(asks: list[Ask], data: st.DataObject) -> None:
    nodes = Nodes(NODES)
    placer = data.draw(st.sampled_from([FirstFit, Value]))(nodes)
    held = []
    for ask in asks:
        placer.arrived(ask)
        fits, room = nodes.fit(ask), nodes.room(ask)
        spot = placer.choose(ask)
        assert (spot is not None) == bool(fits.any()) == bool(room)
        if spot is None:
            continue
        assert fits[spot.node]
        nodes.take(spot, ask)
        held.append((spot, ask))
        assert min(nodes.cpu.min(), nodes.memory.min(), nodes.devices.min()) >= 0
        assert nodes.room(ask) == room - 1 or room > 1 << 30
    idle = ((nodes.devices == WHOLE) & (nodes.kind < len(nodes.kinds))).sum(axis=1)
    assert (nodes.idle == idle).all()
    for spot, ask in data.draw(st.permutations(held)):
        nodes.give(spot, ask)
    empty = Nodes(NODES)
    for name in ("cpu", "memory", "devices", "idle"):
        assert np.array_equal(getattr(nodes, name), getattr(empty, name))


def test_a_share_goes_to_the_fullest_device_that_still_has_it() -> None:
    nodes = Nodes([Node(name="a", cpu=0, devices=(("T4", 3),))])
    half, most = Ask(devices=1, share=500), Ask(devices=1, share=700)
    nodes.take(nodes.at(0, most), most)
    nodes.take(nodes.at(0, half), half)
    assert nodes.devices[0].tolist() == [300, 500, 1000]
    assert nodes.at(0, Ask(devices=1, share=300)).devices == (0,)
    assert nodes.at(0, half).devices == (1,)
    assert nodes.at(0, Ask(devices=1)).devices == (2,)
    assert not nodes.fit(Ask(devices=2))[0]


def test_a_model_is_kept_apart_from_others_of_its_node() -> None:
    nodes = Nodes(NODES)
    two = Ask(devices=2, models=frozenset({"A100"}))
    assert nodes.fit(two).tolist() == [False, True, False, False]
    with_card = Ask(devices=1, models=frozenset({"A100"}), others=(("nic", 2),))
    assert nodes.fit(with_card).tolist() == [False, False, False, True]
    assert nodes.at(3, with_card).devices == (0, 1, 2)


def test_devices_of_several_models_are_all_named() -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"devices": 1},
        {"devices": 1, "models": frozenset({"nic"})},
    )
    for ask in wrong:
        with pytest.raises(ValueError, match="each is named once"):
            Ask(others=(("nic", 1),), **ask)


def test_a_copy_changes_by_itself() -> None:
    nodes = Nodes(NODES)
    twin, ask = nodes.copy(), Ask(cpu=1000, devices=2)
    twin.take(twin.at(0, ask), ask)
    assert nodes.cpu[0] == 8000 and nodes.idle[0] == 2
    assert twin.cpu[0] == 7000 and twin.idle[0] == 0


def test_few_nodes_that_hold_a_wide_process_are_left_to_such() -> None:
    """Others had taken the cores of these nodes, and wide ones found no place long before all was
    given away."""
    rich = Node(name="rich", cpu=128_000, devices=(("G3", 8),))
    poor = [Node(name=f"poor{at}", cpu=96_000, devices=(("G2", 8),)) for at in range(9)]
    nodes = Nodes([rich, *poor])
    wide, one = Ask(cpu=120_000, devices=8), Ask(cpu=10_000, devices=1)
    placer = Value(nodes)
    placer.arrived(wide, 2)
    placer.arrived(one, 90)
    for _ in range(30):
        spot = placer.choose(one)
        assert spot is not None and spot.node
        nodes.take(spot, one)
    spot = placer.choose(wide)
    assert spot is not None and spot.node == 0


def test_a_model_that_some_need_is_left_to_them_by_all_others() -> None:
    """With a third of all processes bound to a model, a tenth of the devices stayed without any
    that could use them: those they needed were held by others, who can use all."""
    few = [Node(name=f"few{at}", cpu=96_000, devices=(("T4", 8),)) for at in range(2)]
    many = [Node(name=f"many{at}", cpu=96_000, devices=(("G2", 8),)) for at in range(8)]
    nodes = Nodes([*few, *many])
    bound, free = Ask(cpu=8000, devices=1, models=frozenset({"T4"})), Ask(cpu=8000, devices=1)
    placer = Value(nodes)
    placer.arrived(bound, 16)
    placer.arrived(free, 64)
    for _ in range(64):
        spot = placer.choose(free)
        assert spot is not None and spot.node >= len(few)
        nodes.take(spot, free)
    for _ in range(16):
        spot = placer.choose(bound)
        assert spot is not None
        nodes.take(spot, bound)
    spot = placer.choose(free)
    assert spot is None
