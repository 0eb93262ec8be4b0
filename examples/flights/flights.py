"""Will this flight arrive 15 minutes late or more? From the raw tables to a service that answers.

tw run examples/flights/flights.py
"""

import flows

import tradewind as tw

TABLES = ("flights", "weather", "planes", "airports", "airlines")


def table(name: str):
    return tw.function(name=name)(flows.import_table)(name=name)


@tw.pipeline
def flights():
    """Drawn once, not run: a call of a decorated function adds a step and stands for its output."""
    raw = {name: table(name) for name in TABLES}
    joined = tw.function(flows.joined)(raw["flights"], raw["weather"], raw["planes"])
    learning = tw.function(flows.learning)(joined)
    later = tw.function(flows.later)(joined)
    featured = tw.function(flows.featured)(learning)

    baseline = tw.training(name="baseline")(flows.train_baseline)(featured)
    boosted = tw.training(name="boosted", model="flights")(flows.train_boosted)(featured)
    # Both are measured on the months that no step has learned from.
    measured = {
        "baseline": tw.function(name="measure-baseline")(flows.evaluate)(later, baseline.model),
        "boosted": tw.function(name="measure-boosted")(flows.evaluate)(later, boosted.model),
    }
    with tw.when(measured["boosted"].auc > 0.6):
        tw.deploy(boosted.model)
    return measured


if __name__ == "__main__":
    print(flights.run().result("boosted"))
