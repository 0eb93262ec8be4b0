"""Objects that change and go; lists and watches of them."""

from __future__ import annotations

from typing import Any

from tests.kube.double.compare.objects import CONTAINER, Seen, deployment, job, pod
from tests.kube.double.compare.side import JSON_PATCH, MERGE, STRATEGIC, Side, masked

Json = Any


def changes(side: Side) -> Seen:
    """Updates and patches: what changes, what may not, and what moves the generation."""
    base = side.base
    seen: Seen = []
    maps, job_path, pod_path = f"{base}/configmaps/c", f"{side.jobs}/j", f"{base}/pods/p"
    side.raw("POST", f"{base}/configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}})
    side.raw(
        "POST",
        side.jobs,
        job("j", suspend=True, completionMode="Indexed", completions=2, parallelism=1),
    )
    side.raw("POST", f"{base}/pods", pod("p"))
    side.raw(
        "POST",
        f"{base}/secrets",
        {"metadata": {"name": "s"}, "immutable": True, "data": {"a": "YQ=="}},
    )
    side.raw("POST", side.deployments, deployment("web", replicas=0))
    side.raw(
        "POST", f"{base}/services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}]}}
    )

    def version() -> str:
        return str(side.get(maps)["metadata"]["resourceVersion"])

    before = version()
    seen.append(("no change", side.ask("PATCH", maps, {"data": {"a": "1"}})))
    seen.append(("no new version", version() == before))
    merge = {"data": {"a": None, "b": "2"}, "metadata": {"labels": {"x": "y"}}}
    steps = [
        {"op": "add", "path": "/metadata/annotations", "value": {"a/b": "1"}},
        {"op": "replace", "path": "/metadata/annotations/a~1b", "value": "2"},
        {"op": "remove", "path": "/data/b"},
    ]
    more = {"metadata": {"finalizers": ["x.dev/b"]}}
    runs = {"status": {"phase": "Running"}, "spec": {"nodeName": "n"}}
    told = {"status": {"conditions": [{"type": "A", "status": "True"}]}}
    image = {"spec": {"containers": [{"name": "main", "image": "other"}]}}
    both = {"spec": {"completions": 5, "parallelism": 5}}
    selector = {"spec": {"selector": {"matchLabels": {"q": "r"}}}}
    strategic = {"metadata": {"annotations": {"k": "v"}, "finalizers": ["x.dev/a"]}}
    for label, method, path, body, sort in [
        ("merge", "PATCH", maps, merge, MERGE),
        ("json", "PATCH", maps, steps, JSON_PATCH),
        ("strategic", "PATCH", pod_path, strategic, STRATEGIC),
        ("more finalizers", "PATCH", pod_path, more, STRATEGIC),
        ("put", "PUT", maps, {"metadata": {"name": "c"}, "data": {"z": "1"}}, ""),
        ("pod status", "PATCH", f"{pod_path}/status", runs, MERGE),
        ("pod status condition", "PATCH", f"{pod_path}/status", told, STRATEGIC),
        ("pod spec ignores status", "PATCH", pod_path, {"status": {"phase": "Failed"}}, MERGE),
        ("pod image", "PATCH", pod_path, image, STRATEGIC),
        ("pod deadline", "PATCH", pod_path, {"spec": {"activeDeadlineSeconds": 5}}, MERGE),
        ("no finalizers", "PATCH", pod_path, {"metadata": {"finalizers": None}}, MERGE),
        ("resume", "PATCH", job_path, {"spec": {"suspend": False}}, MERGE),
        ("suspend", "PATCH", job_path, {"spec": {"suspend": True}}, MERGE),
        ("parallelism", "PATCH", job_path, {"spec": {"parallelism": 3}}, MERGE),
        ("completions alone", "PATCH", job_path, {"spec": {"completions": 5}}, MERGE),
        ("completions in tandem", "PATCH", job_path, both, MERGE),
        ("job mode", "PATCH", job_path, {"spec": {"completionMode": "NonIndexed"}}, MERGE),
        ("secret", "PATCH", f"{base}/secrets/s", {"data": {"a": "Yg=="}}, MERGE),
        ("secret again mutable", "PATCH", f"{base}/secrets/s", {"immutable": False}, MERGE),
        ("secret label", "PATCH", f"{base}/secrets/s", {"metadata": {"labels": {"a": "b"}}}, MERGE),
        ("selector", "PATCH", f"{side.deployments}/web", selector, MERGE),
        ("address", "PATCH", f"{base}/services/s", {"spec": {"clusterIP": "10.96.0.77"}}, MERGE),
    ]:
        found = side.ask(method, path, body, sort=sort)
        if label in ("resume", "suspend", "parallelism", "completions in tandem"):
            # Its status has begun to move by itself.
            found[2].pop("status", None)
        seen.append((label, found))
    template = {"spec": {"template": {"spec": {"containers": [{**CONTAINER, "image": "new"}]}}}}
    answer = side.raw("PATCH", job_path, template)
    shown = answer.json()
    seen.append(("template", [answer.status_code, shown["reason"], shown["message"][:60]]))
    return seen


def deletions(side: Side) -> Seen:
    """What DELETE answers and leaves, without a node."""
    base = side.base
    seen: Seen = []
    maps = f"{base}/configmaps"
    for name in ("a", "b", "c"):
        side.raw(
            "POST",
            maps,
            {"metadata": {"name": name, "finalizers": ["x.dev/y"] if name == "b" else []}},
        )
    side.raw("POST", f"{base}/pods", pod("p"))
    side.raw("POST", f"{base}/pods", pod("q", nodeName="nowhere"))
    side.raw(
        "POST", f"{base}/services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}]}}
    )
    side.raw("POST", f"{base}/secrets", {"metadata": {"name": "s"}})
    side.raw("POST", side.deployments, deployment("web", replicas=0))
    side.until(lambda: side.items(f"/apis/apps/v1/namespaces/{side.namespace}/replicasets"))
    more = {"metadata": {"finalizers": ["x.dev/y", "x.dev/z"]}}
    for label, method, path, body in [
        ("plain", "DELETE", f"{maps}/a", None),
        ("held", "DELETE", f"{maps}/b", None),
        ("held again", "DELETE", f"{maps}/b", None),
        ("new finalizer", "PATCH", f"{maps}/b", more),
        ("let go", "PATCH", f"{maps}/b", {"metadata": {"finalizers": None}}),
        ("gone", "GET", f"{maps}/b", None),
        ("foreground", "DELETE", f"{maps}/c?propagationPolicy=Foreground", None),
        ("unscheduled pod", "DELETE", f"{base}/pods/p", None),
        ("bound pod", "DELETE", f"{base}/pods/q", {"gracePeriodSeconds": 20}),
        ("longer", "DELETE", f"{base}/pods/q", {"gracePeriodSeconds": 40}),
        ("shorter", "DELETE", f"{base}/pods/q?gracePeriodSeconds=5", None),
        ("at once", "DELETE", f"{base}/pods/q", {"gracePeriodSeconds": 0}),
        ("service", "DELETE", f"{base}/services/s", None),
        ("secret", "DELETE", f"{base}/secrets/s", None),
    ]:
        found = side.ask(method, path, body)
        if isinstance(found[2], dict):
            found[2].pop("status", None)
        seen.append((label, found))
    sets = f"/apis/apps/v1/namespaces/{side.namespace}/replicasets"
    side.raw("DELETE", f"{side.deployments}/web?propagationPolicy=Background")
    seen.append(("its set goes", side.until(lambda: not side.items(sets))))
    return seen


def owners(side: Side) -> Seen:
    """The garbage collector."""
    base = side.base
    seen: Seen = []
    maps = f"{base}/configmaps"
    uid = side.raw("POST", maps, {"metadata": {"name": "root"}}).json()["metadata"]["uid"]

    def child(name: str, uid: str, **more: Json) -> None:
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "root", "uid": uid, **more}
        side.raw("POST", maps, {"metadata": {"name": name, "ownerReferences": [owner]}})

    def names() -> list[str]:
        return [
            one["metadata"]["name"]
            for one in side.items(maps)
            if "kube-root" not in one["metadata"]["name"]
        ]

    child("mine", uid)
    child("nobodys", "00000000-0000-0000-0000-000000000000")
    side.until(lambda: "nobodys" not in names())
    seen.append(("an owner that never was", names()))
    side.raw("DELETE", f"{maps}/root")
    side.until(lambda: not names())
    seen.append(("an owner that is gone", names()))
    uid = side.raw("POST", maps, {"metadata": {"name": "root"}}).json()["metadata"]["uid"]
    child("held", uid, blockOwnerDeletion=True)
    side.raw("PATCH", f"{maps}/held", {"metadata": {"finalizers": ["x.dev/y"]}})
    side.raw("DELETE", f"{maps}/root?propagationPolicy=Foreground")
    side.until(lambda: "deletionTimestamp" in side.get(f"{maps}/held")["metadata"])
    seen.append(("a dependent that blocks", side.ask("GET", f"{maps}/root")))
    seen.append(("the dependent", side.ask("GET", f"{maps}/held")))
    side.raw("PATCH", f"{maps}/held", {"metadata": {"finalizers": None}})
    side.until(lambda: not names())
    seen.append(("both gone", names()))
    return seen


