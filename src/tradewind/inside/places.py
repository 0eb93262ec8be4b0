"""From where running Python was seen to the lines whose time it was.

A thread that wants to look gets the interpreter's lock from running Python only where that checks
for it: at the end of a loop's round, at the begin of a function, after a call. What is seen there
has gone into the code since the point before, its *stretch*: into any of its lines, or into the
call. In a loop both can be told apart: the end of a round has a stretch without a call, and what is
seen there is the measure of what plain code costs in this loop.
"""

from __future__ import annotations

import dis
import functools
from types import CodeType
from typing import Iterable, Tuple

_CALLS = ("CALL", "PRECALL")
_BACK = ("JUMP_BACKWARD", "POP_JUMP_BACKWARD", "JUMP_ABSOLUTE")
# How long an instruction takes, roughly; 1 for all others.
_COSTS = {
    "BINARY": 3.0, "INPLACE": 3.0, "COMPARE": 3.0, "CONTAINS": 3.0, "FORMAT": 5.0, "BUILD": 3.0,
    "STORE_SUBSCR": 3.0, "FOR_ITER": 3.0, "LOAD_ATTR": 3.0, "LOAD_METHOD": 3.0, "CACHE": 0.0,
    "PRECALL": 0.0, "EXTENDED": 0.0, "NOP": 0.0,
}  # fmt: skip
_POWER = 12.0

Where = Tuple[CodeType, int]


class Step:
    """One instruction."""

    def __init__(
        self, offset: int, name: str, where: Where, cost: float, back: int, loads: str
    ) -> None:
        """`back`: where a jump back leads to, else -1. `loads`: which global name, if any."""
        self.offset, self.name, self.where, self.back = offset, name, where, back
        self.loads = loads
        self.costs = {where: cost}


def just_begun(code: CodeType, last: int) -> bool:
    """Whether a frame at this instruction has done nothing yet."""
    if last < 0:
        return True
    begin = dis.opmap.get("RESUME")
    found = code.co_code[last : last + 2] if begin is not None else b""
    return len(found) == 2 and found[0] == begin and found[1] == 0


def spread(
    code: CodeType, seen: dict[int, float], feeds: dict[int, CodeType]
) -> dict[Where, float]:
    """Seconds by line from seconds by instruction. What goes in comes out. `feeds`: which generator
    an instruction of it was seen to go on with; that runs in the same stretch."""
    steps = _steps(code)
    for at, generator in feeds.items():
        _feed(steps, _number(steps, at), _steps(generator))
    loops = _loops(steps)
    held: dict[int, float] = {}
    for last, seconds in seen.items():
        number = _number(steps, last)
        held[number] = held.get(number, 0.0) + seconds
    found: dict[Where, float] = {}
    for number, seconds in held.items():
        step, stretch = steps[number], steps[_first(number, steps, loops) : number]
        if _is_call(step.name):
            plain = min(seconds, _plain(number, steps, loops, held))
            _share(stretch, plain, found, step)
            found[step.where] = found.get(step.where, 0.0) + seconds - plain
        elif _gives_way(step.name):
            _share(stretch, seconds, found, step)
        else:
            found[step.where] = found.get(step.where, 0.0) + seconds
    return found


def _number(steps: list[Step], last: int) -> int:
    return max(0, sum(step.offset <= last for step in steps) - 1)


def _feed(steps: list[Step], number: int, generator: list[Step]) -> None:
    """Let a step cost what the loop of its generator does as well."""
    ends = [at for at, step in enumerate(generator) if step.name == "YIELD_VALUE"]
    for end in ends:
        around = [loop for loop in _loops(generator) if loop[0] <= end <= loop[1]]
        head = max(around)[0] if around else 0
        for step in generator[head:end]:
            for where, cost in step.costs.items():
                steps[number].costs[where] = steps[number].costs.get(where, 0.0) + cost


