"""A hundred changes of one thing each: every one is named exactly, and nothing else is."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.road.town import bundle_of
from tradewind.base.ids import digest_json
from tradewind.blobs.folder import FolderBlobs
from tradewind.control import code
from tradewind.control.explain import explain
from tradewind.records.pinned import Pinned, difference, digest
from tradewind.records.tasks import Environment, Input

COUNT = 12


def program(rng: random.Random) -> tuple[dict[str, str], list[tuple[str, int, str]]]:
    """Two files of functions that call each other; where each constant stands, and whose it is."""
    lines: dict[str, list[str]] = {"flows.py": ["import helpers", ""], "helpers.py": [""]}
    places = []
    for index in range(COUNT):
        file = "flows.py" if index % 2 == 0 else "helpers.py"
        body = lines[file]
        body.append(f"# about f{index}")
        body.append(f"def f{index}(x):")
        for _ in range(rng.randint(1, 4)):
            body.append(f"    x = x + {rng.randint(10, 99)}")
            places.append((file, len(body), f"f{index}"))
        if index + 2 < COUNT and index < COUNT - 4:
            body.append(f"    return f{index + 2}(x)")
        elif index == COUNT - 4:
            body.append("    return helpers.f1(x)")
        else:
            body.append("    return x")
        body.append("")
    return {name: "\n".join(body) + "\n" for name, body in lines.items()}, places


def reached_names() -> set[str]:
    """From f0: the even ones up to COUNT-4, then f1 and the odd ones up to COUNT-3."""
    even = {f"f{i}" for i in range(0, COUNT - 3, 2)}
    odd = {f"f{i}" for i in range(1, COUNT - 2, 2)}
    return even | odd


class _Nothing:
    def get(self, key: str, default: Any = None) -> Any:
        return default


def pinned(blobs: FolderBlobs, state: dict[str, Any]) -> Pinned:
    bundle = blobs.put_bytes(bundle_of(state["files"]))
    lock = blobs.put_bytes("".join(f"{n}=={v}\n" for n, v in state["packages"].items()).encode())
    inputs = {
        name: Input(kind="table", source=f"{name}@{version}", digest=digest_json([name, version]))
        for name, version in state["inputs"].items()
    }
    return Pinned(
        kind="function",
        name="f0",
        project="default",
        spec={"kind": "function", "name": "f0", "entry": "flows.py:f0", "params": state["params"]},
        bundle=bundle,
        code=code.parts(blobs, bundle, "flows.py:f0"),
        environment=Environment(digest=lock, lock=lock),
        inputs=inputs,
    )


def start(rng: random.Random) -> tuple[dict[str, Any], list[tuple[str, int, str]]]:
    files, places = program(rng)
    state = {
        "files": files,
        "packages": {f"lib{i}": f"{i}.0" for i in range(5)},
        "inputs": {f"data{i}": rng.randint(1, 9) for i in range(4)},
        "params": {f"p{i}": rng.randint(0, 9) for i in range(4)},
    }
    return state, places


def changed_line(text: str, line: int) -> tuple[str, str, str]:
    rows = text.split("\n")
    before = rows[line - 1].strip()
    rows[line - 1] = rows[line - 1] + "00"
    return "\n".join(rows), before, rows[line - 1].strip()


@pytest.mark.parametrize("seed", range(100))
def test_a_single_change_is_named_exactly(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    blobs = FolderBlobs(tmp_path)
    old, places = start(rng)
    new = {key: dict(part) for key, part in old.items()}
    kind = ("inputs", "params", "packages", "code")[seed % 4]
    if kind == "code":
        reached = [place for place in places if place[2] in reached_names()]
        file, line, name = rng.choice(reached)
        new["files"][file], before, after = changed_line(old["files"][file], line)
        part = f"code {file}:{name}"
        told = f"{part}: {file}:{line}: {before} → {after}"
    else:
        name = rng.choice(sorted(new[kind]))
        before = new[kind][name]
        after = new[kind][name] = f"{before}.1" if kind == "packages" else before + 1
        part, told = {
            "inputs": (f"input {name}", f"input {name}: {name}@{before} → {name}@{after}"),
            "params": (f"parameter {name}", f"parameter {name}: {before} → {after}"),
            "packages": ("environment", f"environment: {name} {before} → {after}"),
        }[kind]
    one, two = pinned(blobs, old), pinned(blobs, new)
    assert difference(one, two) == [part]
    assert explain(one, two, blobs, _Nothing()) == [told]
    assert digest(one) != digest(two)


@pytest.mark.parametrize("seed", range(30))
def test_a_change_that_the_entry_cannot_see_changes_nothing(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    blobs = FolderBlobs(tmp_path)
    old, places = start(rng)
    new = {key: dict(part) for key, part in old.items()}
    if seed % 3 == 0:
        file = rng.choice(["flows.py", "helpers.py"])
        new["files"][file] = old["files"][file].replace("# about", "# much about", 3)
    elif seed % 3 == 1:
        unreached = [place for place in places if place[2] not in reached_names()]
        file, line, _ = rng.choice(unreached)
        new["files"][file], _, _ = changed_line(old["files"][file], line)
    else:
        new["files"]["README.md"] = "words"
    one, two = pinned(blobs, old), pinned(blobs, new)
    assert one.bundle != two.bundle
    assert digest(one) == digest(two) and explain(one, two, blobs, _Nothing()) == []


def test_lines_that_come_and_go_are_told(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    old, _ = start(random.Random(1))
    base = "def f0(x):\n    a = 1\n    # why\n    b = 2\n    return a\n"
    old["files"] = {"flows.py": base}

    def told(text: str) -> list[str]:
        new = {**old, "files": {"flows.py": text}}
        return explain(pinned(blobs, old), pinned(blobs, new), blobs, _Nothing())

    where = "code flows.py:f0: flows.py"
    assert told(base.replace("    return", "    c = 3\n    return")) == [f"{where}:5: added c = 3"]
    assert told(base.replace("    b = 2\n", "")) == [f"{where}:4: removed b = 2"]
    assert told("\n\n" + base.replace("b = 2", "b = 9")) == [f"{where}:6: b = 2 → b = 9"]
    used = base.replace("return a", "return g(a)") + "def g(x):\n    return x\n"
    assert told(used) == [
        f"{where}:5: return a → return g(a)",
        "code flows.py:g: is used now and was not before",
    ]


def test_parts_never_name_a_default_environment_by_its_digest(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    old, _ = start(random.Random(1))
    one = pinned(blobs, old)
    listed = {
        "environment:a": {"python": "3.11.7", "packages": ["numpy-2.0.0.dist-info"]},
        "environment:b": {"python": "3.11.8", "packages": ["numpy-2.1.0.dist-info"]},
    }

    class Settings:
        def get(self, key: str, default: Any = None) -> Any:
            return listed.get(key, default)

    before = replace(one, environment=Environment(digest="a"))
    after = replace(one, environment=Environment(digest="b"))
    told = explain(before, after, blobs, Settings())
    assert told == ["environment: numpy 2.0.0 → 2.1.0, python 3.11.7 → 3.11.8"]
    unknown = replace(one, environment=Environment(digest="c"))
    told = explain(before, unknown, blobs, Settings())
    assert told == ["environment: another interpreter or other packages"]
