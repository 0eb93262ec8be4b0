"""A pipeline: a graph of steps, each carried out as a child run."""
