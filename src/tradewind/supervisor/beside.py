"""What a command beside a unit finds: the unit's variables, its interpreter first on the path."""

from __future__ import annotations

import json
import os
from typing import Any

from tradewind.supervisor import layout
from tradewind.supervisor.start import clean_environment


def environment(
    places: layout.Layout, request: dict[str, Any], role: str, index: int, attempt: int, home: str
) -> dict[str, str]:
    """The environment of a command beside the unit whose working folder is `home`."""
    environment = request["environment"]
    python = environment.get("python") or os.path.join(
        places.environment(environment["digest"]), "bin", "python"
    )
    [found] = [each for each in request["roles"] if each["name"] == role]
    return {
        **clean_environment(python),
        "TRADEWIND_RUN": request["run"],
        "TRADEWIND_TASK": request["task"],
        "TRADEWIND_PLACEMENT": request["placement"],
        "TRADEWIND_ROLE": role,
        "TRADEWIND_INDEX": str(index),
        "TRADEWIND_ATTEMPT": str(attempt),
        "TRADEWIND_OUT": home + ".out",
        "TRADEWIND_PARAMS": json.dumps(found.get("params") or {}),
        **found.get("env", {}),
    }
