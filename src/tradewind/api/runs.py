"""Routes about runs and what they leave behind."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import Field

from tradewind.api.deps import MOST, OWNER, Digest, Here, Number, Whole
from tradewind.base.errors import NotFound, TradewindError, UserError
from tradewind.base.ids import digest_bytes
from tradewind.base.units import LONGEST
from tradewind.compiler.frontier import curve
from tradewind.control.offers import WorkFirst, ask
from tradewind.records import codec
from tradewind.records.states import RunState
from tradewind.store.rows import RunFilter

router = APIRouter()
MAX_BLOB = 512 * 2**20
WAIT_SECONDS = 60.0
KEEP_SECONDS = 2.0
Deadline = Annotated[float, Field(gt=0, le=LONGEST)]


@router.post("/runs", status_code=201)
async def accept(here: Here, runs: Annotated[list[dict[str, Any]], Body(embed=True)]) -> Any:
    """Accept runs, all or none: when this answers, they are on disk."""
    accepted = await here.front.accept(runs, OWNER)
    return {"runs": [codec.to_json(run) for run in accepted]}


@router.get("/runs")
def page(
    here: Here,
    project: str = "",
    kind: str = "",
    state: str = "",
    name: str = "",
    parent: str = "",
    text: str = "",
    top: bool = False,
    quotes: bool = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: str = "",
) -> Any:
    """Runs, newest first; with `quotes` also those that only measured what a quote asked. `state`
    takes several, with commas."""
    where = RunFilter(
        project=project,
        kind=kind,
        states=_states(state),
        name=name,
        parent=parent,
        text=text,
        top=top,
        work=not quotes,
    )
    found = here.front.page(where, limit, cursor)
    return {"items": [codec.to_json(each) for each in found.runs], "cursor": found.cursor}


def _states(text: str) -> frozenset[RunState]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    try:
        return frozenset(RunState(name) for name in names)
    except ValueError as error:
        known = ", ".join(RunState)
        raise UserError(f"there is no state {text!r}", hint=f"states: {known}") from error


@router.get("/runs/{run}")
def details(here: Here, run: str) -> Any:
    """One run, by id or a prefix of it, with all that hangs on it."""
    return here.front.details(here.front.find(run))


@router.get("/runs/{run}/wait")
async def wait(
    here: Here, run: str, timeout: Annotated[float, Query(ge=0, le=WAIT_SECONDS)] = 30.0
) -> Any:
    """The run when it has ended, or as it is after `timeout` seconds."""
    found = await asyncio.to_thread(here.front.find, run)
    return codec.to_json(await here.front.wait(found.id, timeout))


@router.post("/runs/{run}/stop")
async def stop(here: Here, run: str) -> Any:
    """Ask it to stop; its end comes as an event."""
    return codec.to_json(await here.front.stop(run, OWNER))


@router.post("/runs/{run}/approve")
async def approve(here: Here, run: str) -> Any:
    """Let it run although it is expected to cost more than the `value` of its spec. `nothing` says
    why there was nothing to approve, if so."""
    found, nothing = await here.front.approve(run, OWNER)
    return {**codec.to_json(found), "nothing": nothing}


@router.delete("/runs/{run}")
def forget(here: Here, run: str) -> Any:
    """Delete an ended run with its children, logs and results; what it published stays."""
    return codec.to_json(here.front.forget(run))


@router.get("/runs/{run}/logs")
async def logs(
    here: Here,
    run: str,
    role: str = "",
    index: Whole = 0,
    offset: Whole = 0,
    follow: bool = False,
) -> StreamingResponse:
    """Raw log bytes of one unit, from `offset`."""
    found = await asyncio.to_thread(here.front.find, run)
    await asyncio.to_thread(here.front.check_logs, found, follow)
    stream = here.front.logs(found, role=role, index=index, offset=offset, follow=follow)
    return StreamingResponse(stream, media_type="text/plain")


@router.post("/runs/{run}/exec")
async def exec_(
    here: Here,
    run: str,
    command: Annotated[list[str], Body(min_length=1)],
    role: Annotated[str, Body()] = "",
    index: Annotated[int, Body(ge=0, le=MOST)] = 0,
) -> StreamingResponse:
    """Run a command beside a running unit. JSON lines: `data` is output in base64, `exit` the exit
    status, `error` why there is none; an empty line now and then keeps the connection."""
    found = await asyncio.to_thread(here.front.find, run)
    told = here.front.exec(found, role, index, command)
    return StreamingResponse(_told(told), media_type="application/x-ndjson")


async def _told(parts: AsyncGenerator[bytes | int]) -> AsyncIterator[bytes]:
    """Lines of a command's output. Whoever went away is noticed when a line cannot be sent."""
    told: asyncio.Queue[bytes | int | Exception | None] = asyncio.Queue(1)
    # All of the command in one task: a connection that it opens is closed where it was opened.
    hearing = asyncio.create_task(_hear(parts, told))
    coming: asyncio.Future[bytes | int | Exception | None] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(told.get())
            await asyncio.wait({coming}, timeout=KEEP_SECONDS)
            if not coming.done():
                yield b"\n"
                continue
            part, coming = coming.result(), None
            if part is None:
                return
            yield json.dumps(_line(part)).encode() + b"\n"
    finally:
        hearing.cancel()
        if coming is not None:
            coming.cancel()
        await asyncio.gather(hearing, *filter(None, [coming]), return_exceptions=True)


