"""YAML, JSON and the choice between them: places, YAML 1.2's words, and what is refused."""

from pathlib import Path

import pytest

from tradewind.base.errors import InvalidSpec, Location, NotFound
from tradewind.specs import (
    FunctionSpec,
    InvalidSpecs,
    PoolSpec,
    from_document,
    parse_json,
    parse_yaml,
    read,
    to_yaml,
)


def where(text: str) -> Location:
    with pytest.raises(InvalidSpec) as caught:
        parse_yaml(text, "f.yaml")
    assert caught.value.where is not None
    return caught.value.where


def test_several_documents() -> None:
    specs = parse_yaml("kind: pool\nname: a\n---\n# nothing\n---\nkind: pool\nname: b\n")
    assert specs == [PoolSpec(name="a"), PoolSpec(name="b")]
    assert parse_yaml(to_yaml(specs)) == specs


def test_values_follow_yaml_1_2() -> None:
    text = """
kind: pool
name: no
options: {a: no, b: 12:30, c: 0o17, d: 1e3, e: true, f: ~, g: 2024-01-01, h: 0x10, i: '1', j: 010}
"""
    (spec,) = parse_yaml(text)
    assert isinstance(spec, PoolSpec)
    assert spec.name == "no"
    assert spec.options == {
        "a": "no", "b": "12:30", "c": 15, "d": 1000.0, "e": True, "f": None, "g": "2024-01-01",
        "h": 16, "i": "1", "j": 10,
    }  # fmt: skip
    assert parse_yaml(to_yaml(spec)) == [spec]


def test_anchors_work() -> None:
    text = "kind: pool\nname: a\noptions: {x: &one [1], y: *one}\n"
    assert parse_yaml(text) == [PoolSpec(name="a", options={"x": [1], "y": [1]})]


@pytest.mark.parametrize(
    ("text", "line", "column", "field"),
    [
        ("kind: pool\nname: a\nengin: local\n", 3, 1, "engin"),
        ("kind: pool\nname: a\ncapacity:\n  cpu: 0\n", 4, 8, "capacity.cpu"),
        ("kind: pol\nname: a\n", 1, 7, "kind"),
        ("name: a\n", 1, 1, "kind"),
        ("kind: pool\nname: a\nname: b\n", 3, 1, ""),
        ("kind: pool\nname: a\noptions:\n  1: b\n", 4, 3, "options"),
        ("kind: pool\nname: a\noptions:\n  [1]: b\n", 4, 3, "options"),
        ("kind: pool\nname: a\noptions:\n\tb: c\n", 4, 1, "options"),
        ("kind: pool\nname: a\noptions: *x\n", 3, 10, "options"),
        ("kind: pool\nname: a\noptions: &x {a: *x}\n", 3, 17, "options.a"),
        ("kind: pool\nname: a\noptions: {<<: {a: 1}}\n", 3, 11, "options"),
        ("kind: pool\nname: !!python/name:os.system a\n", 2, 7, "name"),
        ("kind: pool\nname: a\noptions: {a: .nan}\n", 3, 14, "options.a"),
        ("kind: pool\nname: a\noptions: {a: 1e999}\n", 3, 14, "options.a"),
        ("kind: pool\nname: 'a\n", 3, 1, "name"),
        ("kind: pool\nname: a\n\x01", 3, 1, ""),
        ("kind: pool\nname: a\n---\nkind: pool\nname: a\n", 5, 7, "name"),
        ("", 1, 1, ""),
        ("# nothing\n---\n", 1, 1, ""),
        ("- kind: pool\n", 1, 1, ""),
        ("pool", 1, 1, ""),
        ("kind: pipeline\nname: p\nsteps:\n  - name: a\n    uses: {kind: function, entri: x.py}\n",
         5, 28, "steps.0.uses.entri"),
        ("kind: dataset\nname: d\nsource: ''\n", 3, 9, "source"),
    ],
)  # fmt: skip
def test_a_fault_has_its_place(text: str, line: int, column: int, field: str) -> None:
    assert where(text) == Location("f.yaml", line, column, field)


