"""What schemas miss: that the objects of a placement fit together, and keep what is promised."""

from __future__ import annotations

import copy
import json
import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.engines.kubernetes.cases import (
    ARRAY,
    CONTEXT,
    CONTEXTS,
    ELASTIC,
    OBJECTS,
    PLACEMENTS,
    REQUESTS,
    SERVING,
    Object,
    containers,
    of_kind,
    placement,
    role,
    workloads,
)
from tests.unit.engines.kubernetes.restricted import violations
from tests.unit.engines.kubernetes.test_schemas import check
from tradewind.base.errors import Refused
from tradewind.engines.kubernetes import names
from tradewind.engines.kubernetes.render import (
    gang_epoch,
    number,
    ports,
    redacted,
    render,
    todo,
)
from tradewind.engines.kubernetes.template import cores
from tradewind.records import codec
from tradewind.records.placements import Placement
from tradewind.records.tasks import Array, Gang, Layout, Resources

WORKLOADS = workloads(OBJECTS)
PODS: list[Object] = [each["spec"]["template"]["spec"] for each in WORKLOADS]
ALL = pytest.mark.parametrize("case", REQUESTS)


def objects(case: str) -> list[Object]:
    found: list[Object] = REQUESTS[case]["objects"]
    return found


def job(case: str) -> Object:
    return of_kind(objects(case), "Job")[0]


# --- the request ---------------------------------------------------------------------------------


@ALL
def test_equal_placements_give_equal_json(case: str) -> None:
    twin = codec.loads(Placement, codec.dumps(PLACEMENTS[case]))
    request = render(twin, CONTEXTS[case])
    assert json.dumps(request) == json.dumps(REQUESTS[case])
    assert json.loads(json.dumps(request)) == request


@ALL
def test_the_root_comes_first_and_everything_is_found_by_it(case: str) -> None:
    root, *children = objects(case)
    assert root["kind"] == "ConfigMap"
    assert root["metadata"]["name"] == names.base(REQUESTS[case]["placement"])
    pods = [each["spec"]["template"] for each in workloads(children)]
    for each in [root, *children, *pods]:
        meta = each["metadata"]
        assert meta["labels"][names.INSTANCE] == root["metadata"]["name"]
        assert meta["labels"][names.POOL] == names.label(CONTEXTS[case].pool)
        assert meta["annotations"][names.PLACEMENT] == REQUESTS[case]["placement"]
        assert meta.get("namespace", "flights") == REQUESTS[case]["namespace"]
        assert all(isinstance(value, str) for value in meta["annotations"].values())


def test_roles_are_told_apart_by_their_originals() -> None:
    found = {
        each["metadata"]["annotations"][names.ROLE]: each["kind"]
        for each in workloads(objects("several-roles"))
    }
    assert found == {"参数服务器": "Job", "Worker_1": "Job", "worker-1": "Deployment"}


def test_the_root_tells_the_shapes() -> None:
    root = objects("several-roles")[0]
    parts = json.loads(root["metadata"]["annotations"][names.ROLES])
    assert parts["参数服务器"]["shape"] == {"shape": "gang", "least": 2, "most": 2}


# --- how they fit together -----------------------------------------------------------------------


@ALL
def test_a_selector_finds_the_pods_of_one_role(case: str) -> None:
    pods = [each["spec"]["template"]["metadata"]["labels"] for each in workloads(objects(case))]
    for each in objects(case):
        spec = each.get("spec", {})
        selector = spec.get("selector", {})
        if wanted := selector.get("matchLabels", selector):
            assert sum(wanted.items() <= labels.items() for labels in pods) == 1
        for spread in spec.get("template", {}).get("spec", {}).get("topologySpreadConstraints", ()):
            wanted = spread["labelSelector"]["matchLabels"]
            assert sum(wanted.items() <= labels.items() for labels in pods) == 1


