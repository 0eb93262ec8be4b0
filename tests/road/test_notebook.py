"""A notebook: a real kernel, in which a function defined in a cell runs on the server."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.road.home import Home

pytestmark = pytest.mark.xdist_group("notebook")
SECONDS = 90

Cell = Callable[[str], tuple[str, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def cell(home: Home) -> Iterator[Cell]:
    """Carries out one cell: what it printed, and what it displayed."""
    manager = pytest.importorskip("jupyter_client.manager", reason="no notebook extra")
    pytest.importorskip("ipykernel", reason="no notebook extra")
    kernel, client = manager.start_new_kernel(kernel_name="python3", cwd=str(home.work))

    def carry_out(code: str) -> tuple[str, list[dict[str, Any]]]:
        said: list[str] = []
        shown: list[dict[str, Any]] = []

        def hook(message: dict[str, Any]) -> None:
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                said.append(content["text"])
            elif kind in ("display_data", "update_display_data", "execute_result"):
                shown.append(content["data"])
            elif kind == "error":
                said.append("\n".join(content["traceback"]))

        client.execute_interactive(code, timeout=SECONDS, output_hook=hook)
        return "".join(said), shown

    try:
        yield carry_out
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
        kernel.cleanup_resources()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_function_of_a_cell_runs_with_progress(cell: Cell) -> None:
    assert cell("import pandas as pd\nimport tradewind as tw\nFACTOR = 3\n"
                "def scaled(x):\n    return x * FACTOR")[0] == ""  # fmt: skip
    said, _ = cell(
        "@tw.function(performance='60s')\n"
        "def triple(data: pd.DataFrame) -> pd.DataFrame:\n"
        "    return data.assign(x=scaled(data['x']))"
    )
    assert said == ""
    said, shown = cell(
        "run = triple.run(pd.DataFrame({'x': [1, 2, 3]}))\n"
        "frame = run.result()\n"
        "print(type(frame).__module__.split('.')[0], list(frame['x']))"
    )
    assert said == "pandas [3, 6, 9]\n"
    cards = [each["text/html"] for each in shown if "text/html" in each]
    assert "triple" in cards[0]
    assert "succeeded" in cards[-1]

    # Another value of a name that the cell uses travels as well.
    said, _ = cell("FACTOR = 10\nprint(list(triple.run(frame).result()['x']))")
    assert said == "[30, 60, 90]\n"
    _, shown = cell("run")
    assert "succeeded" in shown[-1]["text/html"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_fails_in_a_cell_says_where(cell: Cell) -> None:
    cell("import tradewind as tw\n@tw.function\ndef bad(x: int):\n    return 1 / x")
    said, _ = cell("bad.run(0).result()")
    assert "RunFailed" in said
    assert "division by zero" in said
    cell("@tw.pipeline\ndef flow(n: int = 2):\n    return good(n)\n")
    said, _ = cell(
        "@tw.function\ndef good(n: int) -> int:\n    return n + 1\nprint(flow.run(n=4).result())"
    )
    assert said == "5\n"
