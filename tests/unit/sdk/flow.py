"""A user's file: decorated functions and pipelines."""

from typing import Any

import tradewind as tw


@tw.function(performance="60s", retries=2)
def clean(flights: "pd.DataFrame", limit: int = 10) -> Any:  # type: ignore[name-defined] # noqa: F821
    return flights


@tw.function
def square(x: Any) -> Any:
    return x * x


@tw.training(metric="auc", name="late")
def train(table: Any, rate: float = 0.1) -> Any:
    return table


@tw.service
def predict(x: float) -> float:
    return x


FLIGHTS = tw.dataset("flights")
split = tw.component("tradewind.components:split")


@tw.pipeline(budget="$2")
def nightly(year: int = 2013, flights: Any = FLIGHTS) -> Any:
    cleaned = clean(flights, limit=year)
    parts = split(table=cleaned, by="$time")
    model = train.step(retries=3, after=cleaned)(parts.train)
    squares = tw.foreach([1, 2], square, at_once=2)
    with tw.when(model.output.metrics.auc >= 0.6):
        square(model.metrics.auc)
    tw.until(lambda: square(squares), lambda made: made.loss < 0.1, max=9)
    return {"model": model.model, "squares": squares}


@tw.pipeline
def wants(n: int) -> None:
    square(n)
