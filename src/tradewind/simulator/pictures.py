"""Utilisation, waiting and fragmentation as a picture: a line for each policy. matplotlib is loaded
when one is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tradewind.base.errors import UserError, missing_extra
from tradewind.base.units import format_duration
from tradewind.simulator.watching import Line

FORMATS = (".png", ".svg")
# Okabe and Ito's, which those who do not see all colours tell apart; the dashes say the same again.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00", "#7F7F7F")
DASHES: tuple[Any, ...] = (
    "-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1)), (0, (8, 2)),
    (0, (4, 1, 1, 1, 1, 1)), (0, (2, 2)),
)  # fmt: skip
# Of processes the first half is not drawn: nearly all of them find a place.
HALF = 50
TIMES = (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0), ("seconds", 1.0))
STYLE = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": "#8a8a8a",
    "axes.labelcolor": "#333333",
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    # Words stay words, and the same simulation gives the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "tradewind",
}


def check(path: Path) -> None:
    """Whether a picture can be drawn to this file, asked before anything is simulated. Raises
    UserError, MissingExtra."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"a picture is a file .svg or .png, not {path.name!r}",
                        hint=f"for example {path.stem or 'plot'}.svg")  # fmt: skip
    if not path.parent.is_dir():
        raise UserError(f"there is no folder {str(path.parent)!r}")
    _library("matplotlib")


def draw(path: Path, lines: Sequence[Line], stay: bool, title: str, unit: str) -> None:
    """Four pictures in one file. `stay`: of processes, of which none ends. `unit` is what the
    cluster is counted in. Of several lines of one policy (its seeds) the mean is drawn, and the
    range around it."""
    style, figures = _library("matplotlib"), _library("matplotlib.figure")
    with style.rc_context(STYLE):
        figure = figures.Figure(figsize=(11, 7.2), layout="constrained")
        panels = list(figure.subplots(2, 2, sharex=True).flat)
        word, scale = ("", 1.0) if stay else _time(lines)
        least = HALF if stay else 0
        policies = list(dict.fromkeys(line.policy for line in lines))
        for number, policy in enumerate(policies):
            # Dashes are lost in a line that goes up and down all the time, as those of jobs do.
            # The first one lies on top.
            look = {
                "label": policy,
                "color": COLOURS[number % len(COLOURS)],
                "linestyle": DASHES[number % len(DASHES)] if stay else "-",
                "zorder": 9 - number / 9,
            }
            found = [line for line in lines if line.policy == policy]
            for panel, name in zip(panels, ("held", "runs", "idle", "wanted"), strict=True):
                _curve(panel, found, name, least, scale, look)
        _words(panels, stay, unit, word)
        figure.align_ylabels(panels)
        if len(policies) == 1:
            title += f", {policies[0]}"
        figure.suptitle(f"{title}: {_points(lines, stay)}", x=0.01, ha="left", fontsize=11)
        if len(policies) > 1:
            handles, labels = panels[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=8, handlelength=3)
        about = {"Date": None} if path.suffix.lower() == ".svg" else {}
        try:
            figure.savefig(path, dpi=160, metadata=about)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}") from None


def _curve(
    panel: Any, found: Sequence[Line], name: str, least: float, scale: float, look: dict[str, Any]
) -> None:
    # What is not shown stretches no axis.
    shown = found[0].at >= least
    at = found[0].at[shown] / scale
    each = np.array([getattr(line, name)[shown] for line in found])
    panel.plot(at, each.mean(axis=0), lw=1.5, **look)
    if len(found) > 1:
        low, high = each.min(axis=0), each.max(axis=0)
        panel.fill_between(at, low, high, color=look["color"], alpha=0.15, lw=0)


def _words(panels: Sequence[Any], stay: bool, unit: str, time: str) -> None:
    idle = (
        "Fragmentation: of no use to a typical process"
        if stay
        else "Fragmentation: idle while runs wait"
    )
    titles = ("Utilisation: held", "Waiting: runs", idle, f"Waiting: {unit} asked for")
    if stay:
        titles = (titles[0], "Without a place: processes", idle, f"Without a place: {unit}")
    labels = (f"% of all {unit}", "processes" if stay else "runs", f"% of all {unit}", unit)
    below = f"{unit} asked for so far, % of all" if stay else f"time since the first came, {time}"
    for panel, title, label in zip(panels, titles, labels, strict=True):
        panel.set_title(title)
        panel.set_ylabel(label)
        panel.margins(x=0)
        panel.set_xlim(left=HALF if stay else 0)
        # Nothing at all is a line at the bottom, not a scale of thousandths.
        panel.set_ylim(0, max(1.0, panel.get_ylim()[1]))
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    panels[0].set_ylim(HALF if stay else 0, 102)
    for panel in panels[2:]:
        panel.set_xlabel(below)


def _points(lines: Sequence[Line], stay: bool) -> str:
    """What a point of a line stands for."""
    if stay:
        seeds = len(lines) // len({line.policy for line in lines})
        return f"mean and range of {seeds} seeds" if seeds > 1 else "one seed"
    spans = [float(line.at[1] - line.at[0]) for line in lines]
    least, most = format_duration(min(spans)), format_duration(max(spans))
    return f"each point the mean of {least}" + (f" to {most}" if most != least else "")


def _time(lines: Sequence[Line]) -> tuple[str, float]:
    """The unit in which the longest of them reads well."""
    longest = max(float(line.at[-1]) for line in lines)
    return next(((word, size) for word, size in TIMES if longest >= 3 * size), TIMES[-1])


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise missing_extra("matplotlib", "plot") from None
