"""Routes about what stays: applied specs, datasets, models, pools."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Body

from tradewind.api.deps import MOST, OWNER, Here, Moment, Number, Whole
from tradewind.records import codec
from tradewind.records.states import ENDED

router = APIRouter()
PROJECT = "default"


@router.put("/specs")
async def apply(
    here: Here,
    specs: Annotated[list[dict[str, Any]], Body()],
    dry_run: Annotated[bool, Body()] = False,
) -> Any:
    """Store specs as revisions; with `dry_run` only say what would change. What can be made true
    is: a dataset is imported if its source has changed, a model's aliases move, a pool is connected
    and works at once (one that cannot be is not stored), a service's new revision takes the old
    one's place when it is ready, and one that was stopped starts again."""
    applied = await here.apply(specs, OWNER, dry_run)
    for answer, document in zip(applied, specs, strict=True):
        order: dict[str, Any] = {"spec": document}
        if answer["kind"] == "service":
            revision = int(answer["revision"])
            order["request_key"] = await asyncio.to_thread(
                here.front.service_key, document, revision
            )
        elif answer["kind"] != "dataset" or not document.get("source"):
            continue
        if not dry_run:
            [run] = await here.front.accept([order], OWNER)
            while answer["kind"] == "service" and run.state in ENDED:  # begun once, and stopped
                again = {**order, "request_key": f"{order['request_key']}/{run.id}"}
                [run] = await here.front.accept([again], OWNER)
                answer["restarted"] = run.state not in ENDED
            answer["run"] = run.id
    return applied


@router.get("/specs")
def specs(here: Here, kind: str = "", project: str = "") -> Any:
    """The newest revision of each name."""
    return here.shelf.specs(project, kind)


@router.get("/specs/{kind}/{name}")
def spec(here: Here, kind: str, name: str, revision: Whole = 0, project: str = PROJECT) -> Any:
    """One revision; 0 is the newest."""
    return here.shelf.spec(project, kind, name, revision)


@router.delete("/specs/{kind}/{name}")
async def delete(here: Here, kind: str, name: str, project: str = PROJECT) -> Any:
    """Forget a name; its revisions stay for history. A service stops."""
    gone = await here.delete(project, kind, name)
    if kind == "service":
        for each in await asyncio.to_thread(here.services.all, project):
            if each["name"] == name:
                await here.front.stop(each["run"], OWNER)
    return gone


@router.get("/datasets")
def datasets(here: Here, project: str = "") -> Any:
    """The newest version of each dataset."""
    return here.shelf.datasets(project)


@router.get("/datasets/{name}")
def dataset(here: Here, name: str, project: str = PROJECT) -> Any:
    """The newest version, and the numbers of all."""
    return here.shelf.dataset(project, name)


@router.get("/datasets/{name}/versions/{number}")
def dataset_version(here: Here, name: str, number: Number, project: str = PROJECT) -> Any:
    """One version."""
    return here.shelf.dataset(project, name, number)


@router.get("/datasets/{name}/diff")
def dataset_diff(here: Here, name: str, old: Whole, new: Whole, project: str = PROJECT) -> Any:
    """What changed between two versions: schema, rows, distributions."""
    return here.shelf.diff(project, name, old, new)


@router.get("/models")
def models(here: Here, project: str = "") -> Any:
    """The newest version of each model."""
    return here.shelf.models(project)


@router.get("/models/{name}")
def model(
    here: Here, name: str, version: Whole = 0, alias: str = "", project: str = PROJECT
) -> Any:
    """One version, and the numbers of all."""
    return here.shelf.model(project, name, version, alias)


@router.put("/models/{name}/aliases/{alias}")
def set_alias(
    here: Here,
    name: str,
    alias: str,
    version: Annotated[int, Body(embed=True, ge=0, le=MOST)],
    project: str = PROJECT,
) -> Any:
    """Point an alias at a version; 0 takes it away."""
    here.shelf.set_alias(project, name, alias, version, OWNER)
    return here.shelf.model(project, name)["aliases"]


@router.get("/queues")
def queues(here: Here) -> Any:
    """Every queue: what is guaranteed to it, what it may use, what it uses, who waits in it, and
    the share of each project."""
    return here.quotas.listing()


@router.get("/bill")
def bill(here: Here, since: Moment, until: Moment) -> Any:
    """What each pool cost from `since` until before `until` (seconds since 1970), in nanodollars:
    what each project pays for what it held, what is `idle`, and their sum, the `total`. `unpriced`
    are the seconds in which a pool without a price was in use."""
    return [codec.to_json(each) for each in here.front.bill(since, until)]


@router.get("/pools")
def pools(here: Here) -> Any:
    """The pools that this server knows: state, capacity, what is used, price, what is wrong."""
    return here.places.listing()
