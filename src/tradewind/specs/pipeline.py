"""The kind `pipeline`: a graph of steps as a value.

Python builds it by tracing, YAML writes it out; both end here, and `steer` walks it. The graph is
checked whole when it is made, so nothing later asks whether a reference leads anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from tradewind.specs import graph
from tradewind.specs.common import Frozen, Retries, Spec, Workload
from tradewind.specs.faults import Path, fault, faults, nearest, shown
from tradewind.specs.fields import Duration, Integer, Name, Text, check_name
from tradewind.specs.function import FunctionSpec
from tradewind.specs.references import (
    RESERVED,
    Condition,
    Reference,
    ReferenceText,
    StepInput,
    WithReferences,
    is_reference,
    parse_reference,
    references,
)
from tradewind.specs.service import ServiceSpec
from tradewind.specs.training import TrainingSpec

INLINE = ("function", "training", "service")
REFERABLE = (*INLINE, "pipeline")
_OUTPUTS = {"function": ("output",), "training": ("output", "model"), "service": ("output",)}
MAX_STEPS = 10_000
_COMPONENT = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")

Found = tuple[str, str, Path]
"""A fault of the graph: message, hint, path."""


def _uses(value: object) -> object:
    """Say what is wrong with `uses` before the union does, which knows no words for it."""
    if isinstance(value, str):
        return _uses_text(value)
    if isinstance(value, Spec):
        if value.kind not in INLINE:
            raise fault(f"a step cannot hold a {value.kind}", "a step uses a " + _listed(INLINE))
        return value
    if not isinstance(value, Mapping):
        raise fault(
            f"expected kind/name, a component or an inline spec, not {shown(value)}",
            "write function/name, package.module:name, or kind and its fields",
        )
    kind = value.get("kind")
    if "kind" not in value:
        raise fault("the inline spec has no kind", f"write kind: {_listed(INLINE)}")
    if kind not in INLINE:
        hint = nearest(kind, INLINE) if isinstance(kind, str) else "known: " + ", ".join(INLINE)
        if kind == "pipeline":
            hint = "declare it on its own and write uses: pipeline/name"
        raise fault(f"a step cannot hold the kind {shown(kind)}", hint, ("kind",))
    return value


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(words[:-1]) + " or " + words[-1]


def _uses_text(text: str) -> str:
    if _COMPONENT.fullmatch(text) and ".py:" not in text:
        return text
    kind, slash, name = text.partition("/")
    if slash and not text.endswith(".py") and ":" not in text:
        if kind not in REFERABLE:
            raise fault(f"a step cannot use the kind {shown(kind)}", nearest(kind, REFERABLE))
        return f"{kind}/{check_name(name)}"
    hint = "write function/name, package.module:name, or kind and its fields"
    if ".py" in text:
        hint = "write {kind: function, entry: " + text[:60] + "}"
    elif text.isidentifier():
        hint = f"write function/{text[:60]}"
    raise fault(f"expected kind/name or a component, not {shown(text)}", hint)


def _tag(value: object) -> str:
    if isinstance(value, str):
        return "<reference>"
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return f"<{kind}>"


_UsesText = Annotated[
    str,
    WithJsonSchema({
        "type": "string",
        "pattern": r"^((function|training|service|pipeline)/.+|[^/:]+:[^/:]+)$",
        "examples": ["function/clean", "tradewind.components:split"],
    }),
]  # fmt: skip
Uses = Annotated[
    Annotated[FunctionSpec, Tag("<function>")]
    | Annotated[TrainingSpec, Tag("<training>")]
    | Annotated[ServiceSpec, Tag("<service>")]
    | Annotated[_UsesText, Tag("<reference>")],
    Discriminator(_tag),
    BeforeValidator(_uses),
]


def _foreach(value: object) -> object:
    if is_reference(value):
        reference = parse_reference(str(value))
        if reference.root == "item":
            raise fault("a foreach cannot be nested", "join the lists in a step of their own")
        return value
    if not isinstance(value, list | tuple):
        raise fault(f"expected a reference or a list of items, not {shown(value)}")
    if not value:
        raise fault("the foreach has no items", "write a list of items or a reference to one")
    return list(value)


def _some_steps(value: object) -> object:
    if isinstance(value, list | tuple) and not 0 < len(value) <= MAX_STEPS:
        raise fault(f"expected 1 to {MAX_STEPS} steps, not {len(value)}")
    return value


class Until(Frozen):
    """A step repeated until a condition on its own output holds, at most `max` times."""

    condition: Condition = Field(description="Compares an output of this step with a literal.")
    max: Annotated[Integer, Field(ge=1, le=10_000)] = Field(
        description="The most times the step runs; there is no loop without a bound."
    )


class Step(Frozen):
    """One node of the graph."""

    name: Name = Field(description="The step's name, unique in the pipeline.")
    uses: Uses = Field(
        description="What runs: kind/name, a component such as tradewind.components:split, or a "
        "function, training or service written out."
    )
    input: dict[Text, StepInput] = Field(
        default_factory=dict,
        description="Data by parameter: $step.output, a dataset, name@version, a path, model:NAME, "
        "or a list.",
    )
    params: dict[Text, WithReferences] = Field(
        default_factory=dict,
        description="JSON literals by parameter; texts that begin with $ are references.",
    )
    after: tuple[Name, ...] = Field(
        default=(), description="Steps that must have ended first, though no data flows."
    )
    foreach: Annotated[WithReferences, BeforeValidator(_foreach)] | None = Field(
        default=None,
        description="Runs the step once for each item of a list, as $item; its output is a list.",
    )
    at_once: Annotated[Integer, Field(ge=1)] | None = Field(
        default=None, description="How many items of the foreach may run at the same time."
    )
    when: Condition | None = Field(
        default=None, description="The step is skipped unless this holds: $a.output.auc >= 0.6."
    )
    until: Until | None = Field(
        default=None, description="Repeats the step: {condition: $me.output.loss < 0.1, max: 9}."
    )
    retries: Retries | None = Field(
        default=None, description="Tries after a failure. Left out: what the spec in `uses` says."
    )
    timeout: Duration | None = Field(
        default=None, description="The longest that one try may take: 10m. In seconds."
    )
    cache: bool | None = Field(
        default=None,
        strict=True,
        description="Whether an equal earlier result may be taken. Left out: true, unless the "
        "spec in `uses` says no.",
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        """An inline spec without a name has the step's."""
        uses = data.get("uses") if isinstance(data, Mapping) else None
        if isinstance(uses, Mapping) and "name" not in uses and "name" in data:
            return {**data, "uses": {"name": data["name"], **uses}}
        return data

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.at_once is not None and self.foreach is None:
            raise fault("at_once belongs to foreach, and there is none", "", ("at_once",))
        if self.foreach is not None and self.until is not None:
            raise fault("a step has foreach or until, not both", "use two steps", ("until",))
        return self

    @property
    def cached(self) -> bool:
        """Whether an equal earlier result may be taken."""
        inline = None if isinstance(self.uses, str) else self.uses.cache
        return next((said for said in (self.cache, inline) if said is not None), True)

    @property
    def outputs(self) -> tuple[str, ...] | None:
        """The names of the outputs, or None where only the component knows them."""
        return None if isinstance(self.uses, str) else _OUTPUTS[self.uses.kind]

    def references(self) -> Iterator[tuple[Path, Reference]]:
        """Every reference to what came before, with its path in the step."""
        for field in ("input", "params", "foreach"):
            yield from references(getattr(self, field), (field,))
        if self.when is not None:
            yield ("when",), self.when.reference

    def needs(self) -> tuple[str, ...]:
        """The steps that must have ended before this one starts."""
        named = (ref.step for _, ref in self.references() if ref.step is not None)
        return tuple(dict.fromkeys((*named, *self.after)))


