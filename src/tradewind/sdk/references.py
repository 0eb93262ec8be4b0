"""Data by name, as an argument."""

from __future__ import annotations


class Dataset:
    """A dataset, as an input: `f.run(flights=tw.dataset("flights"))`."""

    def __init__(self, name: str, version: int | None = None) -> None:
        """Its newest version when the run is pinned, or the one named."""
        self.ref = name if version is None else f"{name}@{version}"

    def __repr__(self) -> str:
        return f"dataset({self.ref!r})"


def dataset(name: str, version: int | None = None) -> Dataset:
    """A dataset by name, for an input. `tw.dataset("flights", 3)` is version 3."""
    return Dataset(name, version)