def lists(side: Side) -> Seen:
    """Selectors and pages."""
    maps = f"{side.base}/configmaps"
    seen: Seen = []
    for number in range(5):
        labels = {"n": str(number), "odd": str(number % 2), **({"two": "x"} if number == 2 else {})}
        side.raw("POST", maps, {"metadata": {"name": f"c{number}", "labels": labels}})
    side.until(lambda: any("kube-root" in one["metadata"]["name"] for one in side.items(maps)))
    for selector in (
        "odd=1",
        "odd==0",
        "odd!=1",
        "n in (1,2)",
        "n notin (1,2),odd",
        "two",
        "!two",
        "two,odd=1",
    ):
        path = str(side.client.build_request("GET", maps, params={"labelSelector": selector}).url)
        seen.append((selector, [one["metadata"]["name"] for one in side.items(path)]))
    for selector in (
        "metadata.name=c1",
        "metadata.name!=c1",
        f"metadata.namespace={side.namespace}",
    ):
        path = str(side.client.build_request("GET", maps, params={"fieldSelector": selector}).url)
        seen.append((selector, [one["metadata"]["name"] for one in side.items(path)]))
    token, pages = "", []
    for turn in range(3):
        page = side.get(f"{maps}?limit=2&continue={token}")
        pages.append(
            (
                [one["metadata"]["name"] for one in page["items"]],
                page["metadata"].get("remainingItemCount"),
            )
        )
        token = page["metadata"].get("continue", "")
        if turn == 0:
            # Pages are of one moment.
            side.raw("DELETE", f"{maps}/c3")
            side.raw("POST", maps, {"metadata": {"name": "c9"}})
    seen.append(("pages", pages))
    first = side.get(f"{maps}?limit=1&labelSelector=odd")
    seen.append(("with a selector", masked_page(first)))
    seen.append(
        (
            "an item",
            side.get(f"{maps}?labelSelector=odd")["items"][0].keys() - {"metadata"} == set(),
        )
    )
    seen.append(("bad token", side.raw("GET", f"{maps}?limit=1&continue=abc").status_code))
    return seen


