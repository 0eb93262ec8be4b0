"""A mirror tells every object's latest state, once, whatever happens to its watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.base.errors import Unreachable
from tradewind.engines.kubernetes import api, mirror
from tradewind.engines.kubernetes.api import Expired
from tradewind.engines.kubernetes.mirror import Mirror

Object = dict[str, Any]


class Cluster:
    """Objects of one kind, and what became of them; a watch gives what it has and then breaks."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.events: list[tuple[int, Object]] = []
        self.version = 0
        self.lists = 0
        self.compacted = 0
        self.repeats = 1
        self.trouble: Exception | None = None
        self.idle = asyncio.Event()

    def put(self, name: str, uid: str) -> None:
        self.version += 1
        kind = "MODIFIED" if name in self.objects else "ADDED"
        meta = {"name": name, "uid": uid, "resourceVersion": str(self.version)}
        self.objects[name] = {"metadata": meta}
        self.events.append((self.version, {"type": kind, "object": self.objects[name]}))

    def drop(self, name: str) -> None:
        found = self.objects.pop(name, None)
        if found is not None:
            self.version += 1
            meta = {**found["metadata"], "resourceVersion": str(self.version)}
            self.events.append((self.version, {"type": "DELETED", "object": {"metadata": meta}}))

    async def items(self, _kind: Any, **_: str) -> tuple[list[Object], str]:
        self.lists += 1
        if self.trouble is not None:
            raise self.trouble
        return list(self.objects.values()), str(self.version)

    async def watch(
        self, _kind: Any, since: str, heard: Callable[[], None], **_: str
    ) -> AsyncIterator[Object]:
        if self.trouble is not None:
            raise self.trouble
        if int(since) < self.compacted:
            raise Expired("too old")
        heard()
        for version, event in self.events:
            if version > int(since):
                for _again in range(self.repeats):
                    yield event
        meta = {"resourceVersion": str(self.version)}
        yield {"type": "BOOKMARK", "object": {"metadata": meta}}
        self.idle.set()


class Told:
    """What whoever follows the mirror knows."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.calls: list[tuple[str, str, bool]] = []

    def __call__(self, _kind: Any, found: Object, gone: bool) -> None:
        meta = found["metadata"]
        self.calls.append((meta["uid"], meta["resourceVersion"], gone))
        if gone:
            self.known.pop(meta["uid"], None)
        else:
            self.known[meta["uid"]] = meta["resourceVersion"]


@pytest.fixture(autouse=True, scope="module")
def quick() -> Any:
    """Watches break at once here: no pause between them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mirror, "PAUSE", 0.0)
        patch.setattr(mirror, "LONGEST", 0.0)
        yield


async def settled(cluster: Cluster) -> None:
    cluster.idle.clear()
    await asyncio.wait_for(cluster.idle.wait(), 10)


def made(cluster: Any) -> tuple[Mirror, Told]:
    told = Told()
    return Mirror(cluster, api.PODS, "all", told), told


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), st.sampled_from("12")),
        st.tuples(st.just("drop"), st.sampled_from("abc"), st.just("")),
        st.tuples(st.just("compact"), st.just(""), st.just("")),
        st.tuples(st.just("settle"), st.just(""), st.just("")),
    ),
    max_size=25,
)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_whoever_follows_ends_up_with_what_there_is(steps: list[tuple[str, str, str]]) -> None:
    async def test() -> None:
        cluster = Cluster()
        cluster.put("a", "a1")
        follower, told = made(cluster)
        await follower.begin()
        for do, name, which in steps:
            match do:
                case "put" if name in cluster.objects:
                    cluster.put(name, cluster.objects[name]["metadata"]["uid"])
                case "put":
                    cluster.put(name, f"{name}{which}-{cluster.version}")
                case "drop":
                    cluster.drop(name)
                case "compact":  # the history is gone: only a list can tell
                    cluster.compacted, cluster.events = cluster.version, []
                case _:
                    await settled(cluster)
        await settled(cluster)
        there = {
            each["metadata"]["uid"]: each["metadata"]["resourceVersion"]
            for each in cluster.objects.values()
        }
        assert told.known == there
        assert len(set(told.calls)) == len(told.calls), "nothing is told twice"
        gone = [uid for uid, _version, over in told.calls if over]
        assert len(set(gone)) == len(gone), "nobody goes twice"
        await follower.close()

    asyncio.run(test())


def test_another_of_the_same_name_is_another() -> None:
    async def test() -> None:
        cluster = Cluster()
        cluster.put("a", "old")
        follower, told = made(cluster)
        await follower.begin()
        cluster.drop("a")
        cluster.put("a", "new")
        cluster.compacted, cluster.events = cluster.version, []
        await settled(cluster)
        assert [(uid, gone) for uid, _, gone in told.calls] == [
            ("old", False), ("old", True), ("new", False),
        ]  # fmt: skip
        await follower.close()

    asyncio.run(test())


def test_a_history_that_is_there_is_not_listed_again() -> None:
    async def test() -> None:
        cluster = Cluster()
        follower, told = made(cluster)
        await follower.begin()
        for _ in range(5):
            cluster.put("a", "a")
            await settled(cluster)
        assert cluster.lists == 1 and len(told.calls) == 5
        await follower.close()

    asyncio.run(test())


def test_what_stands_in_the_way_of_the_first_list_is_said() -> None:
    async def test() -> None:
        cluster = Cluster()
        cluster.trouble = Unreachable("away")
        follower, _told = made(cluster)
        with pytest.raises(Unreachable):
            await follower.begin()

    asyncio.run(test())


def test_a_cluster_that_is_away_is_trouble_until_it_is_heard() -> None:
    async def test() -> None:
        cluster = Cluster()
        cluster.put("a", "a")
        follower, told = made(cluster)
        await follower.begin()
        cluster.trouble = Unreachable("away")
        while not follower.deaf():
            await asyncio.sleep(0)
        cluster.put("b", "b")
        cluster.trouble = None
        await settled(cluster)
        assert not follower.deaf() and "b" in told.known
        await follower.close()

    asyncio.run(test())
