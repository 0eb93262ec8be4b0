"""Routes for tasks on other machines (`engines.desk`), each behind the task's own attempt token."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request, Response
from fastapi.responses import FileResponse

from tradewind.api.deps import Digest
from tradewind.base.errors import UserError
from tradewind.base.ids import new_id
from tradewind.blobs.folder import FolderBlobs
from tradewind.engines.desk import Desk
from tradewind.records.placements import Placement

PREFIX = "/work"
router = APIRouter(prefix=PREFIX, include_in_schema=False)
# What one output file may measure, in bytes.
MOST = 64 * 2**30


async def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


async def _placement(request: Request, desk: Annotated[Desk, Depends(_desk)]) -> Placement:
    token = request.headers.get("authorization", "").partition(" ")[2].strip()
    return await asyncio.to_thread(desk.placement, token)


TheDesk = Annotated[Desk, Depends(_desk)]
Whose = Annotated[Placement, Depends(_placement)]


@router.get("")
async def work(desk: TheDesk, whose: Whose, pod: str) -> Any:
    """What the pod of this name has to do."""
    return await desk.work(whose, pod)


@router.get("/gate")
async def gate(desk: TheDesk, whose: Whose, pod: str) -> Any:
    """Whether user code of this member of a gang may begin; the answer may take two seconds."""
    return {"open": await desk.gate(whose, pod)}


@router.post("/falls", status_code=204)
async def falls(desk: TheDesk, whose: Whose, pod: Annotated[str, Body(embed=True)]) -> None:
    """The gang ends with this member: the cluster will end the others. Answers when their logs are
    being read, which takes a second at most."""
    await desk.falls(whose, pod)


@router.post("/facts", status_code=204)
async def facts(
    desk: TheDesk,
    whose: Whose,
    pod: Annotated[str, Body()],
    facts: Annotated[list[dict[str, Any]], Body()],
) -> None:
    """Metrics, parameters, progress, phases. Answers when they are stored."""
    await desk.hear(whose, pod, facts)


@router.get("/blobs/{digest}")
def blob(desk: TheDesk, whose: Whose, digest: Digest) -> FileResponse:
    """The bytes of an input."""
    desk.check_may_read(whose, digest)
    path = FolderBlobs(desk.blobs).path(digest)
    return FileResponse(path, media_type="application/octet-stream")


@router.head("/blobs/{digest}")
def has_blob(desk: TheDesk, whose: Whose, digest: Digest) -> Response:
    """Whether these bytes are here already."""
    return Response(status_code=200 if FolderBlobs(desk.blobs).exists(digest) else 404)


@router.put("/blobs/{digest}", status_code=201)
async def put_blob(desk: TheDesk, whose: Whose, digest: Digest, request: Request) -> Any:
    """Keep the bytes of an output, checked against their digest."""
    return await keep(FolderBlobs(desk.blobs, durable=True), digest, request)


async def keep(blobs: FolderBlobs, digest: str, request: Request) -> Any:
    """Put a request's body there."""
    part = blobs.root / f".part-{os.getpid()}-{new_id('b')}"
    blobs.root.mkdir(parents=True, exist_ok=True)
    try:
        size = await _receive(request, part)
        found = await asyncio.to_thread(blobs.put_file, part, move=True)
    finally:
        part.unlink(missing_ok=True)
    if found != digest:
        raise UserError("the bytes do not match their digest", hint="send them again")
    return {"digest": digest, "size": size}


async def _receive(request: Request, part: Path) -> int:
    size = 0
    with part.open("xb") as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > MOST:
                raise UserError(f"a file of more than {MOST >> 30} GiB is not taken")
            # Into the page cache: far shorter than a hop to a thread and back.
            file.write(chunk)
    return size
