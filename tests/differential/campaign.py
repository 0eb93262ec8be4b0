"""Many inputs, from a seed on: python -m tests.differential.campaign INPUTS SEED.

While Spark carries one pack out, the next one is prepared, with what DuckDB gives for it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.differential import packs, run

SIZE = 200


def differences(
    seeds: Sequence[int], size: int = SIZE
) -> Iterator[tuple[packs.Told, Counter[str]]]:
    """Pack by pack: seed → what differs, and what was counted. A session is open."""
    every = packs.Packs()
    before: Future[tuple[packs.Told, Counter[str]]] | None = None
    with ThreadPoolExecutor(1) as beside:
        for turn, at in enumerate(range(0, len(seeds), size)):
            pack = Pack(every, seeds[at : at + size])
            if before is not None:
                yield before.result()
            before = beside.submit(pack.carried, turn)
        if before is not None:
            yield before.result()


class Pack:
    """Inputs that are carried out together, as far as they can be."""

    def __init__(self, every: packs.Packs, seeds: Sequence[int]) -> None:
        """Prepared, and what goes the whole way is carried out."""
        self._every = every
        self._told: packs.Told = {}
        self._counts: Counter[str] = Counter()
        self._folder = Path(tempfile.mkdtemp(prefix="tw-differential-"))
        self._inputs: list[packs.Input] = []
        for seed in seeds:
            try:
                self._prepare(seed)
            except Exception as error:
                self._told[seed] = f"the harness failed: {type(error).__name__}: {error}"

    def _prepare(self, seed: int) -> None:
        if seed % packs.WHOLE == 0 or run.is_function(seed):
            self._told[seed] = run.difference(seed, self._counts)
            return
        folder = self._folder / str(seed)
        folder.mkdir()
        made = self._every.prepare(seed, folder, self._told, self._counts)
        self._inputs += [made] if made else []

    def carried(self, turn: int) -> tuple[packs.Told, Counter[str]]:
        """How each of the inputs went."""
        try:
            found = self._every.carry_out(self._inputs, turn, self._counts)
            return {**self._told, **found}, self._counts
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


def main(inputs: int, seed: int) -> int:
    """How many differed."""
    lacking = run.why_not()
    if lacking:
        print(f"differential: {lacking}")
        return 1
    counts: Counter[str] = Counter()
    began, done, different = time.monotonic(), 0, 0
    with run.opened():
        print(f"differential: Spark is there after {time.monotonic() - began:.0f} s", flush=True)
        for told, counted in differences(range(seed, seed + inputs)):
            counts.update(counted)
            for number, found in sorted(told.items()):
                done += 1
                if found:
                    different += 1
                    print(f"seed {number}: {found}", flush=True)
            took = time.monotonic() - began
            print(f"differential: {done} inputs, {different} differ, {took:.0f} s", flush=True)
    told_of = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    took = time.monotonic() - began
    figures = f"{done} inputs from seed {seed}, {different} differ, {took:.0f} s"
    print(f"differential: {figures} ({told_of})")
    return different


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]), int(sys.argv[2]))))
