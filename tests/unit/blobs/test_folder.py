import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradewind.base import errors
from tradewind.blobs.base import Blobs, Usage, disk_fault
from tradewind.blobs.folder import FolderBlobs


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs")


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=3000))
def test_what_is_put_is_read(blobs: FolderBlobs, data: bytes) -> None:
    digest = blobs.put_bytes(data)
    assert digest == sha(data) == blobs.put_bytes(data)
    with blobs.open(digest, verify=True) as reader:
        assert reader.read() == data
    assert blobs.exists(digest) and blobs.size(digest) == len(data)


def test_the_layout_is_a_promise(blobs: FolderBlobs) -> None:
    name = blobs.put_bytes(b"hello").removeprefix("sha256:")
    assert (blobs.root / name[:2] / name[2:]).read_bytes() == b"hello"
    assert blobs.path(name) == blobs.path("sha256:" + name)
    boundary: Blobs = blobs
    assert boundary.usage() == Usage(1, 5)


def test_a_file_is_copied_or_taken(blobs: FolderBlobs, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3_000_000)
    digest = blobs.put_file(source)
    assert source.exists() and digest == sha(b"x" * 3_000_000)
    assert blobs.put_file(source, move=True) == digest
    assert not source.exists()
    source.write_bytes(b"other")
    inode = source.stat().st_ino
    other = FolderBlobs(blobs.root, durable=True).put_file(source, move=True)
    assert not source.exists() and blobs.path(other).stat().st_ino == inode
    assert blobs.usage().blobs == 2 and not list(blobs.root.rglob(".part*"))


def test_a_blob_is_not_writable(blobs: FolderBlobs) -> None:
    assert blobs.path(blobs.put_bytes(b"a")).stat().st_mode & 0o222 == 0


def test_changed_bytes_are_found(blobs: FolderBlobs) -> None:
    digest = blobs.put_bytes(b"right")
    path = blobs.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"wrong")
    with pytest.raises(errors.Broken, match="no longer holds"):
        blobs.open(digest, verify=True)


@pytest.mark.parametrize("name", ["", "abc", "../../etc/passwd", "sha256:" + "A" * 64, "0" * 65])
def test_a_name_that_is_no_digest_never_becomes_a_path(blobs: FolderBlobs, name: str) -> None:
    for act in (blobs.open, blobs.path, blobs.exists, blobs.size, blobs.delete):
        with pytest.raises(errors.Bug):
            act(name)


def test_missing(blobs: FolderBlobs) -> None:
    with pytest.raises(errors.NotFound):
        blobs.open(sha(b""))
    assert not blobs.exists(sha(b"")) and not blobs.delete(sha(b""))
    assert blobs.usage() == Usage(0, 0) and blobs.prune(()) == Usage(0, 0)


def test_prune_keeps_what_is_named_young_or_fits(blobs: FolderBlobs) -> None:
    digests = [blobs.put_bytes(bytes([number]) * 100) for number in range(6)]
    for age, digest in enumerate(digests):
        os.utime(blobs.path(digest), (1000 + age, 1000 + age))
    assert blobs.prune({digests[0]}, older_than=1002) == Usage(1, 100)
    assert [blobs.exists(one) for one in digests] == [True, False, True, True, True, True]
    assert blobs.prune({digests[0]}, max_bytes=300) == Usage(2, 200)
    assert [blobs.exists(one) for one in digests] == [True, False, False, False, True, True]
    assert blobs.put_bytes(bytes([4]) * 100) == digests[4]  # put again: young again
    assert blobs.prune((), older_than=2000) == Usage(2, 200)
    assert blobs.exists(digests[4])
    assert blobs.prune(()) == Usage(1, 100)


def test_debris_of_a_killed_writer_goes_after_a_day(blobs: FolderBlobs) -> None:
    blobs.put_bytes(b"x")
    young, old = blobs.root / ".part-1-a", blobs.root / ".part-1-b"
    young.touch()
    old.touch()
    os.utime(old, (1, 1))
    blobs.prune((), older_than=1)
    assert young.exists() and not old.exists() and blobs.usage().blobs == 1


def test_many_writers_of_the_same_bytes(blobs: FolderBlobs) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(blobs.put_bytes(b"z" * 100_000)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {sha(b"z" * 100_000)} and len(found) == 8
    assert blobs.usage() == Usage(1, 100_000)


def test_a_full_disk_says_so_and_leaves_nothing(
    blobs: FolderBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    source = tmp_path / "source"
    source.write_bytes(b"data")
    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(errors.Broken, match="disk is full") as caught:
        blobs.put_bytes(b"data")
    assert "free some space" in caught.value.hint
    with pytest.raises(errors.Broken, match="disk is full"):
        blobs.put_file(source)
    with pytest.raises(errors.Broken):
        blobs.put_file(source, move=True)
    assert source.exists()
    assert not [path for path in blobs.root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
def test_every_fault_of_a_disk_is_broken(code: int) -> None:
    assert isinstance(disk_fault(OSError(code, "x", "f"), "testing"), errors.Broken)