async def _hear(
    parts: AsyncGenerator[bytes | int], told: asyncio.Queue[bytes | int | Exception | None]
) -> None:
    """Hand on what comes, last the error or nothing."""
    end: Exception | None = None
    try:
        async for part in parts:
            await told.put(part)
    except Exception as error:
        end = error
    finally:
        await parts.aclose()
    await told.put(end)
    if end is not None:
        await told.put(None)


def _line(part: bytes | int | Exception) -> dict[str, Any]:
    match part:
        case TradewindError():
            return {"error": part.to_json()}
        case Exception():
            raise part
        case int():
            return {"exit": part}
    return {"data": b64encode(part).decode()}


@router.get("/runs/{run}/metrics")
def metrics(here: Here, run: str, name: str = "") -> Any:
    """Points in the order they came."""
    found = here.store.reports.metrics(here.front.find(run).id, name)
    return [codec.to_json(each) for each in found]


@router.get("/runs/{run}/results")
def results(here: Here, run: str) -> Any:
    """What it produced: slot → kind, value, dataset or model."""
    return here.front.find(run).result


@router.get("/runs/{run}/why")
async def why(here: Here, run: str) -> Any:
    """What it waits for, when it starts (in seconds; nine times out of ten between `low` and
    `high`), and the smallest changes of each kind that would start it now."""
    return await here.outlook.of(await asyncio.to_thread(here.front.find, run))


@router.post("/runs/{run}/whatif")
async def whatif(here: Here, run: str, changes: Annotated[dict[str, Any], Body()]) -> Any:
    """Whether it would start now with all of these: `processes`, `cpu`, `memory` and `share` (of a
    device) of each, `priority`, `pool`, `any_model`, `preferred`. Nothing is changed."""
    return await here.outlook.would(await asyncio.to_thread(here.front.find, run), changes)


@router.get("/runs/{run}/cost")
def cost(here: Here, run: str, against: str = "") -> Any:
    """Its bill in the margin of its code: buckets, then lines, in nanodollars that sum up to
    `price`. With `against` (another run) also what of the difference is whose."""
    found = here.front.find(run)
    return here.front.cost(found, here.front.find(against) if against else None)


@router.get("/runs/{run}/results/{slot:path}/files/{number}")
def result_file(here: Here, run: str, slot: str, number: Number) -> FileResponse:
    """One file of an output: Parquet of a table, or the file itself."""
    found = here.front.find(run)
    files = here.front.files(found, slot)
    if not 0 <= number < len(files):
        raise NotFound(f"output {slot!r} of {found.id} has {len(files)} files")
    return FileResponse(files[number], media_type="application/octet-stream")


