"""How the server is: where, since when, what it holds, what limits hold. Starts nothing."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tradewind.base import units
from tradewind.cli.show import Out, hourly, moment
from tradewind.cli.verbs.get import amount, state_of
from tradewind.sdk import local


def arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing."""


def main(args: argparse.Namespace, out: Out) -> None:
    """Ask, show."""
    with local.connect(start=False) as client:
        body = client.server.status()
        body["services"] = client.services.list()
        url = client.url
    if not out.text:
        out.value({"url": url, **body})
        return
    counts = body.get("counts") or {}
    disk = body.get("disk") or {}
    out.facts(
        [
            ("server", url),
            ("version", body.get("version")),
            ("process", body.get("pid")),
            ("up for", units.format_duration(float(body.get("uptime") or 0))),
            ("data", body.get("data")),
            ("store", _flat(body.get("store"))),
            ("disk free", units.format_bytes(int(disk["free"])) if disk.get("free") else ""),
            ("runs", ", ".join(f"{n} {state}" for state, n in counts.items() if n)),
            ("services", "\n".join(_service(service) for service in body["services"])),
            ("pools", "\n".join(_pool(pool) for pool in body.get("pools") or ())),
            ("node", _lines(body.get("node") or {})),
        ]
    )


def _service(service: dict[str, Any]) -> str:
    ready = sum(each.get("state") == "ready" for each in service.get("replicas") or ())
    wanted = service.get("width") or len(service.get("replicas") or ())
    why = f": {service['why']}" if service.get("why") else ""
    return f"{service['name']} ({service.get('state')}, {ready} of {wanted} ready{why})"


def _pool(pool: dict[str, Any]) -> str:
    error, price, used = pool.get("error") or {}, hourly(pool), pool.get("used")
    machines = pool.get("machines") or 1
    parts = [
        str(pool.get("engine") or ""),
        state_of(pool),
        "production" if pool.get("production") else "",
        f"{machines} machines" if machines > 1 else "",
        amount(pool["capacity"]) if pool.get("capacity") else "",
        f"{amount(used)} in use" if used else "",
        f"{price} an hour" if price else "",
    ]
    told = f"{pool['name']} ({', '.join(part for part in parts if part)})"
    return "\n  ".join(part for part in (told, error.get("message"), error.get("hint")) if part)


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        shown = dict(value)
        if isinstance(shown.get("size"), int):
            shown["size"] = units.format_bytes(shown["size"])
        return ", ".join(f"{name} {part}" for name, part in shown.items())
    return str(value or "")


def _lines(body: dict[str, Any]) -> str:
    return "\n".join(f"{name}: {_said(name, part)}" for name, part in body.items() if part)


def _said(name: str, part: Any) -> str:
    if name == "since":
        return moment(float(part))
    if name == "memory":
        return ", ".join(f"{units.format_bytes(size)} {what}" for what, size in part.items())
    if name == "limits":
        return "; ".join(f"{what}: {how}" for what, how in part.items())
    return str(part) if isinstance(part, str | int | float) else json.dumps(part)
