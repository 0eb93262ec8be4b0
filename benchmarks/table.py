"""Writes the newest results into README.md, between its two marks, in the place of older ones.

.venv/bin/python benchmarks/table.py
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from harness import RESULTS, Figure, show

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- results: written by table.py -->", "<!-- end of results -->"
ORDER = (
    "startup",
    "runs",
    "steps",
    "logs",
    "api",
    "render",
    "pollux",
    "cost",
    "quotes",
    "choice",
    "deadlines",
    "overhead",
    "openb",
    "placing",
    "topology",
    "muri",
    "loss",
    "events",
    "queues",
    "resubmit",
    "estimates",
    "kubernetes",
    "kubernetes-real",
)


def rows(result: dict[str, Any]) -> list[str]:
    """One figure a line; the peers' below ours."""
    found = []
    for kind in ("figures", "peers"):
        for body in result[kind]:
            each = Figure(**body)
            error = f"±{each.error:.0f} %" if each.repeats > 1 else ""
            target = f"≤ {show(each.target)}" if each.target else ""
            verdict = {"MISSED": "**missed**", "ok": "met"}.get(each.verdict, "")
            name = f"*{each.name}*" if kind == "peers" else each.name
            cells = (name, f"{show(each.value)} {each.unit}", error, target, verdict, each.note)
            found.append("| " + " | ".join(cells) + " |")
    return found


def section(result: dict[str, Any]) -> str:
    """One benchmark: its command, its figures, where the time goes, the machine."""
    machine = result["machine"]
    when = time.strftime("%Y-%m-%d", time.gmtime(result["at"]))
    lines = [
        f"### {result['name']}",
        "",
        f"`.venv/bin/python benchmarks/{_command(result)}` · {when} · {machine['cores']} "
        f"cores, load {machine['load']} at the end, Python {machine['python']} · the same loop "
        f"{machine['loop_ms']} ms ±{machine['loop_error']} % (best {machine['loop_best_ms']}), a "
        f"bare interpreter {machine['spawn_ms']} ms ±{machine['spawn_error']} %",
        "",
        "| figure | value | error | target | | |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows(result),
        "",
    ]
    for title, parts in result["parts"].items():
        lines.append(
            f"- {title}: " + " · ".join(f"{name} {show(value)}" for name, value in parts.items())
        )
    lines += [f"- {note}" for note in result["notes"]]
    return "\n".join(lines).rstrip() + "\n"


def _command(result: dict[str, Any]) -> str:
    script, _, real = str(result["name"]).partition("-")
    rows = f" --rows {result['rows']}" if result.get("rows") else ""
    return f"bench_{script}.py" + (" --kubeconfig FILE" if real else "") + rows


def main() -> None:
    before, _, rest = README.read_text().partition(BEGIN)
    old, _, after = rest.partition(END)
    # What was not measured on this machine stays as it was.
    known = {text.partition("\n")[0]: text for text in old.strip().split("### ")[1:]}
    found = []
    for name in ORDER:
        path = RESULTS / f"{name}.json"
        if path.exists():
            found.append(section(json.loads(path.read_text())))
        elif name in known:
            found.append(f"### {known[name].rstrip()}\n")
    text = "\n".join(found)
    README.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
