"""Write the generated parts of docs/, between `<!-- generated: NAME -->` and `<!-- end -->`.

Usage: make_docs.py [--check]. With --check nothing is written: stale parts are named,
and the exit status is 1.
"""

import ast
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "tradewind"
PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Json = dict[str, Any]


def main(arguments: list[str]) -> int:
    stale = [page for page in sorted((ROOT / "docs").rglob("*.md")) if written(page) is not None]
    for page in stale:
        text = written(page)
        if "--check" in arguments:
            print(f"{page.relative_to(ROOT)} is out of date: make docs")
        elif text is not None:
            page.write_text(text, encoding="utf-8")
            print(f"wrote {page.relative_to(ROOT)}")
    if not stale:
        print("docs: the generated parts are up to date")
    return int(bool(stale) and "--check" in arguments)


def written(page: Path) -> str | None:
    """The page as it should be; None if that is how it is."""
    old = page.read_text(encoding="utf-8")
    new = PART.sub(lambda part: f"{part[1]}{PARTS[part[2]]()}\n{part[3]}", old)
    return new if new != old else None


def table(*rows: tuple[str, ...]) -> str:
    head, *body = rows
    lines = [head, tuple("---" for _ in head), *body]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


LINKED = ("Source", "Step", "Until", "Resources", "Retries")

# --- specs ---------------------------------------------------------------------------------------


def specs() -> str:
    """Every kind with its fields; what several share stands once, first."""
    from tradewind.specs import KINDS
    from tradewind.specs.common import Objective, Spec, Workload
    from tradewind.specs.schema import json_schema

    definitions = json_schema()["$defs"]
    common = [name for name in Spec.model_fields if name != "kind"]
    objective = list(Objective.model_fields)
    shared = [name for name in Workload.model_fields if name not in {*common, *objective, "kind"}]
    model = definitions["FunctionSpec"]
    text = ["## Fields of every kind\n", fields(model, common)]
    text += ["\n## Objective\n", "Of `function`, `training`, `pipeline` and `service`.\n"]
    text += [fields(model, objective)]
    text += ["\n## Fields of every workload\n", "The same four kinds.\n", fields(model, shared)]
    for kind, spec in KINDS.items():
        known = {*common, "kind"}
        is_workload = issubclass(spec, Workload)
        known |= {*objective, *shared} if is_workload else set()
        definition = definitions[spec.__name__]
        own = [name for name in definition["properties"] if name not in known]
        text += [f"\n## {kind}\n", definition["description"]]
        text[-1] += " Runs." if kind in running() else " Stored, not run."
        text += ["", fields(definition, own)]
    text += ["\n## Parts of fields"]
    for name in LINKED:
        definition = long_form(definitions[name])
        text += [f"\n### {name}\n", definition["description"], ""]
        text += [fields(definition, list(definition["properties"]))]
    return "\n".join(text)


def long_form(definition: Json) -> Json:
    """Of a part that may be written short or as a mapping: the mapping."""
    forms = definition.get("anyOf", [definition])
    return next(each for each in forms if "properties" in each)


def running() -> tuple[str, ...]:
    from tradewind.kinds import NAMES

    return NAMES


def fields(definition: Json, names: list[str]) -> str:
    must = set(definition.get("required", ()))
    rows = [("field", "form", "default", "meaning")]
    for name in names:
        about = definition["properties"][name]
        default = "**required**" if name in must else shown(about)
        rows.append((f"`{name}`", form(about), default, about.get("description", "")))
    return table(*rows)


def shown(about: Json) -> str:
    default = about.get("default")
    return "" if default in (None, "", [], {}) else f"`{json.dumps(default)}`".replace('"', "")


def form(about: Json) -> str:
    if "$ref" in about:
        name = about["$ref"].rpartition("/")[2]
        if name == "Width":
            return "`4` or `1..8`"
        return f"[{name}](#{name.lower()})" if name in LINKED else name.lower()
    if "enum" in about:
        return ", ".join(f"`{each}`" for each in about["enum"])
    options = [each for each in about.get("anyOf", ()) if each.get("type") != "null"]
    if options:
        return " or ".join(dict.fromkeys(filter(None, map(form, options)))) or "any JSON"
    example = next(iter(about.get("examples", ())), None)
    if isinstance(example, str):
        return f"`{example}`"
    if about.get("type") == "array":
        inner = form(about.get("items", {}))
        return f"list of {inner}" if inner != "any JSON" else "list"
    if about.get("type") == "object":
        inner = about.get("additionalProperties")
        return f"map to {form(inner)}" if isinstance(inner, dict) else "map"
    if isinstance(about.get("type"), list):
        return " or ".join({"array": "list", "string": "text"}.get(t, t) for t in about["type"])
    words = {"string": "text", "integer": "number", "number": "number", "boolean": "true or false"}
    if "oneOf" in about:
        return "text or a spec"
    return words.get(about.get("type", ""), "any JSON")


