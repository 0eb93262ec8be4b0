"""The cluster's own controllers, each small, each driven by what is written."""

from tests.kube.double.controllers.budgets import Budgets
from tests.kube.double.controllers.deployments import Deployments
from tests.kube.double.controllers.garbage import Garbage
from tests.kube.double.controllers.jobs import Jobs
from tests.kube.double.controllers.loop import Controller
from tests.kube.double.controllers.namespaces import Namespaces
from tests.kube.double.controllers.nodes import Nodes
from tests.kube.double.controllers.quotas import Quotas
from tests.kube.double.controllers.replicasets import ReplicaSets
from tests.kube.double.controllers.scheduler import Scheduler
from tests.kube.double.registry import Registry
from tests.kube.double.settings import Settings


def everything(registry: Registry, settings: Settings) -> list[Controller]:
    return [
        Namespaces(registry),
        Garbage(registry),
        Jobs(registry, settings),
        Deployments(registry),
        ReplicaSets(registry, settings),
        Nodes(registry, settings),
        Budgets(registry),
        Quotas(registry),
        Scheduler(registry, settings),
    ]
