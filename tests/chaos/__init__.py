"""A campaign of `kill -9` against a running server: `python -m tests.chaos.run`."""