# --- backends -----------------------------------------------------------------------------------


def backends() -> str:
    """Styles by backends; below, the reason of every gap."""
    from tradewind.kinds.function.matrix import BACKENDS, MATRIX, STYLES

    head = ("style", "the function gets", *(f"`{name}`" for name in BACKENDS))
    rows = [head]
    reasons: dict[tuple[str, str], list[str]] = {}
    for style, cells in MATRIX.items():
        rows.append((f"`{style}`", STYLES[style], *(cells[name].state for name in BACKENDS)))
        for name, cell in cells.items():
            if cell.state != "yes":
                reasons.setdefault((name, cell.why), []).append(f"`{style}`")
    gaps = [f"- {', '.join(styles)} on `{name}`: {why}." for (name, why), styles in reasons.items()]
    about = [f"- `{name}`: {words}." for name, words in BACKENDS.items()]
    return "\n".join([*about, "", table(*rows), "", *sorted(gaps)])


def spark() -> str:
    """What Spark does as DuckDB does it, what only sometimes, and what it is known not to."""
    from tradewind.inside.sparksql import AGREES, DIFFERS, ROUNDS, SOMETIMES

    agree = f"Agree: {', '.join(sorted(AGREES))}."
    rounds = f"Agree but for the last digits of a float: {', '.join(sorted(ROUNDS))}."
    some = [f"- {name}: only {words}" for name, words in sorted(SOMETIMES.items())]
    differ = [f"- {name}: {why}" for name, why in sorted(DIFFERS.items())]
    return "\n".join(
        [agree, "", rounds, "", "Agree in part:", "", *some, "", "Differ:", "", *differ]
    )


# --- the API -------------------------------------------------------------------------------------


def openapi() -> Json:
    from unittest.mock import Mock

    from tradewind.api.app import create_app
    from tradewind.api.guard import Keys

    keys = Keys(token="", now=lambda: 0.0)
    nothing: Any = Mock()  # routes are described without a control plane behind them
    made: Json = create_app(nothing, keys, frozenset(), lambda: None).openapi()
    return made


def api() -> str:
    described = openapi()
    bodies = described["components"]["schemas"]
    groups: dict[str, list[tuple[str, ...]]] = {}
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            noun = path.removeprefix("/api/v1/").partition("/")[0]
            about = route.get("description", route.get("summary", ""))
            row = (f"`{method.upper()} {path}`", "; ".join(taken(route, bodies)), about)
            groups.setdefault(noun, []).append(row)
    return "\n\n".join(
        f"### {noun}\n\n" + table(("route", "takes", "answers"), *rows)
        for noun, rows in groups.items()
    )


def taken(route: Json, bodies: Json) -> Iterator[str]:
    query = [each["name"] for each in route.get("parameters", ()) if each["in"] == "query"]
    if query:
        yield "query " + ", ".join(f"`{name}`" for name in query)
    for content in route.get("requestBody", {}).get("content", {}).values():
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        inside = bodies.get(name, {}).get("properties", {})
        yield "body " + (", ".join(f"`{field}`" for field in inside) or "a document")


# --- errors, states ------------------------------------------------------------------------------

ACTS = {
    "user_error": "you: change something",
    "denied": "somebody with more rights",
    "try_again": "nobody: the same call may pass later",
    "broken": "an operator: repair something",
    "bug": "we: report it",
}


def errors() -> str:
    from tradewind.base import errors as tree

    about = descriptions(tree.__doc__ or "")
    rows = [("code", "class", "exit status", "HTTP", "who acts", "when")]
    for branch in tree.TradewindError.__subclasses__():
        for kind in [branch, *sorted(known(branch, tree.__name__), key=lambda each: each.code)]:
            row = (f"`{kind.code}`", f"`{kind.__name__}`", str(kind.exit_status))
            act = ACTS[branch.code]
            rows.append(
                (
                    *row,
                    str(kind.http_status),
                    act,
                    about.get(kind.__name__, "") if kind is not branch else "",
                )
            )
    return table(*rows)