def test_all_faults_of_a_file_are_told_together_in_the_order_of_the_text() -> None:
    text = (
        "kind: function\nname: F\nentry: f.py:f\npool: a\npool: b\n---\nkind: pol\nname: a\n---\n"
        "kind: queue\nname: q\npriorty: 2\n"
    )
    with pytest.raises(InvalidSpecs) as caught:
        parse_yaml(text, "f.yaml")
    assert [problem.where.line for problem in caught.value.problems] == [2, 5, 7, 12]
    assert "also f.yaml:12:1 (priorty): 'priorty' is not a field" in str(caught.value)


def test_a_tab_gets_a_hint() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_yaml("kind: pool\n\tname: a\n")
    assert caught.value.hint == "indent with blanks, not tabs"


def test_size_is_limited() -> None:
    with pytest.raises(InvalidSpec, match="larger than"):
        parse_yaml("#" * 1_000_001)
    with pytest.raises(InvalidSpec, match="nested deeper"):
        parse_yaml("kind: pool\nname: a\noptions:\n  a: " + "[" * 60 + "]" * 60)


def test_json() -> None:
    text = '{"kind": "pool", "name": "a"}'
    assert parse_json(text) == [PoolSpec(name="a")]
    assert parse_json(f"[{text}]") == [PoolSpec(name="a")]
    unusual = '{\n\t"kind"\n:"pool","name":"\\ud83d\\ude00"}'
    with pytest.raises(InvalidSpec, match="holds '😀'"):
        parse_json(unusual)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ('{"kind": "pool",\n\t"name": "a", "engin": 1}', 2, 15),
        ('{"kind": "pool",\n"name": "a" "b"}', 2, 13),
        ('{"kind": "pool",\n"name": NaN}', 2, 9),
        ('{"kind": "pool", "name": "a",\n"name": "b"}', 2, 1),
        ("", 1, 1),
        ("[]", 1, 1),
        ("[" * 100_000, 1, 1),
        ("9" * 5000, 1, 1),
    ],
)
def test_json_faults(text: str, line: int, column: int) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_json(text, "f.json")
    place = caught.value.where
    assert place is not None
    assert (place.file, place.line, place.column) == ("f.json", line, column)


def test_read_goes_by_the_suffix(tmp_path: Path) -> None:
    spec = FunctionSpec(name="f", entry="a.tw:f")
    (tmp_path / "a.tw").write_text("def f(): ...\n\nfunction: f\n")
    assert read(tmp_path / "a.tw") == [spec]
    (tmp_path / "a.YML").write_text("\ufeff" + to_yaml(spec), encoding="utf-8")
    assert read(tmp_path / "a.YML") == [spec]
    (tmp_path / "a.json").write_text('[{"kind": "function", "name": "f", "entry": "a.tw:f"}]')
    assert read(str(tmp_path / "a.json")) == [spec]


def test_read_faults(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read(tmp_path / "none.yaml")
    with pytest.raises(InvalidSpec, match=r"not in \.yamll") as caught:
        read(tmp_path / "a.yamll")
    assert caught.value.hint == "did you mean '.yaml'?"
    (tmp_path / "d.yaml").mkdir()
    with pytest.raises(InvalidSpec, match="cannot be read"):
        read(tmp_path / "d.yaml")
    with pytest.raises(InvalidSpec, match="cannot be read"):
        read("a\0.yaml")
    (tmp_path / "b.yaml").write_bytes("kind: pool\nname: 数".encode() + b"\xff")
    with pytest.raises(InvalidSpec, match="not UTF-8") as caught:
        read(tmp_path / "b.yaml")
    assert caught.value.where is not None
    assert (caught.value.where.line, caught.value.where.column) == (2, 8)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "write function: NAME and its def NAME(data): above it"),
        ("def clean(x):\n    return x\n", "write function: clean"),
    ],
)
def test_a_tw_file_that_declares_nothing(tmp_path: Path, text: str, hint: str) -> None:
    (tmp_path / "a.tw").write_text(text)
    with pytest.raises(InvalidSpec, match="there is no spec in this file") as raised:
        read(tmp_path / "a.tw")
    assert raised.value.hint == f"a .tw file is Python with declarations: {hint}"
    assert raised.value.where is not None and raised.value.where.line == 1


def test_documents_have_fields_but_no_lines() -> None:
    with pytest.raises(InvalidSpec) as caught:
        from_document({"kind": "pool", "name": "a", "capacity": {"cpu": 0}}, file="wire")
    assert caught.value.where == Location(file="wire", field="capacity.cpu")
