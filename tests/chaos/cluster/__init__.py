"""Kills of a server whose tasks are pods, one after the other: `python -m tests.chaos.cluster`."""
