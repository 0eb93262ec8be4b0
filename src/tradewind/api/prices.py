"""Routes about the catalogue: what machines cost that clouds let."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body

from tradewind.api.deps import Here, Whole

router = APIRouter()


@router.get("/catalog")
def catalog(
    here: Here, provider: str = "", region: str = "", accelerator: str = "", max_price: Whole = 0
) -> Any:
    """Instance types with their prices, cheapest first; those of a provider, in a region, with an
    accelerator, for at most `max_price` nanodollars per hour. `old` is a price of more than 180
    days, or of an unknown date."""
    return here.prices.listing(
        provider=provider, region=region, accelerator=accelerator, most=max_price
    )


@router.put("/catalog")
def import_catalog(
    here: Here,
    text: Annotated[str, Body()],
    file: Annotated[str, Body()] = "",
    replace: Annotated[bool, Body()] = False,
) -> Any:
    """Take over the rows of a CSV file, all or none: in the place of the same ones, or with
    `replace` of the whole list. `file` is its name, for errors."""
    return here.prices.put(text, file, replace=replace)


@router.delete("/catalog")
def reset_catalog(here: Here) -> Any:
    """Back to the list that Tradewind itself carries."""
    return here.prices.reset()
