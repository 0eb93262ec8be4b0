"""What the runner reads and says without a cluster: quantities, variables, names of images."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kube.runner import images, spec

NAMES = st.from_regex(r"[A-Z][A-Z_]{0,5}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("500m", 0.5), ("2Gi", 2 << 30), ("1k", 1000), ("1.5Mi", 3 << 19), ("1e3", 1000)],
)
def test_quantities(text: str, value: float) -> None:
    assert spec.quantity(text) == value


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1gi", "a"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        spec.quantity(text)


@given(st.integers(0, 1 << 40), st.sampled_from([("", 1), ("Ki", 1 << 10), ("M", 10**6)]))
def test_limits_in_bytes(number: int, unit: tuple[str, int]) -> None:
    limits = {"limits": {"memory": f"{number}{unit[0]}"}}
    exact = Fraction(number) * unit[1]
    assert abs(spec.memory_limit({"resources": limits}) - exact) <= exact / 10**9


@given(st.dictionaries(NAMES, st.text("ab$()", max_size=5)), st.text("ab ", max_size=5))
def test_variables_are_put_in_once(values: dict[str, str], text: str) -> None:
    for name, value in values.items():
        assert spec.expand(f"{text}$({name}){text}", values) == f"{text}{value}{text}"
        assert spec.expand(f"{text}$$({name})", values) == f"{text}$({name})"
    assert spec.expand(f"{text}$(unknown)", values) == f"{text}$(unknown)"


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("nope:1", "docker.io/library/nope:1"),
        ("nope", "docker.io/library/nope:latest"),
        ("team/nope:1", "docker.io/team/nope:1"),
        ("localhost:5000/nope", "localhost:5000/nope:latest"),
        ("reg.example.com/a/b:v1", "reg.example.com/a/b:v1"),
        (f"nope@sha256:{'0' * 64}", f"docker.io/library/nope@sha256:{'0' * 64}"),
        ("Nope", ""),
        ("a b", ""),
        ("nope:", ""),
        ("", ""),
    ],
)
def test_the_full_name_of_an_image(image: str, full: str) -> None:
    assert images.full_name(image) == full


def test_which_images_exist() -> None:
    assert images.exists("tradewind:dev", ())
    assert images.exists("reg.example.com/team/tradewind-gpu:1", ())
    assert not images.exists("python:3.11", ())
    assert images.exists("python:3.11", {"docker.io/library/python:3.11"})
    assert not images.exists("tradewind:dev", {"python:3.11"})