@router.get("/events")
async def events(
    here: Here, after: Whole = 0, run: str = "", project: str = "", follow: bool = False
) -> StreamingResponse:
    """Events as JSON lines; an empty line now and then keeps the connection."""
    if run:
        run = (await asyncio.to_thread(here.front.find, run)).id

    async def lines() -> AsyncIterator[bytes]:
        async for event in here.front.events(after, run=run, project=project, follow=follow):
            yield json.dumps(codec.to_json(event)).encode() + b"\n" if event else b"\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


@router.post("/quotes")
async def quote(
    here: Here,
    spec: Annotated[dict[str, Any], Body(embed=True)],
    rows: Annotated[int, Body(embed=True, ge=0, le=MOST)] = 0,
    deadlines: Annotated[tuple[Deadline, ...], Body(embed=True, max_length=100)] = (),
    against: Annotated[dict[str, Any] | None, Body(embed=True)] = None,
) -> Any:
    """What a run of this spec would take and cost, on `rows` rows (0: all of its inputs). For each
    of `deadlines` (s) `curve` numbers the cheapest of `plans` that keeps to it, and of `elsewhere`
    the cheapest estimate, or null; `nearest` is the fastest of `plans`. Where something must be
    measured or imported first, `{"run": ID}`: a run that ends at its plan, with the quote's id as
    its result. `against` is an earlier version of the function, `{"run": ID}` or `{"spec": …,
    "name": …}`: both are measured side by side, and the quote's `against` says what the change did,
    and which line."""
    if against is not None:
        earlier = await asyncio.to_thread(here.offers.against, spec, against)
        order = {"spec": spec, "ask": {**ask(rows, deadlines), "against": earlier}}
        [run] = await here.front.accept([order], OWNER)
        return {"run": run.id}
    try:
        found = await asyncio.to_thread(here.offers.quote, spec, OWNER, rows, deadlines)
    except WorkFirst:
        order = {"spec": spec, "ask": ask(rows, deadlines)}
        [run] = await here.front.accept([order], OWNER)
        return {"run": run.id}
    return {**codec.to_json(found), "curve": curve(found, deadlines)}


@router.get("/quotes/{quote_id}")
def stored_quote(
    here: Here, quote_id: str, deadline: Annotated[tuple[Deadline, ...], Query()] = ()
) -> Any:
    """A quote that was made, with its `curve` for these deadlines (s)."""
    found = here.store.ledger.quote(quote_id)
    return {**codec.to_json(found), "curve": curve(found, deadline)}


@router.get("/promises")
def promises(here: Here, project: str = "") -> Any:
    """How often quotes were right, by function and backend; the last line is all of them."""
    return [codec.to_json(each) for each in here.offers.promises(project)]


@router.post("/render")
def render(
    here: Here,
    spec: Annotated[dict[str, Any], Body(embed=True)],
    pool: Annotated[str, Body(embed=True)] = "",
) -> Any:
    """The native requests that a run of this spec would send, without secrets; `later` says of the
    steps of a pipeline that are missing why."""
    requests, later = here.offers.render({**spec, "pool": pool} if pool else spec, OWNER)
    return {"requests": requests, "later": later}


@router.head("/blobs/{digest}")
def has_blob(here: Here, digest: Digest) -> Response:
    """Whether these bytes are here."""
    return Response(status_code=200 if here.blobs.exists(digest) else 404)


@router.put("/blobs/{digest}", status_code=201)
async def put_blob(here: Here, digest: Digest, request: Request) -> Any:
    """Bytes under their digest; the same again is no error."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BLOB:
            raise UserError(
                f"this is larger than {MAX_BLOB >> 20} MiB",
                hint="leave large files out of the code (.gitignore), import them as a dataset",
            )
        chunks.append(chunk)
    data = b"".join(chunks)
    if digest_bytes(data) != digest:
        raise UserError("the bytes do not match their digest", hint="send them again")
    return {"digest": await asyncio.to_thread(here.blobs.put_bytes, data), "size": size}
