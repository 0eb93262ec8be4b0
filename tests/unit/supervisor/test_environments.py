"""Environments made with uv: conflicting versions side by side, cached, failures in uv's words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.node.machine import Machine, ended, last
from tradewind.base import errors
from tradewind.supervisor import environments

pytestmark = pytest.mark.skipif(not environments.uv_binary(), reason="uv is not installed")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "data")
    yield machine
    machine.close()


def resolved(requirements: list[str]) -> str:
    try:
        return environments.resolve(requirements)
    except errors.UserError as error:
        if "error sending request" in str(error) or "Network" in str(error):
            pytest.skip("no package index can be reached")
        raise


_ASK = """
def f():
    import {name}, sys
    from tradewind import log_metric
    log_metric("m", 1)
    return [{name}.{version}, sys.prefix]
"""


def test_two_versions_and_one_that_conflicts_with_ours(machine: Machine) -> None:
    prefixes = set()
    for number, (package, name, attribute, version) in enumerate(
        (
            ("idna==3.4", "idna", "__version__", "3.4"),
            ("idna==3.7", "idna", "__version__", "3.7"),
            ("pydantic==1.10.17", "pydantic", "VERSION", "1.10.17"),
        )
    ):
        lock = machine.blob(resolved([package]).encode())
        environment = {"digest": lock, "lock": lock}
        text = _ASK.format(name=name, version=attribute)
        told = machine.call(text, name=f"p{number}", environment=environment)
        assert told.ends() == {f"p{number}": "succeeded"}, ended(told)
        found, prefix = last(told).body["outputs"]["result"]["value"]
        assert found == version
        assert [r.body["name"] for r in told if r.kind == "metric"] == ["m"]
        prefixes.add(prefix)
    assert len(prefixes) == 3


def test_a_hit_builds_nothing(machine: Machine, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(resolved(["idna==3.7"]))
    folder = str(tmp_path / "made")
    assert environments.build(folder, str(lock), sys.executable)
    assert list(Path(folder).rglob("idna/__pycache__/*.pyc"))
    assert not environments.build(folder, str(lock), sys.executable, uv="/bin/false")


def test_what_cannot_be_resolved_is_told_in_the_resolvers_words() -> None:
    resolved(["idna==3.7"])
    with pytest.raises(errors.UserError) as caught:
        environments.resolve(["idna==3.4", "idna==3.7"])
    assert "conflict" in str(caught.value) or "unsatisfiable" in str(caught.value)


def test_torch_is_refused() -> None:
    for wanted in ("torch", "torch==2.13.0", "Torch[opt]>=2", "torchvision"):
        with pytest.raises(errors.Refused, match="is not resolved into an environment"):
            environments.resolve([wanted])


def test_a_requirements_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound):
        environments.resolve(tmp_path / "requirements.txt")


def test_a_lock_that_cannot_be_made_fails_the_run(machine: Machine) -> None:
    lock = machine.blob(b"no-such-package-at-all==1.0 --hash=sha256:" + b"0" * 64 + b"\n")
    environment = {"digest": lock, "lock": lock}
    told = machine.call("def f(): pass\n", environment=environment)
    assert ended(told)["reason"] == "environment"
    assert "no-such-package-at-all" in ended(told)["message"]
