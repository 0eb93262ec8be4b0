"""Names: whatever the original, valid in a cluster, stable, and never another's."""

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tradewind.engines.kubernetes import names

DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
PORT = re.compile(r"(?!.*--)(?=.*[a-z])[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?")

# Any text, and texts that come near each other once they are cut and slugged.
NEAR = st.text("aA-_. 1é中🚀\0", max_size=300)
TEXTS = st.one_of(st.text(max_size=300), NEAR, st.sampled_from(["", "模" * 300, "🚀" * 300]))
EPOCHS = st.integers(1, 10**6)


@given(TEXTS)
@example("")
@example("9-lives")
@example("rk7m2p9xqz4d-fit-1")
def test_a_root_is_named_by_a_dns_label(placement: str) -> None:
    name = names.base(placement)
    assert DNS_LABEL.fullmatch(name) and len(name) <= 40
    assert name == names.base(placement)


@given(TEXTS, TEXTS, EPOCHS)
def test_what_belongs_to_a_role_leaves_room_for_the_names_of_pods(
    placement: str, role: str, epoch: int
) -> None:
    name = names.child(placement, role, epoch)
    assert DNS_LABEL.fullmatch(name) and len(name) <= 52
    assert DNS_LABEL.fullmatch(f"{name}-99999")  # a member's host name
    assert len(f"{name}-99999-abcde") <= 63  # a Job's pod
    assert len(f"{name}-7d4f8c9b5d-abcde") <= 63  # a Deployment's pod
    assert name == names.child(placement, role, epoch)
    assert name != names.base(placement)


@given(st.tuples(TEXTS, TEXTS, EPOCHS), st.tuples(TEXTS, TEXTS, EPOCHS))
@example(("p", "worker_1", 1), ("p", "worker-1", 1))
@example(("p", "a", 11), ("p", "a1", 1))
@example(("p\0r", "s", 1), ("p", "r\0s", 1))
@example(("模" * 300, "r", 1), ("模" * 299, "r", 1))
def test_different_originals_have_different_names(
    one: tuple[str, str, int], other: tuple[str, str, int]
) -> None:
    assume(one != other)
    assert names.child(*one) != names.child(*other)
    if one[0] != other[0]:
        assert names.base(one[0]) != names.base(other[0])


def test_names_do_not_change_with_the_version() -> None:
    """A server of the next version must find what this one launched."""
    placement = "rk7m2p9xqz4d-fit-1"
    assert names.base(placement) == "rk7m2p9xqz4d-fit-1-mh5je6n4isjm"
    assert names.child(placement, "worker") == "rk7m2p9xqz4d-fit-1-worker-5ohpmijyjeo5"
    assert names.child("9", "工人", 3).startswith("tw-9-role-")
    assert names.label("Пул") == "tradewind-jgpiht72hyho"
    assert names.ports(["prometheus-metrics"]) == {"prometheus-metrics": "promethe-p35jbd"}


@given(TEXTS, TEXTS, EPOCHS)
def test_rank_0_is_found_below_the_service_of_the_first_epoch(
    placement: str, role: str, epoch: int
) -> None:
    host, service, namespace = names.master(placement, role, epoch, "ns").split(".")
    assert host == names.child(placement, role, epoch) + "-0"
    assert (service, namespace) == (names.child(placement, role), "ns")


@given(TEXTS, TEXTS)
@example("Pool_A.1", "pool-a-1")
@example("a" * 63, "a" * 64)
def test_labels_are_valid_and_different(one: str, other: str) -> None:
    for text in (one, other):
        value = names.label(text)
        assert value and len(value) <= 63 and VALUE.fullmatch(value)
        if text and len(text) <= 63 and text.isascii() and VALUE.fullmatch(text):
            assert value == text
    assert (names.label(one) == names.label(other)) == (one == other)


@given(st.lists(st.one_of(TEXTS, st.from_regex(r"\A[a-z0-9-]{1,16}\Z")), max_size=12))
@example(["http", "prometheus-metrics", "prometheus-metrics-2", "网页", "网站", "8080", "a--b"])
def test_ports_have_valid_names_and_none_twice(originals: list[str]) -> None:
    called = names.ports(originals)
    assert list(called) == list(dict.fromkeys(originals))
    assert len(set(called.values())) == len(called)
    for original, name in called.items():
        assert PORT.fullmatch(name), name
        if PORT.fullmatch(original):
            assert name == original


def test_a_made_port_name_gives_way_to_a_users() -> None:
    made = names.ports(["prometheus-metrics"])["prometheus-metrics"]
    called = names.ports(["prometheus-metrics", made])
    assert called[made] == made and called["prometheus-metrics"] != made


@given(st.sets(st.integers(0, 400)))
def test_items_survive_their_annotation(items: set[int]) -> None:
    assert names.items(names.spans(items)) == sorted(items)


def test_items_are_written_as_spans() -> None:
    assert names.spans([7, 0, 1, 2, 3, 4]) == "0-4,7"
    assert names.spans(()) == "" and names.items("") == []


def test_any_items_of_a_large_array_fit_into_an_annotation() -> None:
    every_other = range(0, 200_000, 2)
    text = names.spans(every_other)
    assert len(text) < 100_000 and names.items(text) == list(every_other)


@pytest.mark.parametrize("text", ["x", "1-", "b:%", "1;2", "-1"])
def test_what_are_no_items_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        names.items(text)
