"""Whose fault a price is: the change is seen, the noise is not, and the line is named."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tradewind.compiler.blame import Blame, Side, blame

TEXT = [
    "def f(rows):",
    "    a = load(rows)",
    "    b = clean(a)",
    "    c = score(b)",
    "    return c",
]


def side(
    seconds: Sequence[float], text: Sequence[str] = TEXT, runs: int = 1, scale: float = 1.0
) -> Side:
    return Side(
        works=[sum(seconds) * scale] * runs,
        lines={("f.py", n): each for n, each in enumerate(seconds, 1) if each},
        looks=500,
        sources={"f.py": text},
    )


def changed(line: int, words: str) -> list[str]:
    return [words if number == line else text for number, text in enumerate(TEXT, 1)]


def test_a_line_that_got_dearer_is_named_even_if_it_moved() -> None:
    text = ["# more words", "", *changed(3, "    b = clean(a, twice=True)")]
    found = blame(side([0, 3, 3, 4, 0]), side([0, 0, 0, 3, 5, 4, 0], text))
    assert found.verdict == "dearer" and math.isclose(found.change, 0.2)
    first = found.lines[0]
    assert (first.line, first.changed, first.gone) == (5, True, False)
    assert math.isclose(first.change, 0.2)


def test_lines_that_went_are_named_as_they_were() -> None:
    text = [each for number, each in enumerate(TEXT, 1) if number != 3]
    found = blame(side([0, 3, 3, 4, 0]), side([0, 3, 4, 0], text))
    assert found.verdict == "cheaper"
    assert (found.lines[0].line, found.lines[0].gone) == (3, True)
    assert math.isclose(found.lines[0].change, -0.3)


def test_the_same_code_that_takes_longer_is_named_by_the_line_that_does() -> None:
    found = blame(side([0, 3, 3, 4, 0]), side([0, 3, 9, 4, 0]))
    assert found.verdict == "dearer" and found.lines[0].line == 3 and not found.lines[0].changed


def test_a_small_difference_is_none() -> None:
    found = blame(side([0, 3, 3, 4, 0]), side([0, 3, 3, 4.3, 0]))
    assert found.verdict == "same" and found.lines == ()


def test_uneven_runs_prove_nothing_and_it_is_said() -> None:
    one = Side(works=[10.0, 20.0], lines={("f.py", 2): 1.0}, looks=9, sources={})
    other = Side(works=[14.0, 19.0], lines={("f.py", 2): 1.0}, looks=9, sources={})
    assert blame(one, other).verdict == "unclear"
    nothing = Side(works=[0.0], lines={}, looks=0, sources={})
    assert blame(nothing, one).verdict == "unclear"


def test_a_line_is_told_with_the_one_that_stood_there() -> None:
    text = ["# more words", *changed(3, "    b = clean(a, twice=True)")]
    [share] = blame(side([0, 3, 3, 4, 0]), side([0, 0, 3, 5, 4, 0], text)).lines
    assert (share.line, share.was) == (4, 3)
    new = [*TEXT[:3], "    b = again(b)", *TEXT[3:]]
    [share] = blame(side([0, 3, 3, 4, 0]), side([0, 3, 3, 5, 4, 0], new)).lines
    assert (share.line, share.was) == (4, 0)


def test_what_is_too_short_or_beside_neighbours_says_nothing() -> None:
    one, other = side([0, 3, 3, 4, 0]), side([0, 3, 3, 5, 0])
    assert blame(one, other).verdict == "dearer"
    assert blame(one, other, least=100.0).verdict == "unclear"
    assert blame(one, other, repeat=0.06).verdict == "unclear"


def test_what_the_machine_did_to_both_alike_is_no_difference() -> None:
    """The second runs of both met a neighbour, and took twice as long."""
    one, other = side([0, 3, 3, 4, 0]), side([0, 3, 4.2, 4, 0])
    before, now = (replace(each, works=[each.works[0], 2 * each.works[0]]) for each in (one, other))
    found = blame(before, now)
    assert found.verdict == "dearer" and math.isclose(found.change, 0.12)
    assert blame(before, before).verdict == "same"


@given(st.lists(st.floats(0.001, 1e4), min_size=5, max_size=5), st.floats(0.5, 2.0))
def test_what_is_told_points_the_way_of_the_whole(seconds: list[float], scale: float) -> None:
    found = blame(side(seconds), side(seconds, scale=scale))
    told = {"dearer": 1, "cheaper": -1}.get(found.verdict, 0)
    assert told * found.change >= 0
    assert all(each.change * found.change > 0 for each in found.lines)


def drawn(rng: random.Random, factor: float, runs: int, noise: float) -> Blame:
    """Two versions of a program, measured with a clock of this error; the hot line costs more."""
    old, new = [0, 3.0, 3.0, 4.0, 0], [0, 3.0, 3.0, 4.0 + 10.0 * factor, 0]

    def measured(seconds: Sequence[float], text: Sequence[str]) -> Side:
        works = [sum(seconds) * math.exp(rng.gauss(0, noise)) for _ in range(runs)]
        looks = rng.choices(range(1, 6), weights=[*seconds], k=300)
        lines = {("f.py", n): float(looks.count(n)) for n in set(looks)}
        return Side(works=works, lines=lines, looks=300, sources={"f.py": text})

    return blame(measured(old, TEXT), measured(new, changed(4, "    c = score(b, deep=1)")))


def test_regressions_are_found_and_alarms_are_true() -> None:
    rng = random.Random(4)
    for runs, noise in ((1, 0.012), (3, 0.02), (5, 0.03)):
        found = [drawn(rng, 0.12, runs, noise) for _ in range(400)]
        flagged = [each for each in found if each.verdict == "dearer"]
        assert len(flagged) >= 380
        named = [[share.line for share in each.lines[:1]] == [4] for each in flagged]
        assert sum(named) >= 0.95 * len(named)
        alarms = [drawn(rng, 0.0, runs, noise) for _ in range(400)]
        assert sum(each.verdict in ("dearer", "cheaper") for each in alarms) <= 20
