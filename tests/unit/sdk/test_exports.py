"""The public surface, and what it costs to import."""

import subprocess
import sys

import tradewind
from tradewind import sdk


def test_every_name_is_there() -> None:
    for name in sdk.EXPORTS:
        assert getattr(tradewind, name) is not None
    assert set(sdk.EXPORTS) < set(dir(tradewind))


def test_a_name_that_is_not() -> None:
    assert not hasattr(tradewind, "functoin")


def test_decorating_loads_the_standard_library_only() -> None:
    code = (
        "import sys; before = set(sys.modules); import tradewind as tw\n"
        "@tw.function(performance='60s')\ndef f(x): return x\n"
        "assert f(1) == 1; tw.log_metric; tw.when\n"
        "new = {m.partition('.')[0] for m in set(sys.modules) - before}\n"
        "print(*(new - set(sys.stdlib_module_names) - {'tradewind'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
