"""The table of kinds: the one place that knows them all. A new kind is a file and a line here."""

from __future__ import annotations

from tradewind.specs.common import Spec
from tradewind.specs.dataset import DatasetSpec
from tradewind.specs.device import DeviceSpec
from tradewind.specs.function import FunctionSpec
from tradewind.specs.model import ModelSpec
from tradewind.specs.pipeline import PipelineSpec
from tradewind.specs.pool import PoolSpec
from tradewind.specs.project import ProjectSpec
from tradewind.specs.queue import QueueSpec
from tradewind.specs.service import ServiceSpec
from tradewind.specs.training import TrainingSpec

KINDS: dict[str, type[Spec]] = {
    "dataset": DatasetSpec,
    "function": FunctionSpec,
    "training": TrainingSpec,
    "pipeline": PipelineSpec,
    "model": ModelSpec,
    "service": ServiceSpec,
    "project": ProjectSpec,
    "queue": QueueSpec,
    "pool": PoolSpec,
    "device": DeviceSpec,
}
