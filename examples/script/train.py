"""A plain script, without a line about Tradewind that it needs: a line fitted by gradient descent.

tw run examples/script/train.py --performance 1h
tw run examples/script/train.py -- --epochs 500 --rate 0.3
"""

import argparse
import json
import random
from pathlib import Path

try:
    import tradewind as tw  # what it logs is kept with the run; without it the script runs as well
except ImportError:
    tw = None

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=200)
parser.add_argument("--rate", type=float, default=0.5)
options = parser.parse_args()

draw = random.Random(7)
points = [(x / 100, 3 * x / 100 + 2 + draw.gauss(0, 0.1)) for x in range(100)]
slope = offset = 0.0
for epoch in range(options.epochs):
    errors = [(slope * x + offset - y, x) for x, y in points]
    loss = sum(error * error for error, _ in errors) / len(points)
    slope -= options.rate * 2 * sum(error * x for error, x in errors) / len(points)
    offset -= options.rate * 2 * sum(error for error, _ in errors) / len(points)
    if tw:
        tw.log_metric("loss", loss, step=epoch)

print(f"y = {slope:.2f} x + {offset:.2f}, loss {loss:.4f} after {options.epochs} epochs")
Path("line.json").write_text(json.dumps({"slope": slope, "offset": offset}))
if tw:
    tw.log_params(vars(options))
    tw.log_artifact("line.json")
