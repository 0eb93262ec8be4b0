"""Who asks, and whether they may: bearer tokens, rules, and a record of what was allowed."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.kube.double.clock import Clock
from tests.kube.double.objects import Object
from tests.kube.double.resources import Resource
from tests.kube.double.statuses import Refusal, forbidden, unauthorized

ADMIN = "kubernetes-admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What may be done; without a namespace: everywhere, and to what has no namespace."""

    groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()
    namespace: str = ""

    def allows(self, call: "Call") -> bool:
        wanted = f"{call.resource}/{call.subresource}" if call.subresource else call.resource
        return (
            self.namespace in ("", call.namespace)
            and _among(call.group, self.groups)
            and _among(call.verb, self.verbs)
            and (_among(wanted, self.resources) or f"*/{call.subresource}" in self.resources)
            and (not self.names or call.name in self.names)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One authorised call."""

    user: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str

    @property
    def permission(self) -> tuple[str, str, str, str]:
        return self.verb, self.group, self.resource, self.subresource


@dataclass(slots=True)
class Token:
    user: str
    ends: float | None = None


@dataclass(slots=True)
class Access:
    """`rules` None lets everybody do everything; administrators and nodes always may."""

    clock: Clock
    rules: list[Rule] | None = None
    calls: list[Call] = field(default_factory=list)
    tokens: dict[str, Token] = field(default_factory=dict)

    def user(self, authorization: str) -> str:
        """Returns who the header says is asking; raises 401."""
        sort, _, text = authorization.partition(" ")
        if not authorization:
            return "system:anonymous"
        token = self.tokens.get(text)
        ended = token and token.ends is not None and self.clock.now() >= token.ends
        if sort.lower() != "bearer" or token is None or ended:
            raise unauthorized()
        return token.user

    def authorize(self, call: Call, resource: Resource) -> None:
        """Records the call; raises 403 when no rule allows it."""
        if not self.allowed(call):
            raise self._refusal(call, resource)
        self.calls.append(call)

    def authorize_upgrade(self, call: Call, resource: Resource) -> None:
        """A websocket to a pod begins with GET, and asks for the right to create as well."""
        second = replace(call, verb="create")
        if not self.allowed(second):
            raise forbidden(resource, call.name, "")
        self.calls.append(second)

    def allowed(self, call: Call) -> bool:
        if call.user == "system:anonymous":
            return False
        if self.rules is None or call.user == ADMIN or call.user.startswith("system:node:"):
            return True
        if call.group == "authorization.k8s.io" and call.resource.startswith("selfsubject"):
            return True
        return any(rule.allows(call) for rule in self.rules)

    def allowed_path(self, user: str, path: str) -> None:
        if user == "system:anonymous" and path not in ("/version", "/readyz", "/livez"):
            raise Refusal(
                403, "Forbidden", f'forbidden: User "{user}" cannot get path "{path}"', details={}
            )

    def review(self, user: str, spec: Object) -> Object:
        """Answers a SelfSubjectAccessReview."""
        asked = spec.get("resourceAttributes") or {}
        call = Call(
            user=user, verb=asked.get("verb", ""), group=asked.get("group", ""),
            resource=asked.get("resource", ""), subresource=asked.get("subresource", ""),
            namespace=asked.get("namespace", ""), name=asked.get("name", ""),
        )  # fmt: skip
        return (
            {"allowed": True, "reason": "RBAC: allowed"}
            if self.allowed(call)
            else {"allowed": False}
        )

    def listed(self, user: str, namespace: str) -> Object:
        """Answers a SelfSubjectRulesReview."""
        rules = self.rules
        if rules is None or user == ADMIN:
            rules = [Rule(groups=("*",), resources=("*",), verbs=("*",))]
        rows = [
            {"apiGroups": [*rule.groups], "resources": [*rule.resources], "verbs": [*rule.verbs]}
            | ({"resourceNames": [*rule.names]} if rule.names else {})
            for rule in rules
            if rule.namespace in ("", namespace)
        ]
        return {"resourceRules": rows, "nonResourceRules": [], "incomplete": False}

    def _refusal(self, call: Call, resource: Resource) -> Refusal:
        what = f"{call.resource}/{call.subresource}" if call.subresource else call.resource
        where = f'in the namespace "{call.namespace}"' if call.namespace else "at the cluster scope"
        return forbidden(
            resource, call.name,
            f'User "{call.user}" cannot {call.verb} resource "{what}" in API group "{call.group}"'
            f" {where}",
        )  # fmt: skip


def rules_of(manifests: Iterable[dict[str, Any]]) -> list[Rule]:
    """Reads Role and ClusterRole objects; other kinds are passed over."""
    found = []
    for manifest in manifests:
        if manifest.get("kind") not in ("Role", "ClusterRole"):
            continue
        namespace = manifest["metadata"].get("namespace", "default")
        for row in manifest.get("rules") or []:
            found.append(
                Rule(
                    groups=tuple(row["apiGroups"]),
                    resources=tuple(row["resources"]),
                    verbs=tuple(row["verbs"]),
                    names=tuple(row.get("resourceNames") or ()),
                    namespace=namespace if manifest["kind"] == "Role" else "",
                )
            )
    return found


def _among(wanted: str, offered: tuple[str, ...]) -> bool:
    return wanted in offered or "*" in offered
