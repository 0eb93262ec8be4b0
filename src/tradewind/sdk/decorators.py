"""Decorators that make a spec of a function: `@tw.function(performance="60s")`.

A decorated function is still called like any other. In the body of a pipeline a call adds a step
instead (`tracing`). What starts something goes to the server: `.run(…)`, `.spawn(x)`, `.map(xs)`,
`.quote(…)`, and `.remote(x)` for a service. Standard library only; the client loads on use.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast, overload

from tradewind.base.errors import Location, UserError
from tradewind.sdk import code, places, references, tracing

if TYPE_CHECKING:
    from tradewind.sdk.client import Client
    from tradewind.sdk.handles import RunHandle

P = ParamSpec("P")
R = TypeVar("R")
Json = dict[str, Any]

_OBJECTIVE = ("performance", "budget", "availability", "consistency")
_WORKLOAD = (
    "name", "project", "labels", "description", *_OBJECTIVE, "dependencies", "resources",
    "value", "timeout", "retries", "env", "queue", "priority", "pool", "topology", "cache",
    "params",
)  # fmt: skip
FIELDS = {
    "function": (*_WORKLOAD, "input", "output", "at_once", "style", "by", "on_error", "backend"),
    "training": (*_WORKLOAD, "input", "model", "workers", "metric", "mode"),
    "service": (*_WORKLOAD, "model", "replicas", "ports", "ready_timeout"),
    "pipeline": _WORKLOAD,
}
_OUTPUTS = {"function": ("output",), "training": ("output", "model"), "service": ("output",)}
_STEP_FIELDS = ("name", "after", "retries", "timeout", "cache")
_TABLES = ("Table", "DataFrame", "LazyFrame", "RecordBatch", "Dataset", "Relation")


class Decorated(code.Written, Generic[P, R]):
    """A function with the fields of a spec."""

    def __init__(self, function: Callable[P, R], kind: str, fields: Json) -> None:
        """The fields' values are checked when the spec is made."""
        if isinstance(function, Decorated):
            raise UserError(f"{function!r} is decorated twice", hint="a function has one kind")
        if function.__name__ == "<lambda>":
            raise UserError(f"a {kind} needs a name", hint="write it with def")
        functools.update_wrapper(cast(Any, self), function)
        self.function = function
        self.kind = kind
        self.fields = {key: value for key, value in fields.items() if value is not None}
        self.root = self.fields.pop("root", None)
        self.name = str(self.fields.pop("name", "") or function.__name__.lower())
        self.step_fields: Json = {}
        self.place = places.here()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function; in the body of a pipeline, add a step."""
        graph = tracing.current()
        if graph is None:
            return cast(R, self.function(*args, **kwargs))
        return cast(R, self._draw(graph, args, kwargs))

    def __get__(self, owner: object, kind: type | None = None) -> Any:
        raise UserError(f"{self.name} is a method; decorate a function that stands on its own")

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"

    # What it is.

    def document(self, *args: Any, **kwargs: Any) -> Json:
        """The spec's document with these arguments bound; code not yet packed."""
        return self._document(self._bind(args, kwargs))

    def _bind(self, args: tuple[Any, ...], kwargs: Json) -> Json:
        """Arguments by parameter name, as a call would have them."""
        signature = inspect.signature(self.function)
        try:
            bound = signature.bind_partial(*args, **kwargs)
        except TypeError as error:
            names = ", ".join(signature.parameters) or "none"
            raise UserError(f"{self.name}: {error}", hint=f"its parameters: {names}") from None
        found: Json = {}
        for name, value in bound.arguments.items():
            if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                found.update(value)
            elif signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
                raise UserError(f"{self.name} takes *{name}; a {self.kind} is given names")
            else:
                found[name] = value
        return found

    def _document(self, bound: Json) -> Json:
        from tradewind.sdk import binding

        fields = dict(self.fields)
        inputs, params = binding.divide(bound, tables=self._tables())
        if inputs:
            fields["input"] = {**fields.get("input", {}), **inputs}
        if params:
            fields["params"] = {**fields.get("params", {}), **params}
        return {"kind": self.kind, "name": self.name, "entry": self.entry(), **fields}

    def _tables(self) -> frozenset[str]:
        """The parameters whose annotation is a table's: a text given to them names a dataset."""
        found = set()
        for name, parameter in inspect.signature(self.function).parameters.items():
            kind = parameter.annotation
            text = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
            if text.replace('"', "").rpartition(".")[2].split("[")[0] in _TABLES:
                found.add(name)
        return frozenset(found)

    def entry(self) -> str:
        """`file.py:name` below the folder that travels."""
        return code.entry_of(self)

    def complete(self, client: Client, bound: Json, more: Json | None = None) -> Json:
        """The document with these arguments, checked; its code is sent."""
        from tradewind.sdk import submit

        document = {**self._document(bound), **(more or {})}
        self._send_code(client, document)
        return submit.checked(client, document, _Written(self, document, {*(more or ()), *bound}))

    def _send_code(self, client: Client, document: Json) -> None:
        from tradewind.sdk import binding

        packed = code.pack(self, binding.needs_files(document))
        document["bundle"] = client.blobs.put(packed.data)

    # What it starts.

    def run(self, *args: Any, **kwargs: Any) -> RunHandle:
        """Carry it out once on the server, with these arguments; comes back at once. Datasets are
        given as `tw.dataset("name")`, files as `pathlib.Path`, frames as they are."""
        return self._submit(self._bind(args, kwargs))

    def spawn(self, *args: Any, **kwargs: Any) -> RunHandle:
        """The same as `run`, by the name that other platforms have for it."""
        return self.run(*args, **kwargs)

    def map(
        self, items: Iterable[Any], /, *, at_once: int | None = None, **fixed: Any
    ) -> RunHandle:
        """One run that calls it once for each item, as its first parameter; the result is the list
        of results. `fixed` is given to each call."""
        if self.kind != "function":
            raise UserError(f"a {self.kind} has no map", hint="decorate it with @tw.function")
        listed = list(items)
        if not listed:
            raise UserError(f"{self.name}.map was given no items")
        _plain(listed, "items")
        more: Json = {"items": listed}
        if at_once is not None:
            more["at_once"] = at_once
        return self._submit(self._bind((), fixed), more)

    def quote(self, *args: Any, **kwargs: Any) -> Json:
        """What it would cost and take, before it runs."""
        client = _client()
        return client.quotes.ask(self.complete(client, self._bind(args, kwargs)))

    def apply(self) -> Json:
        """Keep its spec on the server under its name."""
        client = _client()
        return client.specs.apply([self.complete(client, {})])[0]

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """A request to the running service of this name; gives back its answer."""
        from tradewind.sdk import calls

        if self.kind != "service":
            raise UserError(
                f"{self.name} is a {self.kind}, and remote calls a running service",
                hint=f"{self.name}.run(…) carries it out as a run",
            )
        return calls.call(_client(), self.name, self._bind(args, kwargs))

    def _submit(self, bound: Json, more: Json | None = None) -> RunHandle:
        from tradewind.sdk import submit

        if tracing.current() is not None:
            raise UserError(
                f"{self.name} was started while a pipeline is drawn", hint="call it: it is a step"
            )
        client = _client()
        return submit.start(client, [self.complete(client, bound, more)])[0]

    # What it is in a pipeline.

    def step(self, **fields: Any) -> Callable[..., tracing.Handle]:
        """With fields of the step, for a call in a pipeline: `clean.step(retries=3)(raw)`."""
        _known(fields, _STEP_FIELDS, "a step")
        listed = dict(fields)
        if "after" in listed:
            listed["after"] = _steps_named(listed["after"])

        def draw(*args: Any, **kwargs: Any) -> tracing.Handle:
            graph = tracing.current()
            if graph is None:
                raise UserError("step has a meaning only in the body of a pipeline")
            return self._draw(graph, args, kwargs, listed)

        return draw

    def _draw(
        self, graph: tracing.Graph, args: tuple[Any, ...], kwargs: Json, fields: Json | None = None
    ) -> tracing.Handle:
        from tradewind.sdk import binding

        if self.kind == "pipeline":
            raise UserError(
                f"{self.name} is a pipeline inside a pipeline",
                hint=f'apply it and write tw.component("pipeline/{self.name}")(…)',
            )
        bound = self._bind(args, kwargs)
        inputs, params = binding.divide_step(bound, tables=self._tables())
        uses = {"kind": self.kind, "name": self.name, "entry": self.entry(), **self.fields}
        step: Json = {"name": self.name, "uses": _Uses(uses, self)}
        for key, value in (("input", inputs), ("params", params)):
            if value:
                step[key] = value
        return graph.add({**step, **(fields or {})}, _OUTPUTS[self.kind])


