"""What travels, what stays, and that the same files give the same bytes."""

import io
import os
import tarfile
import time
from pathlib import Path

import pytest

from tradewind.base.errors import NotFound, Refused
from tradewind.sdk import bundle


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def write(root: Path, *names: str, text: str = "x") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def travels(root: Path) -> list[str]:
    return [item.path for item in bundle.listing(root).travels]


def stays(root: Path) -> dict[str, str]:
    return {item.path: item.reason for item in bundle.listing(root).stays}


def members(packed: bundle.Bundle) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(packed.data)) as tar:
        return {info.name: info for info in tar}


def test_the_same_files_give_the_same_bytes(root: Path, tmp_path: Path) -> None:
    write(root, "b.py", "a/z.py", "a.py")
    first = bundle.pack(root)
    other = tmp_path / "other"
    write(other, "a.py", "b.py", "a/z.py")
    os.utime(other / "a.py", (time.time() - 1000,) * 2)
    assert bundle.pack(other).digest == first.digest
    found = members(first)
    assert list(found) == ["a.py", "a/z.py", "b.py"]
    assert {(i.mtime, i.uid, i.gid, i.uname, i.mode) for i in found.values()} == {
        (0, 0, 0, "", 0o644)
    }
    write(other, "a.py", text="y")
    assert bundle.pack(other).digest != first.digest


def test_a_program_stays_one(root: Path) -> None:
    write(root, "run.sh")
    (root / "run.sh").chmod(0o700)
    assert members(bundle.pack(root))["run.sh"].mode == 0o755


def test_gitignore_files_are_honoured_as_git_does(root: Path) -> None:
    write(root, "a.log", "keep.log", "data/big.bin", "src/a.py", "src/gen/x.py", "src/keep.tmp",
          "src/b.tmp", "deep/a/only.txt")  # fmt: skip
    write(root, ".gitignore", text="*.log\n!keep.log\n/data/\n*.tmp\n")
    write(root, "src/.gitignore", text="gen/\n!keep.tmp\n")
    write(root, "deep/.gitignore", text="/a/*.txt\n")
    assert travels(root) == [
        ".gitignore", "deep/.gitignore", "keep.log", "src/.gitignore", "src/a.py", "src/keep.tmp",
    ]  # fmt: skip
    assert stays(root)["data/"] == ".gitignore"
    assert stays(root)["deep/a/only.txt"] == ".gitignore"


def test_the_repositorys_own_gitignore_holds_below_it(root: Path) -> None:
    write(root, "sub/a.py", "sub/out/x", "sub/b.csv")
    write(root, ".gitignore", text="/sub/out/\n*.csv\n")
    assert travels(root / "sub") == ["a.py", "b.csv", "out/x"]  # no repository: none of its rules
    (root / ".git").mkdir()
    assert travels(root / "sub") == ["a.py"]


