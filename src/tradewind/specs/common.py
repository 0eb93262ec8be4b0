"""What the kinds share: the base of every spec, the objective, and what workloads carry.

A kind's file states only what is its own. Nothing here knows which kinds there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tradewind.base.errors import Location
from tradewind.specs.faults import Path, fault, from_validation, reject, shown
from tradewind.specs.fields import (
    Bytes,
    Devices,
    Digest,
    Duration,
    Flag,
    Integer,
    Json,
    Money,
    Name,
    Number,
    Positive,
    Text,
    Variable,
    check_requirement,
    check_values,
)

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass as _Checked
else:

    class _Checked(type(BaseModel)):
        """Makes a call such as `FunctionSpec(name="F")` raise our error instead of pydantic's."""

        def __call__(cls, *args, **fields):
            try:
                return super().__call__(*args, **fields)
            except ValidationError as error:
                problems = from_validation(error, cls, fields, _field_only)
            reject(problems)


def _field_only(path: Path, key: bool) -> Location:
    return Location(field=".".join(map(str, path)))


class Frozen(BaseModel, metaclass=_Checked):
    """A value that is checked when it is made and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Spec(Frozen):
    """What a user writes. Every kind derives from it."""

    kind: str
    name: Name = Field(description="The spec's name, unique among its kind in its project.")
    project: Name = Field(default="default", description="The project (tenant) it belongs to.")
    labels: dict[Text, Text] = Field(
        default_factory=dict, description="Free text by key, to find things again."
    )
    description: Text = Field(default="", description="A sentence for people.")

    @model_validator(mode="before")
    @classmethod
    def _sound(cls, data: Any) -> Any:
        check_values(data)
        return data

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = handler(self)
        return {"kind": self.kind, "name": self.name, **fields}


Availability = Literal["process", "node", "zone", "region"]
Consistency = Literal["strong", "soft"]


class Objective(Frozen):
    """How well a spec shall be carried out. Workloads carry these fields flat."""

    performance: Duration | None = Field(
        default=None,
        description="Time from acceptance to visible result, waiting included: 60s. In seconds.",
    )
    budget: Money | None = Field(
        default=None, description="The most a run may cost: $2. In nanodollars."
    )
    availability: Availability | None = Field(
        default=None,
        description="Whose loss the work survives: process, node, zone or region. Left out: "
        "process; of a pipeline's step, what the pipeline says.",
    )
    consistency: Consistency | None = Field(
        default=None,
        description="strong: readers see the last write; soft: they will. Left out: strong; of a "
        "pipeline's step, what the pipeline says.",
    )


class Resources(Frozen):
    """An amount of machine: a pin of a workload, a quota, the capacity of a pool."""

    cpu: Annotated[Positive, Field(ge=0.001)] | None = Field(
        default=None, description="Processor cores: 2, 0.5."
    )
    memory: Bytes | None = Field(default=None, description="Main memory: 4GiB. In bytes.")
    accelerators: dict[Text, Devices] = Field(
        default_factory=dict,
        description="Devices by their class: so many, {nvidia-l4: 2}; a part of one, "
        "{nvidia-l4: 0.5}; or a part with so much of its memory, {nvidia-l4: 6GiB}.",
    )

    @field_validator("accelerators")
    @classmethod
    def _one_part(cls, found: dict[str, int | float | str]) -> dict[str, int | float | str]:
        parts = [name for name, count in found.items() if not isinstance(count, int)]
        if len(parts) > 1:
            raise fault(
                f"a part of a device can be had of one class, not of {' and '.join(parts)}",
                "ask for whole ones of the others",
                (parts[1],),
            )
        return found


# The level at which each single machine is a domain.
NODE = "node"


def _level(value: str) -> str:
    if value == NODE:
        raise fault("every machine is a node of its own", "tell wider levels: zone, rack")
    return value


Level = Annotated[Name, AfterValidator(_level)]


class Topology(Frozen):
    """How the processes of a run stand to each other. Levels are what the machines of a pool tell
    (region, zone, rack), and `node`: each single machine."""

    together: Name | None = Field(
        default=None, description="All of them in one of these: node, rack, zone."
    )
    spread: Name | None = Field(
        default=None, description="Over as many of these as can be, evenly: node, rack, zone."
    )
    required: Flag = Field(
        default=False,
        description="Whether it waits until that can be. Left out: it is done where there is room.",
    )

    @model_validator(mode="after")
    def _sound_levels(self) -> Self:
        if self.together is None and self.spread is None:
            raise fault("a topology says together or spread", "for example together: rack")
        if self.spread is not None and self.together in (self.spread, NODE):
            raise fault(
                f"processes that are together in one {self.together} are not spread over several "
                f"of {self.spread}",
                "spread them over a narrower level, such as node",
            )
        return self


class Retries(Frozen):
    """How often and how soon a failed try is made again. A bare number is `max`."""

    max: Annotated[Integer, Field(ge=0, le=1000)] = Field(
        description="Tries after the first; 0 means one try."
    )
    backoff: Duration = Field(
        default=1.0, description="Pause before the second try: 1s. In seconds."
    )
    factor: Annotated[Number, Field(ge=1, le=100)] = Field(
        default=2.0, description="What the pause is multiplied by each time."
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, int) and not isinstance(data, bool):
            return {"max": data}
        if not isinstance(data, Mapping | Retries):
            raise fault(f"expected a number of retries, or max, backoff, factor, not {shown(data)}")
        return data

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler) -> Any:
        fields = {"max": self.max, **handler(self)}
        return self.max if fields.keys() == {"max"} else fields

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "anyOf": [{"type": "integer", "minimum": 0}, handler.resolve_ref_schema(handler(core))]
        }


class Width(Frozen):
    """How many: a number, or a range `min..max` the system chooses from and may change."""

    min: Annotated[Integer, Field(ge=0, le=100_000)]
    max: Annotated[Integer, Field(ge=1, le=100_000)]

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, int) and not isinstance(data, bool):
            return {"min": data, "max": data}
        if isinstance(data, str):
            match = re.fullmatch(r"\s*([0-9]{1,9})\s*(?:\.\.\s*([0-9]{1,9})\s*)?", data)
            if match is not None:
                return {"min": int(match[1]), "max": int(match[2] or match[1])}
        elif isinstance(data, Mapping | Width):
            return data
        raise fault(f"expected a number such as 4 or a range such as 1..8, not {shown(data)}")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise fault(
                f"the range {self.min}..{self.max} is empty", f"write {self.max}..{self.min}"
            )
        return self

    @model_serializer(mode="plain")
    def _write(self) -> int | str:
        return self.min if self.min == self.max else f"{self.min}..{self.max}"

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        text = {"type": "string", "pattern": r"^\s*\d+\s*(\.\.\s*\d+\s*)?$", "examples": ["1..8"]}
        return {"anyOf": [{"type": "integer", "minimum": 0}, text]}


def _dependencies(value: object) -> tuple[str, ...] | str:
    if isinstance(value, str):
        named = "/" in value or value.endswith((".txt", ".lock", ".toml", ".in"))
        if not named or value.split() != [value] or "://" in value:
            raise fault(
                "expected a list of requirements or the path of a requirements or lock file, "
                f"not {shown(value)}",
                f"for one requirement write [{value[:60]}]",
            )
        if value.startswith(("/", "~")) or ".." in value.split("/"):
            raise fault(
                f"the file {shown(value)} must lie inside the bundle",
                "write its path relative to the folder that travels",
            )
        return value
    if not isinstance(value, list | tuple):
        raise fault(f"expected a list of requirements or a file's path, not {shown(value)}")
    return tuple(check_requirement(part, (index,)) for index, part in enumerate(value))


Dependencies = Annotated[
    tuple[str, ...] | str,
    PlainValidator(_dependencies),
    PlainSerializer(lambda said: said if isinstance(said, str) else list(said), return_type=Any),
    WithJsonSchema({
        "type": ["array", "string"],
        "items": {"type": "string"},
        "examples": [["numpy>=2", "pandas"], "requirements.txt"],
    }),
]  # fmt: skip


class Workload(Objective, Spec):
    """What every kind that runs code carries, beside its objective. All of it is optional."""

    dependencies: Dependencies = Field(
        default=(),
        description="Python packages: a list of PEP 508 requirements, or the path of a "
        "requirements or lock file in the bundle.",
    )
    resources: Resources | None = Field(
        default=None, description="A pin of the size. Left out, the compiler sizes the work."
    )
    value: Money | None = Field(
        default=None,
        description="What the result is worth: $5. A run whose quote is higher is asked about "
        "first. In nanodollars.",
    )
    timeout: Duration | None = Field(
        default=None, description="The longest that one try may take: 10m. In seconds."
    )
    retries: Retries | None = Field(
        default=None, description="Tries after a failure: a number, or max, backoff, factor."
    )
    env: dict[Variable, Text] = Field(
        default_factory=dict, description="Environment variables of the user's process."
    )
    queue: Name | None = Field(default=None, description="The queue to wait in.")
    priority: Annotated[Integer, Field(ge=-1000, le=1000)] | None = Field(
        default=None,
        description="Of the runs of one queue that of the higher number goes first, and may take "
        "the place of a lower one. Left out: what the queue says.",
    )
    pool: Name | None = Field(default=None, description="A pin of the place: a pool's name.")
    topology: Topology | None = Field(
        default=None,
        description="How its processes stand to each other: {together: rack, required: true}.",
    )
    cache: bool | None = Field(
        default=None,
        strict=True,
        description="Whether an equal earlier result may be taken instead of working. "
        "Left out: true for a pipeline's step, false otherwise.",
    )
    bundle: Digest | None = Field(
        default=None,
        description="The digest of the code that travels (sha256:…). The client fills it in; "
        "nobody writes it.",
    )
    params: dict[Text, Json] = Field(
        default_factory=dict, description="JSON literals passed to the code by name."
    )

    @property
    def objective(self) -> Objective:
        """The objective on its own."""
        return Objective.model_construct(
            performance=self.performance,
            budget=self.budget,
            availability=self.availability,
            consistency=self.consistency,
        )