def masked_page(page: Json) -> Json:
    return sorted(page["metadata"].keys() - {"selfLink"})


def watches(side: Side) -> Seen:
    """What a watch sees of writes, with and without a selector."""
    maps = f"{side.base}/configmaps"
    version = side.get(maps)["metadata"]["resourceVersion"]
    side.raw("POST", maps, {"metadata": {"name": "w"}, "data": {"a": "1"}})
    side.raw("PATCH", f"{maps}/w", {"metadata": {"labels": {"in": "sight"}}})
    side.raw("PATCH", f"{maps}/w", {"data": {"a": "2"}})
    side.raw("PATCH", f"{maps}/w", {"metadata": {"labels": {"in": None}}})
    side.raw("PATCH", f"{maps}/w", {"metadata": {"labels": {"in": "sight"}}})
    side.raw("PATCH", f"{maps}/w", {"metadata": {"finalizers": ["x.dev/y"]}})
    side.raw("DELETE", f"{maps}/w")
    side.raw("PATCH", f"{maps}/w", {"metadata": {"finalizers": None}})
    side.raw("POST", maps, {"metadata": {"name": "end", "labels": {"in": "sight"}}})

    def over(events: list[Json]) -> bool:
        return bool(events[-1]["object"]["metadata"]["name"] == "end")

    seen: Seen = []
    for query in ("", "&labelSelector=in%3Dsight", "&fieldSelector=metadata.name%3Dend"):
        events = side.watch(f"{maps}?resourceVersion={version}{query}", over)
        kept = [one for one in events if one["object"]["metadata"]["name"] in ("w", "end")]
        seen.append((f"watch{query}", masked(kept)))
        versions = [int(one["object"]["metadata"]["resourceVersion"]) for one in events]
        seen.append((f"versions rise{query}", versions == sorted(versions)))
    events = side.watch(f"{maps}?fieldSelector=metadata.name%3Dend", over)
    seen.append(("without a version", [one["type"] for one in events]))
    pods = f"{side.base}/pods"
    version = side.get(pods)["metadata"]["resourceVersion"]
    side.raw("POST", pods, pod("p", nodeName="nowhere"))
    side.raw("DELETE", f"{pods}/p", {"gracePeriodSeconds": 3})
    side.raw("DELETE", f"{pods}/p", {"gracePeriodSeconds": 0})
    events = side.watch(
        f"{pods}?resourceVersion={version}", lambda rows: rows[-1]["type"] == "DELETED"
    )
    seen.append(("pod", masked([[one["type"], one["object"]["metadata"]] for one in events])))
    answer = side.ask("GET", f"{maps}?watch=1&timeoutSeconds=1&resourceVersion=abc")
    seen.append(("no version", answer[0] >= 400))
    return seen