class _Uses(dict[str, Any]):
    """The spec of a step, which remembers whose code it is until the code is packed."""

    def __init__(self, document: Json, of: Decorated[..., Any]) -> None:
        super().__init__(document)
        self.of = of


class _Written:
    """Where the fields of a decorator and of the steps that it draws stand (`specs.Written`)."""

    def __init__(self, of: Decorated[..., Any], document: Json, given: set[str]) -> None:
        """What was `given` from outside stands nowhere in the file."""
        self._of, self._document, self._given = of, document, given

    def location(self, file: str, path: tuple[str | int, ...], key: bool = False) -> Location:
        """Of a path in the document."""
        if self._given & {*map(str, path[:2])}:
            return Location(file, field=".".join(map(str, path)))
        place, inner = self._of.place, path
        if len(path) > 1 and path[0] == "steps":
            step = self._document["steps"][int(path[1])]
            place, inner = step.place, path[2:]
            if inner[:1] == ("uses",):
                inner = inner[1:]
                place = step["uses"].of.place if isinstance(step["uses"], _Uses) else place
        return replace(place.of(inner), field=".".join(map(str, path)))


class DecoratedPipeline(Decorated[P, R]):
    """A function whose body, run once, draws a graph."""

    def draw(self, bound: Json | None = None) -> Json:
        """The pipeline's document. Its parameters are `$params` with these values or the defaults
        of the function; one without either is refused."""
        from tradewind.sdk import binding

        values: Json = {}
        signature = inspect.signature(self.function)
        if strangers := [name for name in bound or () if name not in signature.parameters]:
            raise UserError(
                f"the pipeline {self.name} has no parameter {strangers[0]!r}",
                hint=f"its parameters: {', '.join(signature.parameters) or 'none'}",
            )
        for name, parameter in signature.parameters.items():
            value = (bound or {}).get(name, parameter.default)
            if value is inspect.Parameter.empty:
                raise UserError(
                    f"the pipeline {self.name} needs a value for {name}",
                    hint=f"{self.name}.run({name}=…), or give the parameter a default",
                )
            values[name] = value
        data, params = binding.divide(values, tables=self._tables())
        handles: Json = {name: tracing.Handle("params", (name,)) for name in params}
        handles.update({name: references.Dataset(ref) for name, ref in data.items()})
        with tracing.drawing(tracing.Graph(self.name)) as graph:
            given = self.function(**handles)
        document: Json = {"kind": "pipeline", "name": self.name, **self.fields}
        if params:
            document["params"] = {**document.get("params", {}), **params}
        document["steps"] = graph.steps
        if outputs := _outputs(self.name, given):
            document["outputs"] = outputs
        return document

    def _document(self, bound: Json) -> Json:
        return self.draw(bound)

    def _send_code(self, client: Client, document: Json) -> None:
        """Each step brings its own."""
        for step in document["steps"]:
            if isinstance(step["uses"], _Uses):
                packed = code.pack(step["uses"].of)
                uses = {**step["uses"], "bundle": client.blobs.put(packed.data)}
                step["uses"] = _Uses(uses, step["uses"].of)