@ALL
def test_ports_are_called_the_same_everywhere(case: str) -> None:
    for each in workloads(objects(case)):
        pod = each["spec"]["template"]["spec"]
        main = pod["containers"][0]
        own = {port["name"]: port["containerPort"] for port in main.get("ports", ())}
        assert len(own) == len(main.get("ports", ())) == len(set(own.values()))
        for name in own:
            assert re.fullmatch(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*", name) and len(name) <= 15
        for probe in ("startupProbe", "readinessProbe"):
            for way in ("httpGet", "tcpSocket"):
                asked = main.get(probe, {}).get(way)
                assert asked is None or asked["port"] == next(iter(own))
        services = of_kind(objects(case), "Service")
        for service in (s for s in services if s["metadata"]["name"] == each["metadata"]["name"]):
            opened = {p["targetPort"]: p["port"] for p in service["spec"].get("ports", ())}
            assert opened == own


@ALL
def test_what_a_pod_refers_to_is_there(case: str) -> None:
    secret = objects(case)[1]
    for each in workloads(objects(case)):
        pod = each["spec"]["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in containers(pod):
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
            for variable in container["env"]:
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert reference["name"] == secret["metadata"]["name"]
                    assert reference["key"] in secret["stringData"]


def test_members_of_a_gang_find_each_other() -> None:
    for case in ("gang-of-three", "gang-elastic"):
        service, gang = objects(case)[2:]
        pod = gang["spec"]["template"]["spec"]
        assert service["metadata"]["name"] == gang["metadata"]["name"] == pod["subdomain"]
        assert service["spec"]["clusterIP"] == "None"
        host = f"{gang['metadata']['name']}-0.{service['metadata']['name']}.flights"
        name = gang["metadata"]["annotations"][names.ROLE]
        assert host == names.master(REQUESTS[case]["placement"], name, 1, "flights")
    assert len(objects("gang-of-one")) == 3


# --- what the API server checks beside the schemas -----------------------------------------------


@pytest.mark.parametrize("each", of_kind(OBJECTS, "Job"), ids=lambda job: job["metadata"]["name"])
def test_a_job_is_one_that_the_api_server_takes(each: Object) -> None:
    spec = each["spec"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["podReplacementPolicy"] == "Failed"
    assert 1 <= spec["parallelism"] <= spec["completions"]
    assert len(f"{each['metadata']['name']}-{spec['completions'] - 1}") <= 63
    for rule in spec["podFailurePolicy"]["rules"]:
        codes = rule.get("onExitCodes", {"operator": "", "values": []})
        assert codes["operator"] != "In" or 0 not in codes["values"]
        assert codes["values"] == sorted(set(codes["values"]))


def test_the_time_that_a_replica_may_take_is_its_roles() -> None:
    probe = of_kind(objects("replicas-with-path"), "Deployment")[0]["spec"]["template"]["spec"][
        "containers"
    ][0]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 31


# --- arrays --------------------------------------------------------------------------------------


def test_only_items_that_are_not_done_are_run() -> None:
    spec = job("array-with-done-items")["spec"]
    assert (spec["completions"], spec["parallelism"], spec["backoffLimitPerIndex"]) == (4, 4, 2)
    assert todo(10, (0, 1, 2, 3, 4, 7)) == [5, 6, 8, 9]
    assert not of_kind(objects("array-with-nothing-to-do"), "Job")


@given(st.integers(0, 60), st.sets(st.integers(0, 60)))
def test_completions_and_done_items_are_all_items_once(count: int, done: set[int]) -> None:
    each = placement(role("map", Array(count=count, at_once=7)), done=tuple(done))
    jobs = of_kind(render(each, CONTEXT)["objects"], "Job")
    left = todo(count, tuple(done))
    assert sorted({*left, *done} & set(range(count))) == list(range(count))
    assert [one["spec"]["completions"] for one in jobs] == ([len(left)] if left else [])
    for one in jobs:
        told = names.items(one["metadata"]["annotations"][names.DONE])
        assert todo(count, tuple(told)) == left


def test_a_huge_array_stays_within_what_kubernetes_takes() -> None:
    done = tuple(range(0, 300_000, 2))
    each = placement(role("map", Array(count=600_000, at_once=50_000)), done=done)
    value = of_kind(render(each, CONTEXT)["objects"], "Job")[0]
    assert value["spec"]["parallelism"] <= 10_000 and value["spec"]["maxFailedIndexes"] <= 10_000
    assert sum(len(k) + len(v) for k, v in value["metadata"]["annotations"].items()) < 256 * 1024
    check(value)


# --- resources -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpu", "written"),
    [(0.1, "100m"), (1, "1"), (2.0, "2"), (1.5, "1500m"), (0, "1m"), (0.0001, "1m"),
     (0.0301, "31m"), (0.035, "35m"), (4.35, "4350m"), (96.0, "96")],
)  # fmt: skip
def test_cpu_is_written_exactly(cpu: float, written: str) -> None:
    assert cores(cpu) == written


@given(st.floats(0, 1e6))
@example(1e-9)
def test_cpu_is_rounded_up_by_less_than_a_thousandth(cpu: float) -> None:
    text = cores(cpu)
    milli = int(text[:-1]) if text.endswith("m") else int(text) * 1000
    assert milli >= 1 and text != "0"
    # The shortest decimal that means this float, as a person wrote it.
    assert milli - 1 < Fraction(repr(cpu)) * 1000 <= milli or milli == 1


def test_nothing_is_limited_below_what_it_asks_for() -> None:
    for pod in PODS:
        for container in containers(pod):
            wanted, limits = (
                container["resources"]["requests"],
                container["resources"].get("limits"),
            )
            assert {"cpu", "memory"} <= set(wanted)
            for name, most in (limits or {}).items():
                assert int(most) >= int(wanted[name])


def test_staging_asks_for_no_more_than_the_work() -> None:
    for pod in PODS:
        stage, main = containers(pod)
        for name, amount in stage["resources"]["requests"].items():
            assert main["resources"]["requests"][name] == amount


def test_memory_and_accelerators() -> None:
    main = job("gang-of-three")["spec"]["template"]["spec"]["containers"][0]["resources"]
    memory = str(64 * 2**30 + 128 * 2**20)
    assert main["limits"] == {"memory": memory, "nvidia.com/gpu": "2"}
    assert main["requests"] == {"cpu": "7500m", **main["limits"]}
    free = job("no-memory-limit")["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert free == {"requests": {"cpu": "1m", "memory": str(256 * 2**20)}}


# --- what is kept from whom ----------------------------------------------------------------------


@pytest.mark.parametrize("pod", PODS, ids=range(len(PODS)))
def test_pods_keep_the_restricted_standard(pod: Object) -> None:
    assert violations(pod) == []
    assert pod["automountServiceAccountToken"] is False
    for container in containers(pod):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("hostNetwork",), True),
        (("securityContext", "runAsUser"), 0),
        (("securityContext", "runAsNonRoot"), False),
        (("securityContext", "seccompProfile"), {"type": "Unconfined"}),
        (("securityContext", "sysctls"), [{"name": "kernel.msgmax", "value": "1"}]),
        (("volumes", 0), {"name": "work", "hostPath": {"path": "/"}}),
        (("initContainers", 0, "securityContext"), {}),
        (("containers", 0, "securityContext", "privileged"), True),
        (("containers", 0, "securityContext", "allowPrivilegeEscalation"), True),
        (("containers", 0, "securityContext", "capabilities"), {"drop": ["NET_RAW"]}),
        (("containers", 0, "securityContext", "capabilities", "add"), ["SYS_ADMIN"]),
        (("containers", 0, "securityContext", "procMount"), "Unmasked"),
        (("containers", 0, "ports"), [{"containerPort": 1, "hostPort": 1}]),
        (("containers", 0, "readinessProbe"), {"httpGet": {"host": "h", "port": 1}}),
    ],
)
def test_the_check_of_the_standard_sees_what_breaks_it(where: tuple[Any, ...], value: Any) -> None:
    pod = copy.deepcopy(PODS[0])
    place: Any = pod
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = value
    assert violations(pod)