@functools.lru_cache(maxsize=500)
def is_turn(code: CodeType, last: int) -> bool:
    """Whether it is between two rounds, or at a begin: where nothing can be waited for."""
    steps = _steps(code)
    name = steps[_number(steps, last)].name
    return _gives_way(name) and not _is_call(name)


@functools.lru_cache(maxsize=500)
def is_between(code: CodeType, this: int, last: int) -> bool:
    """Whether an instruction lies in the stretch before another one."""
    steps = _steps(code)
    number = _number(steps, last)
    return _first(number, steps, _loops(steps)) <= _number(steps, this) < number


def iterated(code: CodeType, seen: Iterable[int]) -> dict[int, list[str]]:
    """Of the `for` loops at whose ends was seen: the instruction that begins a round, and the names
    that its line loads for what it goes over."""
    steps = _steps(code)
    ends = {_number(steps, last) for last in seen}
    found = {}
    for head, end in _loops(steps):
        if end in ends and steps[head].name == "FOR_ITER":
            where = steps[max(0, head - 1)].where
            names = [step.loads for step in steps[:head] if step.where == where and step.loads]
            found[steps[head].offset] = names
    return found


def line(code: CodeType, last: int) -> int:
    """The line of an instruction."""
    steps = _steps(code)
    return steps[_number(steps, last)].where[1]


def _steps(code: CodeType) -> list[Step]:
    starts = {offset: line for offset, line in dis.findlinestarts(code) if line}
    line, made = code.co_firstlineno, []
    for each in dis.get_instructions(code):
        line = starts.get(each.offset, line)
        name = each.opname
        cost = next((c for head, c in _COSTS.items() if name.startswith(head)), 1.0)
        power = name.endswith("POWER") or (name == "BINARY_OP" and "**" in each.argrepr)
        back = each.argval if name.startswith(_BACK) and isinstance(each.argval, int) else -1
        loads = str(each.argval) if name in ("LOAD_GLOBAL", "LOAD_NAME") else ""
        cost = _POWER if power else cost
        made.append(Step(each.offset, name, (code, line), cost, back, loads))
    return made


def _loops(steps: list[Step]) -> list[tuple[int, int]]:
    """First and last step of each loop."""
    numbers = {step.offset: number for number, step in enumerate(steps)}
    return [
        (numbers[step.back], number)
        for number, step in enumerate(steps)
        if 0 <= step.back <= step.offset and step.back in numbers
    ]


def _is_call(name: str) -> bool:
    return name.startswith(_CALLS) and not name.startswith("CALL_INTRINSIC")


def _gives_way(name: str) -> bool:
    return name == "RESUME" or name.startswith(_BACK) or (_is_call(name) and name != "PRECALL")


def _first(number: int, steps: list[Step], loops: list[tuple[int, int]]) -> int:
    """Where the stretch before a step begins."""
    heads = {head for head, end in loops if head <= number <= end}
    at = number
    while at > 0 and at not in heads:
        before = steps[at - 1]
        if _gives_way(before.name):
            break
        at -= 1
    return at


def _plain(
    number: int, steps: list[Step], loops: list[tuple[int, int]], at: dict[int, float]
) -> float:
    """What the plain code before a call has taken, by what it costs elsewhere in its loop."""
    around = [(end - head, head, end) for head, end in loops if head <= number <= end]
    if not around:
        return 0.0
    _length, _head, end = min(around)
    measure = _cost(steps[_first(end, steps, loops) : end + 1])
    return at.get(end, 0.0) / measure * _cost(steps[_first(number, steps, loops) : number])


def _cost(stretch: Iterable[Step]) -> float:
    return sum(cost for step in stretch for cost in step.costs.values()) or 1.0


def _share(stretch: list[Step], seconds: float, found: dict[Where, float], end: Step) -> None:
    costs = [pair for step in stretch for pair in step.costs.items()] or [(end.where, 1.0)]
    whole = sum(cost for _where, cost in costs) or 1.0
    for where, cost in costs:
        found[where] = found.get(where, 0.0) + seconds * cost / whole