class PipelineSpec(Workload):
    """Steps, and the edges that their references make."""

    kind: Literal["pipeline"] = "pipeline"
    steps: Annotated[tuple[Step, ...], BeforeValidator(_some_steps)] = Field(
        description="The steps, in any order."
    )
    outputs: dict[Name, ReferenceText] = Field(
        default_factory=dict, description="Results of the whole pipeline: {model: $train.model}."
    )

    @model_validator(mode="after")
    def _is_graph(self) -> Self:
        found = list(_faults(self))
        if found:
            raise faults(found)
        return self

    def step(self, name: str) -> Step:
        """The step of that name; KeyError when there is none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    def needs(self) -> dict[str, tuple[str, ...]]:
        """For each step, the steps that it waits for directly."""
        return {step.name: step.needs() for step in self.steps}

    def order(self) -> tuple[str, ...]:
        """The steps' names, each after all that it needs, else in the order of the text."""
        return graph.order(self.needs())

    def edges(self) -> tuple[tuple[str, str], ...]:
        """(earlier, later) for each pair of steps of which one waits for the other."""
        return tuple((one, name) for name, needed in self.needs().items() for one in needed)

    def dependents(self) -> dict[str, tuple[str, ...]]:
        """For each step, the steps that wait for it directly."""
        return graph.dependents(self.needs())


