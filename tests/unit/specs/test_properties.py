"""Whatever comes in: it parses, or InvalidSpec says why. Never an error of another type."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tradewind.base.errors import InvalidSpec
from tradewind.specs import (
    KINDS,
    Spec,
    digest,
    from_document,
    parse_json,
    parse_tw,
    parse_yaml,
    to_document,
    to_yaml,
)

from .examples import ALL

READERS: list[Callable[[str], Any]] = [
    lambda text: parse_yaml(text, "f.yaml"),
    lambda text: parse_tw(text, "f.tw"),
    lambda text: parse_json(text, "f.json"),
]


def survives(read: Callable[[Any], Any], what: Any) -> Any:
    try:
        return read(what)
    except InvalidSpec as error:
        assert str(error)
        assert json.dumps(error.to_json())
        return None


def round_trips(spec: Spec) -> None:
    document = to_document(spec)
    assert from_document(document) == spec
    assert from_document(json.loads(json.dumps(document))) == spec
    assert parse_yaml(to_yaml(spec)) == [spec]
    assert digest(from_document(document)) == digest(spec)


any_text = st.text(st.characters(), max_size=200)
yaml_like = st.lists(
    st.sampled_from(
        ["kind", "name", ": ", ":", "\n", " ", "  ", "- ", "[", "]", "{", "}", "&a ", "*a", "|",
         ">", "'", '"', "#", "---\n", "\t", "function", "steps", "? ", "0x1", ".nan", "1e999",
         "%YAML 1.1\n", "\u2028", "\x85", "\ud800", "\\ud800", "\\U00110000", "$a", "$", "!!int ",
         "function: f", "    entry: f\n", "@", "`", ",", "<<", "~", "9" * 5000, "\ufeff", "\r",
         "def f():\n", "=", "\\", '"""', "(", "\0"]
    ),
    max_size=40,
).map("".join)  # fmt: skip
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | any_text
    | st.sampled_from(
        ["60s", "$2", "4GiB", "1e999999999GiB", "$a", "$params.x", "$item", "$a.b == 3", "$$",
         "1..9", "a.py:f", "../a.py:f", "function/f", "a/b", "name@", "1e999s", 10**100,
         -(10**30), "清洗"]
    )
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(any_text | st.integers() | st.none(), inner, max_size=4)
    ),
    max_leaves=12,
)
fields = sorted({name for model in KINDS.values() for name in model.model_fields} | {"schema", "x"})
documents = st.fixed_dictionaries(
    {"kind": st.sampled_from([*KINDS, "functoin"]), "name": st.just("n") | values},
    optional={field: values for field in fields if field not in ("kind", "name")},
)


@given(any_text | yaml_like | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
@example("[" * 5000)
@example("- " * 5000)
@example("{a: " * 5000)
@example("? " * 5000)
@example("(" * 5000)
@example("x = " + "-" * 100000 + "1\nfunction: f\n    entry: g\n")
@example("function: f\n    " + "[" * 3000)
@example("a: &a [*a]")
@example("a: &a [1]\nb: &a [*a, *a]")
@example('{"a": ' * 20000)
@example("kind: function\nname: " + "9" * 5000)
@example('a: "\\ud800"\n')
@example("%YAML 1." + "9" * 5000 + "\n--- a")
@settings(max_examples=300)
def test_any_text(text: str) -> None:
    for read in READERS:
        survives(read, text)


@given(values)
@settings(max_examples=300)
def test_any_value(value: Any) -> None:
    survives(from_document, value)


@given(documents)
@settings(max_examples=150)
def test_any_fields(document: dict[str, Any]) -> None:
    spec = survives(from_document, document)
    if spec is not None:
        round_trips(spec)


@given(documents)
@settings(max_examples=40)
def test_a_python_call_fails_in_the_same_way(document: dict[str, Any]) -> None:
    model = KINDS.get(document.pop("kind"))
    if model is not None:
        survives(lambda call: model(**call), document)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            found += paths(part, (*path, key))
    return found


def mutate(document: dict[str, Any], chance: random.Random, value: Any) -> Any:
    document = copy.deepcopy(document)
    path = chance.choice(paths(document)[1:])
    holder: Any = document
    for key in path[:-1]:
        holder = holder[key]
    act = chance.choice(["set", "drop", "rename", "swap"])
    if act == "set":
        holder[path[-1]] = value
    elif act == "drop":
        del holder[path[-1]]
    elif act == "rename" and isinstance(holder, dict):
        holder[str(path[-1])[1:] + "e"] = holder.pop(path[-1])
    else:
        other = chance.choice(ALL)
        holder[path[-1]] = other[chance.choice(list(other))]
    return document


@given(st.sampled_from(ALL), st.randoms(use_true_random=False), values)
@settings(max_examples=400)
def test_any_slip_in_a_good_spec(
    document: dict[str, Any], chance: random.Random, value: Any
) -> None:
    slipped = mutate(document, chance, value)
    spec = survives(from_document, slipped)
    if spec is not None:
        round_trips(spec)
    try:
        text = yaml.safe_dump(slipped, allow_unicode=True)
    except (ValueError, UnicodeError):
        return
    survives(READERS[0], text)


@given(st.sampled_from(ALL), st.randoms(use_true_random=False), yaml_like)
@settings(max_examples=300)
def test_any_slip_in_a_good_text(
    document: dict[str, Any], chance: random.Random, junk: str
) -> None:
    body = "".join(f"    {line}\n" for line in yaml.safe_dump(document).splitlines())
    for read, text in (
        (READERS[0], yaml.safe_dump(document, allow_unicode=True)),
        (READERS[1], f"def f(x):\n    return x\n\nfunction: f\n{body}"),
        (READERS[2], json.dumps(document, indent=1)),
    ):
        at, until = sorted((chance.randrange(len(text)), chance.randrange(len(text))))
        survives(read, text[:at] + junk + text[at:])
        survives(read, text[:at] + text[until:])


@pytest.mark.parametrize("read", READERS)
def test_bytes_that_are_no_text(read: Callable[[str], Any]) -> None:
    survives(read, bytes(range(256)).decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("field", sorted(fields))
def test_a_number_too_long_to_print(field: str) -> None:
    for kind in KINDS:
        with pytest.raises(InvalidSpec):
            from_document({"kind": kind, "name": "n", field: 10**5000})


def test_a_value_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidSpec, match="nested deeper"):
        from_document({"kind": "pool", "name": "p", "options": {"a": endless}})
    bomb: Any = "x"
    for _ in range(40):
        bomb = [bomb] * 10
    with pytest.raises(InvalidSpec, match="more than"):
        from_document({"kind": "pool", "name": "p", "options": {"a": bomb}})


def test_an_alias_bomb_is_refused() -> None:
    text = "a0: &a0 x\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 20)
    )
    with pytest.raises(InvalidSpec, match="more than 100000 values"):
        parse_yaml(text)
