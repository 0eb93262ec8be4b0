"""What probes find, in few calls and little time, whatever the function does."""

from __future__ import annotations

import mmap
import os
import random
import socket
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from tests.unit.inside import ways
from tests.unit.inside.ways import written
from tradewind.compiler.line import line_of
from tradewind.control.probing import facts
from tradewind.inside import measure, probing, tracking
from tradewind.kinds.function import work

ROWS, GROUPS = 40_000, 20


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    table = pa.table({"i": range(ROWS), "k": [f"{i % 7}" for i in range(ROWS)]})
    return written(table, tmp_path_factory.mktemp("probing"), ROWS // GROUPS, 2)


def probed(
    function: Callable[..., Any],
    files: list[str],
    out: Path,
    style: str,
    *,
    seconds: float = 60.0,
    share: float = 0.2,
    imports: float = 0.0,
    **fields: Any,
) -> dict[str, Any]:
    start = ways.start(files, out, style, **fields)
    start["entry"]["call"]["probe"] = {"seconds": seconds, "share": share}
    made = probing.carry_out(function, start, {"import": imports})
    assert list(out.iterdir()) == [], "a sample or a result is left"
    assert made["output"]["kind"] == "json"
    found: dict[str, Any] = made["output"]["value"]
    assert len(found["calls"]) <= 5
    return found


def test_what_a_process_sleeps_until_it_is_ready_is_told(files: list[str], tmp_path: Path) -> None:
    """In an import, or at the first call; not in every call."""
    computed = measure.cpu_seconds() + measure.delayed()
    found = probed(batch, files, tmp_path / "one", "batch", imports=computed + 3.0)
    assert 2.0 < found["asleep"] < 3.2, "what this process has computed until then is none"
    first = [True]

    def late(data: pa.Table) -> pa.Table:
        if first:
            time.sleep(0.7 * first.pop())
        return data

    assert 0.6 < probed(late, files, tmp_path / "two", "batch")["asleep"] < 3.0
    assert probed(batch, files, tmp_path / "three", "batch")["asleep"] == 0.0


def batch(data: pa.Table) -> pa.Table:
    return data


def row(data: dict[str, Any]) -> dict[str, Any]:
    return data


def group(data: pd.DataFrame) -> pd.DataFrame:
    return data.head(1)


def table(data: pd.DataFrame) -> pd.DataFrame:
    return data.describe()


def counted(data: Any) -> Any:
    return data.group_by("k").agg(n=data.count())


def ordered(data: Any) -> Any:
    return data.order_by(data.i.desc())


def kept(data: Any) -> Any:
    return data.filter(data.i > 3)


QUERY = "SELECT k, max(i) FROM data WHERE i >= $least GROUP BY k"


@pytest.mark.parametrize(
    ("function", "style", "family", "fields"),
    [
        (batch, "batch", "stream", {}),
        (row, "row", "stream", {}),
        (group, "group", "group", {"by": ["k"]}),
        (table, "table", "table", {}),
        (counted, "expression", "hash", {}),
        (ordered, "expression", "sort", {}),
        (kept, "expression", "stream", {}),
        (work.run_sql, "sql", "hash", {"params": {"sql": QUERY, "least": 0}}),
    ],
)
def test_every_style_is_measured(
    files: list[str], tmp_path: Path, function: Any, style: str, family: str, fields: dict[str, Any]
) -> None:
    found = probed(function, files, tmp_path / "out", style, **fields)
    assert found["problems"] == [] and found["family"] == family and found["style"] == style
    size = found["input"].pop("bytes")
    assert found["input"] == {"rows": ROWS, "groups": GROUPS} and size > ROWS
    rows = [call["rows"] for call in found["calls"]]
    assert rows == [0, 100 if style == "group" else 1000, 8000, 8000, 8000]
    assert 0 < found["page"] < 1e-3
    assert found.get("keys", 7) == 7 and found.get("growth", 0) == 0
    for call in found["calls"]:
        assert call["wall"] > 0 and call["cpu"] >= 0 and call["memory"] > 1 << 20
        assert call["pages"] >= 0
        if call["rows"]:
            assert call["out_bytes"] > 0 and call["groups"] > 0 and call["bytes"] > 0
    assert found["calls"][-1]["groups"] == 4 and found["calls"][-1]["out_rows"] > 0
    assert bool(found["operators"]) == (style in ("expression", "sql"))


def test_a_small_table_is_taken_whole(tmp_path: Path) -> None:
    paths = written(pa.table({"i": range(30)}), tmp_path)
    found = probed(batch, paths, tmp_path / "out", "batch")
    assert [call["rows"] for call in found["calls"]] == [0, 30, 30, 30, 30]
    paths = written(pa.table({"i": pa.array([], pa.int64())}), tmp_path)
    found = probed(batch, paths, tmp_path / "out", "batch")
    assert [call["rows"] for call in found["calls"]] == [0] and found["input"]["rows"] == 0


def test_small_tables_beside_are_given_whole(files: list[str], tmp_path: Path) -> None:
    names = written(pa.table({"k": [str(i) for i in range(7)]}), tmp_path)
    seen: list[int] = []

    def joined(data: pa.Table, names: pa.Table) -> pa.Table:
        seen.append(names.num_rows)
        return data.join(names, "k")

    more = {"names": {"kind": "table", "source": "n", "files": names}}
    found = probed(joined, files, tmp_path / "out", "table", inputs=more)
    assert set(seen) == {7} and found["input"]["rows"] == ROWS


def sleeps(data: Any) -> Any:
    time.sleep(1000)


def swallows(data: Any) -> Any:
    while True:
        try:
            time.sleep(1000)
        except Exception:
            continue


def raises(data: Any) -> Any:
    raise ValueError("不行")


def exits(data: Any) -> Any:
    raise SystemExit(3)


def starves(data: Any) -> Any:
    raise MemoryError


def nothing(data: Any) -> Any:
    return None


@pytest.mark.parametrize(
    ("function", "style", "kind", "words"),
    [
        (raises, "row", "raised", "ValueError: 不行 (at row"),
        (sleeps, "batch", "slow", "20 rows took longer than"),
        (swallows, "row", "slow", "20 rows took longer than"),
        (sleeps, "table", "slow", "took longer than"),
        (raises, "batch", "raised", "ValueError: 不行 (at row"),
        (raises, "table", "raised", "ValueError: 不行"),
        (raises, "expression", "raised", "ValueError: 不行"),
        (exits, "batch", "raised", "SystemExit: 3"),
        (starves, "row", "memory", "MemoryError"),
        (nothing, "batch", "output", "returned None (nothing) for row"),
        (group, "group", "input", "no column 'nope' to group by"),
        (work.run_sql, "sql", "raised", "nope"),
    ],
)
def test_what_goes_wrong_is_a_problem_and_never_an_end(
    files: list[str], tmp_path: Path, function: Any, style: str, kind: str, words: str
) -> None:
    fields: dict[str, Any] = {"by": ["nope"]} if style == "group" else {}
    if style == "sql":
        fields["params"] = {"sql": "SELECT nope FROM data"}
    seconds = 0.3 if kind == "slow" else 60.0
    found = probed(function, files, tmp_path / "out", style, seconds=seconds, **fields)
    said = [each for each in found["problems"] if each["kind"] == kind]
    assert said and any(words in each["message"] for each in said), found["problems"]
    sure = kind in ("input", "output") or (kind == "raised" and style in ("batch", "row"))
    assert any(each.get("sure", False) for each in found["problems"]) == sure


def test_a_function_that_needs_as_many_rows_as_a_run_gives_it_gets_them(
    files: list[str], tmp_path: Path
) -> None:
    def picky(data: pa.Table) -> pa.Table:
        if 0 < data.num_rows < 1001:
            raise ValueError("too few")
        return data

    found = probed(picky, files, tmp_path / "out", "batch")
    assert not found["problems"] and found["calls"][-1]["rows"] > 1000


def test_what_a_pinned_spark_would_refuse_is_told(tmp_path: Path) -> None:
    data = pa.table({"p": pa.array([Decimal("1.5")] * 20, pa.decimal128(18, 4))})
    files = written(data, tmp_path, 10, 1)

    def mean(t: Any) -> Any:
        return t.aggregate(m=t.p.mean())

    assert probed(mean, files, tmp_path / "one", "expression")["problems"] == []
    found = probed(mean, files, tmp_path / "two", "expression", pinned="spark")
    [problem] = found["problems"]
    assert problem["sure"] and "Mean: only of what is no decimal" in problem["message"]
    assert "backend: duckdb would" in problem["message"] and not found["calls"]


def test_slow_functions_are_measured_on_few_rows(files: list[str], tmp_path: Path) -> None:
    calls: list[int] = []

    def slow(data: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.002)
        calls.append(1)
        return data

    found = probed(slow, files, tmp_path / "out", "row", seconds=3.0)
    assert [each["kind"] for each in found["problems"]] == ["slow"]
    assert 0 < max(call["rows"] for call in found["calls"]) < 1000
    assert len(calls) < 2000


def test_what_a_process_makes_ready_once_is_its_start_and_no_time_of_its_rows(
    files: list[str], tmp_path: Path
) -> None:
    """A model that is loaded on the first call, a library that is imported there."""
    loaded: list[float] = []

    def loads(data: dict[str, Any]) -> dict[str, Any]:
        while not loaded or (len(loaded) == 1 and time.process_time() < loaded[0] + 1.0):
            loaded[:] = loaded or [time.process_time()]
        loaded[:] = [0.0, 0.0]
        return data

    for style in ("row", "batch"):  # a row's function is not called without rows
        loaded.clear()
        before = measure.cpu_seconds()
        found = probed(loads, files, tmp_path / style, style, seconds=1.5)
        assert found["problems"] == [] and found["start"] > before + 0.5
        assert [call["rows"] for call in found["calls"][:2]] == [0, 1000]
        assert len(found["calls"]) == 5 and max(call["cpu"] for call in found["calls"]) < 1.0
    before = measure.cpu_seconds()
    start = probed(batch, files, tmp_path / "no", "batch")["start"]
    assert before < start < before + 0.5, "what the process had taken is a start too"


@pytest.mark.parametrize("style", ["batch", "table", "group", "dicts"])
def test_the_calls_of_a_function_are_counted_and_what_they_take(
    files: list[str], tmp_path: Path, style: str
) -> None:
    """Also without rows: there it sleeps as long as with some."""

    def pauses(data: pa.Table) -> pa.Table:
        time.sleep(0.02)
        return data

    def of_dicts(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        time.sleep(0.02)
        return data

    fields: dict[str, Any] = {"by": ["k"]} if style == "group" else {}
    function = of_dicts if style == "dicts" else pauses
    kind = "batch" if style == "dicts" else style
    found = probed(function, files, tmp_path / "out", kind, **fields)
    whole = {"batch": GROUPS, "dicts": GROUPS, "table": 1, "group": None}[style]
    assert found["problems"] == [] and found.get("times") == whole
    for call in found["calls"]:
        times = {"group": call.get("keys"), "table": 1}.get(style, call["groups"])
        # Of groups a call without rows has one key, whose own time is not counted.
        assert call["times"] == (times if style == "group" else max(1, times))
        assert 0.02 * call["times"] <= call["inside"] <= call["wall"]
        assert call["inside_cpu"] <= call["cpu"]


def test_a_row_group_is_as_many_calls_as_it_has_batches(tmp_path: Path) -> None:
    paths = written(pa.table({"i": range(20_000)}), tmp_path, 10_000)

    def dicts(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return data

    found = probed(dicts, paths, tmp_path / "out", "batch")
    assert found["times"] == 4 and found["calls"][-1]["times"] == 2


def test_groups_are_sampled_whole_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand first rows would be a thousand groups of one."""
    keys, lone = 500, pa.table({"k": [7] * 30_000, "i": range(30_000)})
    many = pa.table({"k": [n % keys for n in range(30_000)], "i": range(30_000)})
    paths = written(pa.concat_tables([many, lone, many]), tmp_path, 30_000)
    monkeypatch.setattr(probing.Probe, "_left", lambda self: 3.0)
    original = probing.Probe._call

    def told(self: Any, sample: Any, seconds: float, **more: Any) -> Any:
        made = original(self, sample, seconds, **more)
        for call in self.calls:  # each group takes a while, whatever its rows
            call["wall"] = call.get("keys", 0) * 0.01
        return made

    monkeypatch.setattr(probing.Probe, "_call", told)
    found = probed(group, paths, tmp_path / "out", "group", by=["k"])
    assert found["keys"] == keys
    first, largest = found["calls"][1], found["calls"][-1]
    assert (first["rows"], first["keys"]) == (100, 100)
    assert 10 < largest["keys"] < keys / 4 and largest["rows"] == 120 * largest["keys"]


@pytest.mark.parametrize("lies", ["mixed", "by key", "in small row groups"])
def test_keys_are_called_with_as_many_rows_as_in_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lies: str
) -> None:
    """A key takes more with several rows than with one, and then no more with a hundred: drawn out
    from a dozen rows for each key, that would be many times the truth."""
    rows, keys = 40_000, 400
    places = [n % keys for n in range(rows)]
    if lies == "by key":
        places.sort()
    table = pa.table({"k": places, "i": range(rows)})
    paths = written(table, tmp_path, 1600 if lies == "in small row groups" else 5000, 2)
    # A slow disk is none of its business.
    monkeypatch.setattr(probing, "READING", 100.0)
    monkeypatch.setattr(probing.Probe, "_left", lambda self: 3.0)
    original = probing.Probe._call

    def told(self: Any, sample: Any, seconds: float, **more: Any) -> Any:
        made = original(self, sample, seconds, **more)
        for call in self.calls:
            each = 0.02 if call["rows"] > 8 * call["keys"] else 0.01
            call["wall"] = call["cpu"] = 0.1 + call["keys"] * each
        return made

    monkeypatch.setattr(probing.Probe, "_call", told)
    found = probed(group, paths, tmp_path / "out", "group", by=["k"])
    largest = found["calls"][-1]
    assert largest["keys"] > 5 and largest["rows"] == rows / keys * largest["keys"]
    line = line_of(facts(found))
    assert line is not None and found["keys"] == keys
    assert line.key * keys + line.each * rows == pytest.approx(0.02 * keys, rel=0.01)


def test_what_a_call_takes_whatever_its_keys_is_told_by_one_with_a_key(
    files: list[str], tmp_path: Path
) -> None:
    """Without any, nothing is put in order or written."""
    seen: list[int] = []

    def looks(data: pd.DataFrame) -> pd.DataFrame:
        seen.append(len(data))
        return data

    found = probed(looks, files, tmp_path / "out", "group", by=["k"])
    none = found["calls"][0]
    assert (none["rows"], none["keys"], none["out_rows"]) == (0, 0, 1)
    assert 1 in seen and 0 not in seen


@pytest.mark.parametrize("by_key", [False, True])
def test_keys_of_very_uneven_size_are_told_from_their_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_key: bool
) -> None:
    """One has nearly all rows, and 400 one each: a sample of whole keys, taken at random, would be
    of these alone, and the first rows, of the one."""
    rows, lone = 40_000, 400
    keys = [0] * (rows - lone) + list(range(1, lone + 1))
    if not by_key:
        random.Random(1).shuffle(keys)
    paths = written(pa.table({"k": keys, "i": range(rows)}), tmp_path, rows // 4)
    monkeypatch.setattr(probing.Probe, "_left", lambda self: 3.0)
    original = probing.Probe._call

    def told(self: Any, sample: Any, seconds: float, **more: Any) -> Any:
        made = original(self, sample, seconds, **more)
        for call in self.calls:
            call["wall"] = call["cpu"] = 0.1 + call["keys"] * 0.005 + call["rows"] * 1e-6
        return made

    monkeypatch.setattr(probing.Probe, "_call", told)
    found = probed(group, paths, tmp_path / "out", "group", by=["k"])
    first, largest = found["calls"][1], found["calls"][-1]
    assert (first["rows"], first["keys"]) == (100, 100)
    assert largest["rows"] >= 2000 and largest["rows"] > 20 * largest["keys"]
    line = line_of(facts(found))
    assert line is not None
    assert line.key == pytest.approx(0.005) and line.each == pytest.approx(1e-6, rel=0.01)


def test_a_sample_that_proves_too_large_is_cut_off_and_a_smaller_one_taken(
    files: list[str], tmp_path: Path
) -> None:
    """A thousand rows go in no time, and many more are slow."""

    def climbs(data: pa.Table) -> pa.Table:
        time.sleep(0 if data.num_rows <= 1000 else data.num_rows * 5e-5)
        return data

    found = probed(climbs, files, tmp_path / "out", "table", seconds=2.0, share=1.0)
    assert found["problems"] == []
    assert found["calls"][-1]["rows"] > 1000, "what is left of the time is used"


def test_what_is_left_at_the_end_of_a_file_is_no_sample(tmp_path: Path) -> None:
    few = pa.table({"i": range(5000)})
    paths = []
    for number, rows in enumerate((5000, 1100, 5000)):  # the middle one would be taken
        folder = tmp_path / f"{number}"
        folder.mkdir()
        paths += written(few.slice(0, rows), folder, 5000)
    found = probed(batch, paths, tmp_path / "out", "batch", share=0.1)
    assert [call["rows"] for call in found["calls"]] == [0, 1000, 5000, 5000, 5000]


def test_the_largest_sample_is_what_there_is_time_for(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing.Probe, "_left", lambda self: 3.0)  # three calls of 0.8 s

    def paced(calls: list[dict[str, Any]]) -> None:
        for call in calls:
            call["wall"] = call["rows"] * 1e-4

    original = probing.Probe._call

    def told(self: Any, sample: Any, seconds: float, **more: Any) -> Any:
        made = original(self, sample, seconds, **more)
        paced(self.calls)
        return made

    monkeypatch.setattr(probing.Probe, "_call", told)
    found = probed(batch, files, tmp_path / "out", "batch", share=0.5)
    assert [call["rows"] for call in found["calls"]] == [0, 1000, 8000, 8000, 8000]


def test_a_thousand_rows_beside_a_neighbour_do_not_make_the_largest_sample_small(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing.Probe, "_left", lambda self: 3.0)
    original = probing.Probe._call

    def told(self: Any, sample: Any, seconds: float, **more: Any) -> Any:
        made = original(self, sample, seconds, **more)
        for call in self.calls:  # a thousand rows were in no time, but for the neighbour
            call["wall"] = 0.2 if 0 < call["rows"] <= 1000 else call["rows"] * 1e-6
        return made

    monkeypatch.setattr(probing.Probe, "_call", told)
    found = probed(batch, files, tmp_path / "out", "batch", share=0.5)
    assert [call["rows"] for call in found["calls"]] == [0, 1000, 4000, 20_000, 20_000]


def test_the_largest_sample_is_called_twice_even_if_the_time_is_up(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time it meets cold caches."""
    original = probing.Probe._call

    def told(self: Any, sample: Any, seconds: float, **more: Any) -> Any:
        made = original(self, sample, seconds, **more)
        if made is not None and made["rows"] == 8000:
            self._began = time.monotonic() - 100.0
            made["wall"] = 5.0  # and not once more
        return made

    monkeypatch.setattr(probing.Probe, "_call", told)
    found = probed(batch, files, tmp_path / "out", "batch")
    assert [call["rows"] for call in found["calls"]] == [0, 1000, 8000, 8000]


def test_what_a_key_takes_is_the_lesser_of_two_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one with several keys at once is a cold one."""
    table = pa.table({"k": [0] * 20_000 + list(range(1, 101))})
    took = iter((3.0, 2.0))
    original = probing.Probe._call

    def told(self: Any, sample: Any, seconds: float, **more: Any) -> Any:
        made = original(self, sample, seconds, **more)
        if made is not None and made["rows"] == 100:
            made["cpu"] = next(took)
        return made

    monkeypatch.setattr(probing.Probe, "_call", told)
    found = probed(group, written(table, tmp_path, 30_000), tmp_path / "out", "group", by=["k"])
    assert [(call["rows"], call["keys"]) for call in found["calls"][:2]] == [(0, 0), (100, 100)]
    assert found["calls"][1]["cpu"] == 2.0 and found["calls"][2]["rows"] > 100
    assert next(took, None) is None


def test_what_a_probed_function_tells_is_not_recorded(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    monkeypatch.setenv("TRADEWIND_RUN", "r1")
    monkeypatch.setenv("TRADEWIND_CHANNEL", "")
    tracking.announce(theirs.fileno())
    channel = os.environ["TRADEWIND_CHANNEL"]

    def tells(data: pa.Table) -> pa.Table:
        assert "TRADEWIND_CHANNEL" not in os.environ
        tracking.log_metric("m", 1.0)
        return data

    found = probed(tells, files, tmp_path / "out", "batch")
    assert found["problems"] == [] and os.environ["TRADEWIND_CHANNEL"] == channel
    tracking.log_metric("after", 1.0)
    assert b"after" in ours.recv(1000)
    ours.close()
    theirs.close()


def talks(data: Any) -> Any:
    print("working on", len(data), "rows")
    return data


def test_what_is_printed_while_it_is_measured_is_not_said_by_the_run(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = probed(talks, files, tmp_path, "batch")
    assert found["calls"] and not found["problems"]
    assert capsys.readouterr().out == ""


def test_memory_that_a_call_is_given_is_counted() -> None:
    def touch(size: int) -> None:
        with mmap.mmap(-1, size) as fresh:  # an allocator may have pages left, or take huge ones
            for place in range(0, size, mmap.PAGESIZE):
                fresh[place] = 1

    few = measure.taken(lambda: touch(1), 9.0)[1]["pages"]
    many = measure.taken(lambda: touch(64 << 20), 9.0)[1]["pages"]
    assert many - few >= (64 << 20) / mmap.PAGESIZE / 2
