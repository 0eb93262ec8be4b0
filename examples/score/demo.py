"""Score a hundred million flights within a minute: ask, be refused, weigh, accept, get it in time.

Uses the server of TRADEWIND_HOME, or one of its own in `.demo/`, which it ends again. What is there
from an earlier demo is used again, and said so. All figures are the server's answers.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from tradewind.base.errors import NotFound, TradewindError
from tradewind.base.units import format_duration, format_money, parse_count, parse_duration
from tradewind.sdk import loading, local
from tradewind.sdk.client import Client

HERE = Path(__file__).parent
FLIGHTS = HERE.parent / "flights" / "flights.yaml"
# Of the flights' pipeline, what is learned from; its own trainings and its service are left out.
STEPS = ("flights", "weather", "planes", "joined", "learning", "later", "featured")
LOOK = 0.5

Json = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="100M", help="how many flights (100M)")
    parser.add_argument("--deadline", default="60s", help="how long it may take (60s)")
    parser.add_argument("--trees", default="100,30,10,3", help="the models, the largest first")
    args = parser.parse_args()
    os.environ.setdefault("TRADEWIND_HOME", str(HERE.parent.parent / ".demo"))
    folder = local.data_folder()
    ours = local.running(folder) is None
    try:
        with local.connect() as client:
            models = [f"trees-{each}" for each in args.trees.split(",")]
            demo = Demo(client, parse_count(args.rows), parse_duration(args.deadline), models)
            return demo.play()
    except TradewindError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    finally:
        if ours:
            local.stop_server(folder, stop_runs=True)
            print("Nothing is left running.")


class Demo:
    """The story, chapter by chapter."""

    def __init__(self, client: Client, rows: int, deadline: float, models: list[str]) -> None:
        self.client, self.rows, self.deadline, self.models = client, rows, deadline, models

    def play(self) -> int:
        print(f"{self.rows:,} flights to score within {format_duration(self.deadline)}.\n")
        self.made_ready()
        print(f"\nAsked with {self.models[0]}, as score.tw says it:")
        refused = self.ended(self.run("score", input=self.input(self.models[0]), **self.wish()))
        if refused["state"] == "succeeded":
            return self.told(refused)
        print(f"  {refused['error']['code']}: {refused['error']['message']}")
        tasks = sorted({each["task"] for each in refused["attempts"]})
        for_what = f"for {', '.join(tasks)}" if tasks else "it had been measured before"
        print(f"  paid: {format_money(refused['price'])}, {for_what}")
        chosen = self.weighed()
        if chosen is None:
            return 1
        return self.told(self.followed(*chosen))

    # -- what there has to be ------------------------------------------------------------------

    def made_ready(self) -> None:
        """Features, models and rows, as far as they are not there."""
        if not all(self.version("datasets", name) for name in ("joined", "featured", "later")):
            work = loading.choose(loading.load(str(FLIGHTS)), FLIGHTS.name)
            document = loading.finish(self.client, work, {"name": "flights-features"})
            document["steps"] = [each for each in document["steps"] if each["name"] in STEPS]
            document.pop("outputs")
            ended = self.ended(self.client.runs.create([{"spec": document}])[0]["id"])
            self.line("features", ended, f"{len(ended['children'])} steps of examples/flights")
        for name in ("ready", *self.models):
            if not self.version("models" if name in self.models else "datasets", name):
                ended = self.ended(self.run(name))
                auc = ended["result"].get("output", {}).get("value", {}).get("metrics", {})
                self.line(name, ended, f"AUC {auc['auc']:.3f}" if auc else "")
        there = self.version("datasets", "many")
        if there and there["rows"] == self.rows:
            print(f"  many        {self.rows:,} rows are there: many@{there['number']}")
        else:
            ended = self.ended(self.run("many", params={"rows": self.rows, "seed": 7}))
            self.line("many", ended, f"{ended['result']['output']['rows']:,} rows")

    def version(self, noun: str, name: str) -> Json | None:
        """The newest version of a dataset or a model; None if there is none."""
        try:
            found: Json = getattr(self.client, noun).get(name)
        except NotFound:
            return None
        return max(found["versions"], key=lambda each: int(each["number"]), default=None)

    def line(self, name: str, ended: Json, more: str) -> None:
        took = format_duration(ended["ended"] - ended["created"])
        print(f"  {name:<11} {took:>8}  {format_money(ended['price']):>10}  {more}", flush=True)

    # -- what it would take --------------------------------------------------------------------

    def weighed(self) -> tuple[Json, int, float] | None:
        """A quote for each model; the best model that can be in time, with its plan. None is in
        time on a busy machine: then the quickest, and the time that it needs."""
        print(f"\nWhat the models would take, quoted for {self.rows:,} rows:")
        print(f"  {'model':<11} {'AUC':>5}  {'time':>17}  {'price':>19}  known from")
        found: list[tuple[Json, int | None]] = []
        for name in self.models:
            document = self.document("score", input=self.input(name))
            document.pop("performance", None)
            try:
                quote = self.client.quotes.ask(document, deadlines=[self.deadline])
            except TradewindError as error:
                print(f"  {name:<11} {self.auc(name):5.3f}  {error.message}")
                continue
            number = quote["curve"][0]["plan"]
            found.append(({**quote, "model": name}, number))
            plan = quote["plans"][number] if number is not None else quickest(quote)[1]
            mark = "" if number is not None else f"  not within {format_duration(self.deadline)}"
            print(f"  {name:<11} {self.auc(name):5.3f}  {told_of(plan)}  {plan['basis']}{mark}")
        if not found:
            return None
        for quote, number in found:
            if number is not None:
                return quote, number, self.deadline
        quote = min((quote for quote, _ in found), key=lambda each: quickest(each)[2])
        number, _, needed = quickest(quote)
        print("  None of them can be promised so soon beside what else this machine is doing.")
        return quote, number, needed

    def auc(self, name: str) -> float:
        """On the months that it has not learned from, as its training told."""
        run = (self.version("models", name) or {})["run"]
        return float(self.client.runs.get(run)["result"]["output"]["value"]["metrics"]["auc"])

    # -- what came of it -----------------------------------------------------------------------

    def followed(self, quote: Json, number: int, deadline: float) -> Json:
        """Accept a quote, and look at the parts as they appear."""
        plan, name = quote["plans"][number], quote["model"]
        print(
            f"\nAccepted: {name} within {format_duration(deadline)}, quote {quote['id']}, ", end=""
        )
        option = plan["option"]
        print(f"{option['backend']} with {option['width']} x {option['resources']['cpu']:g} cores.")
        if plan.get("chosen_because"):
            print(f"  plan {number}: {plan['chosen_because']}")
        document = self.document("score", input=self.input(name), **self.wish(deadline))
        order = {"spec": document, "quote": quote["id"], "plan": number}
        run = self.client.runs.create([order])[0]["id"]
        before, warned = self.version("datasets", "score"), False
        while not (body := self.client.runs.wait(run, LOOK))["ended"]:
            if body["waiting"].startswith("likely late") and not warned:
                warned = True
                print(f"            {body['waiting']}", flush=True)
            now = self.version("datasets", "score")
            if now and now != before:
                seen = format_duration(now["created"] - body["created"])
                print(f"  {seen:>8}  {now['rows']:>12,} rows to be seen", flush=True)
            before = now
        return self.client.runs.get(run)

    def told(self, ended: Json) -> int:
        """Time, price and what was promised."""
        took = format_duration(ended["ended"] - ended["created"])
        if ended["state"] != "succeeded":
            print(f"  {ended['state']} after {took}: {ended['error'].get('message')}")
            return 1
        output, plan = ended["result"]["output"], ended["plan"]
        cpu = sum(each["usage"].get("cpu", 0.0) for each in ended["attempts"])
        print(f"\n{output['rows']:,} scores in {took} for {format_money(ended['price'])}.")
        made = ended["promise"]
        most = f" for at most {format_money(made['price'])}" if made["price"] else ""
        print(f"  promise       within {format_duration(made['seconds'])}{most}: {made['outcome']}")
        print(f"  quoted        {told_of(plan).strip()}")
        print(
            f"  CPU seconds   {cpu:.1f}, quoted {plan['cpu']['p50']:.1f} ≤ {plan['cpu']['p90']:.1f}"
        )
        for gap in filter(None, [plan.get("not_given")]):
            print(f"  not given     {gap}")
        print(f"Next: tw describe dataset/{output['name']}; tw describe {ended['id']}; tw promises")
        return 0

    # -- how the server is asked ---------------------------------------------------------------

    def document(self, name: str, **fields: Any) -> Json:
        """A spec of score.tw with some fields changed, its code sent."""
        target = f"{HERE / 'score.tw'}:{name}"
        return loading.finish(self.client, loading.choose(loading.load(target), target), fields)

    def input(self, model: str) -> Json:
        return {"rows": "many", "model": f"model:{model}"}

    def wish(self, deadline: float = 0.0) -> Json:
        return {"performance": format_duration(deadline or self.deadline)}

    def run(self, name: str, **fields: Any) -> str:
        order = {"spec": self.document(name, **fields)}
        return str(self.client.runs.create([order])[0]["id"])

    def ended(self, run: str) -> Json:
        """How it ended; raises for a step that has to go well."""
        while not self.client.runs.wait(run, LOOK)["ended"]:
            pass
        body = self.client.runs.get(run)
        if body["state"] != "succeeded" and body["name"] != "score":
            raise TradewindError(f"{body['name']}: {body['error'].get('message')}")
        return body


def quickest(quote: Json) -> tuple[int, Json, float]:
    """The plan that is surest to be over first: its number, itself, its seconds."""
    known = [
        (each["seconds"]["p90"], n) for n, each in enumerate(quote["plans"]) if each["seconds"]
    ]
    seconds, number = min(known)
    return number, quote["plans"][number], seconds


def told_of(plan: Json) -> str:
    """Its time and its price, each with the upper end that is promised."""
    time, price = plan["seconds"], plan["price"]
    times = " ≤ ".join(format_duration(time[each]) for each in ("p50", "p90"))
    prices = " ≤ ".join(format_money(round(price[each])) for each in ("p50", "p90"))
    return f"{times:>17}  {prices:>19}"


if __name__ == "__main__":
    sys.exit(main())
