"""What each case sends, word for word. After a change that is meant:

TRADEWIND_SNAPSHOTS=write .venv/bin/python -m pytest tests/unit/engines/kubernetes
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.engines.kubernetes.cases import REQUESTS

FOLDER = Path(__file__).parent.parent / "snapshots"
WRITE = os.environ.get("TRADEWIND_SNAPSHOTS") == "write"


def text(request: dict[str, Any]) -> str:
    """One YAML document per object, each value written out where it stands."""
    objects = json.loads(json.dumps(request["objects"]))
    return yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True, width=100)


@pytest.mark.parametrize("case", REQUESTS)
def test_it_sends_what_it_sent_before(case: str) -> None:
    path = FOLDER / f"{case}.yaml"
    if WRITE:
        path.write_text(text(REQUESTS[case]), "utf-8")
    assert path.read_text("utf-8") == text(REQUESTS[case])


def test_every_snapshot_has_a_case() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(REQUESTS)
