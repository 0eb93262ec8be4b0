"""The one page that there is: what runs, as plain HTML without a script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tradewind.base.units import format_duration, format_money
from tradewind.store.rows import RunLine

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; color: #1c2733 }
h1 { font-size: 1.3rem } table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid #e3e8ee }
.succeeded { color: #14784a } .failed { color: #b3261e } .running { color: #0b5cad }
"""


def runs(lines: Sequence[RunLine], now: float) -> str:
    """The newest runs as a table."""
    rows = "".join(_row(line, now) for line in lines)
    if not rows:
        rows = (
            '<tr><td colspan="6">Nothing has run yet. Try: <code>tw run train.py</code></td></tr>'
        )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Tradewind</title>'
        f"<style>{_STYLE}</style><h1>Tradewind · runs</h1><table>"
        "<tr><th>run</th><th>kind</th><th>name</th><th>state</th><th>time</th><th>price</th></tr>"
        f"{rows}</table></html>"
    )


def _row(line: RunLine, now: float) -> str:
    state = f"{line.state}" + (f" ({line.waiting})" if line.waiting else "")
    cells = (
        line.id,
        line.kind,
        line.name,
        state,
        format_duration(max(0.0, (line.ended or now) - line.created)),
        format_money(line.price),
    )
    columns = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
    return f'<tr class="{escape(str(line.state))}">{columns}</tr>'
