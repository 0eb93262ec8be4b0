"""Tasks as pods of a Kubernetes cluster."""

from tradewind.engines.base import Place
from tradewind.engines.kubernetes.connect import where
from tradewind.engines.kubernetes.engine import KubernetesEngine
from tradewind.engines.kubernetes.options import check

__all__ = ["KubernetesEngine", "check", "make", "where"]


def make(place: Place) -> KubernetesEngine:
    """The engine of a pool. Raises InvalidSpec, NotFound, MissingExtra."""
    return KubernetesEngine(place)
