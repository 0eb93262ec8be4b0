"""The workflow: the components strung together for somebody's own data, as a pipeline's graph.

workflow(name="churn", dataset="customers", label="left", declared=[…], time="seen",
         cuts=["2026-01-01"], profiles=[{"dataset": "plans", "keys": ["id"]}], at_least=0.7)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tradewind.base.errors import InvalidSpec, Location
from tradewind.components.catalog import COMPONENTS
from tradewind.specs import PipelineSpec, ServiceSpec, Step, TrainingSpec

# Of the figures that `predict` gives, those for which more is better; of the others, less is.
_MORE_IS_BETTER = ("auc",)
METRICS = ("auc", "log_loss", "brier", "calibration_error", "cost", "best_cost")


def workflow(
    *,
    name: str,
    dataset: str,
    label: str,
    declared: Sequence[Mapping[str, Any]],
    profiles: Sequence[Mapping[str, Any]] = (),
    where: str = "",
    how: Literal["", "random", "stratified", "grouped", "time"] = "",
    time: str = "",
    by: str = "",
    key: Sequence[str] = (),
    cuts: Sequence[str] = (),
    test: float = 0.2,
    known_after: Sequence[str] = (),
    nullable: Sequence[str] = (),
    params: Mapping[str, Any] | None = None,
    costs: tuple[float, float] = (1.0, 1.0),
    metric: str = "auc",
    at_least: float | None = None,
    **objective: Any,
) -> PipelineSpec:
    """extract → profile joins → split → features → baseline and boosted → predict → deploy.

    `time` is each row's event time: profiles are joined as of it, and the split is by it unless
    `how` says otherwise (`by`, `key`, `cuts`, `test` as `split` has them). A profile is a dataset's
    name with the options of `profile_join`. `costs` are those of a false alarm and of a missed yes.
    With `at_least`, the boosted model is deployed only when its metric is at least that good.
    `objective` is what any pipeline may carry: performance, budget, labels …
    """
    if metric not in METRICS:
        known = ", ".join(METRICS)
        raise InvalidSpec(f"unknown metric {metric!r}; {known}", where=Location(field="metric"))
    steps = [_step("extract", {"rows": dataset}, where=where)] if where else []
    rows = "$extract" if where else dataset
    for index, profile in enumerate(profiles):
        options = {**({"time": time} if "profile_time" in profile else {}), **profile}
        source = {"rows": rows, "profile": options.pop("dataset")}
        steps.append(_step("profile_join", source, name=f"join-{index + 1}", **options))
        rows = f"$join-{index + 1}"
    chosen = how or ("time" if time else "random")
    column = by or (time if chosen == "time" else "")
    steps += [
        _step("split", {"rows": rows}, how=chosen, by=column, key=key, cuts=cuts,
              test=None if cuts else test),
        _step("features", {"rows": "$split.train"}, declared=declared, label=label,
              known_after=known_after, nullable=nullable),
    ]  # fmt: skip
    paid = {"false_positive_cost": costs[0], "false_negative_cost": costs[1]}
    for algorithm in ("baseline", "boosted"):
        model = name if algorithm == "boosted" else f"{name}-baseline"
        chosen_params = params if algorithm == "boosted" else None
        steps += [
            _train(algorithm, model, label, chosen_params, paid),
            _step("predict", {"rows": "$split.test", "model": f"${algorithm}.model"},
                  name=f"measure-{algorithm}", label=label, **paid),
        ]  # fmt: skip
    steps.append(_deploy(name, metric, at_least))
    return PipelineSpec(
        name=name,
        steps=tuple(steps),
        outputs={
            "model": "$boosted.model",
            "metrics": "$measure-boosted.metrics",
            "baseline": "$measure-baseline.metrics",
        },
        **objective,
    )


def _step(component: str, inputs: dict[str, str], *, name: str = "", **options: Any) -> Step:
    """A step that says only what was said to us."""
    odd = options.keys() - COMPONENTS[component].options.keys()
    if odd:
        raise InvalidSpec(f"{component} has no option {min(odd)!r}")
    said = {key: _plain(value) for key, value in options.items() if value not in (None, "", ())}
    return Step(
        name=name or component,
        uses=COMPONENTS[component].target,
        input=inputs,
        params={key: value for key, value in said.items() if value != []},
    )


def _train(
    algorithm: str, model: str, label: str, params: Mapping[str, Any] | None, paid: dict[str, float]
) -> Step:
    """A training, so that its model becomes a version in the registry."""
    spec = TrainingSpec(name=model, entry=COMPONENTS["train"].target, model=model)
    options = {"label": label, "algorithm": algorithm, **paid}
    if params:
        options["params"] = _plain(params)
    return Step(name=algorithm, uses=spec, input={"rows": "$features"}, params=options)


def _deploy(name: str, metric: str, at_least: float | None) -> Step:
    gate: dict[str, Any] = {}
    if at_least is not None:
        compare = ">=" if metric in _MORE_IS_BETTER else "<="
        gate["when"] = f"$measure-boosted.metrics.{metric} {compare} {at_least}"
    else:
        gate["after"] = ("measure-boosted",)
    service = ServiceSpec(name=name, model=name)
    return Step(name="deploy", uses=service, input={"model": "$boosted.model"}, **gate)


def _plain(value: Any) -> Any:
    """Tuples and mappings as JSON has them; a text that begins with `$` is no reference here."""
    if isinstance(value, str) and value.startswith("$"):
        return "$" + value
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
