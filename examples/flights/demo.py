"""The main job: from the raw tables of 2013's flights to an answered request. `make demo` runs it.

Uses the server of TRADEWIND_HOME, or one of its own in `.demo/`, which it ends again; with `--keep`
the service stays up. What an earlier demo computed is reused, and said so.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tradewind.base.errors import TradewindError
from tradewind.base.units import format_duration, format_money
from tradewind.sdk import calls, loading, local
from tradewind.sdk.client import Client

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--pool", help="where the steps run: a pool's name, by default this machine"
    )
    parser.add_argument("--keep", action="store_true", help="leave the service up")
    args = parser.parse_args()
    os.environ.setdefault("TRADEWIND_HOME", str(ROOT / ".demo"))
    folder = local.data_folder()
    ours = local.running(folder) is None
    try:
        with local.connect() as client:
            return demo(client, args.pool)
    except TradewindError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    finally:
        if ours and not args.keep:
            local.stop_server(folder, stop_runs=True)
            print("Nothing is left running. `make demo KEEP=1` leaves the service up.")


def demo(client: Client, pool: str | None) -> int:
    """Run the pipeline, ask its service, say what happened."""
    print("Will this flight arrive 15 minutes late or more? 336,776 departures of 2013.\n")
    work = loading.choose(loading.load(str(HERE / "flights.yaml")), "flights.yaml")
    document = loading.finish(client, work, {"pool": pool} if pool else None)
    run = client.runs.create([{"spec": document}])[0]["id"]
    for line in followed(client, run):
        print(line, flush=True)
    ended = client.runs.get(run)
    if ended["state"] != "succeeded":
        print(f"\n{ended['error'].get('message')}\n  {ended['error'].get('hint', '')}")
        return 1
    evaluation(ended)
    asked(client)
    account(client, ended, f"pool {pool}" if pool else "this machine")
    return 0


def followed(client: Client, run: str) -> Iterator[str]:
    """One line for each step that ends, as it ends."""
    told: set[str] = set()
    while True:
        body = client.runs.wait(run, 0.5)
        for step in client.runs.get(run)["children"]:
            served = step["kind"] == "service" and step["result"]
            if step["id"] not in told and (step["ended"] or served):
                told.add(step["id"])
                yield step_line(step)
        if body["ended"]:
            return


def step_line(step: dict[str, Any]) -> str:
    """Name, outcome, time and price of a step."""
    seconds = (step["ended"] or step["updated"]) - step["created"]
    outcome = "reused" if step["cached_from"] else step["state"]
    if step["kind"] == "service" and not step["ended"]:
        outcome = "serving"
    rows = step["result"].get("output", {}).get("rows")
    shown = f"{rows:>9,} rows" if rows else " " * 14
    price = "" if step["cached_from"] else format_money(step["price"])
    return (
        f"  {step['key']:<17} {outcome:<10} {shown}  {format_duration(max(seconds, 0)):>8}  {price}"
    )


def evaluation(ended: dict[str, Any]) -> None:
    """How good the models are on the months that no step has learned from."""
    print("\nOn November and December, which no step has learned from:")
    print(f"  {'':<17} {'AUC':>6} {'calibration error':>18} {'cost per flight':>16}")
    for name in ("baseline", "boosted"):
        value = ended["result"][name]["value"]
        print(
            f"  {name:<17} {value['auc']:>6.3f} {value['calibration_error']:>18.3f} "
            f"{value['cost']:>16.3f}"
        )
    never = ended["result"]["boosted"]["value"]["cost_of_never"]
    print(f"  never warning {'':>30} {never:>13.3f}   (a false alarm costs 1, a missed delay 3)")


def asked(client: Client) -> None:
    """One real request to the service."""
    request = json.loads((HERE / "request.json").read_text())
    began = time.perf_counter()
    answer = calls.call(client, "flights", request)
    took = time.perf_counter() - began
    flight, said = request["rows"][0], answer["predictions"][0]
    print(
        f"\nAsked the service about {flight['carrier']} {flight['flight']} "
        f"{flight['origin']} → {flight['dest']}, {flight['scheduled']}:\n"
        f"  {said['score']:.0%} likely to be late ({'warn' if said['label'] else 'do not warn'}), "
        f"answered in {format_duration(took)} by {answer['model_name']}/{answer['model_version']}"
    )


def account(client: Client, ended: dict[str, Any], where: str) -> None:
    """Time, money, and what to try next."""
    reused = sum(bool(step["cached_from"]) for step in ended["children"])
    seconds = format_duration(ended["ended"] - ended["created"])
    print(f"\nAll in {seconds} for {format_money(ended['price'])} on {where}", end="")
    print(f"; {reused} of {len(ended['children'])} steps were reused." if reused else ".")
    print("Next: change a line in examples/flights/flows.py, say `rounds`, and run it again:")
    print("  make demo        # only what depends on that line runs, and each step says why\n")


if __name__ == "__main__":
    sys.exit(main())
