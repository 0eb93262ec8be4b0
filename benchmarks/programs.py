"""Twenty programs with one hot line each, for bench_cost.py. `SIZE` in the hot line is how much it
does: about two thirds of a second or two. The rest is other work that looks like it."""

from __future__ import annotations

import textwrap

# name → how much, code. The hot line ends in `# hot`.
_PROGRAMS: dict[str, tuple[int, str]] = {}


def _add(name: str, size: int, code: str) -> None:
    _PROGRAMS[name] = (size, textwrap.dedent(code).lstrip())


def text(name: str, factor: float = 1.0) -> str:
    """The code of a program, whose hot line does `factor` times as much."""
    size, code = _PROGRAMS[name]
    return code.replace("SIZE", str(round(size * factor)))


def hot(name: str) -> int:
    """The number of its hot line."""
    lines = _PROGRAMS[name][1].splitlines()
    return 1 + next(number for number, line in enumerate(lines) if line.endswith("# hot"))


def names(scaled: bool = False) -> list[str]:
    """All of them, or those whose hot line takes as long as it does much."""
    return [name for name, (_size, code) in _PROGRAMS.items() if not scaled or "SIZE" in code]


_add(
    "arithmetic",
    0,
    """
    def f():
        x = total = 1
        for i in range(4_000_000):
            y = i & 255
            x = (x * 31 + i * i - y * 7 + (x ^ i) * 3) % 1000003  # hot
            total += y
            if total == 0:
                x = 1
        return x
    """,
)
_add(
    "comprehension",
    9000,
    """
    def f():
        kept = 0
        for i in range(2000):
            few = [n + 1 for n in range(4000)]
            many = [n * n % 7 + 1 for n in range(SIZE)]  # hot
            kept += len(few) + len(many)
        return kept
    """,
)
_add(
    "generator",
    0,
    """
    def numbers(count):
        for n in range(count):
            yield (n * n * 3 + n * 7 - (n ^ 5)) % 1009 + n % 13  # hot

    def f():
        total = 0
        for n in numbers(4_000_000):
            total += n
        return total
    """,
)
_add(
    "generator in sum",
    14_000_000,
    """
    def squares(count):
        for n in range(count):
            yield n * n % 7

    def f():
        a = list(range(8_000_000))
        b = sum(a[::2])
        return b + sum(n * n % 1009 for n in range(SIZE))  # hot
    """,
)
_add(
    "recursion",
    0,
    """
    def fib(n):
        if n < 2:
            return n
        return fib(n - 1) + fib(n - 2)  # hot

    def f():
        table = [n % 7 for n in range(500_000)]
        return fib(34) + len(table)
    """,
)
_add(
    "regex",
    150,
    """
    import re

    WORDS = re.compile(r"(\\w+)\\s+(\\w+)")

    def f():
        line = "the quick brown fox jumps over the lazy dog " * 30
        found = 0
        for i in range(120):
            low = (line * 60).upper().lower().split(" ")
            found += len(WORDS.sub(r"\\2 \\1", line * SIZE)) + len(low)  # hot
        return found
    """,
)
_add(
    "sort",
    160_000,
    """
    def f():
        data = [n * 7919 % 1000003 for n in range(100_000)]
        for i in range(30):
            copied = [n + i for n in data]
            order = sorted((data * 3)[:SIZE], key=lambda n: -n)  # hot
            data = copied
        return order[0]
    """,
)
_add(
    "counting",
    0,
    """
    def f():
        words = [str(n % 5000) for n in range(400_000)]
        counts = {}
        for i in range(8):
            for word in words:
                counts[word + "x"] = counts.get(word + "x", 0) + len(word)  # hot
        return len(counts)
    """,
)
_add(
    "strings",
    5200,
    """
    def f():
        size = 0
        for i in range(600):
            short = "".join([chr(97 + n % 26) for n in range(3000)])
            long = ",".join(f"{n:06d}" for n in range(SIZE))  # hot
            size += len(short) + len(long)
        return size
    """,
)
_add(
    "json",
    16_000,
    """
    import json

    def f():
        size = 0
        for i in range(180):
            data = [{"n": n, "name": "x"} for n in range(8000)]
            size += len(json.dumps((data * 4)[:SIZE]))  # hot
        return size
    """,
)
_add(
    "sleep",
    75,
    """
    import time

    def f():
        total = 0
        for i in range(20):
            total += sum(n * n for n in range(60_000))
            time.sleep(SIZE / 1000)  # hot
        return total
    """,
)
_add(
    "reading files",
    26,
    """
    import pathlib, zlib

    def f():
        path = pathlib.Path("block.bin")
        path.write_bytes(bytes(range(256)) * 8192)
        seen = 0
        for i in range(250):
            seen ^= zlib.crc32(bytes(400_000)) + sum(range(90_000))
            seen ^= sum(len(path.read_bytes()) for _ in range(SIZE))  # hot
        return seen
    """,
)
_add(
    "numpy product",
    520,
    """
    import numpy as np

    def f():
        rng = np.random.default_rng(1)
        total = 0.0
        for i in range(120):
            small = np.sqrt(rng.random(100_000)).sum()
            a = rng.random((700, 700))
            b = a @ a[:, :SIZE]  # hot
            total += float(b[0, 0]) + small
        return total
    """,
)
_add(
    "numpy sort",
    1_300_000,
    """
    import numpy as np

    def f():
        rng = np.random.default_rng(1)
        total = 0.0
        for i in range(15):
            data = rng.random(2_000_000)
            total += float(np.sort(data[:SIZE])[0])  # hot
            total += float(data.mean())
        return total
    """,
)
_add(
    "pandas merge",
    300_000,
    """
    import numpy as np
    import pandas as pd

    def f():
        keys = np.arange(1_000_000) * 7919 % 50_000
        left = pd.DataFrame({"k": keys, "v": np.arange(1_000_000)})
        right = pd.DataFrame({"k": np.arange(50_000), "w": 1})
        total = 0
        for i in range(100):
            total += int(left["v"].head(80_000).rolling(3).sum().max())
            both = left.head(SIZE).merge(right, on="k")  # hot
            total += len(both)
        return total
    """,
)
_add(
    "callback of a library",
    0,
    """
    import pandas as pd

    def score(row):
        parts = row.split(",")
        return sum(int(part) * 31 % 7 for part in parts)  # hot

    def f():
        data = pd.Series([f"{n},{n + 1},{n + 2},{n + 3}" for n in range(120_000)])
        one = data.str.len().sum()
        return int(one + data.map(score).sum() + sum(data.map(score).max() for _ in range(4)))
    """,
)
_add(
    "polars",
    2_500_000,
    """
    import polars as pl

    def f():
        data = pl.DataFrame({"n": range(3_000_000)})
        data = data.with_columns(k=pl.col("n") * 7919 % 200_003)
        total = 0
        for i in range(7):
            total += data["n"].head(400_000).rolling_mean(10).sum()
            some = data.head(SIZE)
            by = some.group_by("k").agg(pl.col("n").sum(), s=pl.col("n").std())  # hot
            total += by.height
        return total
    """,
)
_add(
    "threads",
    800_000,
    """
    import hashlib
    from concurrent.futures import ThreadPoolExecutor

    def mix(seed):
        return hashlib.pbkdf2_hmac("sha256", b"x", seed, SIZE)  # hot

    def f():
        kept = []
        for i in range(2):
            kept.append(sum(n * n for n in range(4_000_000)))
            with ThreadPoolExecutor(2) as pool:
                kept += pool.map(mix, [b"1", b"2", b"3"])
        return len(kept)
    """,
)
_add(
    "standard library",
    30_000,
    """
    import statistics

    def f():
        values = [n * 7919 % 10007 / 7 for n in range(60_000)]
        total = 0.0
        for i in range(40):
            total += sum(sorted(values * 2, reverse=True)[:9])
            total += statistics.pstdev(values[:SIZE])  # hot
        return total
    """,
)
_add(
    "other processes",
    1_500_000,
    """
    import subprocess, sys

    def f():
        total = 0
        for i in range(6):
            total += sum(n * n for n in range(900_000))
            code = "print(sum(n * n for n in range(SIZE * 2)))"
            command = [sys.executable, "-c", code]
            total += int(subprocess.run(command, capture_output=True).stdout)  # hot
        return total
    """,
)
