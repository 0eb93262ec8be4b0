"""The journal and the log files, byte by byte."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradewind.supervisor import journal, logs


def test_a_reader_sees_whole_reports_only(tmp_path: Path) -> None:
    path = str(tmp_path / "j")
    writer = journal.Journal(path, "p")
    writer.add("metric", {"name": "a"})
    writer.add("metric", {"name": "b"})
    assert journal.read(path) == ([], [])
    writer.flush()
    reports, ends = journal.read(path)
    assert [report["seq"] for report in reports] == [1, 2]
    assert journal.read(path, ends[0])[0] == reports[1:]
    with open(path, "r+b") as file:
        file.seek(ends[1])
        file.write(b'{"torn')
    assert journal.read(path)[0] == reports
    writer.close()
    assert (tmp_path / "j").stat().st_size == ends[1]


def test_one_long_report_is_read_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "j")
    writer = journal.Journal(path, "p")
    writer.add("param", {"value": "x" * 10_000})
    writer.flush()
    assert len(journal.read(path, 0, 100)[0]) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.lists(st.binary(max_size=300_000).map(lambda part: part * 3), max_size=8),
    st.integers(0, 10**6),
)
def test_a_log_reads_as_it_was_written(tmp_path: Path, parts: list[bytes], offset: int) -> None:
    unit = str(tmp_path / f"u{len(list(tmp_path.iterdir()))}x{hash((tuple(parts), offset))}")
    writer = logs.LogWriter(unit, cap=1 << 30, segment=1 << 16)
    for part in parts:
        writer.write(part)
    writer.close()
    whole = b"".join(parts)
    assert b"".join(data for _after, data in logs.read(unit, offset)) == whole[offset:]
    assert logs.length(unit) == writer.total == len(whole)


def test_the_first_and_the_newest_segments_are_kept(tmp_path: Path) -> None:
    unit = str(tmp_path / "u")
    writer = logs.LogWriter(unit, cap=1 << 18, segment=1 << 16)
    for number in range(100):
        writer.write(b"%05d\n" % number * 4096)
    writer.close()
    kept = b"".join(data for _after, data in logs.read(unit, 0))
    assert kept.startswith(b"00000\n") and kept.endswith(b"00099\n")
    assert len(logs.segments(unit)) <= 4 and b"are left out here" in kept
    after = [end for end, _data in logs.read(unit, 0)]
    assert after == sorted(after) and after[-1] == writer.total
