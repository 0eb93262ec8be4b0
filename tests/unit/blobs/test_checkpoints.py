"""What units elsewhere keep for their next tries: who may, what is seen of it, when it goes."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradewind.base.errors import Conflict, Gone, NotFound, UserError
from tradewind.blobs import checkpoints
from tradewind.blobs.checkpoints import Checkpoints, File, Kept

FIRST, SECOND = (1, 1, 1), (1, 1, 2)


def file(kept: Kept, path: str, data: bytes) -> File:
    """A file whose bytes were brought."""
    digest = kept.blobs.put_bytes(data)
    return {"path": path, "digest": digest, "size": len(data), "mtime": 5, "mode": 0o600}


def paths(kept: Kept, newest: tuple[int, int, int] = (9, 9, 9)) -> dict[str, Any]:
    """Path → digest, as the next try finds it."""
    files, damaged = kept.claim(newest, 0, "next")
    assert not damaged
    return {each["path"]: each.get("digest") or each["link"] for each in files}


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Checkpoints(tmp_path).of("r", "t", "main", 0)


def test_the_next_try_finds_what_was_told_last(kept: Kept) -> None:
    assert kept.claim(FIRST, 0, "a") == ([], False)
    one, two = file(kept, "deep/one", b"1"), file(kept, "two", b"2")
    kept.change(0, "a", [one, two, {"path": "last", "link": "deep/one"}], [])
    new = file(kept, "two", b"3")
    kept.change(0, "a", [new], ["deep/one", "never"])
    assert paths(kept) == {"two": new["digest"], "last": "deep/one"}
    # What nothing names any more takes no room.
    assert not kept.blobs.exists(one["digest"]) and not kept.blobs.exists(two["digest"])
    assert kept.blobs.usage().blobs == 1


def test_bytes_that_another_path_still_names_stay(kept: Kept) -> None:
    kept.claim(FIRST, 0, "a")
    kept.change(0, "a", [file(kept, "one", b"1"), file(kept, "two", b"1")], [])
    kept.change(0, "a", [], ["one"])
    assert list(paths(kept)) == ["two"]


def test_an_old_try_changes_nothing_any_more(kept: Kept) -> None:
    kept.claim(FIRST, 0, "old")
    kept.change(0, "old", [file(kept, "x", b"1")], [])
    kept.claim(SECOND, 0, "new")
    with pytest.raises(Gone):
        kept.change(0, "old", [file(kept, "x", b"2")], [])
    with pytest.raises(Gone):
        kept.claim(FIRST, 0, "old")
    assert paths(kept)["x"] == file(kept, "x", b"1")["digest"]
    # One that took its place as the same try fences it as well.
    third = Checkpoints(kept.blobs.root.parent.parent.parent).of("r", "t", "main", 1)
    third.claim(FIRST, 0, "lost")
    third.claim(FIRST, 0, "replaced")
    with pytest.raises(Gone):
        third.change(0, "lost", [], [])


def test_members_of_a_gang_keep_together(kept: Kept) -> None:
    for rank in (0, 1):
        kept.claim(FIRST, rank, f"pod-{rank}")
    for rank in (0, 1):
        kept.change(rank, f"pod-{rank}", [file(kept, f"rank{rank}", b"%d" % rank)], [])
    with pytest.raises(Gone):
        kept.change(0, "pod-1", [], [])
    assert set(paths(kept, (2, 1, 1))) == {"rank0", "rank1"}
    with pytest.raises(Gone):
        kept.change(1, "pod-1", [], ["rank0"])


def test_nothing_is_half_there(kept: Kept) -> None:
    with pytest.raises(NotFound):
        kept.change(0, "a", [], [])
    kept.claim(FIRST, 0, "a")
    good = file(kept, "x", b"1")
    kept.change(0, "a", [good], [])
    missing = {**good, "digest": "sha256:" + hashlib.sha256(b"never sent").hexdigest()}
    with pytest.raises(Conflict):
        kept.change(0, "a", [{**good, "path": "y"}, {**missing, "path": "z"}], ["x"])
    assert list(paths(kept)) == ["x"]


def test_a_damaged_one_is_told_and_begun_anew(kept: Kept) -> None:
    kept.claim(FIRST, 0, "a")
    bad = file(kept, "x", b"1")
    kept.change(0, "a", [bad, file(kept, "y", b"2")], [])
    kept.blobs.delete(bad["digest"])
    assert kept.claim(SECOND, 0, "b") == ([], True)
    kept.change(0, "b", [file(kept, "z", b"3")], [])
    assert list(paths(kept)) == ["z"]


@pytest.mark.parametrize("path", ["", "/x", "../x", "x/../y", "x//y", "./x", "x/", "a\0b", 7, None])
def test_a_path_that_leads_elsewhere_is_refused(kept: Kept, path: Any) -> None:
    kept.claim(FIRST, 0, "a")
    for bad in (
        {**file(kept, "x", b"1"), "path": path},
        {**file(kept, "x", b"1"), "digest": "sha256:../../x"},
        {"path": "x", "link": 3},
        {"path": "x"},
    ):
        with pytest.raises(UserError, match="no file of a checkpoint"):
            kept.change(0, "a", [bad], [])


def test_too_many_files_are_refused(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MOST_FILES", 2)
    kept.claim(FIRST, 0, "a")
    kept.change(0, "a", [file(kept, name, b"1") for name in "ab"], [])
    with pytest.raises(UserError, match="more than 2 files"):
        kept.change(0, "a", [file(kept, "c", b"1")], [])
    kept.change(0, "a", [file(kept, "c", b"1")], ["a"])


NAMES = st.sampled_from(["a", "b", "c/d", "é"])
CHANGES = st.lists(
    st.tuples(st.dictionaries(NAMES, st.binary(max_size=2), max_size=3), st.sets(NAMES))
)


@given(CHANGES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_it_is_what_was_told(tmp_path: Path, changes: Any) -> None:
    kept = Checkpoints(tmp_path / os.urandom(6).hex()).of("r", "t", "main", 0)
    kept.claim(FIRST, 0, "a")
    model: dict[str, bytes] = {}
    for written, dropped in changes:
        kept.change(0, "a", [file(kept, path, data) for path, data in written.items()], dropped)
        model = {path: data for path, data in model.items() if path not in dropped} | written
    found = {path: kept.blobs.path(digest).read_bytes() for path, digest in paths(kept).items()}
    assert found == model
    assert kept.blobs.usage().blobs == len(set(model.values()))


def test_they_go_with_their_run(tmp_path: Path) -> None:
    everything = Checkpoints(tmp_path)
    for run in ("gone", "there"):
        kept = everything.of(run, "t", "main", 0)
        kept.claim(FIRST, 0, "a")
        kept.change(0, "a", [file(kept, "x", b"1")], [])
    everything.forget(lambda run: run == "gone")
    assert paths(everything.of("gone", "t", "main", 0)) == {}
    assert list(paths(everything.of("there", "t", "main", 0))) == ["x"]
    for bad in ("", "../x", ".", "a/b"):
        with pytest.raises(UserError):
            everything.of(bad, "t", "main", 0)


def test_the_oldest_make_room(tmp_path: Path) -> None:
    everything, now = Checkpoints(tmp_path), time.time()
    ages = {"fresh": 0, "new": 5000, "live": 6000, "old": 7000}
    for run, age in ages.items():
        everything.use(run, f"{run}-1")
        kept = everything.of(run, "t", "main", 0)
        kept.claim(FIRST, 0, "a")
        kept.change(0, "a", [file(kept, "x", os.urandom(1000))], [])
        os.utime(tmp_path / "checkpoints" / run, (now - age, now - age))
    everything.shrink(lambda placement: placement == "live-1", most=2900)
    left = {folder.name for folder in (tmp_path / "checkpoints").iterdir() if folder.is_dir()}
    assert left == {"fresh", "new", "live"}
    # Not looked at again so soon.
    everything.shrink(lambda _placement: False, most=0)
    assert (tmp_path / "checkpoints" / "live").is_dir()
