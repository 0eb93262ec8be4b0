"""The `.tw` file: what is a declaration, what is Python, and where both are in the text."""

import ast

import pytest

from tradewind.base.errors import InvalidSpec, Location
from tradewind.specs import (
    DatasetSpec,
    FunctionSpec,
    InvalidSpecs,
    PipelineSpec,
    QueueSpec,
    TrainingSpec,
    parse_tw,
)

DESIGN = """def my_logic(data):
    ret = do_some_job(data)
    return ret

function: my_logic
    performance: 60s
    availability: region
    consistency: soft
"""


def names(text: str) -> list[str]:
    return [f"{spec.kind}/{spec.name}" for spec in parse_tw(text).specs]


def faults(text: str) -> list[tuple[int, int, str, str]]:
    with pytest.raises(InvalidSpecs) as caught:
        parse_tw(text, "lib/a.tw")
    assert all(problem.where.file == "lib/a.tw" for problem in caught.value.problems)
    return [(p.where.line, p.where.column, p.message, p.hint) for p in caught.value.problems]


def test_the_text_of_the_design() -> None:
    found = parse_tw(DESIGN, "some/my.tw")
    assert found.specs == [
        FunctionSpec(
            name="my_logic",
            entry="my.tw:my_logic",
            performance="60s",
            availability="region",
            consistency="soft",
        )
    ]
    assert ast.unparse(ast.parse(found.source)).startswith("def my_logic(data):")


def test_python_keeps_its_lines() -> None:
    text = f"import os\n\n{DESIGN}\n\nlater = 1\nqueue: night\n  priority: 3\n# end\nlast = 2\n"
    source = parse_tw(text).source.split("\n")
    lines = text.split("\n")
    assert len(source) == len(lines)
    for number, (kept, line) in enumerate(zip(source, lines, strict=True)):
        assert kept in (line, ""), number
    assert source.index("last = 2") == lines.index("last = 2")


def test_everything_that_may_be_declared() -> None:
    text = """
def clean(data): ...

dataset: flights
    source:
        path: flights.csv
        schema:
            tailnum: string
    keys: [tailnum,
        day]
    description: |
        Two lines
        with a: colon

def fit(table):
    return table
training: fit
    input: {table: clean}
# a comment in between

    # and one inside
    budget: $2
function: clean  # the first
function: tidy
    entry: clean
training: script
    entry: train.py
pipeline: flow
    steps:
        - name: clean
          uses: {kind: function}
        - name: other
          uses: {kind: function, entry: clean}
        - name: fit
          uses: training/fit
          after: [clean]
queue: night
"""
    specs = parse_tw(text, "x.tw").specs
    assert specs[0] == DatasetSpec(
        name="flights",
        source={"path": "flights.csv", "schema": {"tailnum": "string"}},
        keys=["tailnum", "day"],
        description="Two lines\nwith a: colon\n",
    )
    assert specs[1] == TrainingSpec(
        name="fit", entry="x.tw:fit", input={"table": "clean"}, budget="$2"
    )
    assert specs[2] == FunctionSpec(name="clean", entry="x.tw:clean")
    assert specs[3] == FunctionSpec(name="tidy", entry="x.tw:clean")
    assert specs[4] == TrainingSpec(name="script", entry="train.py")
    assert isinstance(specs[5], PipelineSpec)
    assert [getattr(step.uses, "entry", None) for step in specs[5].steps] == [
        "x.tw:clean", "x.tw:clean", None,
    ]  # fmt: skip
    assert specs[6] == QueueSpec(name="night")


@pytest.mark.parametrize(
    "python",
    [
        "function: int = 3",
        "function: int",
        "function: list[int] = []",
        "function: dict = {\n    'performance': 1,\n}",
        "import typing\nfunction: typing",
        "class T: ...\nfunction: T",
        "T = int\nqueue: T",
        'text = """\nfunction: f\n    performance: 60s\n"""',
        "text = f'''\nqueue: f\n    priority: {1}\n'''",
        "x = (\n1,\n)",
        "x = {1:\nf\n}",
        "def f():\n    function: int = 3\n    return function",
        "x = 1 + \\\n2",
        "lambda: 0",
        'function: "T"',
        "if True:\n    pass\nelse:\n    pass",
        "other: int",
        "x: int = \\\n    3",
        'x: str = """\n    a: b\n"""',
    ],
)
def test_what_is_python_stays_python(python: str) -> None:
    text = f"f = 1\n{python}\n"
    found = parse_tw(text)
    assert found.specs == []
    assert found.source == text


def test_a_key_in_brackets_at_column_0_is_python() -> None:
    assert names("function = f = 1\nx = {\nfunction: f\n}\n\nqueue: night\n") == ["queue/night"]


def test_a_bare_line_is_declared_when_python_would_fail_on_it() -> None:
    assert names("queue: fast\ndataset: my-data\ndef f(): ...\nfunction: f\n") == [
        "queue/fast", "dataset/my-data", "function/f",
    ]  # fmt: skip