def known(branch: Any, module: str) -> Iterator[Any]:
    for kind in branch.__subclasses__():
        if kind.__module__ == module:
            yield kind
            yield from known(kind, module)


def descriptions(text: str) -> dict[str, str]:
    return dict(re.findall(r"[├└]── (\w+)\s+(.*)", text))


def transitions() -> str:
    from tradewind.records.states import LIVE, RUN_TRANSITIONS, RunState

    rows = [("from", "to", "by")]
    for old in RunState:
        by: dict[str, list[str]] = {}
        for (before, after), owner in RUN_TRANSITIONS.items():
            if before is old and owner != "road.stop":
                by.setdefault(owner, []).append(after)
        rows += [(f"`{old}`", ", ".join(f"`{x}`" for x in after), f"`{owner}`")
                 for owner, after in by.items()]  # fmt: skip
    live = ", ".join(f"`{state}`" for state in RunState if state in LIVE and state != "stopping")
    rows.append((live, "`stopping`", "`road.stop`"))
    return table(*rows)


# --- what the code tells -------------------------------------------------------------------------


def sources() -> Iterator[ast.AST]:
    """Of the rooms that write: what only reads or shows is left out."""
    for path in sorted(SOURCE.rglob("*.py")):
        if path.relative_to(SOURCE).parts[0] not in {"testing", "cli", "sdk"}:
            yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def event_types() -> list[str]:
    """Every type that some line of the code gives an event."""
    from tradewind.records.states import AttemptState, PlacementState, RunState

    fill = {"run.": list(RunState), "attempt.": list(AttemptState),
            "placement.": list(PlacementState), "": ["dataset", "model"]}  # fmt: skip
    found: set[str] = set()
    for node in sources():
        for given in told(node):
            match given:
                case ast.Constant(value=str(text)):
                    found.add(text)
                case ast.JoinedStr(values=[ast.Constant(value=start), ast.FormattedValue()]):
                    found |= {f"{start}{each}" for each in fill[str(start)]}
                case ast.JoinedStr(values=[ast.FormattedValue(), ast.Constant(value=end)]):
                    found |= {f"{each}{end}" for each in fill[""]}
    # The first state is `run.accepted`; no report and no stage brings these.
    return sorted(found - {"placement.placed", "placement.launched", "run.probing"})


def told(node: ast.AST) -> Iterator[ast.expr]:
    if not isinstance(node, ast.Call):
        return
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in {"note", "_event"} and node.args:
        yield node.args[0]
    if name == "Event":
        yield from (each.value for each in node.keywords if each.arg == "type")


def exit_reasons() -> list[str]:
    """Every `reason` that some line of the code gives the end of a task."""
    found: set[str] = set()
    for node in sources():
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "reason":
                    found |= texts(value)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"Failure", "Exit"}:
            found |= texts(node.args[0]) if node.args else set()
        elif isinstance(node, ast.Assign) and any(
            isinstance(each, ast.Subscript)
            and isinstance(each.slice, ast.Constant)
            and each.slice.value == "reason"
            for each in node.targets
        ):
            found |= texts(node.value)
    return sorted(word for word in found if re.fullmatch("[a-z]+", word))


def texts(node: ast.expr) -> set[str]:
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp(body=body, orelse=orelse):
            return texts(body) | texts(orelse)
    return set()


def variables() -> list[str]:
    """Every environment variable of ours that the code names."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        found |= set(re.findall(r"\bTRADEWIND(?:_[A-Z]+)+\b", path.read_text(encoding="utf-8")))
    return sorted(found)


def metrics() -> str:
    rows = [("metric", "meaning")]
    for node in ast.walk(ast.parse((SOURCE / "telemetry/prometheus.py").read_text())):
        match node:
            case ast.Call(
                func=ast.Name(id="Gauge"),
                args=[ast.Constant(value=name), ast.Constant(value=about), *_],
            ):
                rows.append((f"`{name}`", str(about)))
    return table(*rows)


PARTS: dict[str, Callable[[], str]] = {
    "specs": specs,
    "backends": backends,
    "spark": spark,
    "api": api,
    "errors": errors,
    "transitions": transitions,
    "events": lambda: "\n".join(f"- `{each}`" for each in event_types()),
    "metrics": metrics,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
