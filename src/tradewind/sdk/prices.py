"""The catalogue over the wire: what machines cost that clouds let."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tradewind.base.errors import InvalidData, Location, UserError
from tradewind.sdk.http import Http, path_of

Json = dict[str, Any]
# What the server takes at most; a larger file is not even read.
MOST_BYTES = 4 * 2**20


class Prices:
    """`/catalog`: instance types with their prices."""

    def __init__(self, http: Http) -> None:
        """Made by the client."""
        self._http = http

    def list(
        self, *, provider: str = "", region: str = "", accelerator: str = "", max_price: int = 0
    ) -> list[Json]:
        """Those that fit, cheapest first; `max_price` is nanodollars per hour."""
        asked = {"provider": provider, "region": region, "accelerator": accelerator,
                 "max_price": max_price or None}  # fmt: skip
        found: list[Json] = self._http.get(path_of("catalog"), asked)
        return found

    def load(self, file: str | Path, *, replace: bool = False) -> Json:
        """Add the rows of a CSV file, or replace the whole list by them; how many were added and
        changed. Raises InvalidData with line and column, and then nothing has changed."""
        path = Path(file)
        body = {"text": _text(path), "file": path.name, "replace": replace}
        found: Json = self._http.call("PUT", path_of("catalog"), body=body)
        return found

    def reset(self) -> Json:
        """Back to the list that Tradewind itself carries."""
        found: Json = self._http.call("DELETE", path_of("catalog"))
        return found


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InvalidData(
                f"{path} has {size >> 20} MiB, and no price list has more than "
                f"{MOST_BYTES >> 20} MiB",
                hint="leave out what you do not use",
            )
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{path} cannot be read: {why}") from None
    if len(data) > MOST_BYTES:
        raise InvalidData(f"{path} has more than {MOST_BYTES >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2]) + 1
        raise InvalidData(
            f"this is no UTF-8: the byte 0x{data[error.start]:02x}",
            hint="save it as UTF-8",
            where=Location(file=path.name, line=line, column=column),
        ) from None