SECRETS = [
    ".env", ".env.local", ".envrc", "prod.env", "server.pem", "id_rsa", "id_rsa.pub", "x.key",
    "id_ed25519", ".netrc", ".aws/credentials", ".ssh/config", "credentials.json", ".npmrc",
    "service-account-prod.json", ".pypirc", "CREDENTIALS.JSON", ".docker/config.json",
    "deep/er/.env", "client_secret_1.json", ".kube/config", "terraform.tfstate", "kaggle.json",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_never_travel(root: Path, name: str) -> None:
    write(root, name, "a.py")
    write(root, ".gitignore", text=f"!{name}\n!*\n")
    assert travels(root) == [".gitignore", "a.py"]
    assert "may hold secrets" in stays(root).values()


def test_a_private_key_is_known_by_its_content(root: Path) -> None:
    write(root, "notes.txt", text="-----BEGIN OPENSSH PRIVATE KEY-----\nabc")
    write(root, "public.txt", text="-----BEGIN PUBLIC KEY-----\nabc")
    write(root, "test.py", text='KEY = "-----BEGIN RSA PRIVATE KEY-----"')
    assert travels(root) == ["public.txt", "test.py"]
    assert stays(root)["notes.txt"] == "holds a private key"


def test_what_is_of_no_use_elsewhere_stays(root: Path) -> None:
    write(root, "a.py", ".git/HEAD", "__pycache__/a.pyc", "env/pyvenv.cfg", "env/bin/python",
          ".tradewind/token", "conda/conda-meta/x", "node_modules/x.js", "tw/token",
          "tw/server.json", ".hg/x")  # fmt: skip
    assert travels(root) == ["a.py"]
    found = stays(root)
    assert found["env/"] == "a virtual environment"
    assert found["conda/"] == "a conda environment"
    assert found["tw/"] == "Tradewind's data folder"
    assert found[".git/"] == "version control"


def test_links_inside_travel_as_files_and_links_outside_stay(root: Path, tmp_path: Path) -> None:
    write(root, "real.py", "pkg/m.py", ".env")
    write(tmp_path, "outside.txt", "out/secret.txt")
    links = {
        "alias.py": "real.py", "absolute.py": str(root / "real.py"), "away.txt": "../outside.txt",
        "gone.txt": "nowhere", "lib": "pkg", "out": "../out", "sneaky": ".env", "loop": ".",
    }  # fmt: skip
    for name, target in links.items():
        (root / name).symlink_to(target)
    (root / "pkg" / "up").symlink_to("..")
    assert travels(root) == ["absolute.py", "alias.py", "lib/m.py", "pkg/m.py", "real.py"]
    found = stays(root)
    assert found["away.txt"] == found["out/"] == "a link that leaves the folder"
    assert found["gone.txt"] == "a link to nothing"
    assert found["sneaky"] == "a link to what stays: may hold secrets"
    assert found["loop/"] == found["pkg/up/"] == "a link to a folder around it"
    assert all(info.isfile() for info in members(bundle.pack(root)).values())


def test_pipes_stay(root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert stays(root) == {"pipe": "no plain file"}


def test_what_a_run_is_given_as_data_stays(root: Path) -> None:
    write(root, "fn.py", "flights.parquet", "days/one.csv", "days/two.csv", "more/a.csv")
    data = [str(root / name) for name in ("flights.parquet", "more", "days/o*.csv")]
    found = bundle.listing(root, (), data)
    assert [item.path for item in found.travels] == ["days/two.csv", "fn.py"]
    assert {item.path: item.reason for item in found.stays} == dict.fromkeys(
        ["days/one.csv", "flights.parquet", "more/"], "given as data"
    )


def test_the_limit_names_the_largest(root: Path) -> None:
    write(root, "big.bin", text="x" * 5000)
    write(root, "small.py")
    with pytest.raises(Refused, match=r"big\.bin \(4\.9 KiB\)") as raised:
        bundle.pack(root, limit=1000)
    assert ".gitignore" in raised.value.hint


def test_the_root_is_the_folder_or_what_holds_the_package(root: Path) -> None:
    write(root, "train.py", "lib/pkg/__init__.py", "lib/pkg/sub/__init__.py", "lib/pkg/sub/m.py")
    assert bundle.code_of(root / "train.py") == bundle.Code(root, "train.py")
    assert bundle.code_of(root / "lib/pkg/sub/m.py") == bundle.Code(root / "lib", "pkg/sub/m.py")
    assert bundle.code_of(root / "lib/pkg/sub/m.py", root).file == "lib/pkg/sub/m.py"
    with pytest.raises(Refused):
        bundle.code_of(root / "train.py", root / "lib")
    with pytest.raises(NotFound):
        bundle.code_of(root / "absent.py")


def test_from_a_home_folder_only_what_is_imported_travels(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write(home, "train.py", text="import helper, os\nfrom pkg.a import x")
    write(home, "helper.py", text="import second")
    write(home, "second.py", "unused.py", "photos/a.jpg", "pkg/__init__.py", "pkg/a.py")
    code = bundle.code_of(home / "train.py")
    assert code.only == ("helper.py", "pkg/__init__.py", "pkg/a.py", "second.py", "train.py")
    packed = bundle.pack(code.root, code.only)
    assert sorted(members(packed)) == list(code.only)


def test_a_tw_file_travels_as_its_python(root: Path) -> None:
    text = "def clean(data):\n    return data\n\nfunction: clean\n    performance: 60s\n"
    write(root, "clean.tw", text=text)
    write(root, "torn.tw", text="function: nothing\n    performance: soon\n")
    with tarfile.open(fileobj=io.BytesIO(bundle.pack(root).data)) as tar:
        sent = {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    compile(sent["clean.tw"], "clean.tw", "exec")
    assert b"def clean(data)" in sent["clean.tw"] and b"performance" not in sent["clean.tw"]
    assert b"soon" in sent["torn.tw"]
