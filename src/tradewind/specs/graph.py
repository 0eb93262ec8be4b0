"""Questions about a graph of steps: its order, its cycle, who waits for whom.

Works on names only, so that it holds for any graph. Called by `pipeline`; nothing here recurses, a
pipeline may be as long as it likes.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

Needs = Mapping[str, Sequence[str]]
"""For each step, in the order of the text, the steps that it waits for."""


def order(needs: Needs) -> tuple[str, ...]:
    """Every step after all it needs; among those that may go first, the order of the text.

    Steps on a cycle, and behind one, are left out.
    """
    position = {name: index for index, name in enumerate(needs)}
    names = list(needs)
    waiting = {name: len(set(needs[name])) for name in names}
    behind = dependents(needs)
    ready = [position[name] for name in names if not waiting[name]]
    done: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        done.append(name)
        for later in behind[name]:
            waiting[later] -= 1
            if not waiting[later]:
                heapq.heappush(ready, position[later])
    return tuple(done)


def dependents(needs: Needs) -> dict[str, tuple[str, ...]]:
    """For each step, the steps that wait for it directly."""
    found: dict[str, list[str]] = {name: [] for name in needs}
    for name, earlier in needs.items():
        for other in dict.fromkeys(earlier):
            found[other].append(name)
    return {name: tuple(later) for name, later in found.items()}


def cycle(needs: Needs) -> tuple[str, ...]:
    """The steps of one cycle, the first again at the end; empty when there is none."""
    sorted_out = set(order(needs))
    stuck = [name for name in needs if name not in sorted_out]
    if not stuck:
        return ()
    # Every stuck step needs a stuck one: following those must come back to where it has been.
    seen: dict[str, int] = {}
    walk: list[str] = []
    name = stuck[0]
    while name not in seen:
        seen[name] = len(walk)
        walk.append(name)
        name = next(other for other in needs[name] if other not in sorted_out)
    return (*walk[seen[name] :], name)
