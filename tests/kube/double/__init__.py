"""A small double of a Kubernetes control plane, over real HTTP.

It models what an engine with raw REST and JSON calls, and answers 501 to all else.
"""

from tests.kube.double.access import ADMIN, Call, Rule, rules_of
from tests.kube.double.admission import Webhook
from tests.kube.double.cluster import Double
from tests.kube.double.statuses import Refusal

__all__ = ["ADMIN", "Call", "Double", "Refusal", "Rule", "Webhook", "rules_of"]
