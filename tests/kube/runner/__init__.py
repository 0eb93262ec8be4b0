"""A kubelet for tests: pods of a bare control plane run as processes of this machine."""

from tests.kube.runner.home import Settings
from tests.kube.runner.runner import Runner

__all__ = ["Runner", "Settings"]
