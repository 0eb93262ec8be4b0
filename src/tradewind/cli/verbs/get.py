"""List runs, datasets, models, services, pools, or stored specs.

tw get runs --state running
tw get dataset flights
tw get functions
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from tradewind.base.errors import NotFound, UserError
from tradewind.cli.show import Out, ago, count, hourly, lasted, paid
from tradewind.cli.table import NOUNS
from tradewind.sdk import local
from tradewind.sdk.client import Client
from tradewind.sdk.loading import KINDS

Json = dict[str, Any]

_LIMIT = 50


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    kinds = ", ".join((*NOUNS, *(f"{kind}s" for kind in KINDS if f"{kind}s" not in NOUNS)))
    parser.add_argument("noun", metavar="WHAT", nargs="?", default="runs", help=kinds)
    parser.add_argument("name", nargs="?", default="", help="only this; for a run its id or name")
    parser.add_argument("--project", default="")
    parser.add_argument("--kind", default="", help="runs: of this kind")
    parser.add_argument("--state", default="", help="runs: in this state")
    parser.add_argument("--parent", default=None, help="runs: steps of this run")
    also = "runs: also those that only measured for a quote"
    parser.add_argument("--quotes", action="store_true", help=also)
    parser.add_argument("-n", "--limit", type=int, default=_LIMIT, help=f"runs: {_LIMIT}; 0: all")


def noun_of(text: str) -> str:
    """The plural that is meant. Raises UserError."""
    low = text.lower()
    known = (*NOUNS, *(f"{kind}s" for kind in KINDS))
    for candidate in (low, f"{low}s"):
        if candidate in known:
            return candidate
    from difflib import get_close_matches

    near = get_close_matches(low, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(dict.fromkeys(known))}"
    raise UserError(f"there is nothing called {text!r} to list", hint=hint)


def main(args: argparse.Namespace, out: Out) -> None:
    """Ask for the list, show it."""
    word, slash, name = args.noun.partition("/")
    noun = noun_of(word)
    name = name if slash else args.name
    with local.connect() as client:
        items = _items(client, noun, name, args)
    if not out.text:
        out.value(items)
        return
    head, row = _TABLES.get(noun, _TABLES["specs"])
    out.table(head, [row(item) for item in items], empty=f"no {noun}")
    if noun == "runs" and args.limit and len(items) == args.limit:
        out.note(f"the newest {args.limit}; -n 0 lists all")


def _items(client: Client, noun: str, name: str, args: argparse.Namespace) -> list[Json]:
    if noun == "runs":
        if name:
            with contextlib.suppress(NotFound):
                return [client.runs.get(name)]
        found = client.runs.list(
            project=args.project,
            kind=args.kind,
            state=args.state,
            name=name,
            parent=args.parent,
            quotes=args.quotes,
            limit=args.limit or None,
        )
        return list(found)
    if noun in ("datasets", "models", "services", "pools"):
        listed: Iterable[Json] = getattr(client, noun).list()
    else:
        listed = client.specs.list("" if noun == "specs" else noun[:-1])
    if args.project:
        listed = [item for item in listed if item.get("project") == args.project]
    return [item for item in listed if not name or item.get("name") == name]


def _run(item: Json) -> list[Any]:
    note = item.get("waiting") if not item.get("ended") else ""
    if item.get("error"):
        note = item["error"].get("message", "")
    if item.get("cached_from"):
        note = "from the cache"
    return [item["id"], item["kind"], item["name"], item["state"], ago(item.get("created") or 0),
            lasted(item), paid(item), note or ""]  # fmt: skip


def _dataset(item: Json) -> list[Any]:
    made = ago(item.get("created") or 0)
    return [item["name"], item.get("number"), count(item.get("rows")), made, item.get("run") or ""]


def _model(item: Json) -> list[Any]:
    aliases = item.get("aliases") or {}
    shown = ", ".join(f"{a}→{n}" for a, n in aliases.items()) if isinstance(aliases, dict) else ""
    metrics = item.get("metrics") or {}
    told = ", ".join(f"{n} {v:.4g}" for n, v in metrics.items() if isinstance(v, int | float))
    return [item["name"], item.get("number"), shown, told, ago(item.get("created") or 0)]


def _service(item: Json) -> list[Any]:
    replicas = item.get("replicas") or ()
    ready = sum(each.get("state") == "ready" for each in replicas)
    wanted = item.get("width") or len(replicas)
    lacking = f"not given: {item['not_given']}" if item.get("not_given") else ""
    return [item["name"], item.get("state"), f"{ready} of {wanted}", item.get("model") or "",
            item.get("url") or "", "; ".join(filter(None, (item.get("why"), lacking)))]  # fmt: skip


def _pool(item: Json) -> list[Any]:
    price = hourly(item)
    wrong = (item.get("error") or {}).get("message")
    notes = ("production" if item.get("production") else "", wrong)
    return [item["name"], item.get("engine"), state_of(item), item.get("machines"),
            amount(item.get("capacity")), amount(item.get("used")),
            f"{price}/h" if price else "-",
            "; ".join(filter(None, notes))]  # fmt: skip


def state_of(pool: Json) -> str:
    """How a pool is, in a word or two."""
    state = str(pool.get("state") or "")
    return f"on {pool['server']}" if state == "elsewhere" and pool.get("server") else state


def amount(resources: Json | None) -> str:
    """An amount of machine."""
    if not resources:
        return "-"
    from tradewind.base import units

    cpu = resources.get("cpu")
    parts = [f"{cpu:g} core{'' if cpu == 1 else 's'}"] if cpu else []
    if resources.get("memory"):
        parts.append(units.format_bytes(int(resources["memory"])))
    parts += [f"{n:g} {name}" for name, n in (resources.get("accelerators") or {}).items()]
    return ", ".join(parts) or "nothing"


def _spec(item: Json) -> list[Any]:
    return [item["kind"], item["name"], item.get("number"), ago(item.get("created") or 0)]


_TABLES: dict[str, tuple[list[str], Callable[[Json], list[Any]]]] = {
    "runs": (["id", "kind", "name", "state", "accepted", "time", "price", ""], _run),
    "datasets": (["name", "version", "rows", "made", "by run"], _dataset),
    "models": (["name", "version", "aliases", "metrics", "made"], _model),
    "services": (["name", "state", "ready", "model", "url", ""], _service),
    "pools": (["name", "engine", "state", "machines", "holds", "in use", "price", ""], _pool),
    "specs": (["kind", "name", "revision", "applied"], _spec),
}
