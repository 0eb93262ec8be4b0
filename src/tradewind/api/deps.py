"""What routes are given: the assembly of this server, and who asks."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Path, Query, Request

from tradewind.control.assemble import Assembly


# Not plain functions: those are called in a thread of their own, which takes longer than all else.
async def _assembly(request: Request) -> Assembly:
    return cast(Assembly, request.app.state.assembly)


# Whole numbers that every database can hold.
MOST = 2**63 - 1
Whole = Annotated[int, Query(ge=0, le=MOST)]
# Seconds since 1970, to the year 10000.
Moment = Annotated[float, Query(ge=0, lt=253402300800, allow_inf_nan=False)]
Number = Annotated[int, Path(ge=0, le=MOST)]
Digest = Annotated[str, Path(pattern="^sha256:[0-9a-f]{64}$")]

Here = Annotated[Assembly, Depends(_assembly)]

# One token, one user, until there are projects with people in them.
OWNER = "owner"