@ALL
def test_nothing_of_the_users_stands_in_a_manifest(case: str) -> None:
    assert any("users-value" in codec.dumps(role) for role in PLACEMENTS[case].task.roles)
    assert "users" not in json.dumps(REQUESTS[case]).lower()


@ALL
def test_secrets_stand_in_secrets_only_and_are_not_printed(case: str) -> None:
    request = REQUESTS[case]
    before = json.dumps(request)
    assert CONTEXT.token in before
    serving = of_kind(objects(case), "Deployment")
    (secret,) = of_kind(objects(case), "Secret")
    assert ("service-token" in secret["stringData"]) == bool(serving)
    for each in objects(case):
        assert each is secret or "-token-value" not in json.dumps(each)
    shown = redacted(request)
    assert "-token-value" not in json.dumps(shown)
    hidden = {**secret, "stringData": dict.fromkeys(secret["stringData"], "***")}
    assert shown["objects"] == [hidden if each is secret else each for each in objects(case)]
    assert json.dumps(request) == before


def test_a_secret_as_the_cluster_keeps_it_is_not_printed_either() -> None:
    kept = {"kind": "Secret", "data": {"token": "czNjcmV0"}}
    assert redacted({"objects": [kept]})["objects"] == [{**kept, "data": {"token": "***"}}]


# --- ports and epochs ----------------------------------------------------------------------------


def test_ports_are_numbered_in_order() -> None:
    assert number(("http", "metrics")) == {"http": 8080, "metrics": 8081}
    assert ports(SERVING) == {"http": 8080, "prometheus-metrics": 8081}
    assert ports(role("serve", SERVING.shape)) == {"http": 8080}
    assert ports(ARRAY) == {}