def _faults(pipeline: PipelineSpec) -> Iterator[Found]:
    steps = {step.name: step for step in pipeline.steps}
    seen: set[str] = set()
    for index, step in enumerate(pipeline.steps):
        here: Path = ("steps", index)
        if step.name in RESERVED:
            yield (
                f"no step may be named {step.name!r}",
                f"${step.name} has a meaning",
                (*here, "name"),
            )
        if step.name in seen:
            yield f"there are two steps named {step.name!r}", "", (*here, "name")
        seen.add(step.name)
        for message, hint, path in _step_faults(pipeline, step, steps):
            yield message, hint, (*here, *path)
    for name, text in pipeline.outputs.items():
        for message, hint in _reference_faults(pipeline, None, parse_reference(text), steps):
            yield message, hint, ("outputs", name)
    needs = {
        name: [other for other in step.needs() if other in steps] for name, step in steps.items()
    }
    if around := graph.cycle(needs):
        index = [step.name for step in pipeline.steps].index(around[0])
        shape = " → ".join(reversed(around))
        yield f"the steps wait for each other: {shape}", "cut one of these edges", ("steps", index)


def _step_faults(pipeline: PipelineSpec, step: Step, steps: dict[str, Step]) -> Iterator[Found]:
    for path, reference in step.references():
        for message, hint in _reference_faults(pipeline, step, reference, steps):
            yield message, hint, path
        if path == ("when",):
            yield from _when_faults(step, reference, steps)
    for index, name in enumerate(step.after):
        if name not in steps:
            yield f"there is no step {name!r}", nearest(name, steps), ("after", index)
    if step.until is not None:
        yield from _until_faults(step, step.until.condition.reference)


def _when_faults(step: Step, reference: Reference, steps: dict[str, Step]) -> Iterator[Found]:
    if reference.root == "item":
        yield "when decides about the whole step, not about one item", "", ("when",)
    other = steps.get(reference.root)
    if other is not None and other.foreach is not None:
        hint = "reduce the list in a step of its own and compare that"
        yield f"{other.name!r} has a foreach, so its output is a list", hint, ("when",)


def _until_faults(step: Step, reference: Reference) -> Iterator[Found]:
    path: Path = ("until", "condition")
    if reference.root != step.name:
        hint = f"compare an output of the step itself: ${step.name}.output…"
        yield f"{reference} does not change while {step.name!r} repeats", hint, path
    elif wrong := _output_fault(step, reference):
        yield (*wrong, path)


def _output_fault(step: Step, reference: Reference) -> tuple[str, str] | None:
    if step.outputs is None or reference.output in step.outputs:
        return None
    hint = nearest(reference.output, step.outputs)
    if len(step.outputs) == 1:
        hint = f"write ${step.name}.{'.'.join((step.outputs[0], *reference.path))}"
    return f"the step {step.name!r} has no output {reference.output!r}", hint


def _reference_faults(
    pipeline: PipelineSpec, step: Step | None, reference: Reference, steps: dict[str, Step]
) -> Iterator[tuple[str, str]]:
    if reference.root == "params":
        if reference.path[0] not in pipeline.params:
            hint = nearest(reference.path[0], pipeline.params) or "declare it in params"
            yield f"the pipeline has no parameter {reference.path[0]!r}", hint
        return
    if reference.root == "item":
        if step is None or step.foreach is None:
            yield "$item has a meaning only in a step with foreach", ""
        return
    other = steps.get(reference.root)
    if other is None:
        known = [f"${name}" for name in (*steps, *(f"params.{name}" for name in pipeline.params))]
        yield (
            f"{reference} leads nowhere: there is no step {reference.root!r}",
            nearest(f"${reference.root}", known),
        )
        return
    if wrong := _output_fault(other, reference):
        yield wrong
    same = step is not None and step.when == other.when
    if other.when is not None and not reference.optional and not same:
        asked = f"${'.'.join((reference.root, *reference.path))} | null"
        yield (
            f"{reference} may not exist: the step {other.name!r} is skipped unless its when holds",
            f"write `{asked}` to get null then, or give this step the same when",
        )
