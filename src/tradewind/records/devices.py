"""One device of a machine."""

from __future__ import annotations

from dataclasses import dataclass

CUDA = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Device:
    """`id` is what a process names it by in the environment variable `shown_by`, `of` its class,
    `memory` what programs can use of it, in bytes (0: not known). `found`: a driver told of it;
    otherwise somebody only says that it is there."""

    id: str
    of: str
    shown_by: str = CUDA
    memory: int = 0
    found: bool = False
