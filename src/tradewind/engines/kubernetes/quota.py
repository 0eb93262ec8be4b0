"""A quota's refusal in a data scientist's words."""

from __future__ import annotations

import re

_NAMES = {"cpu": "CPU", "ephemeral-storage": "disk"}


def words(message: str) -> str:
    """What a refusal says of the first thing that is short: `exceeded quota: NAME, requested:
    pods=1, used: pods=4, limited: pods=4`."""
    asked, used, limited = (_amounts(message, part) for part in ("requested", "used", "limited"))
    name = next((name for name in limited if name in used), "")
    if not name:
        return "the namespace's quota is used up"
    what, amounts = plain(name), f"used {used[name]} of {limited[name]}"
    if used[name] == limited[name] or name not in asked:
        return f"the namespace's quota for {what} is used up ({amounts})"
    return (
        f"the namespace's quota for {what} has no room for it ({amounts}, it needs {asked[name]})"
    )


def plain(name: str) -> str:
    """`requests.cpu`, `count/jobs.batch`, `pods` … as people call them."""
    short = name.removeprefix("requests.").removeprefix("limits.")
    if short.startswith("count/"):
        short = short.removeprefix("count/").partition(".")[0]
    return _NAMES.get(short, short)


def _amounts(message: str, part: str) -> dict[str, str]:
    found = re.search(rf"\b{part}: ((?:[^\s,=]+=[^\s,=]+,?)+)", message)
    pairs = found[1].strip(",").split(",") if found else []
    return dict(pair.split("=", 1) for pair in pairs)
