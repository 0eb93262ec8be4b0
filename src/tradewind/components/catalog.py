"""The components as data: what each takes, gives and can be told. Light, for servers and docs.

A test holds this table against the functions' own signatures.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Slot = Literal["table", "json", "model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One step. The slot kinds: `table` an Arrow table, `json` a JSON value, `model` a folder.

    A function gives one `table` or `json` output as its result, several as a dict by slot. For a
    `model` output it has a parameter of that name: the folder to write into.
    """

    name: str
    about: str
    module: str
    inputs: dict[str, Slot]
    outputs: dict[str, Slot]
    options: dict[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """The entry point, as a pipeline's `uses` names it."""
        return f"tradewind.components:{self.name}"

    def load(self) -> Callable[..., Any]:
        """The function itself."""
        function: Callable[..., Any] = getattr(importlib.import_module(self.module), self.name)
        return function


_ROOM = "tradewind.components"

_ALL = (
    Component(
        name="extract",
        about="Take rows and columns out of a table; rename and cast them.",
        module=f"{_ROOM}.extraction",
        inputs={"rows": "table"},
        outputs={"output": "table"},
        options={
            "columns": "which columns, in this order; empty: all",
            "where": "an SQL condition on a row, over the original names",
            "rename": "new name by old name",
            "cast": "Arrow type by column, after renaming: int64, float64, timestamp[us, UTC] …",
            "limit": "at most so many rows; 0: all",
        },
    ),
    Component(
        name="profile_join",
        about="Give each row the newest profile values that were known at the row's own time.",
        module=f"{_ROOM}.joining",
        inputs={"rows": "table", "profile": "table"},
        outputs={"output": "table"},
        options={
            "keys": "columns that both tables share",
            "time": "the row's event time; empty: the profile has no times",
            "profile_time": "when a profile value became true; empty: as `time`",
            "profile_write_time": "when it was written down; empty: it was known at once",
            "tolerance": "the greatest age of a value, such as 3h; empty: any",
            "columns": "profile columns to take; empty: all but keys and times",
            "prefix": "before the names of the columns taken",
        },
    ),
    Component(
        name="features",
        about="Fit declared features on training rows; the transformer travels with them.",
        module=f"{_ROOM}.featuring",
        inputs={"rows": "table"},
        outputs={"output": "table"},
        options={
            "declared": "the features: [{op: number, column: distance}, …] (docs/rooms/models.md)",
            "label": "the column to predict; kept beside the features",
            "known_after": "columns known only after the moment of prediction: refused by name",
            "nullable": "columns that may be null when serving, though training saw no null",
        },
    ),
    Component(
        name="split",
        about="Cut rows into train, test and validation, the same way for the same seed.",
        module=f"{_ROOM}.splitting",
        inputs={"rows": "table"},
        outputs={"train": "table", "test": "table", "validation": "table"},
        options={
            "how": "random, stratified, grouped or time",
            "by": "the stratum's, group's or time's column",
            "key": "columns that name a row; empty: all of them",
            "test": "the share of the test rows",
            "validation": "the share of the validation rows; 0: none",
            "cuts": "for time: where test begins, or where validation and test begin (ISO 8601)",
            "seed": "another seed, another split",
        },
    ),
    Component(
        name="train",
        about="Fit a baseline (logistic regression) or a gradient-boosted model of a yes or no.",
        module=f"{_ROOM}.training",
        inputs={"rows": "table"},
        outputs={"output": "json", "model": "model"},
        options={
            "label": "the column to predict: true and false, or 1 and 0",
            "algorithm": "baseline or boosted",
            "params": "of the algorithm: {num_leaves: 63, rounds: 300}; {regularization: 1.0}",
            "false_positive_cost": "with the next, sets the model's threshold",
            "false_negative_cost": "the price of a missed yes",
            "seed": "for everything random",
            "threads": "0: all cores",
        },
    ),
    Component(
        name="predict",
        about="Score rows with a model as serving would, and measure it where the label is known.",
        module=f"{_ROOM}.predicting",
        inputs={"rows": "table", "model": "model"},
        outputs={"scores": "table", "metrics": "json"},
        options={
            "label": "the column with the truth; empty: no metrics",
            "keep": "columns to carry into the scores",
            "false_positive_cost": "what a false alarm costs",
            "false_negative_cost": "what a missed yes costs",
            "bins": "rows of the calibration table",
        },
    ),
    Component(
        name="deploy",
        about="The document of a service for a model version, for the pipeline to submit.",
        module=f"{_ROOM}.deploying",
        inputs={},
        outputs={"output": "json"},
        options={
            "model": "the model's name",
            "version": "its version or alias; empty: the newest",
            "name": "the service's name; empty: the model's",
            "replicas": "how many, or a range such as 1..4",
            "performance": "how fast it shall be ready, such as 30s",
            "availability": "whose loss it survives: process, node, zone or region",
        },
    ),
)

COMPONENTS: dict[str, Component] = {one.name: one for one in _ALL}
BY_TARGET: dict[str, Component] = {one.target: one for one in _ALL}
