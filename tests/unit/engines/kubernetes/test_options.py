"""What a pool's options may say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.base.errors import InvalidSpec
from tradewind.engines.kubernetes.options import check

DIGEST = "sha256:" + "0a" * 32
PARTS = st.from_regex(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*", fullmatch=True)
HOSTS = st.sampled_from(
    ["", "localhost/", "reg:5000/", "10.0.0.1/", "[::1]:5000/", "a-b.EXAM.com/"]
)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
ENDS = st.sampled_from(["", f"@{DIGEST}"]) | TAGS.map(":{}".format)


@given(HOSTS, st.lists(PARTS, min_size=1, max_size=3), ENDS)
def test_a_name_of_an_image(host: str, parts: list[str], end: str) -> None:
    check({"image": f"{host}{'/'.join(parts)[:200].strip('/._-')}{end}"})


@pytest.mark.parametrize(
    "image",
    ["Team image", "team/Image:1", "team/image:", "team//image", "/image", "image:1:2", "a" * 300,
     "https://host/image", "image@sha256:12", "image:" + "t" * 129, "image\n", "image ", "é"],
)  # fmt: skip
def test_what_is_no_name_of_an_image(image: str) -> None:
    with pytest.raises(InvalidSpec, match="no name of an image") as told:
        check({"image": image})
    assert str(told.value.where) == "options.image" and "HOST/NAME:TAG" in told.value.hint


def test_other_options_are_located_too() -> None:
    for options in ({"colour": "red"}, {"namespace": ""}, {"context": 3}):
        with pytest.raises(InvalidSpec) as told:
            check(options)
        assert str(told.value.where) == f"options.{next(iter(options))}"
