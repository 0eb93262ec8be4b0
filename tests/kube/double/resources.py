"""The resources that exist, and how each is served."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    plural: str
    kind: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ("create", "get", "list", "watch", "update", "patch", "delete")
    # Its spec has a generation.
    generation: bool = False
    # PUT may leave the resourceVersion out.
    unconditional: bool = True
    # PUT creates what is not there.
    upsert: bool = False
    # DELETE answers with the object where others answer with a Status.
    returns_deleted: bool = False
    # Deleted without a policy, its dependents are orphaned.
    orphans: bool = False
    # Field selectors beyond metadata.name and metadata.namespace.
    fields: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As in messages: `pods`, `jobs.batch`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def root(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


NAMESPACES = Resource(
    plural="namespaces", kind="Namespace", namespaced=False, returns_deleted=True,
    fields=("status.phase",),
)  # fmt: skip
NODES = Resource(
    plural="nodes", kind="Node", namespaced=False, subresources=("status",),
    fields=("spec.unschedulable",),
)  # fmt: skip
PODS = Resource(
    plural="pods", kind="Pod", generation=True, returns_deleted=True,
    subresources=("status", "binding", "log", "exec", "eviction"),
    fields=("spec.nodeName", "status.phase", "spec.restartPolicy", "status.podIP"),
)  # fmt: skip
SECRETS = Resource(plural="secrets", kind="Secret", fields=("type",))
SERVICES = Resource(plural="services", kind="Service", returns_deleted=True)
CONFIGMAPS = Resource(plural="configmaps", kind="ConfigMap")
EVENTS = Resource(
    plural="events", kind="Event", upsert=True,
    fields=(
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
        "involvedObject.uid", "involvedObject.apiVersion", "reason", "type",
    ),
)  # fmt: skip
SERVICEACCOUNTS = Resource(plural="serviceaccounts", kind="ServiceAccount", returns_deleted=True)
QUOTAS = Resource(
    plural="resourcequotas", kind="ResourceQuota", returns_deleted=True, subresources=("status",)
)
JOBS = Resource(
    group="batch", plural="jobs", kind="Job", generation=True, orphans=True,
    subresources=("status",), fields=("status.successful",),
)  # fmt: skip
DEPLOYMENTS = Resource(
    group="apps", plural="deployments", kind="Deployment", generation=True,
    subresources=("status",),
)  # fmt: skip
REPLICASETS = Resource(
    group="apps", plural="replicasets", kind="ReplicaSet", generation=True,
    subresources=("status",), fields=("status.replicas",),
)  # fmt: skip
BUDGETS = Resource(
    group="policy", plural="poddisruptionbudgets", kind="PodDisruptionBudget", generation=True,
    subresources=("status",),
)  # fmt: skip
LEASES = Resource(
    group="coordination.k8s.io", plural="leases", kind="Lease", unconditional=False, upsert=True
)
ACCESS_REVIEWS = Resource(
    group="authorization.k8s.io", plural="selfsubjectaccessreviews",
    kind="SelfSubjectAccessReview", namespaced=False, verbs=("create",),
)  # fmt: skip
RULES_REVIEWS = Resource(
    group="authorization.k8s.io", plural="selfsubjectrulesreviews",
    kind="SelfSubjectRulesReview", namespaced=False, verbs=("create",),
)  # fmt: skip

RESOURCES = (
    NAMESPACES, NODES, PODS, SECRETS, SERVICES, CONFIGMAPS, EVENTS, SERVICEACCOUNTS, QUOTAS,
    JOBS, DEPLOYMENTS, REPLICASETS, BUDGETS, LEASES, ACCESS_REVIEWS, RULES_REVIEWS,
)  # fmt: skip
BY_PATH = {(one.group, one.version, one.plural): one for one in RESOURCES}
BY_KIND = {(one.api_version, one.kind): one for one in RESOURCES}
