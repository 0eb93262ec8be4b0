"""One fact that comes back from a task. Posts and polls become this one form.

Kinds and their bodies (docs/reports.md is checked against `KINDS`):

- `attempt`: a unit moved. `state`; with `preparing`, while it waits for something: `why`, in words,
  and `native`, what the engine itself said; with `running`: `pid`; with `ready`: `address`; with an
  end: `exit` (see below), `usage`, `outputs`.
- `placement`: the whole launch moved. `state`, `reason`.
- `metric`: `name`, `value`, `step`.   `param`: `name`, `value`.   `progress`: `done`, `total`.
- `phase`: `name`, `seconds`: where time went beside user code (bundle, environment, inputs, …).

`why` and `native` come with `running` too, while a unit that began is out of reach.

`exit` says how a process ended, for people first: `reason` (`ok`, `error`, `memory`, `timeout`,
`signal`, `stopped`, `environment`, `input`, `output`, `lost`), `message`, `status` or `signal`,
`hint`, and for an exception `type`, `traceback`. An attempt that waits keeps its `why` and
`native` in the same place, as the reason `waiting`, until it moves on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

KINDS = ("attempt", "placement", "metric", "param", "progress", "phase")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`seq` rises within a placement's `stream`: a report seen twice is applied once.

    Units that tell on their own have a stream each; a placement with one teller has stream "".
    Between streams there is no order but that in which reports are handed over.
    """

    placement: str
    seq: int
    at: float
    kind: str
    role: str = ""
    index: int = 0
    attempt: int = 1
    stream: str = ""
    body: dict[str, Any] = field(default_factory=dict)
