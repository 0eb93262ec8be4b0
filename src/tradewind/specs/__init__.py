"""What users write: one frozen model per kind, read from Python, YAML, `.tw` or JSON.

Everything above reads specs and nothing else of the user's text. A fault is an `InvalidSpec` that
names file, line, column and field. See docs/rooms/specs.md.
"""

from tradewind.specs.common import Objective, Resources, Retries, Spec, Width, Workload
from tradewind.specs.dataset import DatasetSpec, Source
from tradewind.specs.device import DeviceSpec
from tradewind.specs.documents import digest, from_document, to_document, to_yaml
from tradewind.specs.faults import InvalidSpecs, Problem, Written
from tradewind.specs.files import parse_json, parse_yaml, read, read_placed
from tradewind.specs.function import FunctionSpec
from tradewind.specs.kinds import KINDS
from tradewind.specs.model import ModelSpec, Signature
from tradewind.specs.pipeline import PipelineSpec, Step, Until
from tradewind.specs.pool import PoolSpec
from tradewind.specs.project import ProjectSpec
from tradewind.specs.queue import QueueSpec
from tradewind.specs.references import Condition, Reference, fill, parse_reference
from tradewind.specs.schema import json_schema
from tradewind.specs.service import ServiceSpec
from tradewind.specs.training import TrainingSpec
from tradewind.specs.tw import TwFile, parse_tw

__all__ = [
    "KINDS",
    "Condition",
    "DatasetSpec",
    "DeviceSpec",
    "FunctionSpec",
    "InvalidSpecs",
    "ModelSpec",
    "Objective",
    "PipelineSpec",
    "PoolSpec",
    "Problem",
    "ProjectSpec",
    "QueueSpec",
    "Reference",
    "Resources",
    "Retries",
    "ServiceSpec",
    "Signature",
    "Source",
    "Spec",
    "Step",
    "TrainingSpec",
    "TwFile",
    "Until",
    "Width",
    "Workload",
    "Written",
    "digest",
    "fill",
    "from_document",
    "json_schema",
    "parse_json",
    "parse_reference",
    "parse_tw",
    "parse_yaml",
    "read",
    "read_placed",
    "to_document",
    "to_yaml",
]
