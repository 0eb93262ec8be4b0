"""What a run cost, with dollars in the margin of its own code.

tw cost RUN
tw cost RUN --against RUN2         what changed since RUN2, and which line did it
"""

from __future__ import annotations

import argparse
from typing import Any

from tradewind.base import units
from tradewind.cli.show import Out
from tradewind.cli.verbs.quote import changed_line
from tradewind.sdk import local

Json = dict[str, Any]
# Lines without a price that are shown around one that has it.
AROUND = 2


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("run", help="a run's id, or the beginning of it")
    parser.add_argument("--against", default="", metavar="RUN", help="an earlier run to compare")
    parser.add_argument("--all", action="store_true", help="the files as a whole")


def main(args: argparse.Namespace, out: Out) -> None:
    """Ask, show. What is shown adds up to the bill as it is shown."""
    with local.connect() as client:
        body = client.runs.cost(args.run, against=args.against)
    if not out.text:
        out.value(body)
        return
    entries = [*body["buckets"], *(line for each in body["files"] for line in each["lines"]),
               *body["steps"]]  # fmt: skip
    shown, total = units.format_parts([each["price"] for each in entries])
    width = max(map(len, [*shown, total]))
    texts = dict(zip(map(id, entries), (text.rjust(width) for text in shown), strict=True))
    out.line(f"{total.rjust(width)}  {body['name']} {body['run']}, {body['state']}")
    for bucket in (each for each in body["buckets"] if float(texts[id(each)].strip().strip("$"))):
        out.line(f"{texts[id(bucket)]}  {out.style(bucket['what'], 'dim')}")
    for step in body["steps"]:
        out.line(f"{texts[id(step)]}  {step['name']} {step['run']}, {step['state']}")
    for each in body["files"]:
        _file(each, texts, width, args.all, out)
    if body["note"]:
        out.note(body["note"])
    if body.get("against"):
        _against(body["against"], out)


def _file(each: Json, texts: dict[int, str], width: int, whole: bool, out: Out) -> None:
    priced = {line["line"]: line for line in each["lines"]}
    source = {number: text for number, text in enumerate(each["source"], 1)}
    near = {n + step for n in priced for step in range(-AROUND, AROUND + 1)}
    numbers = sorted(n for n in {*source, *priced} if whole or n in near or n in priced)
    numbers = [n for n in numbers if n in source or n in priced]
    digits = len(str(numbers[-1])) if numbers else 1
    out.line()
    out.line(out.style(each["path"], "bold"))
    before = 0
    for number in numbers:
        if number > before + 1:
            out.line(f"{' ' * width}  {out.style('⋮'.rjust(digits), 'dim')}")
        before = number
        line = priced.get(number)
        margin = texts[id(line)] if line else " " * width
        calls = ", ".join(call["name"] for call in line["calls"][:2]) if line else ""
        text = f"{margin}  {out.style(str(number).rjust(digits), 'dim')}  {source.get(number, '')}"
        out.line(text.rstrip() + (out.style(f"   # {calls}", "dim") if calls else ""))


def _against(found: Json, out: Out) -> None:
    out.line()
    before, now = found["before"], found["now"]
    for note in found.get("notes") or ():
        out.line(out.style(f"note: {note}", "yellow"))
    shown, _total = units.format_parts([before, now])
    out.line(f"against {found['run']}: {shown[0]} before, {shown[1]} now; {found['words']}")
    for line in found["lines"]:
        out.line(changed_line(line))
