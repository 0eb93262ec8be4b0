"""The steps of a model's life as plain functions over Arrow tables, usable on anybody's data.

`tradewind.components:split` and so on name them in a pipeline; `catalog.COMPONENTS` lists them
without loading anything heavy.
"""

from __future__ import annotations

from typing import Any

from tradewind.components.catalog import COMPONENTS, Component

__all__ = ["COMPONENTS", "Component"]


def __getattr__(name: str) -> Any:
    # Loaded on use: the modules of the functions need Arrow.
    if name in COMPONENTS:
        return COMPONENTS[name].load()
    raise AttributeError(f"there is no component {name!r}; there are {', '.join(COMPONENTS)}")
