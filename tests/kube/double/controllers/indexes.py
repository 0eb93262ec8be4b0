"""Sets of completion indexes as a Job's status writes them: 0,1,5-8."""

from collections.abc import Iterable


def read(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def write(found: Iterable[int]) -> str:
    """Two in a row are written as two, three and more as a span."""
    spans: list[list[int]] = []
    for index in sorted(found):
        if spans and spans[-1][-1] == index - 1:
            spans[-1].append(index)
        else:
            spans.append([index])
    parts = []
    for span in spans:
        if len(span) > 2:
            parts.append(f"{span[0]}-{span[-1]}")
        else:
            parts += [str(index) for index in span]
    return ",".join(parts)
