"""All about one thing: a run with its time, price and reasons; a dataset; a model; a stored spec.

tw describe RUN
tw describe dataset/flights
tw describe function/clean
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from tradewind.base import units
from tradewind.base.errors import NotFound
from tradewind.cli.follow import result_text, spent
from tradewind.cli.show import Out, ago, count, hourly, lasted, moment, money, paid
from tradewind.cli.verbs import plan
from tradewind.cli.verbs.get import amount, noun_of, state_of
from tradewind.sdk import local
from tradewind.sdk.client import Client
from tradewind.sdk.handles import lines_of

Json = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("thing", metavar="RUN|NOUN/NAME", help="a run's id, dataset/NAME, …")
    parser.add_argument("name", nargs="?", default="", help="the name, if not behind a slash")


def main(args: argparse.Namespace, out: Out) -> None:
    """Find it, show it."""
    word, slash, name = args.thing.partition("/")
    name = name if slash else args.name
    with local.connect() as client:
        if not name:
            noun, found = "runs", client.runs.get(word)
        else:
            noun = noun_of(word)
            found = _found(client, noun, name)
    if not out.text:
        out.value(found)
    else:
        _SHOW.get(noun, _stored)(found, out)


def _found(client: Client, noun: str, name: str) -> Json:
    plain, _, number = name.partition("@")
    if noun == "runs":
        return client.runs.get(name)
    if noun == "datasets":
        if number.isdigit():
            return client.datasets.version(plain, int(number))
        return client.datasets.get(name)
    if noun == "models":
        return client.models.get(name)
    if noun in ("pools", "services"):
        for item in getattr(client, noun).list():
            if item.get("name") == name:
                return dict(item)
        raise NotFound(f"there is no {noun[:-1]} {name!r}", hint=f"`tw get {noun}` lists them")
    return client.specs.get(noun[:-1], plain, int(number) if number.isdigit() else None)


def _run(body: Json, out: Out) -> None:
    error = body.get("error") or {}
    out.facts(
        [
            ("run", body["id"]),
            ("spec", f"{body['kind']} {body['name']}"),
            ("state", body["state"]),
            ("replicas" if body["kind"] == "service" else "waits for", _waits(body)),
            ("accepted", f"{moment(body['created'])} ({ago(body['created'])})"),
            ("time", lasted(body)),
            ("price", paid(body)),
            ("promise", _promise(body.get("promise") or {})),
            ("not given", "\n".join(body.get("not_given") or ())),
            ("elsewhere", _elsewhere(body)),
            ("parent", body.get("parent")),
            ("from the cache of", body.get("cached_from")),
            ("ran anew because", _changed(body)),
            ("retries", body.get("tries") or ""),
            ("lost and retried", body.get("losses") or ""),
            ("parameters logged", _logged(body, "params")),
            ("metrics", _logged(body, "metrics")),
            ("why", "\n".join(lines_of(body.get("explain")))),
            ("note", "\n".join(body.get("notes") or ())),
            ("error", error.get("message")),
            ("hint", error.get("hint") or body.get("waiting_hint")),
        ]
    )
    if error.get("traceback"):
        out.line(out.style(str(error["traceback"]).rstrip(), "dim"))
    if body.get("plan"):
        _title("plan", out)
        out.facts(plan.facts(body["plan"]))
    if body.get("phases"):
        _title("where the time went", out)
        times = spent(body["phases"]).items()
        rows = [(name, units.format_duration(seconds)) for name, seconds in times]
        out.table(["phase", "time"], rows)
    if body.get("children"):
        _title("steps", out)
        out.table(
            ["name", "run", "state", "time", "price", ""],
            [_child(child) for child in body["children"]],
        )
    if body.get("attempts"):
        _title("attempts", out)
        out.table(
            ["unit", "try", "state", "time", "cpu", "memory", "ended by"],
            [_attempt(each) for each in body["attempts"]],
        )
    if native := [_native(each) for each in body.get("attempts") or () if _native(each)[1]]:
        _title("in the engine's own words", out)
        out.facts(dict.fromkeys(native))
    if body.get("result"):
        _title("outputs", out)
        out.facts((slot, result_text(result)) for slot, result in body["result"].items())


def _promise(made: Json) -> str:
    """`within 1m for at most $0.01: kept`."""
    within = [f"within {units.format_duration(made['seconds'])}"] if made.get("seconds") else []
    if made.get("price"):
        within.append(f"for at most {money(made['price'])}")
    outcome = {"": "open", "none": "no outcome"}.get(made.get("outcome", ""), made.get("outcome"))
    return f"{' '.join(within)}: {outcome}" if within else ""


def _waits(body: Json) -> str:
    return str(body.get("waiting") or "") if not body.get("ended") else ""


def _logged(body: Json, what: str) -> str:
    found = (body.get("logged") or {}).get(what) or {}
    return ", ".join(
        f"{name} {f'{value:g}' if isinstance(value, float) else value}"
        for name, value in found.items()
    )


def _title(text: str, out: Out) -> None:
    out.line()
    out.line(out.style(text, "bold"))


def _elsewhere(body: Json) -> str:
    rows = body.get("price_elsewhere") or ()
    return "\n".join(
        f"{money(each.get('price'))} on {each.get('machine')} (estimate)" for each in rows
    )


def _changed(body: Json) -> str:
    return ", ".join(map(str, body.get("changed") or ()))


def _child(child: Json) -> list[Any]:
    note = (child.get("error") or {}).get("message") or child.get("waiting") or ""
    if child.get("cached_from"):
        note = f"from the cache of {child['cached_from']}"
    elif changed := (child.get("memory") or {}).get("changed"):
        note = f"changed: {', '.join(map(str, changed))}"
    return [child["name"], child["id"], child["state"], lasted(child), paid(child),
            note]  # fmt: skip


def _attempt(each: Json) -> list[Any]:
    usage = each.get("usage") or {}
    begun, ended = each.get("started") or 0, each.get("ended") or 0
    exit_ = each.get("exit") or {}
    reason = exit_.get("reason", "")
    if exit_.get("message"):
        reason = f"{reason}: {exit_['message']}"
    state = f"{each['state']} (superseded)" if each.get("stale") else each["state"]
    wide = f" x {each['width']}" if each.get("width", 0) > 1 else ""
    return [f"{each['role']}[{each['index']}]{wide}", each.get("try", each["number"]), state,
            units.format_duration(ended - begun) if begun and ended else "-",
            units.format_duration(usage["cpu"]) if usage.get("cpu") else "-",
            units.format_bytes(int(usage["memory"])) if usage.get("memory") else "-",
            reason]  # fmt: skip


def _native(each: Json) -> tuple[str, str]:
    """What the engine itself said of a unit, for operators."""
    said = (each.get("exit") or {}).get("native") or {}
    words = [str(said.get("reason") or ""), str(said.get("message") or "")]
    rest = [f"{name} {value}" for name, value in said.items() if name not in {"reason", "message"}]
    shown = ": ".join(part for part in words if part)
    return f"{each['role']}[{each['index']}]", ", ".join(part for part in (shown, *rest) if part)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 2000 else text[:2000] + " …"


def _dataset(body: Json, out: Out) -> None:
    out.facts(
        [
            ("dataset", f"{body['name']}@{body['number']}"),
            ("rows", count(body.get("rows"))),
            ("left out", _left_out(body)),
            ("size", units.format_bytes(int(body.get("bytes") or 0))),
            ("made", f"{moment(body['created'])} ({ago(body['created'])})"),
            ("by run", body.get("run")),
            ("from", ", ".join(_source(each) for each in body.get("sources") or ())),
            ("digest", body.get("digest")),
        ]
    )
    fields = _columns(body.get("schema") or {})
    if fields:
        _title("columns", out)
        stats = (body.get("stats") or {}).get("columns") or body.get("stats") or {}
        out.table(
            ["name", "type", "nulls", "least", "most"],
            [[name, kind, *_stats(stats.get(name))] for name, kind in fields],
        )
    _versions(body, out)


def _left_out(body: Json) -> str:
    """How many rows of its input are not in it because the function raised."""
    left = (body.get("meta") or {}).get("skipped")
    return f"{count(left)} row{'s'[left == 1 :]} of the input (on_error: skip)" if left else ""


def _columns(schema: Json) -> list[tuple[str, str]]:
    fields = schema.get("fields", schema)
    if isinstance(fields, list):
        return [(str(each["name"]), str(each.get("type"))) for each in fields]
    return [(str(name), str(kind)) for name, kind in fields.items()]


def _stats(found: Any) -> list[Any]:
    body = found if isinstance(found, dict) else {}
    return [body.get("nulls", body.get("null_count")), body.get("min"), body.get("max")]


def _source(each: Any) -> str:
    if not isinstance(each, dict):
        return str(each)
    name = str(each.get("name") or str(each.get("digest") or "")[:19])
    kind = "" if each.get("kind") == "dataset" else f"{each.get('kind', '')} "
    return f"{kind}{name}@{each['number']}" if each.get("number") else f"{kind}{name}"


def _model(body: Json, out: Out) -> None:
    metrics = body.get("metrics") or {}
    out.facts(
        [
            ("model", f"{body['name']}@{body['number']}"),
            ("format", body.get("format")),
            ("aliases", ", ".join(f"{a} → {n}" for a, n in (body.get("aliases") or {}).items())),
            ("size", units.format_bytes(int(body.get("bytes") or 0))),
            ("made", f"{moment(body['created'])} ({ago(body['created'])})"),
            ("by run", body.get("run")),
            ("from", ", ".join(_source(each) for each in body.get("sources") or ())),
            ("metrics", "\n".join(f"{name} {value}" for name, value in metrics.items())),
            ("artifact", body.get("artifact")),
        ]
    )
    _versions(body, out)


def _versions(body: Json, out: Out) -> None:
    versions = body.get("versions") or ()
    if versions:
        _title("versions", out)
        rows = [
            [v["number"], count(v["rows"]) if "rows" in v else "", ago(v["created"]), v.get("run")]
            for v in versions
        ]
        out.table(["version", "rows", "made", "by run"], rows)


def _stored(body: Json, out: Out) -> None:
    document = body.get("document")
    if document is None:
        plain = (str, int, float)
        out.facts([(key.replace("_", " "), value if isinstance(value, plain) else _short(value))
                   for key, value in body.items()])  # fmt: skip
        return
    out.facts(
        [
            ("spec", f"{body['kind']}/{body['name']}"),
            ("revision", body.get("number")),
            ("applied", f"{moment(body['created'])} ({ago(body['created'])})"),
        ]
    )
    out.line()
    import yaml

    out.line(yaml.safe_dump(document, sort_keys=False, allow_unicode=True).rstrip())


_PRODUCTION = "yes: what it cannot give is refused, and a change of it asks first"


def _pool(body: Json, out: Out) -> None:
    error = body.get("error") or {}
    price = hourly(body)
    out.facts(
        [
            ("pool", body["name"]),
            ("engine", body.get("engine")),
            ("state", state_of(body)),
            ("production", _PRODUCTION if body.get("production") else ""),
            ("error", error.get("message")),
            ("hint", error.get("hint")),
            ("holds", amount(body["capacity"]) if body.get("capacity") else ""),
            ("machines", _machines(body)),
            ("where", _where(body)),
            ("largest machine", amount(body["largest"]) if body.get("largest") else ""),
            ("in use", amount(body.get("used")) if body.get("used") else ""),
            ("price", f"{price} an hour" if price else ""),
            ("price from", body.get("as_of")),
            *(
                (f"option {key}", _short(value))
                for key, value in (body.get("options") or {}).items()
            ),
        ]
    )


def _machines(body: dict[str, Any]) -> str:
    """How many of each size, and where."""
    lots = body.get("sizes") or ()
    apart = "; ".join(
        f"{lot['count']} with {amount(lot['each'])}" + (f" in {_where(lot)}" if _where(lot) else "")
        for lot in lots
    )
    return apart or str(body.get("machines") or "")


def _where(body: dict[str, Any]) -> str:
    """By level, the widest first."""
    return ", ".join(f"{level} {name}" for level, name in body.get("where") or ())


_SHOW = {"runs": _run, "datasets": _dataset, "models": _model, "pools": _pool}
