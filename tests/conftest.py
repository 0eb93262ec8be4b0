"""What every test shares."""

import os
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import settings

# The same examples each time, so that a failure is somebody's change and never chance; and no
# deadline, since timings are never asserted here.
settings.register_profile("tradewind", deadline=None, derandomize=True)
settings.load_profile("tradewind")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if getattr(config.option, "loadgroup", False):
        for item in items:
            keep_together(item)
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


def keep_together(item: pytest.Item) -> None:
    """Name the `xdist_group` in the test's id, by which xdist sends the group to one worker. It
    writes it itself, to an attribute that pytest 9.2 no longer reads."""
    mark = item.get_closest_marker("xdist_group")
    known: Any = getattr(item, "_id", None)
    if mark is None or known is None or item.nodeid.endswith(f"@{mark.args[0]}"):
        return
    *above, own = known.names
    full = own if known.params is None else f"{own}[{known.params}]"
    cast(Any, item)._id = replace(known, names=(*above, f"{full}@{mark.args[0]}"), params=None)
