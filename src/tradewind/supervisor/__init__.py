"""Beside a task, in our environment: one process per placement, which outlives the node.

It stages code, environment and inputs, starts the units of the task, carries their logs, samples
what they use, holds their limits, restarts what may be restarted, stores outputs, and appends every
fact to the placement's journal. Standard library only: the node forks it from itself, and a fork
costs what the process weighs.
"""
