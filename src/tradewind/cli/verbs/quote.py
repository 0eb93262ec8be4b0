"""What it would cost and take: the plans worth choosing between.

tw quote flow.yaml
tw quote flow.yaml --rows 100M --deadline 60s,10m,1h     what each deadline would cost
tw quote flow.py --against HEAD~1  what a change to the code did to it, and which line
tw run flow.yaml --quote ID        holds us to it until it expires
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tradewind.base import units
from tradewind.base.errors import NotFound, UserError
from tradewind.cli import plot, target
from tradewind.cli.parsing import target_arguments
from tradewind.cli.show import Out, moment
from tradewind.sdk import local, revisions

if TYPE_CHECKING:
    from tradewind.sdk.client import Client
    from tradewind.sdk.loading import Work

Json = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    target_arguments(parser, "a spec, FILE:NAME, a Python file, or a stored spec")
    parser.add_argument("--rows", metavar="COUNT", help="for so many rows instead: 100M")
    parser.add_argument(
        "--deadline",
        action="append",
        metavar="TIME[,TIME…]",
        help="what each would cost: 60s,10m,1h (repeatable)",
    )
    parser.add_argument(
        "--against",
        default="",
        metavar="REVISION",
        help="a git revision of the file, or a run of the function, to compare",
    )


def main(args: argparse.Namespace, out: Out) -> None:
    """Ask, show."""
    rows = read(units.parse_count, args.rows, "--rows") if args.rows is not None else 0
    texts = [part for text in args.deadline or () for part in text.split(",")]
    times = [read(units.parse_duration, text.strip(), "--deadline") for text in texts]
    deadlines = list(dict.fromkeys(times))
    with local.connect() as client:
        work = target.work_of(args, client)
        document = target.document(args, client, work)
        against = earlier(client, work, document, args.against) if args.against else None
        with target.located(work, document):
            quote = client.quotes.ask(document, rows, deadlines, against)
    if not out.text:
        out.value(quote)
        return
    out.facts([
        ("quote", quote["id"]), ("holds until", moment(quote["expires"])),
        ("rows", f"{rows:,}" if rows else None),
    ])  # fmt: skip
    out.line()
    if deadlines:
        show_curve(quote, out)
        out.line()
    show_plans(quote, out)
    if against is not None:
        show_change(quote["against"], out)


def earlier(client: Client, work: Work, document: Json, name: str) -> Json:
    """The version that is meant: of a git revision, or else of a run. Raises NotFound."""
    try:
        return revisions.earlier(client, work, document, name)
    except revisions.NoRevision as error:
        try:
            return {"run": client.runs.get(name)["id"]}
        except NotFound:
            raise NotFound(
                f"{error.message}, and there is no run {name!r}", hint=error.hint
            ) from None


def read(parse: Callable[[str], Any], text: str, what: str) -> Any:
    """A figure of the command line, more than nothing. Raises UserError."""
    try:
        figure = parse(text)
    except ValueError as error:
        raise UserError(f"{what}: {error}") from None
    if not figure:
        raise UserError(f"{what}: expected more than nothing, not {text!r}")
    return figure


def show_curve(quote: Json, out: Out) -> None:
    """A line for each deadline, and the plot."""
    rows = []
    for point in quote.get("curve") or ():
        plan = _numbered(quote["plans"], point["plan"])
        near = _numbered(quote["plans"], point["nearest"])
        by = f"plan {point['plan']}: {size(plan)} on {plan['pool']}" if plan else ""
        hope = _numbered(quote["plans"], point["likely"])
        shown = plan or hope
        if hope is not None:
            by = f"likely, not sure: plan {point['likely']}, {near_time(hope)}"
        elif plan is None and near is not None:
            by = f"the nearest is plan {point['nearest']}: {near_time(near)} for {money(near)}"
        other = _numbered(quote.get("elsewhere") or [], point["estimate"])
        rows.append([
            units.format_duration(point["deadline"]),
            money(shown) if shown else without(quote["plans"]),
            by,
            f"{money(other)}: {other['pool']}" if other else "",
        ])  # fmt: skip
    out.table(["within", "price", "by", "estimate elsewhere"], rows)
    own, others = _points(quote["plans"]), _points(quote.get("elsewhere") or [])
    # The axes are of what may be chosen: what is slower and dearer would take most of them.
    better = [
        (time, price) for time, price in others if not any(a <= time and b <= price for a, b in own)
    ]
    lines = plot.price_curve(own, better) or plot.price_curve(own, others)
    if lines:
        out.line()
    for line in lines:
        out.line(line)
    if lines:
        estimated = any("○" in line for line in lines)
        beside = ", ○ an estimate for machines that are not connected" if estimated else ""
        out.note(f"● a plan{beside}")


def without(plans: list[Json]) -> str:
    """What is said where no plan is known to keep to a deadline."""
    blank = any(plan.get("seconds") is None for plan in plans)
    return "not known" if blank else "cannot be met"


def near_time(plan: Json) -> str:
    """Its time with its spread."""
    return interval(plan.get("seconds"), units.format_duration)


def show_plans(quote: Json, out: Out) -> None:
    """All plans, then the estimates, then why the first one is."""
    elsewhere = quote.get("elsewhere") or ()
    rows = [_row(str(number), plan) for number, plan in enumerate(quote["plans"])]
    rows += [_row("-", plan) for plan in elsewhere]
    out.table(["plan", "pool", "backend", "size", "time", "price", "known from"], rows)
    if why := quote["plans"][0].get("chosen_because"):
        out.line()
        out.line(f"plan 0: {why}")
    if lacking := quote["plans"][0].get("not_given"):
        out.line(f"not given: {lacking}")
    if elsewhere:
        out.note("plans without a number are estimates for other machines")


def show_change(found: Json, out: Out) -> None:
    """Both versions, the verdict, and the lines that did it."""
    before, now = found["before"], found["now"]
    out.line()
    out.line(f"against {found['name']}: {found['words']}")
    out.line()
    rows = [
        [what, interval(each.get("seconds"), units.format_duration), money(each),
         interval(each.get("cpu"), units.format_duration), units.format_duration(each["start"])]
        for what, each in ((found["name"], before), ("now", now))
    ]  # fmt: skip
    out.table(["version", "time", "price", "CPU time", "start"], rows)
    if found["lines"]:
        out.line()
    for line in found["lines"]:
        out.line(changed_line(line))
    for which, each in ((found["name"], before), ("now", now)):
        for problem in each["problems"]:
            out.note(f"{which}: {problem['message']}")
    for note in found["notes"]:
        out.note(note)


def changed_line(line: Json) -> str:
    """A line that does more or less, and what stood there before."""
    where = f"{line['file']}:{line['line']}" if line["line"] else line["file"]
    gone = " (gone)" if line["gone"] else ""
    text = f"  {line['change']:+.1%}  {where}{gone}  {line['text'].strip()}".rstrip()
    if line["changed"] and line["was"] and not line["gone"]:
        text += f"   # was {line['was']}: {line['was_text'].strip()}"
    return text


def _numbered(plans: list[Json], number: int | None) -> Json | None:
    return None if number is None else plans[number]


def _points(plans: list[Json]) -> list[plot.Point]:
    """The upper figures: they are what a deadline is compared with."""
    return [
        (plan["seconds"]["p90"], plan["price"]["p90"])
        for plan in plans
        if plan.get("seconds") and plan.get("price")
    ]


def _row(number: str, plan: Json) -> list[str]:
    basis = str(plan.get("basis") or "")
    if plan.get("estimate_only") and not basis.startswith("estimate"):
        basis = f"estimate: {basis}"
    return [number, plan["pool"], plan["option"]["backend"], size(plan),
            interval(plan.get("seconds"), units.format_duration), money(plan),
            basis]  # fmt: skip


def size(plan: Json) -> str:
    """How many processes of how many cores: `4 x 1 core, 16 parts`."""
    option = plan["option"]
    cpu, width = (option.get("resources") or {}).get("cpu", 1.0), option.get("width", 1)
    cores = f"{cpu:g} core{'' if cpu == 1 else 's'}"
    count = option.get("parts")
    parts = f", {count} part{'' if count == 1 else 's'}" if count else ""
    return f"{width} x {cores}{parts}" if width > 1 or parts else cores


def money(plan: Json) -> str:
    """Its price with its spread."""
    return interval(plan.get("price"), lambda amount: units.format_money(round(amount)))


def interval(figure: dict[str, float] | None, text: Callable[[float], str]) -> str:
    """A figure with its spread."""
    if figure is None:
        return "unknown"
    low, high = text(figure["p50"]), text(figure["p90"])
    return low if low == high else f"{low} ≤ {high}"
