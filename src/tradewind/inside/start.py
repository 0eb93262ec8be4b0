"""The start of the zip file: `python inside.zip zygote IDLE` or `python inside.zip keeper`."""

from __future__ import annotations

import os
import socket
import sys
import types


def main(argv: list[str]) -> None:
    """Become a zygote (listener on descriptor 3, life line on 0) or one keeper (socket on 3)."""
    packed = sys.path.pop(0)
    sys.path.append(packed)  # user code finds its own packages first, then our stand-in
    sys.argv = [""]
    sys.modules["__main__"] = types.ModuleType("__main__")
    from . import keeper, zygote

    sock = socket.socket(fileno=3)
    os.set_inheritable(3, False)
    if argv[1] == "keeper":
        keeper.keep(sock)
    zygote.serve(sock, 0, float(argv[2]))
