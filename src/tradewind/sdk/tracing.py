"""Drawing a pipeline's graph by running its body once.

Inside the body of a pipeline a call of a decorated function works nothing: it adds a step and gives
a `Handle`, which stands for what the step will have made. A handle can be handed to another step,
and compared with a literal for `when` and `until`. The body is drawn, not run: what decides by a
handle's value belongs in a step. Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

from tradewind.base.errors import UserError
from tradewind.sdk import places

Json = dict[str, Any]

_RESERVED = ("params", "item")


class Graph:
    """The pipeline that is being drawn."""

    def __init__(self, name: str) -> None:
        """Empty."""
        self.name = name
        self.steps: list[places.Placed] = []
        self.when = ""
        self.foreach: Json | None = None

    def add(self, step: Json, outputs: tuple[str, ...] | None) -> Handle:
        """One more step; its name is made unique."""
        wanted = str(step["name"])
        wanted = f"{wanted}-step" if wanted in _RESERVED else wanted
        taken = {each["name"] for each in self.steps}
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}-{number}"
        step = {**step, "name": name}
        if self.when:
            step["when"] = self.when
        if self.foreach is not None:
            if self.foreach.pop("used", False):
                raise UserError(
                    "a foreach holds one step, and this one has two",
                    hint="use a foreach for each of them",
                )
            step.update(self.foreach)
            self.foreach["used"] = True
        self.steps.append(places.Placed(step, places.here()))
        return Handle(name, (), outputs)


_current: ContextVar[Graph | None] = ContextVar("graph", default=None)


def current() -> Graph | None:
    """The graph that is being drawn, if one is."""
    return _current.get()


@contextmanager
def drawing(graph: Graph) -> Iterator[Graph]:
    """Calls of decorated functions add steps to this graph."""
    token = _current.set(graph)
    try:
        yield graph
    finally:
        _current.reset(token)


def _graph(what: str) -> Graph:
    graph = _current.get()
    if graph is None:
        raise UserError(
            f"{what} has a meaning only in the body of a pipeline",
            hint="write it in a function decorated with @tw.pipeline",
        )
    return graph


def _unknown(what: str) -> NoReturn:
    raise UserError(
        f"{what}: its value is not known while the pipeline is drawn",
        hint="do this in the body of a step; a step runs under a condition with "
        "`with tw.when(step.score >= 0.6):`, once for each item with tw.foreach(items, step)",
    )


class Handle:
    """What a step will have made, a parameter of the pipeline, or the item of a foreach.

    `handle.name` and `handle["name"]` lead into it.
    """

    __slots__ = ("_optional", "_outputs", "_path", "_root")

    def __init__(
        self,
        root: str,
        path: tuple[str, ...] = (),
        outputs: tuple[str, ...] | None = None,
        optional: bool = False,
    ) -> None:
        """`outputs` are the names of a step's outputs, empty: unknown, any first name is one."""
        self._root = root
        self._path = path
        self._outputs = outputs
        self._optional = optional

    def __getattr__(self, name: str) -> Handle:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, key: str | int) -> Handle:
        if type(key) not in (str, int):
            _unknown(f"{self!r} was cut")
        path = self._path
        if not path and self._outputs and key not in self._outputs:
            path = (self._outputs[0],)
        return Handle(self._root, (*path, str(key)), self._outputs, self._optional)

    def __repr__(self) -> str:
        return "$" + ".".join((self._root, *self._path)) + ("?" if self._optional else "")

    def _compare(self, sign: str, other: object) -> Condition:
        if isinstance(other, Handle):
            raise UserError(
                f"{self!r} is compared with {other!r}: a condition compares with a literal",
                hint="compare the two in a step of their own and give back true or false",
            )
        try:
            literal = json.dumps(other, allow_nan=False, ensure_ascii=False)
        except (TypeError, ValueError):
            raise UserError(
                f"{self!r} is compared with a {type(other).__name__}",
                hint="a condition compares with a number, a text, true, false or null",
            ) from None
        path = self._path or ((self._outputs[0],) if self._outputs else ())
        return Condition(f"{Handle(self._root, path)!r} {sign} {literal}")

    def __lt__(self, other: object) -> Condition:
        return self._compare("<", other)

    def __le__(self, other: object) -> Condition:
        return self._compare("<=", other)

    def __gt__(self, other: object) -> Condition:
        return self._compare(">", other)

    def __ge__(self, other: object) -> Condition:
        return self._compare(">=", other)

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compare("==", other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compare("!=", other)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        _unknown(f"{self!r} was used as a truth value")

    def __iter__(self) -> Iterator[Any]:
        _unknown(f"{self!r} was iterated")

    def __len__(self) -> int:
        _unknown(f"the length of {self!r} was asked")

    def __contains__(self, _: object) -> bool:
        _unknown(f"{self!r} was searched")

    def __call__(self, *_: object, **__: object) -> NoReturn:
        _unknown(f"{self!r} was called")

    def __format__(self, _: str) -> str:
        _unknown(f"{self!r} was written into a text")

    def __float__(self) -> float:
        _unknown(f"{self!r} was used as a number")

    def __int__(self) -> int:
        _unknown(f"{self!r} was used as a number")

    def __index__(self) -> int:
        _unknown(f"{self!r} was used as a number")

    def _arithmetic(self, _: object = None) -> NoReturn:
        _unknown(f"{self!r} was computed with")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _arithmetic
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = _arithmetic
    __pow__ = __neg__ = __matmul__ = _arithmetic


class Condition:
    """One output compared with one literal."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        """Made by comparing a handle."""
        self.text = text

    def __bool__(self) -> bool:
        _unknown(f"`{self.text}` was used as a truth value")

    def __repr__(self) -> str:
        return self.text


@contextmanager
def when(condition: Condition) -> Iterator[None]:
    """The steps drawn inside run only if this holds: `with tw.when(train.auc >= 0.6):`."""
    graph = _graph("when")
    if not isinstance(condition, Condition):
        raise UserError(
            f"when takes a comparison of a step's output, not {condition!r}",
            hint="such as: with tw.when(train.auc >= 0.6):",
        )
    if graph.when:
        raise UserError(
            "a when inside a when: a step has one condition",
            hint="compute both in a step and compare its output with True",
        )
    graph.when = condition.text
    try:
        yield
    finally:
        graph.when = ""


def foreach(
    items: Handle | list[Any] | tuple[Any, ...],
    step: Callable[..., Any],
    *,
    at_once: int | None = None,
    **fixed: Any,
) -> Handle:
    """One step run once for each item: `tw.foreach(files, clean, at_once=4)`. `step` is called once
    with the item's handle, and with what else is given; the result stands for the list."""
    graph = _graph("foreach")
    if graph.foreach is not None:
        raise UserError("a foreach cannot be nested", hint="join the lists in a step of their own")
    given: Any = repr(items) if isinstance(items, Handle) else escaped(list(items))
    graph.foreach = {"foreach": given, **({"at_once": at_once} if at_once else {})}
    before = len(graph.steps)
    try:
        made = step(Handle("item"), **fixed)
    finally:
        graph.foreach = None
    if len(graph.steps) != before + 1 or not isinstance(made, Handle):
        raise UserError(
            "a foreach takes a decorated function, or a call of one",
            hint="tw.foreach(files, clean) or tw.foreach(files, lambda file: clean(file, year))",
        )
    return made


def until(step: Callable[[], Any], condition: Callable[[Handle], Condition], *, max: int) -> Handle:
    """A step repeated until a condition on its own output holds, at most `max` times:
    `tw.until(lambda: improve(model), lambda made: made.loss < 0.1, max=9)`."""
    graph = _graph("until")
    before = len(graph.steps)
    made = step()
    if len(graph.steps) != before + 1 or not isinstance(made, Handle):
        raise UserError(
            "an until takes one call of a decorated function",
            hint="tw.until(lambda: improve(model), lambda made: made.loss < 0.1, max=9)",
        )
    found = condition(made)
    if not isinstance(found, Condition):
        raise UserError(
            f"the condition of an until is a comparison of the step's output, not {found!r}",
            hint="such as: lambda made: made.loss < 0.1",
        )
    graph.steps[-1]["until"] = {"condition": found.text, "max": max}
    return made


def optional(handle: Handle) -> Handle:
    """This output, or None where its step was skipped by its `when`."""
    return Handle(handle._root, handle._path, handle._outputs, True)


def is_item_or_param(handle: Handle) -> bool:
    """Whether it stands for a value of the pipeline, and for no step's output."""
    return handle._root in _RESERVED


def escaped(value: Any) -> Any:
    """A JSON value in which handles are references and texts never look like one."""
    if isinstance(value, Handle):
        return repr(value)
    if isinstance(value, str):
        return f"${value}" if value.startswith("$") else value
    if isinstance(value, dict):
        return {key: escaped(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [escaped(part) for part in value]
    return value


def holds_handle(value: Any) -> bool:
    """Whether a handle stands somewhere in this value."""
    if isinstance(value, dict):
        return any(holds_handle(part) for part in value.values())
    if isinstance(value, list | tuple):
        return any(holds_handle(part) for part in value)
    return isinstance(value, Handle)
