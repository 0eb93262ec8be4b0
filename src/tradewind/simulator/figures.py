"""What came of jobs, in figures: how soon they ended, what that is of a fair share, and what each
queue got.

A job's ratio to its fair share is "finish-time fairness" (Mahajan et al., "Themis", NSDI 2020): the
time from its coming to its end, by the time that it would take alone on one N-th of the cluster,
where N is how many jobs were there on average from its coming to its end. With so much it works as
fast as it can, or, where it asks for more, slower in proportion: on C devices a job of width w
takes (restart + seconds) x max(1, w N / C). Up to 1 it was no worse off than alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from tradewind.scheduler.amounts import CPU, MEMORY
from tradewind.scheduler.nodes import WHOLE, Node
from tradewind.scheduler.queues import Queue
from tradewind.simulator.replay import Outcome
from tradewind.simulator.watching import Floats, size, unit_of, width

Json = dict[str, Any]


def summary(outcomes: Sequence[Outcome], nodes: Sequence[Node]) -> Json:
    """Times in seconds, from a job's coming to its end; the makespan from the first coming."""
    took = [each.ended - each.job.at for each in outcomes]
    return {
        "jobs": len(took),
        "mean_jct": fmean(took),
        "p99_jct": _p99(took),
        "makespan": _makespan(outcomes),
        "interrupted": sum(each.interrupted for each in outcomes),
        "lost": sum(each.lost for each in outcomes),
        "fair_share": fair_share(outcomes, nodes),
    }


def fair_share(outcomes: Sequence[Outcome], nodes: Sequence[Node]) -> Json:
    """Of the jobs' ratios the worst and whose it is, the mean, and which part of the jobs is above
    1. Jobs that have nothing to do have no ratio; None where there are no others."""
    able = [each for each in outcomes
            if each.job.restart + each.job.seconds > 0 and each.ended > each.job.at]  # fmt: skip
    if not able:
        return {"worst": None, "job": None, "mean": None, "above_1": None}
    found = _ratios(able, nodes)
    worst = int(found.argmax())
    return {
        "worst": float(found[worst]),
        "job": able[worst].job.name,
        "mean": float(found.mean()),
        "above_1": float((found > 1).mean()),
    }


def queues(outcomes: Sequence[Outcome], there: Iterable[Queue], unit: str) -> Json:
    """By class of jobs the seconds until they first began; by queue that had any which part it got
    of all devices or cores (the `unit`) that were held, over time; which part of all guarantees is
    its own; and how much it held of that on average, until the last end."""
    classes: dict[str, list[float]] = defaultdict(list)
    held: dict[str, float] = defaultdict(float)
    for each in outcomes:
        classes[each.job.owner].append(each.began - each.job.at)
        spans = sum(ended - began for began, ended in each.spans)
        held[each.job.queue] += spans * width(each.job.parts, unit)
    own = defaultdict(float, {queue.name: _guaranteed(queue, unit) for queue in there})
    every = sum(own[name] for name in held)
    return {
        "admission": {
            name: {"jobs": len(waits), "mean": fmean(waits), "p99": _p99(waits)}
            for name, waits in sorted(classes.items())
        },
        "queues": {
            name: {
                "share": _part(amount, sum(held.values())),
                "guaranteed": _part(own[name], every),
                "used": _part(amount, own[name] * _makespan(outcomes)),
            }
            for name, amount in sorted(held.items())
        },
    }


def _guaranteed(queue: Queue, unit: str) -> float:
    """Devices of all classes together, or cores."""
    return sum(amount for name, amount in queue.guarantee
               if (name == CPU) == (unit == "cores") and name != MEMORY) / WHOLE  # fmt: skip


def _ratios(outcomes: Sequence[Outcome], nodes: Sequence[Node]) -> Floats:
    unit = unit_of(nodes)
    came, ended, alone, wide = np.array(
        [(each.job.at, each.ended, each.job.restart + each.job.seconds,
          width(each.job.parts, unit)) for each in outcomes]
    ).T  # fmt: skip
    # How many are there from each moment on, and the sum of that over time.
    moments = np.unique(np.concatenate([came, ended]))
    there = np.searchsorted(np.sort(came), moments, side="right")
    there = there - np.searchsorted(np.sort(ended), moments, side="right")
    total = np.concatenate([[0.0], np.cumsum(there[:-1] * np.diff(moments))])
    took = ended - came
    many = (np.interp(ended, moments, total) - np.interp(came, moments, total)) / took
    found: Floats = took / (alone * np.maximum(1.0, wide * many / size(nodes)))
    return found


def _makespan(outcomes: Sequence[Outcome]) -> float:
    return max(each.ended for each in outcomes) - min(each.job.at for each in outcomes)


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[int(0.99 * len(values))]


def _part(amount: float, whole: float) -> float | None:
    return amount / whole if whole else None