def test_defs_are_found_wherever_a_module_binds_them() -> None:
    text = "try:\n    from x import f\nexcept ImportError:\n    def f(): ...\ng = f\n"
    assert names(text + "function: f\n    timeout: 1s\nfunction: g\n    timeout: 1s\n") == [
        "function/f", "function/g",
    ]  # fmt: skip
    assert names("from x import *\nfunction: h\n    timeout: 1s\n") == ["function/h"]
    assert names("async def 清洗(x): ...\nfunction: 清洗\n") == ["function/清洗"]
    assert names("function: q\n    sql: SELECT 1\n") == ["function/q"]


def test_the_text_is_read_once() -> None:
    inside = "def f(x):\n    return '''\nfunction: f\n    a: b\n'''\n"
    found = parse_tw(inside * 3000 + "queue: night\n    priority: 2\n" * 1)
    assert found.specs == [QueueSpec(name="night", priority=2)]


def test_line_ends_and_byte_order_marks() -> None:
    assert names("\ufeff" + DESIGN.replace("\n", "\r\n")) == ["function/my_logic"]


def test_a_missing_def_gets_the_nearest() -> None:
    text = DESIGN.replace("function: my_logic", "function: my_lojic")
    assert faults(text) == [
        (5, 11, "there is no def 'my_lojic' in this file", "did you mean 'my_logic'?")
    ]
    (fault,) = faults("function: f\n    timeout: 1s\n")
    assert fault[3] == "write def f(…): above it"
    (fault,) = faults("def ff(): ...\nfunction: f\n    entry: fff\n")
    assert fault[:2] == (3, 12)


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        ("functoin: f\n    timeout: 1s\n", 1, 1, "there is no kind 'functoin'", "'function'"),
        ("\nqueue: q\n    priorty: 1\n", 3, 5, "'priorty' is not a field", "'priority'"),
        ("queue: q\n    priority: high\n", 2, 15, "expected a whole number", ""),
        ("queue: q\n\tpriority: 1\n", 2, 1, "a tab stands", "blanks"),
        ("queue: q\n    priority: 1\n    priority: 2\n", 3, 5, "a second time", "line 2"),
        ("queue: q\n    priority: [\n", 3, 1, "this is not YAML", ""),
        ("queue: q\n    priority\n", 2, 1, "expected fields", ""),
        ("queue: q\n    - a\n", 2, 1, "expected fields", ""),
        ("queue: q\n    name: r\n", 2, 5, "says its name already", "drop"),
        ("queue:\n    priority: 1\n", 1, 1, "has no name", "write queue: name"),
        ("queue:\n", 1, 1, "has no name", "write queue: name"),
        ("queue: My Queue\n    priority: 1\n", 1, 8, "capital letter", "my queue"),
        ("queue: q\n\nqueue: q\n", 3, 8, "a second time", "line 1"),
        ("x = 1\nx = (\n", 2, 5, "this is not Python", ""),
        ("x = 1\ny = 2 3\nqueue: q\n", 2, 7, "this is not Python", ""),
        ("x = '\ud800'\n", 1, 6, "half a character", ""),
        ("x = 1\n\0", 2, 1, "NUL", ""),
    ],
)
def test_faults_have_their_place(
    text: str, line: int, column: int, message: str, hint: str
) -> None:
    (fault,) = faults(text)
    assert fault[:2] == (line, column)
    assert message in fault[2]
    assert hint in fault[3]


def test_all_faults_of_a_file_are_told_together() -> None:
    text = "x = 2 3\n\nqueue: q\n    priorty: 1\n\npool: P\n    price: $1/h\n"
    assert [fault[0] for fault in faults(text)] == [1, 4, 6]


def test_an_indentation_slip_in_python_is_python_s() -> None:
    (fault,) = faults("x: int = 3\n    y = 4\n")
    assert fault[0] == 2 and "unexpected indent" in fault[2]


def test_the_first_fault_is_the_error_s_own() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_tw("queue: q\n    priorty: 1\n", "a.tw")
    assert caught.value.where == Location("a.tw", 2, 5, "priorty")


IMPORTED = """from flows import clean, train as fit
from tradewind.components import split

pipeline: flow
    steps:
      - {name: clean, uses: {kind: function}, params: {data: 1}}
      - {name: model, uses: {kind: training, entry: fit}, input: {data: $clean}}
      - {name: parts, uses: {kind: function, entry: split}, input: {data: $clean}}
"""


def test_a_def_imported_from_a_file_beside_it_has_that_files_entry() -> None:
    """So the same flow in YAML is the same object, and a cache miss names the line that changed."""
    [pipeline] = parse_tw(IMPORTED, "flow.tw", beside={"flows.py"}).specs
    assert isinstance(pipeline, PipelineSpec)
    entries = [step.uses.entry for step in pipeline.steps if not isinstance(step.uses, str)]
    assert entries == ["flows.py:clean", "flows.py:train", "flow.tw:split"]
    [pipeline] = parse_tw(IMPORTED, "flow.tw").specs
    assert isinstance(pipeline, PipelineSpec)
    assert getattr(pipeline.steps[0].uses, "entry", "") == "flow.tw:clean"


def test_a_def_of_the_file_comes_before_an_imported_one() -> None:
    text = "from flows import f\ndef f(): ...\nfunction: f\n"
    [found] = parse_tw(text, "a.tw", beside={"flows.py"}).specs
    assert found == FunctionSpec(name="f", entry="a.tw:f")
