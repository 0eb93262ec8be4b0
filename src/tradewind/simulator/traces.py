"""Public traces of clusters, as tables: processes that come to stay, and jobs that come and end.

- openb: Alibaba's cluster-trace-gpu-v2023 (Weng et al., USENIX ATC 2023), nodes and pods
- muri: jobs of Zhao et al., "Multi-Resource Interleaving for Deep Learning Training" (SIGCOMM 2022)
- philly: Microsoft's log (Jeon et al., USENIX ATC 2019)
- history: runs of a project of ours, as `tw simulate history --save` writes them
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tradewind.base.errors import InvalidData, Location, NotFound
from tradewind.scheduler.amounts import Parts
from tradewind.scheduler.nodes import WHOLE, Ask, Node
from tradewind.scheduler.queues import DEFAULT
from tradewind.scheduler.whatif import HIGHEST
from tradewind.simulator.replay import Job

MIB = 1 << 20
PODS = ("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
MURI = ("job_id", "num_gpu", "submit_time", "iterations", "model_name", "iteration_time")
PHILLY = ("timestamp", "duration", "num_gpus", "cluster")
HISTORY = ("run", "came", "seconds", "restart", "processes", "cpu_milli", "memory_mib", "devices")
# What ours tells besides, and a table need not.
WHOSE = ("project", "queue", "priority")
NODES = ("sn", "cpu_milli", "memory_mib", "gpu")
# A job of Muri runs a little longer than its iterations say, and begins anew in so many seconds,
# by its model: the middle of what was published.
SLOWER = 1.015
RESTARTS = {"a2c": 42.0, "bert": 10.0, "gpt2": 10.0, "vgg16": 8.5, "vgg19": 8.5, "dqn": 6.5,
            "resnet18": 5.5, "shufflenet_v2_x1_0": 6.0}  # fmt: skip
# More of anything is a mistake; so is more than so many processes of a run, devices of a machine,
# or devices of `64x8`.
MOST = 1 << 40
MANY = 100_000
WIDE = 64
DEVICES = 1_000_000
# As tables of all programs have them; Python would read more.
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
Rows = list[tuple[Location, dict[str, str]]]


def nodes(text: str) -> list[Node]:
    """`8x4` (8 machines of 4 devices), or a table of machines."""
    found = re.fullmatch(r"([0-9]{1,12})[xX]([0-9]{1,12})", text)
    if found:
        count, devices = int(found[1]), int(found[2])
        if not count or not devices:
            raise InvalidData(f"{text}: a cluster of nothing", hint="for example 8x4")
        if devices > WIDE or count * devices > DEVICES:
            raise InvalidData(f"{text}: more than {WIDE} devices of a machine, or {DEVICES:,} "
                              "together", hint="for example 8x4")  # fmt: skip
        return [Node(name=f"n{at}", cpu=0, devices=(("", devices),)) for at in range(count)]
    _, rows = table(Path(text), (NODES,))
    _once(rows, "sn", "machine")
    return [
        Node(
            name=row["sn"],
            cpu=whole(row, "cpu_milli", place),
            memory=whole(row, "memory_mib", place) * MIB,
            devices=((row.get("model") or "", whole(row, "gpu", place, most=WIDE)),),
        )
        for place, row in rows
    ]


def checked(path: Path) -> str:
    """The text of a file. Raises NotFound, InvalidData for what is no text (located)."""
    place = Location(file=str(path))
    if path.is_dir():
        raise InvalidData("a folder, not a file", where=place)
    if not path.is_file():
        raise NotFound(f"there is no file {str(path)!r}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InvalidData(f"it cannot be read: {error.strerror}", where=place) from None
    except UnicodeDecodeError:
        raise InvalidData("not a text: a trace is a table (CSV), or YAML", where=place) from None
    if not text.strip():
        raise InvalidData("an empty file", where=place)
    return text


def table(path: Path, kinds: Sequence[tuple[str, ...]]) -> tuple[int, Rows]:
    """Which of these headers a table has, and its rows with their places."""
    reader = csv.DictReader(io.StringIO(checked(path), newline=""))
    try:
        names = reader.fieldnames or ()
        head = set(names)
        twice = next((name for name in names if list(names).count(name) > 1), None)
        if twice is not None:
            raise InvalidData(f"a second column {twice!r}", where=Location(file=str(path), line=1))
        kind = next((at for at, names in enumerate(kinds) if head.issuperset(names)), -1)
        if kind < 0:
            raise _unknown(path, head, kinds)
        rows = list(_rows(reader, str(path)))
    except csv.Error as error:
        where = Location(file=str(path), line=reader.line_num)
        raise InvalidData(f"not a table: {error}", where=where) from None
    if not rows:
        raise InvalidData("a table without rows", where=Location(file=str(path)))
    return kind, rows


def _unknown(path: Path, head: set[str], kinds: Sequence[tuple[str, ...]]) -> InvalidData:
    """By the kind that is nearest: what a table lacks of it says most."""
    near = max(kinds, key=lambda names: len(head.intersection(names)) / len(names))
    lacking = [name for name in near if name not in head]
    known = len(lacking) < len(near)
    why = f"; {', '.join(lacking)} missing" if known else ""
    wanted = ", ".join(near) if known else " or ".join(", ".join(names) for names in kinds)
    machines = NODES not in kinds and head.issuperset(NODES)
    return InvalidData(
        f"these columns are not those of a trace that is known here{why}",
        hint="this is a table of machines: --nodes FILE" if machines else f"wanted: {wanted}",
        where=Location(file=str(path), line=1),
    )


def _rows(reader: csv.DictReader[str], file: str) -> Iterator[tuple[Location, dict[str, str]]]:
    for row in reader:
        place = Location(file=file, line=reader.line_num)
        lacking = [name for name, value in row.items() if value is None]
        if lacking:
            raise InvalidData(f"the row ends before {lacking[0]}", where=place)
        if reader.restkey in row:
            raise InvalidData("more values than columns", where=place)
        yield place, row


def number(row: dict[str, str], name: str, place: Location) -> float:
    """A quantity that is finite and not below zero."""
    value = _read(row[name])
    if not 0 <= value <= MOST:
        raise InvalidData(f"not a number from 0 to {MOST:,}: {row[name]!r}",
                          where=replace(place, field=name))  # fmt: skip
    return value


def whole(row: dict[str, str], name: str, place: Location, most: int = MOST) -> int:
    """A whole one."""
    value = _read(row[name])
    if not 0 <= value <= most or value != int(value):
        raise InvalidData(f"not a whole number from 0 to {most:,}: {row[name]!r}",
                          where=replace(place, field=name))  # fmt: skip
    return int(value)


def _read(text: str) -> float:
    return float(text) if NUMBER.fullmatch(text.strip()) else math.nan


def pods(rows: Rows) -> list[Ask]:
    """What each process of openb asks for, in the order of their names."""
    found = []
    for place, row in rows:
        devices = whole(row, "num_gpu", place, most=WIDE)
        share = whole(row, "gpu_milli", place, most=WHOLE) if devices else WHOLE
        if not share or (devices > 1 and share < WHOLE):
            raise InvalidData(
                f"{devices} devices of {share} thousandths each: less than a whole one is asked "
                "of a single device",
                where=place,
            )
        ask = Ask(
            cpu=whole(row, "cpu_milli", place),
            memory=whole(row, "memory_mib", place) * MIB,
            devices=devices,
            share=share,
            models=frozenset(filter(None, (row.get("gpu_spec") or "").split("|"))),
        )
        found.append((row["name"], ask))
    return [ask for _, ask in sorted(found, key=lambda each: each[0])]


def muri(rows: Rows, size: int) -> list[Job]:
    """The jobs of Muri, on machines of `size` devices."""
    _once(rows, "job_id", "job")
    return [
        Job(
            name=row["job_id"],
            at=number(row, "submit_time", place) / 1000,
            seconds=number(row, "iterations", place)
            * number(row, "iteration_time", place)
            * SLOWER
            / 1000,
            parts=gang(whole(row, "num_gpu", place, most=MANY), size, place),
            restart=RESTARTS.get(row["model_name"], 10.0),
        )
        for place, row in rows
    ]


def philly(rows: Rows, size: int) -> list[Job]:
    """Those of Philly; times count from the first."""
    times = [_moment(row["timestamp"], place) for place, row in rows]
    first = min(times)
    return [
        Job(
            name=str(at),
            at=times[at] - first,
            seconds=number(row, "duration", place),
            parts=gang(whole(row, "num_gpus", place, most=MANY), size, place),
            owner=row["cluster"],
        )
        for at, (place, row) in enumerate(rows)
    ]


def history(rows: Rows) -> list[Job]:
    """Runs of ours, in the order in which they came. They are not interrupted: nobody says that
    their work would be kept. A table may tell less of whose they are."""
    _once(rows, "run", "run")
    found: list[Job] = []
    for place, row in rows:
        at = number(row, "came", place)
        if found and at < found[-1].at:
            raise InvalidData(
                f"came: {row['came']} is before {found[-1].at:g}, the row before; rows stand in "
                "the order in which they came",
                where=place,
            )
        count = whole(row, "processes", place, most=MANY)
        if not count:
            raise InvalidData("a run without processes", where=place)
        ask = Ask(
            cpu=whole(row, "cpu_milli", place),
            memory=whole(row, "memory_mib", place) * MIB,
            **_named(row["devices"], place),
        )
        found.append(
            Job(
                name=row["run"],
                at=at,
                seconds=number(row, "seconds", place),
                restart=number(row, "restart", place),
                parts=((ask, count),),
                keeps=False,
                owner=row.get("project") or DEFAULT,
                project=row.get("project") or DEFAULT,
                queue=row.get("queue") or DEFAULT,
                priority=_rank(row, place),
            )
        )
    return found


def _rank(row: dict[str, str], place: Location) -> int | None:
    """The priority, if it says one."""
    text = row.get("priority") or ""
    if text and not (re.fullmatch(r"-?[0-9]{1,4}", text) and abs(int(text)) <= HIGHEST):
        raise InvalidData(f"not a whole number from -{HIGHEST} to {HIGHEST}: {text!r}",
                          where=replace(place, field="priority"))  # fmt: skip
    return int(text) if text else None


def _named(text: str, place: Location) -> dict[str, Any]:
    """`2 nvidia-l4; 1 nvidia-t4`, or `2` of any model, as an ask says it; of one of them there may
    be a part, `0.5 nvidia-l4`."""
    found: list[tuple[str, float]] = []
    for part in filter(None, map(str.strip, text.split(";"))):
        count, _, model = part.partition(" ")
        known = re.fullmatch(r"[1-9][0-9]?|0\.[0-9]{1,3}", count)
        if not known or not 0 < float(count) <= WIDE:
            raise InvalidData(
                f"devices: {part!r} is not a number from 1 to 64, or thousandths of one, and a "
                "model",
                hint="for example `2 nvidia-l4`, `0.5 nvidia-l4`, or `2 nvidia-l4; 1 nvidia-t4`",
                where=place,
            )
        found.append((model.strip(), float(count)))
    if len({model for model, _ in found}) < len(found) or (len(found) > 1 and ("" in dict(found))):
        raise InvalidData(f"devices: of several models each is named once: {text!r}", where=place)
    if not found:
        return {}
    (model, devices), *others = sorted(found, key=lambda each: each[1] >= 1)
    if any(count < 1 for _, count in others):
        raise InvalidData(f"devices: of one model there may be a part: {text!r}", where=place)
    return {
        "devices": math.ceil(devices),
        "share": min(WHOLE, round(devices * WHOLE)),
        "models": frozenset({model} if model else ()),
        "others": tuple((name, int(count)) for name, count in others),
    }


def _once(rows: Rows, column: str, what: str) -> None:
    seen: set[str] = set()
    for place, row in rows:
        if row[column] in seen:
            raise InvalidData(f"a second {what} {row[column]!r}", where=place)
        seen.add(row[column])


def gang(devices: int, size: int, place: Location) -> Parts:
    """On one machine, or where that is too small on as few as will do, as many on each."""
    if not devices:
        raise InvalidData("a job without devices", where=place)
    count = -(-devices // size)
    while devices % count:
        count += 1
    return ((Ask(devices=devices // count), count),)


def _moment(text: str, place: Location) -> float:
    """A moment that tells no zone is one of UTC: else a trace would depend on who reads it, and
    have an hour twice."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidData(f"timestamp: not a moment: {text!r}", where=place) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
