"""Engines launch tasks. `base` is the boundary; each engine is a folder of its own."""
