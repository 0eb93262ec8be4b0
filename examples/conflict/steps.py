"""Two steps whose libraries cannot stand in one environment; Tradewind's own is a third."""


def versions():
    import sys

    import numpy
    import pydantic

    return {"python": sys.version.split()[0], "numpy": numpy.__version__,
            "pydantic": pydantic.VERSION}  # fmt: skip


def old() -> dict:
    """pydantic 1, which Tradewind itself could not run with, and numpy 1."""
    from pydantic import BaseModel

    class Point(BaseModel):
        x: int

    return {"made": Point(x="3").dict(), **versions()}  # .dict() is deprecated in pydantic 2


def new(before: dict) -> dict:
    """The newest of both."""
    from pydantic import BaseModel

    class Point(BaseModel):
        x: int

    return {"before": before, "made": Point(x=before["made"]["x"]).model_dump(), **versions()}
