"""What every test shares."""

import os

import pytest
from hypothesis import settings

# The same examples each time, so that a failure is somebody's change and never chance; and no
# deadline, since timings are never asserted here.
settings.register_profile("tradewind", deadline=None, derandomize=True)
settings.load_profile("tradewind")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))
