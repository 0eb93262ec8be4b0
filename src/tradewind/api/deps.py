"""What routes are given: the assembly of this server, and who asks."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from tradewind.control.assemble import Assembly


def _assembly(request: Request) -> Assembly:
    return cast(Assembly, request.app.state.assembly)


Here = Annotated[Assembly, Depends(_assembly)]

# One token, one user, until there are projects with people in them.
OWNER = "owner"
