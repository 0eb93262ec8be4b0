"""Where we are: what the manifest says in the environment, and the files of a pod's folder."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, NamedTuple

from tradewind.inside import linux

Work = dict[str, Any]


class Place(NamedTuple):
    """One pod."""

    server: str
    token: str
    pod: str
    address: str
    home: str
    termination: str
    service_token: str

    @property
    def blobs(self) -> str:
        """The bytes that were brought, and those that were made."""
        return os.path.join(self.home, "blobs")

    def file(self, name: str) -> str:
        """A file of ours in the pod's folder."""
        return os.path.join(self.home, name)

    def remember(self, name: str, value: Any) -> None:
        """Write a JSON file, visible by rename."""
        path = self.file(name)
        with open(path + ".part", "w") as file:
            json.dump(value, file, separators=(",", ":"))
        os.rename(path + ".part", path)

    def recall(self, name: str, otherwise: Any = None) -> Any:
        """What was remembered under this name."""
        try:
            with open(self.file(name)) as file:
                return json.load(file)
        except (OSError, ValueError):
            return otherwise


def find() -> Place:
    """Read the environment, and take the secrets out of it: nothing that we start sees them.

    Programs of the same user could read them from our own process, so that is closed as well.
    """
    linux.keep_private()
    os.umask(0o077)
    env = os.environ
    home = os.path.abspath(env.get("TRADEWIND_HOME", "/tradewind"))
    for folder in (home, env.get("HOME", "")):
        if folder:
            with contextlib.suppress(OSError):
                os.makedirs(folder, exist_ok=True)
    return Place(
        server=env.get("TRADEWIND_SERVER", "").rstrip("/"),
        token=env.pop("TRADEWIND_TOKEN", ""),
        pod=env.get("TRADEWIND_POD", ""),
        address=env.get("TRADEWIND_IP", "") or "127.0.0.1",
        home=home,
        termination=env.get("TRADEWIND_TERMINATION_LOG", "/dev/termination-log"),
        service_token=env.pop("TRADEWIND_SERVICE_TOKEN", ""),
    )
