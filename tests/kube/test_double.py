"""The double's promises, each by itself. That they are a real cluster's promises is what
test_double_against_real.py says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kube.double import Double, Rule, Webhook, rules_of
from tests.kube.double.compare.objects import deployment, job, pod
from tests.kube.double.compare.side import STRATEGIC, Side, client_of
from tests.kube.double.compare.workloads import node
from tests.kube.double.fixtures import MAPS, PODS, double, side, until

Json = Any
ENGINE = "system:serviceaccount:default:engine"
__all__ = ["double", "side"]


def as_user(double: Double, user: str = ENGINE, **how: float) -> httpx.Client:
    headers = {"Authorization": f"Bearer {double.token(user, **how)}"}
    return httpx.Client(base_url=double.url, headers=headers, trust_env=False)


def make(side: Side, name: str, **labels: str) -> Json:
    body = {"metadata": {"name": name, "labels": labels}}
    return side.raw("POST", MAPS, body).json()


# What it does not model


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("GET", "/api/v1/namespaces/default/endpoints", None, "GET of the resource endpoints"),
        ("GET", "/apis/apps/v1/daemonsets", None, "daemonsets in apps/v1"),
        ("GET", f"{PODS}?pretty=true", None, "pretty=true of list pods"),
        ("GET", f"{PODS}?watch=1&sendInitialEvents=true", None, "sendInitialEvents=true of watch"),
        ("DELETE", PODS, None, "deletecollection of pods"),
        ("GET", f"{PODS}/p/portforward", None, "pods/portforward"),
        ("POST", PODS, pod("p", priorityClassName="high"), "the field spec.priorityClassName"),
        ("POST", PODS, pod("p", restartPolicy="Sometimes"), "spec.restartPolicy=Sometimes"),
        ("POST", f"{MAPS}?dryRun=Some", {"metadata": {"name": "x"}}, "dryRun=Some"),
        ("DELETE", f"{MAPS}/x?propagationPolicy=Orphan", None, "propagationPolicy=Orphan"),
        ("GET", "/openapi/v3", None, "/openapi/v3"),
    ],
)
def test_what_it_does_not_know_is_said_loudly(
    side: Side, method: str, path: str, body: Json, words: str
) -> None:
    answer = side.raw(method, path, body)
    assert (answer.status_code, answer.json()["reason"]) == (501, "NotImplemented")
    assert words in answer.json()["message"]


def test_a_patch_that_it_cannot_merge_is_said_loudly(side: Side) -> None:
    side.raw("POST", PODS, pod("p"))
    ports = {"spec": {"containers": [{"name": "main", "ports": [{"containerPort": 1}]}]}}
    answer = side.raw("PATCH", f"{PODS}/p", ports, sort=STRATEGIC)
    assert answer.status_code == 501
    assert (
        side.raw("PATCH", f"{PODS}/p", {}, sort="application/apply-patch+yaml").status_code == 501
    )


def test_a_job_deleted_without_a_policy_would_orphan_its_pods(side: Side) -> None:
    side.raw("POST", side.jobs, job("j", suspend=True))
    assert "orphan" in side.raw("DELETE", f"{side.jobs}/j").json()["message"]


def test_a_new_template_of_a_deployment_is_not_modelled(side: Side) -> None:
    side.raw("POST", side.deployments, deployment("web"))
    change = {"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}
    assert side.raw("PATCH", f"{side.deployments}/web", change).status_code == 501


# Versions, watches, history


def test_a_watch_resumes_where_it_was(side: Side) -> None:
    make(side, "a")
    version = side.get(MAPS)["metadata"]["resourceVersion"]
    make(side, "b")
    side.raw("DELETE", f"{MAPS}/a")
    events = side.watch(f"{MAPS}?resourceVersion={version}", lambda rows: len(rows) == 2)
    assert [(one["type"], one["object"]["metadata"]["name"]) for one in events] == [
        ("ADDED", "b"),
        ("DELETED", "a"),
    ]
    assert int(events[1]["object"]["metadata"]["resourceVersion"]) == int(
        side.get(MAPS)["metadata"]["resourceVersion"]
    )


def test_too_old_a_version_is_told_inside_the_watch(double: Double, side: Side) -> None:
    old = make(side, "a")["metadata"]["resourceVersion"]
    make(side, "b")
    double.compact()
    (event,) = side.watch(f"{MAPS}?resourceVersion={old}", lambda rows: False)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == (
        "ERROR", 410, "Expired",
    )  # fmt: skip
    now = side.get(MAPS)["metadata"]["resourceVersion"]
    answer = side.raw("GET", f"{MAPS}?watch=1&resourceVersion={now}&timeoutSeconds=0.01")
    assert (answer.status_code, answer.text) == (200, "")


def test_too_old_a_version_may_be_told_as_the_answer(double: Double, side: Side) -> None:
    old = make(side, "a")["metadata"]["resourceVersion"]
    make(side, "b")
    double.compact()
    double.gone_inside(False)
    answer = side.raw("GET", f"{MAPS}?watch=1&resourceVersion={old}")
    assert (answer.status_code, answer.json()["code"]) == (410, 410)


def test_the_history_has_a_window(tmp_path: Path) -> None:
    double = Double(history=3)
    with double.serve(), client_of(double.kubeconfig(tmp_path / "config")) as client:
        side = Side(client, "default")
        old = make(side, "first")["metadata"]["resourceVersion"]
        for number in range(10):
            make(side, f"c{number}")
        (event,) = side.watch(f"{MAPS}?resourceVersion={old}", lambda rows: False)
        assert event["object"]["code"] == 410
        kept = str(double.version - 2)
        assert len(side.watch(f"{MAPS}?resourceVersion={kept}", lambda rows: len(rows) == 2)) == 2


def test_an_expired_page_carries_a_token_to_go_on_with(double: Double, side: Side) -> None:
    for name in ("a", "b", "c"):
        make(side, name, mine="1")
    url = f"{MAPS}?limit=1&labelSelector=mine"
    token = side.get(url)["metadata"]["continue"]
    side.raw("DELETE", f"{MAPS}/b")
    double.compact()
    answer = side.raw("GET", f"{url}&continue={token}")
    assert answer.status_code == 410
    again = side.get(f"{url}&continue={answer.json()['metadata']['continue']}")
    assert [one["metadata"]["name"] for one in again["items"]] == ["c"]


def test_bookmarks_come_only_when_asked_for(double: Double, side: Side) -> None:
    double.bookmarks(0.01)
    make(side, "a")
    version = side.get(MAPS)["metadata"]["resourceVersion"]
    query = f"{MAPS}?resourceVersion={version}"
    marked = side.watch(f"{query}&allowWatchBookmarks=true", lambda rows: len(rows) == 2)
    assert [one["type"] for one in marked] == ["BOOKMARK", "BOOKMARK"]
    assert int(marked[0]["object"]["metadata"]["resourceVersion"]) >= int(version)
    assert side.raw("GET", f"{query}&watch=1&timeoutSeconds=0.05").text == ""


def test_a_version_from_the_future_times_out(side: Side) -> None:
    answer = side.raw("GET", f"{MAPS}?resourceVersion=99999&resourceVersionMatch=NotOlderThan")
    assert (answer.status_code, answer.headers["retry-after"]) == (504, "1")


def test_a_write_that_changes_nothing_is_none(double: Double, side: Side) -> None:
    make(side, "a", x="y")
    before = double.version
    side.raw("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"x": "y"}}})
    assert double.version == before


# Who may do what


def test_a_token_is_good_until_it_ends(double: Double) -> None:
    with as_user(double, seconds=60) as client:
        assert client.get(PODS).status_code == 200
        double.clock.advance(61)
        assert (client.get(PODS).status_code, client.get(PODS).json()["code"]) == (401, 401)
    with as_user(double) as client:
        double.expire(ENGINE)
        assert client.get(PODS).json()["reason"] == "Unauthorized"


def test_rules_say_who_may_do_what(double: Double) -> None:
    role = {
        "kind": "Role",
        "metadata": {"namespace": "default"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
    }
    double.rules = [
        *rules_of([role, {"kind": "ServiceAccount"}]),
        Rule(groups=("",), resources=("nodes",), verbs=("get",), names=("n1",)),
    ]
    with as_user(double) as client:
        assert client.get(PODS).status_code == 200
        assert client.get("/api/v1/nodes/n1").status_code == 404
        for path, words in {
            f"{PODS}/p": 'pods "p" is forbidden: User "system:serviceaccount:default:engine" '
            'cannot get resource "pods" in API group "" in the namespace "default"',
            "/api/v1/nodes": 'nodes is forbidden: User "system:serviceaccount:default:engine" '
            'cannot list resource "nodes" in API group "" at the cluster scope',
        }.items():
            answer = client.get(path)
            assert (answer.status_code, answer.json()["message"]) == (403, words)


def test_calls_that_were_allowed_are_on_record(double: Double) -> None:
    double.rules = [Rule(groups=("",), resources=("pods", "pods/log"), verbs=("get", "watch"))]
    with as_user(double) as client:
        client.get(f"{PODS}/p")
        client.get(f"{PODS}/p/log")
        client.get(PODS)
        client.get(f"{PODS}?watch=1&timeoutSeconds=0.01")
    mine = {call.permission for call in double.calls if call.user == ENGINE}
    assert mine == {("get", "", "pods", ""), ("get", "", "pods", "log"), ("watch", "", "pods", "")}


def test_a_kubeconfig_names_its_context_and_namespace(double: Double, tmp_path: Path) -> None:
    path = double.kubeconfig(tmp_path / "config", user=ENGINE, namespace="apart", context="here")
    text = path.read_text(encoding="utf-8")
    assert "current-context: here" in text
    assert "namespace: apart" in text
    with client_of(path) as client:
        client.get(PODS)
    assert double.calls[-1].user == ENGINE


def test_an_exec_asks_for_two_rights(double: Double, side: Side) -> None:
    side.raw("POST", PODS, pod("p"))
    tries: list[tuple[tuple[str, ...], int]]
    tries = [(("get",), 403), (("create",), 403), (("get", "create"), 400)]
    for verbs, code in tries:
        double.rules = [Rule(groups=("",), resources=("pods/exec",), verbs=verbs)]
        with as_user(double) as client:
            headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
            answer = client.get(f"{PODS}/p/exec?command=ls", headers=headers)
            assert answer.status_code == code


# What goes wrong


def test_answers_that_ask_for_patience(double: Double, side: Side) -> None:
    double.faults.answer(429, 2, retry_after=3, resource="configmaps")
    answers = [side.raw("GET", MAPS) for _ in range(3)]
    assert [one.status_code for one in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "3"
    assert answers[0].json()["details"] == {"retryAfterSeconds": 3}
    for code in (500, 503, 504):
        double.faults.answer(code, verb="create")
        assert side.raw("GET", MAPS).status_code == 200
        body = {"metadata": {"name": "never"}}
        assert side.raw("POST", MAPS, body).json()["code"] == code
    assert side.raw("GET", f"{MAPS}/never").status_code == 404


def test_an_answer_that_never_comes(double: Double, side: Side) -> None:
    double.faults.drop(verb="create")
    with pytest.raises(httpx.RemoteProtocolError):
        make(side, "done")
    assert side.raw("GET", f"{MAPS}/done").status_code == 200


def test_an_answer_that_comes_late(double: Double, side: Side) -> None:
    double.faults.delay(30, verb="get")
    with pytest.raises(httpx.ReadTimeout):
        side.client.get(f"{MAPS}/a", timeout=0.05)
    assert side.client.get(f"{MAPS}/a", timeout=5).status_code == 404


def test_a_fault_may_be_one_users(double: Double, side: Side) -> None:
    double.faults.answer(500, 99, user=ENGINE)
    with as_user(double) as client:
        assert (client.get(MAPS).status_code, side.raw("GET", MAPS).status_code) == (500, 200)
        double.faults.clear()
        assert client.get(MAPS).status_code == 200


def test_connections_are_refused_and_accepted_again(double: Double, side: Side) -> None:
    with side.client.stream("GET", f"{MAPS}?watch=1") as answer:
        lines = answer.iter_lines()
        next(lines)
        double.faults.refuse()
        with pytest.raises(httpx.HTTPError):
            list(lines)
    with pytest.raises(httpx.ConnectError):
        side.raw("GET", MAPS)
    double.faults.accept()
    assert side.raw("GET", MAPS).status_code == 200


def test_all_watches_are_cut(double: Double, side: Side) -> None:
    with side.client.stream("GET", f"{MAPS}?watch=1") as answer:
        lines = answer.iter_lines()
        next(lines)
        assert double.watches == 1
        double.faults.cut()
        with pytest.raises(httpx.RemoteProtocolError):
            list(lines)
    until(lambda: double.watches == 0)


def test_a_watch_that_nobody_reads_any_more_is_forgotten(double: Double, side: Side) -> None:
    with side.client.stream("GET", f"{MAPS}?watch=1") as answer:
        lines = answer.iter_lines()
        next(lines)
        assert double.watches == 1
    until(lambda: double.watches == 0)


def test_webhooks_deny_and_fail(double: Double, side: Side) -> None:
    double.webhooks.append(Webhook(name="w.x.dev", resources=("pods",), denies="no"))
    answer = side.raw("POST", PODS, pod("p"))
    assert (answer.status_code, answer.json()["message"]) == (
        400,
        'admission webhook "w.x.dev" denied the request: no',
    )
    side.raw("POST", side.jobs, job("j"))
    (event,) = until(lambda: events(side, "j"))
    assert event["message"].endswith('admission webhook "w.x.dev" denied the request: no')
    double.webhooks[:] = [Webhook(name="w.x.dev", resources=("configmaps",), fails="timeout")]
    answer = side.raw("POST", MAPS, {"metadata": {"name": "c"}})
    assert (answer.status_code, answer.json()["message"]) == (
        500,
        'Internal error occurred: failed calling webhook "w.x.dev": timeout',
    )


def events(side: Side, name: str) -> list[Json]:
    path = f"{side.base}/events?fieldSelector=involvedObject.name%3D{name},reason%3DFailedCreate"
    return side.items(path)[:1]


# Namespaces


def test_a_namespace_that_ends_takes_nothing_in(side: Side) -> None:
    side.raw("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})
    path = "/api/v1/namespaces/n"
    until(lambda: side.items(f"{path}/serviceaccounts"))
    node(side, "n1")
    side.raw("POST", f"{path}/pods", pod("p", nodeName="n1"))
    side.raw("PATCH", f"{path}/pods/p", {"metadata": {"finalizers": ["x.dev/y"]}})
    answer = side.raw("DELETE", path).json()
    assert answer["status"]["phase"] == "Terminating"
    refused = side.raw("POST", f"{path}/configmaps", {"metadata": {"name": "late"}})
    assert (refused.status_code, refused.json()["details"]["causes"][0]["reason"]) == (
        403,
        "NamespaceTerminating",
    )
    side.raw("PATCH", f"{path}/pods/p", {"metadata": {"finalizers": None}})
    side.raw("DELETE", f"{path}/pods/p", {"gracePeriodSeconds": 0})
    until(lambda: side.raw("GET", path).status_code == 404)
    refused = side.raw("POST", f"{path}/configmaps", {"metadata": {"name": "late"}})
    assert refused.json()["message"] == 'namespaces "n" not found'


# From Python


def test_objects_from_python(double: Double) -> None:
    made = double.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})
    assert double.object("configmaps", "default", "c") == made

    def change(obj: Json) -> None:
        obj["data"] = {"a": "b"}

    double.edit("configmaps", "default", "c", change)
    assert {"a": "b"} in [one.get("data") for one in double.objects("configmaps", "default")]
    double.delete("configmaps", "default", "c")
    assert double.object("configmaps", "default", "c") is None


def test_discovery_and_health(side: Side) -> None:
    assert side.raw("GET", "/readyz").text == "ok"
    assert side.raw("GET", "/livez").text == "ok"
    assert side.get("/version")["gitVersion"].startswith("v1.")
    assert side.get("/api")["versions"] == ["v1"]
    assert "batch" in json.dumps(side.get("/apis"))
    names = [one["name"] for one in side.get("/apis/batch/v1")["resources"]]
    assert names == ["jobs", "jobs/status"]