class Component:
    """A step that is not a decorated function of this file: a component, a stored spec, or one
    without code of its own, such as SQL."""

    def __init__(self, uses: str | Json, name: str = "") -> None:
        """`package.module:name`, `function/name` and its like, or a spec's document."""
        self.uses = uses
        if isinstance(uses, str):
            self.name = name or uses.replace("/", ":").rpartition(":")[2].lower()
        else:
            self.name = name or str(uses["name"])

    def run(self, **bound: Any) -> RunHandle:
        """Carry it out once on the server, with these inputs and parameters."""
        from tradewind.sdk import binding, submit

        if isinstance(self.uses, str):
            raise UserError(f"{self.uses} is a step; call it in the body of a pipeline")
        if tracing.current() is not None:
            raise UserError(
                f"{self.name} was started while a pipeline is drawn", hint="call it: it is a step"
            )
        inputs, params = binding.divide(bound, tables=frozenset(bound))
        document = {**self.uses, **({"input": inputs} if inputs else {})}
        if params:
            document["params"] = params
        client = _client()
        return submit.start(client, [submit.checked(client, document)])[0]

    def __call__(self, **bound: Any) -> tracing.Handle:
        """Add it as a step of the pipeline that is being drawn."""
        return self.step()(**bound)

    def step(self, **fields: Any) -> Callable[..., tracing.Handle]:
        """With fields of the step."""
        _known(fields, _STEP_FIELDS, "a step")
        listed = dict(fields)
        if "after" in listed:
            listed["after"] = _steps_named(listed["after"])

        def draw(**bound: Any) -> tracing.Handle:
            from tradewind.sdk import binding

            graph = tracing.current()
            if graph is None:
                raise UserError(f"{self.name} is a step; call it in the body of a pipeline")
            inputs, params = binding.divide_step(bound, tables=frozenset())
            step: Json = {"name": self.name, "uses": self.uses}
            for key, value in (("input", inputs), ("params", params)):
                if value:
                    step[key] = value
            outputs = None if isinstance(self.uses, str) else _OUTPUTS[self.uses["kind"]]
            return graph.add({**step, **listed}, outputs)

        return draw


def component(uses: str, name: str = "") -> Component:
    """A component by its place, `tw.component("tradewind.components:split")`, or a stored spec,
    `tw.component("function/clean")`, to be called in the body of a pipeline."""
    return Component(uses, name)


