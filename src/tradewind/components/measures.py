"""How good scores are, given the truth. numpy alone; tests hold it against scikit-learn."""

from __future__ import annotations

from typing import Any

from tradewind.models.heavy import Array, np


def measure(
    truth: Array,
    score: Array,
    *,
    threshold: float,
    false_positive_cost: float = 1.0,
    false_negative_cost: float = 1.0,
    bins: int = 10,
) -> dict[str, Any]:
    """All figures as JSON. What has no value here (one class only) is None."""
    best, cost = best_threshold(truth, score, false_positive_cost, false_negative_cost)
    decided = confusion(truth, score >= threshold)
    table, error = calibration(truth, score, bins)

    def price(counts: dict[str, int]) -> float:
        paid = counts["false_positive"] * false_positive_cost
        return (paid + counts["false_negative"] * false_negative_cost) / max(1, len(truth))

    never = confusion(truth, np.zeros(len(truth), bool))
    return {
        "rows": len(truth),
        "positive_share": float(truth.mean()) if len(truth) else None,
        "auc": auc(truth, score),
        "log_loss": log_loss(truth, score),
        "brier": float(np.mean((score - truth) ** 2)) if len(truth) else None,
        "calibration_error": error,
        "calibration": table,
        "threshold": threshold,
        "confusion": decided,
        "cost": price(decided),
        # Found on these very rows: what the threshold could have saved, not what it will.
        "best_threshold": best,
        "best_cost": cost,
        "cost_of_never": price(never),
    }


def auc(truth: Array, score: Array) -> float | None:
    """The chance that a positive scores above a negative; half for equal scores."""
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[place]
    above = ranks[truth == 1].sum() - positives * (positives + 1) / 2.0
    return float(above / (positives * negatives))


def log_loss(truth: Array, score: Array) -> float | None:
    """Mean negative log likelihood. A certain score that is wrong costs much, not infinity."""
    if not len(truth):
        return None
    sure = np.clip(score, 1e-15, 1 - 1e-15)
    return float(-np.mean(truth * np.log(sure) + (1 - truth) * np.log1p(-sure)))


def calibration(truth: Array, score: Array, bins: int) -> tuple[list[dict[str, Any]], float | None]:
    """Bins of equal numbers of rows: what was said, what came; and the mean gap between them."""
    if not len(truth):
        return [], None
    order = np.argsort(score, kind="stable")
    table, gap = [], 0.0
    for part in np.array_split(order, min(bins, len(truth))):
        said, came = float(score[part].mean()), float(truth[part].mean())
        table.append({"rows": len(part), "score": said, "share": came})
        gap += abs(said - came) * len(part)
    return table, gap / len(truth)


def confusion(truth: Array, said: Array) -> dict[str, int]:
    """Counts of the four ways to be right or wrong."""
    real = truth == 1
    return {
        "true_positive": int((said & real).sum()),
        "false_positive": int((said & ~real).sum()),
        "true_negative": int((~said & ~real).sum()),
        "false_negative": int((~said & real).sum()),
    }


def best_threshold(
    truth: Array, score: Array, false_positive_cost: float, false_negative_cost: float
) -> tuple[float | None, float | None]:
    """The threshold (alarm when score >= it) of the least cost on these rows, and that cost a row.

    Of equal costs the highest threshold, which alarms least. 2.0 stands for: never.
    """
    if not len(truth):
        return None, None
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)  # of equal scores
    hits = np.append(0, np.cumsum(truth[order])[ends])
    alarms = np.append(0, ends + 1)
    costs = (alarms - hits) * false_positive_cost + (truth.sum() - hits) * false_negative_cost
    index = int(costs.argmin())
    threshold = 2.0 if index == 0 else float(score[order][ends[index - 1]])
    return threshold, float(costs[index] / len(truth))
