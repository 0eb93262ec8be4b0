"""A dataset: its source read once, checked, and kept as the next immutable version."""
