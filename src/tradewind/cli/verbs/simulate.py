"""What a policy makes of a trace, in virtual time; nothing runs.

tw simulate openb_pod_list_default.csv --policy default --policy fgd --seed 42
tw simulate muri_trace1.csv --policy srsf --plot srsf.svg
tw simulate philly_jobs.csv --nodes 64x8
tw simulate philly_jobs.csv --nodes 64x8 --queues quotas.yaml
tw simulate generator.yaml              queues and workloads, as of Kueue's performance test
tw simulate history                     the runs of ours that have ended, on their pool
tw simulate history --save runs.csv     the same as a table; then: tw simulate runs.csv --nodes FILE
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.base.errors import UserError
from tradewind.cli.show import Out

if TYPE_CHECKING:
    from tradewind.simulator.simulate import Scene
    from tradewind.simulator.watching import Watch

HISTORY = "history"
SEEDS = "42-51"
LIMIT = 1000
ENDED = "succeeded,failed,stopped"
# How far it is, is said so many seconds apart.
OFTEN = 0.1
Json = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    add = parser.add_argument
    add(
        "trace",
        metavar="TRACE",
        help="a table of processes or jobs (CSV), queues (YAML), or history: our own",
    )
    add("--policy", action="append", metavar="NAME",
        help="default, or a peer's (listed if wrong); repeatable")  # fmt: skip
    add("--nodes", default="", metavar="FILE", help="a table of machines, or 64x8: 64 of 8 devices")
    add("--queues", default="", metavar="FILE", help="queues with quotas, as `tw apply` takes them")
    add("--seed", action="append", metavar="N", help="one, or several: 42-51; repeatable")
    add("--unknown", action="store_true", help="jobs do not say how long they take")
    add("--plot", default="", metavar="FILE", help="draw it over time: .svg or .png")
    ours = parser.add_argument_group("history")
    ours.add_argument("--pool", default="", metavar="NAME", help="runs that were on this one")
    ours.add_argument("--project", default="", metavar="NAME", help="runs of this one")
    ours.add_argument("-n", "--limit", type=int, help=f"the newest; {LIMIT:,}; 0: all")
    ours.add_argument("--save", default="", metavar="FILE", help="as a table, and simulate nothing")


def main(args: argparse.Namespace, out: Out) -> None:
    """Simulate it and show the figures."""
    from tradewind.simulator import pictures
    from tradewind.simulator.simulate import compare

    _check(args)
    seeds = _seeds(args.seed or [SEEDS])
    policies = list(dict.fromkeys(args.policy or ["default"]))
    picture = Path(args.plot) if args.plot else None
    if picture is not None:
        pictures.check(picture)
    there = _scene(args, out)
    if there is None:
        return
    if there.pods and args.unknown:
        raise UserError("--unknown: the processes of this trace stay, and have no end to be told")
    with _watched(len(policies) * (len(seeds) if there.pods else 1)) as watch:
        watch.wanted = picture is not None
        found = compare(there, policies, seeds, not args.unknown, watch)
    _show(found, out)
    if picture is not None:
        stay = found["trace"] == "processes"
        pictures.draw(picture, watch.lines, stay, Path(args.trace).stem, there.unit)
        out.note(f"drawn: {picture}")


def _check(args: argparse.Namespace) -> None:
    ours = {"--pool": args.pool, "--project": args.project, "--limit": args.limit is not None,
            "--save": args.save}  # fmt: skip
    given = [name for name, value in ours.items() if value]
    if args.trace != HISTORY and given:
        raise UserError(f"{given[0]} is said of our own runs", hint=f"tw simulate {HISTORY} …")
    lost = {"--policy": args.policy, "--nodes": args.nodes, "--queues": args.queues,
            "--seed": args.seed, "--unknown": args.unknown, "--plot": args.plot}  # fmt: skip
    said = [name for name, value in lost.items() if value]
    if args.save and said:
        raise UserError(
            f"{said[0]}: with --save nothing is simulated", hint="leave one of both out"
        )
    if args.limit is not None and args.limit < 0:
        raise UserError("--limit: fewer than none", hint="0 takes all")


def _seeds(texts: list[str]) -> list[int]:
    found = list(dict.fromkeys(seed for text in texts for seed in _range(text)))
    if len(found) > 1000:
        raise UserError(f"--seed: {len(found):,} of them; 1,000 are the most")
    return found


def _range(text: str) -> range:
    first, dash, last = text.partition("-")
    try:
        found = range(int(first), int(last if dash else first) + 1)
    except ValueError:
        found = range(0)
    if not 0 < len(found) <= 1000:
        raise UserError(f"--seed: not a number, nor a range of at most 1,000: {text!r}",
                        hint="for example 42, or 42-51")  # fmt: skip
    return found


def _scene(args: argparse.Namespace, out: Out) -> Scene | None:
    """What is simulated; nothing where it was only to be saved."""
    from tradewind.simulator import history
    from tradewind.simulator.simulate import scene, told

    if args.trace != HISTORY:
        return scene(Path(args.trace), args.nodes, args.queues)
    runs, pools = _ended(args, out)
    pool = history.pool_of(runs, args.pool)
    if not args.save:
        there = next((each for each in pools if each["name"] == pool), {"name": pool})
        return told(runs, there, args.nodes, args.queues)
    rows = history.rows(runs, pool)
    history.save(Path(args.save), rows)
    if out.text:
        out.line(f"{len(rows):,} runs on pool {pool} saved to {args.save}")
    else:
        out.value({"saved": args.save, "runs": len(rows), "pool": pool})
    return None


def _ended(args: argparse.Namespace, out: Out) -> tuple[list[Json], list[Json]]:
    """The runs that have ended, with all that is known of each, and the pools."""
    from tradewind.sdk import local

    limit = LIMIT if args.limit is None else args.limit
    with local.connect() as client, _watched(1) as watch:
        listed = client.runs.list(project=args.project, state=ENDED, limit=limit or None)
        summaries = list(listed)
        watch.begin("asking for runs")
        runs = []
        for number, each in enumerate(summaries):
            watch.tell(number / len(summaries))
            runs.append(client.runs.get(each["id"]))
        pools = client.pools.list()
    if limit and len(runs) == limit:
        out.note(f"the newest {limit:,} runs; -n 0 takes all")
    return runs, pools


@contextlib.contextmanager
def _watched(parts: int) -> Iterator[Watch]:
    """Says in a terminal how far it is with so many of them, and leaves no trace."""
    from tradewind.simulator.watching import Watch

    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield Watch()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=parts)
        begun, said = 0, 0.0

        def begin(name: str) -> None:
            nonlocal begun
            progress.update(task, description=name, completed=begun)
            begun += 1

        def tell(part: float) -> None:
            nonlocal said
            if (now := time.monotonic()) > said + OFTEN:
                said = now
                progress.update(task, completed=begun - 1 + part)

        yield Watch(begin, tell)


def _show(found: Json, out: Out) -> None:
    if not out.text:
        out.value(found)
    elif "policies" in found:
        (_fillings if found["trace"] == "processes" else _replays)(found["policies"], out)
    elif found["trace"] == "processes":
        _filling(found, out)
    else:
        _replay(found, out)
    for each in found.get("policies", [found]) if out.text and found["trace"] == "queues" else ():
        _queues(each, out)


def _filling(found: Json, out: Out) -> None:
    rows = [
        [each["seed"], *map(_percent, each["allocation_at"].values())] for each in found["seeds"]
    ]
    if len(rows) > 1:
        rows.append(["mean", *map(_percent, found["allocation_at"].values())])
    out.line(_given(found, found["policy"]))
    out.table(["seed", *(f"at {percent}" for percent in found["allocation_at"])], rows)


def _fillings(each: list[Json], out: Out) -> None:
    seeds = [one["seed"] for one in each[0]["seeds"]]
    of = f"mean of {len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
    out.line(_given(each[0], of))
    out.table(
        ["policy", *(f"at {percent}" for percent in each[0]["allocation_at"])],
        [[one["policy"], *map(_percent, one["allocation_at"].values())] for one in each],
    )


def _given(found: Json, of: str) -> str:
    what = "devices given away, in percent of all, by how much had been asked for"
    return f"{what} ({of}{_left_out(found)})"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _replay(found: Json, out: Out) -> None:
    out.facts(
        [
            ("policy", found["policy"]),
            ("jobs", f"{found['jobs']:,}" + _left_out(found)),
            ("mean time to the end", _lasted(found["mean_jct"])),
            ("99th percentile", _lasted(found["p99_jct"])),
            ("makespan", _lasted(found["makespan"])),
            ("interrupted", f"{found['interrupted']:,} times"),
            ("worst of a fair share", _ratio(found)),
        ]
    )


def _replays(each: list[Json], out: Out) -> None:
    out.line(f"{each[0]['jobs']:,} jobs{_left_out(each[0])}: time from their coming to their end")
    out.table(
        ["policy", "mean", "99th percentile", "makespan", "interrupted", "fair share"],
        [
            [
                one["policy"],
                *(_lasted(one[name]) for name in ("mean_jct", "p99_jct", "makespan")),
                f"{one['interrupted']:,} times",
                _ratio(one),
            ]
            for one in each
        ],
    )


def _queues(found: Json, out: Out) -> None:
    out.line(f"\n{found['policy']}: time from a workload's coming to its first place")
    rows = [
        [name, one["jobs"], _lasted(one["mean"]), _lasted(one["p99"])]
        for name, one in found["admission"].items()
    ]
    out.table(["class", "workloads", "mean", "99th percentile"], rows)
    out.line(f"\n{found['policy']}: what each queue got, in percent")
    parts = [
        [name, *(_percent(100 * part if part is not None else None) for part in one.values())]
        for name, one in found["queues"].items()
    ]
    out.table(["queue", "of all held", "of all guarantees", "of its guarantee"], parts)


def _ratio(found: Json) -> str:
    """How much longer the worst job took than with its fair share."""
    worst = found["fair_share"]["worst"]
    return "-" if worst is None else f"{worst:,.2f}"


def _lasted(seconds: float) -> str:
    """In hours, so that figures of one trace are read beside each other; what is over in minutes
    in seconds."""
    return f"{seconds / 3600:,.2f} h" if seconds >= 360 else f"{seconds:,.2f} s"


def _left_out(found: Json) -> str:
    return f"; {found['left_out']:,} fit nowhere" if found["left_out"] else ""
