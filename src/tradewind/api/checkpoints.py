"""Routes by which tasks on other machines keep their checkpoints (`blobs.checkpoints`)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi.responses import FileResponse

from tradewind.api.deps import Digest
from tradewind.api.work import PREFIX, TheDesk, Whose, keep
from tradewind.base.errors import Broken, Refused
from tradewind.blobs.base import disk_faults
from tradewind.blobs.checkpoints import Checkpoints, Kept
from tradewind.engines.desk import Desk
from tradewind.records.placements import Placement

router = APIRouter(prefix=f"{PREFIX}/checkpoint", include_in_schema=False)
Pod = Annotated[str, Body()]


@contextmanager
def _refused() -> Iterator[None]:
    """A task does not wait for a disk to be mended: it goes on without."""
    try:
        with disk_faults("keeping a checkpoint"):
            yield
    except Broken as error:
        raise Refused(error.message, hint=error.hint) from error


def _unit(desk: Desk, placement: Placement, role: str, index: int) -> Kept:
    return Checkpoints(desk.blobs).of(placement.run, placement.task.name, role, index)


def _kept(
    desk: TheDesk, whose: Whose, role: Annotated[str, Query()], index: Annotated[int, Query(ge=0)]
) -> Kept:
    """A unit's, named by role and index: of its own placement a task may read and store any."""
    return _unit(desk, whose, role, index)


TheKept = Annotated[Kept, Depends(_kept)]


@router.post("/claim")
async def claim(desk: TheDesk, whose: Whose, pod: Pod, begin: Annotated[bool, Body()]) -> Any:
    """What earlier tries of the pod's unit have kept; from now on the pod keeps it. Without `begin`
    nothing is begun for a unit that has kept nothing: most never do."""
    unit = await desk.unit(whose, pod)
    newest = whose.number, int(unit["epoch"]), int(unit["attempt"])
    everything = Checkpoints(desk.blobs)
    kept = _unit(desk, whose, unit["role"], unit["index"])

    def take() -> Any:
        if not begin and not kept.begun:
            return [], False
        with _refused():
            everything.use(whose.run, whose.id)
            everything.shrink(lambda placement: desk.find(placement) is not None)
            return kept.claim(newest, unit["rank"], pod)

    files, damaged = await asyncio.to_thread(take)
    return {"files": files, "damaged": damaged}


@router.post("", status_code=204)
async def change(
    desk: TheDesk,
    whose: Whose,
    pod: Pod,
    changed: Annotated[list[dict[str, Any]], Body()],
    dropped: Annotated[list[str], Body()],
) -> None:
    """Files that the unit has written, whose bytes are here, and paths that it has removed."""
    unit = await desk.unit(whose, pod)
    kept = _unit(desk, whose, unit["role"], unit["index"])

    def take() -> None:
        with _refused():
            kept.change(unit["rank"], pod, changed, dropped)

    await asyncio.to_thread(take)


@router.get("/{digest}")
def read(kept: TheKept, digest: Digest) -> FileResponse:
    """The bytes of a file."""
    return FileResponse(kept.blobs.path(digest), media_type="application/octet-stream")


@router.head("/{digest}")
def has(kept: TheKept, digest: Digest) -> Response:
    """Whether these bytes are here already."""
    return Response(status_code=200 if kept.blobs.exists(digest) else 404)


@router.put("/{digest}", status_code=201)
async def put(kept: TheKept, digest: Digest, request: Request) -> Any:
    """Keep the bytes of a file."""
    with _refused():
        return await keep(kept.blobs, digest, request)