def as_the_cluster_has_it(value: Object) -> Object:
    """With what the API server and the Job controller write into it."""
    found = copy.deepcopy(value)
    uid = "0b7e6c1d-7a43-4c38-9d3a-0a4fd4e6f2aa"
    theirs = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": found["metadata"]["name"],
        "controller-uid": uid,
        "job-name": found["metadata"]["name"],
    }
    found["metadata"] |= {
        "uid": uid,
        "resourceVersion": "123",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "deletionTimestamp": "2026-01-01T00:01:00Z",
        "deletionGracePeriodSeconds": 0,
        "finalizers": ["orphan"],
        "managedFields": [{"manager": "m", "operation": "Update"}],
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Secret", "name": "root", "uid": uid, "controller": True}
        ],
    }
    found["metadata"]["annotations"]["batch.kubernetes.io/job-tracking"] = ""
    found["spec"]["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    found["spec"]["suspend"] = True
    found["spec"]["manualSelector"] = False
    found["spec"]["template"]["metadata"] |= {"creationTimestamp": None}
    found["spec"]["template"]["metadata"]["labels"] |= theirs
    found["status"] = {"active": 2}
    return found


def test_the_next_epoch_is_the_first_ones_job_with_another_width() -> None:
    first = job("gang-elastic")
    cluster = as_the_cluster_has_it(first)
    before = json.dumps(cluster)
    name = names.child(REQUESTS["gang-elastic"]["placement"], ELASTIC.name, 2)
    second = gang_epoch(cluster, 2, 5, name)
    assert json.dumps(cluster) == before
    check(second)

    expected = copy.deepcopy(first)
    expected["metadata"]["name"] = name
    expected["metadata"]["ownerReferences"] = cluster["metadata"]["ownerReferences"]
    expected["spec"] |= {"completions": 5, "parallelism": 5}
    for meta in (expected["metadata"], expected["spec"]["template"]["metadata"]):
        meta["labels"][names.EPOCH] = meta["annotations"][names.EPOCH] = "2"
    assert second == expected
    assert gang_epoch(as_the_cluster_has_it(second), 3, 2, "x")["metadata"]["labels"] == {
        **first["metadata"]["labels"],
        names.EPOCH: "3",
    }


def test_every_epoch_is_behind_the_same_service() -> None:
    service, first = objects("gang-elastic")[2:]
    second = gang_epoch(first, 2, 5, "another-name")
    pod = second["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert pod["spec"]["subdomain"] == service["metadata"]["name"]


def test_a_gang_starts_at_its_least_width() -> None:
    assert job("gang-elastic")["spec"]["parallelism"] == 2
    wide = placement(role("r", Gang(least=1, most=4), resources=Resources()))
    assert of_kind(render(wide, CONTEXT)["objects"], "Service")


def test_processes_stand_as_they_must() -> None:
    near = job("gang-in-one-rack")["spec"]["template"]["spec"]
    [term] = near["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "example.com/rack"
    pods = job("gang-in-one-rack")["spec"]["template"]["metadata"]["labels"]
    assert term["labelSelector"]["matchLabels"].items() <= pods.items()
    [apart] = near["topologySpreadConstraints"]
    assert apart["topologyKey"] == "kubernetes.io/hostname" and apart["maxSkew"] == 1
    assert apart["whenUnsatisfiable"] == "DoNotSchedule"
    soft = job("gang-in-one-zone-if-it-can-be")["spec"]["template"]["spec"]["affinity"]
    [some] = soft["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert some["podAffinityTerm"]["topologyKey"] == "topology.kubernetes.io/zone"
    [served] = of_kind(objects("replicas-over-zones"), "Deployment")
    spread = served["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [(each["topologyKey"], each["whenUnsatisfiable"]) for each in spread] == [
        ("topology.kubernetes.io/zone", "ScheduleAnyway"),
        ("kubernetes.io/hostname", "ScheduleAnyway"),
    ]


def test_a_level_that_no_label_tells_is_refused_where_it_must_be_kept() -> None:
    shape = role("worker", Gang(least=2, most=2))
    must = placement(shape, layout=Layout(together="rack", strictly=True))
    with pytest.raises(Refused, match="no label that tells the rack"):
        render(must, CONTEXT)
    would_like = render(placement(shape, layout=Layout(together="rack")), CONTEXT)
    assert "affinity" not in json.dumps(would_like)