def sql(select: str, *, name: str, **fields: Any) -> Component:
    """A function in SQL over its inputs, to be called in the body of a pipeline or run:
    `tw.sql("SELECT * FROM flights WHERE late", name="late").run(flights=tw.dataset("flights"))`."""
    _check_fields("function", fields)
    return Component({"kind": "function", "name": name, "sql": select, **fields})


def deploy(model: Any, *, name: str = "", **fields: Any) -> Any:
    """Serve a model. In the body of a pipeline `tw.deploy(trained.model)` is the step `deploy`;
    elsewhere `tw.deploy("flights@production")` starts the service now. Its name is the model's,
    unless `name` says otherwise."""
    _check_fields("service", fields)
    graph = tracing.current()
    served, given = str(model), {}
    if graph is not None and isinstance(model, tracing.Handle):
        uses = next((each["uses"] for each in graph.steps if each["name"] == model._root), None)
        served = str(uses.get("model") or uses["name"]) if isinstance(uses, dict) else name
        given = {"model": model}
    document = {"kind": "service", "name": name or re.split("[@/]", served)[0], "model": served}
    component = Component({**document, **fields}, "deploy")
    return component.run() if graph is None else component(**given)


def _outputs(name: str, given: Any) -> dict[str, str]:
    if given is None:
        return {}
    if isinstance(given, tracing.Handle):
        return {"result": repr(given)}
    if isinstance(given, dict) and all(isinstance(each, tracing.Handle) for each in given.values()):
        return {key: repr(handle) for key, handle in given.items()}
    raise UserError(
        f"the pipeline {name} gives back a {type(given).__name__}",
        hint='it gives back nothing, one step, or named steps: {"model": trained.model}',
    )


def _steps_named(given: Any) -> list[str]:
    listed = list(given) if isinstance(given, list | tuple) else [given]
    return [each._root if isinstance(each, tracing.Handle) else str(each) for each in listed]


def _check_fields(kind: str, fields: Json) -> None:
    _known(fields, (*FIELDS[kind], "root"), f"a {kind}")


def _known(fields: Json, known: Iterable[str], what: str) -> None:
    for name in fields:
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, list(known), 1)
            hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(known)
            where = places.here().of((name,))
            raise UserError(f"{what} has no field {name!r}", hint=hint, where=where)


def _plain(value: Any, what: str) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{what}: only JSON values can be sent ({error})", hint="data goes in as a dataset"
        ) from None


def _client() -> Client:
    from tradewind.sdk import session

    return session.client()


def _decorate(kind: str, function: Any, fields: Json) -> Any:
    made = DecoratedPipeline if kind == "pipeline" else Decorated
    _check_fields(kind, fields)
    if function is None:
        return lambda each: made(each, kind, fields)
    if isinstance(function, type):
        raise UserError(
            f"@tw.{kind} stands on a function, and {function.__name__} is a class",
            hint="write a function that makes what it needs, once, and uses it",
        )
    if not callable(function):
        raise UserError(f"@tw.{kind} takes names: @tw.{kind}(performance='60s')")
    return made(function, kind, fields)


@overload
def function(function: Callable[P, R], /) -> Decorated[P, R]: ...
@overload
def function(**fields: Any) -> Callable[[Callable[P, R]], Decorated[P, R]]: ...
def function(function: Any = None, /, **fields: Any) -> Any:
    """A function whose result becomes a version of a dataset: `@tw.function(performance="60s")`."""
    return _decorate("function", function, fields)


@overload
def training(function: Callable[P, R], /) -> Decorated[P, R]: ...
@overload
def training(**fields: Any) -> Callable[[Callable[P, R]], Decorated[P, R]]: ...
def training(function: Any = None, /, **fields: Any) -> Any:
    """A function whose result becomes a version of a model: `@tw.training(metric="auc")`."""
    return _decorate("training", function, fields)


@overload
def service(function: Callable[P, R], /) -> Decorated[P, R]: ...
@overload
def service(**fields: Any) -> Callable[[Callable[P, R]], Decorated[P, R]]: ...
def service(function: Any = None, /, **fields: Any) -> Any:
    """A function that answers requests, in replicas kept alive: `@tw.service(replicas=2)`."""
    return _decorate("service", function, fields)


@overload
def pipeline(function: Callable[P, R], /) -> Decorated[P, R]: ...
@overload
def pipeline(**fields: Any) -> Callable[[Callable[P, R]], Decorated[P, R]]: ...
def pipeline(function: Any = None, /, **fields: Any) -> Any:
    """A function whose body draws a graph of steps: `@tw.pipeline(budget="$2")`."""
    return _decorate("pipeline", function, fields)
