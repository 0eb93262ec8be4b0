"""What the node knows of a placement's journal."""

from __future__ import annotations

from pathlib import Path

from tradewind.node import attempts
from tradewind.supervisor import journal


def test_an_end_that_nobody_was_told_of_is_not_taken_for_told(tmp_path: Path) -> None:
    """The supervisor wrote it with no link to the node, and was gone, while the report before it
    was on its way to be stored: acknowledging that one closes nothing."""
    attempt = attempts.Attempt("p1", str(tmp_path))
    writer = journal.Journal(attempt.journal, "p1")
    writer.add("placement", {"state": "running"})
    writer.flush()
    assert [report["seq"] for report in attempt.waiting(1 << 20)] == [1]
    writer.add("placement", {"state": "succeeded", "reason": {"reason": "ok"}})
    writer.flush(end=True)
    writer.close()
    attempts.close_journal(attempt, "its supervisor was killed")
    attempt.ended = True
    attempt.acknowledge(1)
    assert attempt.acknowledged < attempt.seen and not attempt.done()
    assert [report["seq"] for report in attempt.waiting(1 << 20)] == [2]
    attempt.acknowledge(2)
    assert attempt.done() and attempt.over()
