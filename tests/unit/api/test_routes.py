"""Routes: what is asked is answered, and followers see everything once."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx

from tests.unit.api.serving import ONE, House, at_home
from tradewind.base.ids import digest_bytes


async def accept(client: httpx.AsyncClient, *specs: dict[str, Any]) -> list[str]:
    answer = await client.post("/api/v1/runs", json={"runs": [{"spec": each} for each in specs]})
    assert answer.status_code == 201, answer.text
    return [run["id"] for run in answer.json()["runs"]]


async def ended(client: httpx.AsyncClient, run: str) -> dict[str, Any]:
    answer = await client.get(f"/api/v1/runs/{run}/wait", params={"timeout": 20})
    body: dict[str, Any] = answer.json()
    assert body["ended"], body
    return body


async def events(client: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    found = []
    async with client.stream("GET", "/api/v1/events", params=params) as answer:
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        async for line in answer.aiter_lines():
            if line:
                found.append(json.loads(line))
    return found


@at_home
async def test_a_run_from_request_to_result(made: House, client: httpx.AsyncClient) -> None:
    [run] = await accept(client, ONE)
    body = await ended(client, run)
    assert body["state"] == "succeeded"
    told = (await client.get(f"/api/v1/runs/{run[:6]}")).json()
    assert told["id"] == run and len(told["placements"]) == len(told["attempts"]) == 1
    assert {"phases", "progress", "children", "price", "changed", "explain"} <= set(told)
    listed = (await client.get("/api/v1/runs", params={"state": "succeeded", "top": True})).json()
    assert [each["id"] for each in listed["items"]] == [run]
    logs = await client.get(f"/api/v1/runs/{run}/logs")
    assert logs.text == "hello\n"
    assert (await client.get(f"/api/v1/runs/{run}/logs", params={"offset": 2})).text == "llo\n"
    assert (await client.get(f"/api/v1/runs/{run}/metrics")).json() == []


@at_home
async def test_a_follower_sees_every_event_once_in_order_and_then_the_end(
    made: House, client: httpx.AsyncClient
) -> None:
    flow = {"kind": "pipeline", "name": "flow", "steps": [
        {"name": "a", "uses": "tradewind.components:a"},
        {"name": "b", "uses": "tradewind.components:b", "after": ["a"]},
    ]}  # fmt: skip
    [run] = await accept(client, flow)
    followers = [events(client, run=run, follow=True) for _ in range(3)]
    seen = await asyncio.wait_for(asyncio.gather(*followers), 30)
    stored = made.here.store.events.after(0, root=run)
    for one in seen:
        assert [each["seq"] for each in one] == [each.seq for each in stored]
        assert one[0]["type"] == "run.accepted"
        assert (one[-1]["type"], one[-1]["subject"]) == ("run.succeeded", run)
    middle = stored[4].seq
    rest = await events(client, run=run, follow=True, after=middle)
    assert [each["seq"] for each in rest] == [each.seq for each in stored if each.seq > middle]


@at_home
async def test_a_child_run_has_followers_of_its_own(made: House, client: httpx.AsyncClient) -> None:
    flow = {"kind": "pipeline", "name": "f", "steps": [
        {"name": "a", "uses": "tradewind.components:a"},
    ]}  # fmt: skip
    [run] = await accept(client, flow)
    await ended(client, run)
    [child] = made.here.store.runs.children([run])[run]
    told = await events(client, run=child.id, follow=True)
    assert told[0]["type"] == "run.accepted"
    assert {each["run"] for each in told} == {child.id}


@at_home
async def test_events_of_everything_without_following(
    made: House, client: httpx.AsyncClient
) -> None:
    one, two = await accept(client, ONE, ONE)
    await ended(client, one)
    await ended(client, two)
    told = await events(client)
    assert {each["run"] for each in told} == {one, two}
    assert await events(client, project="other") == []


@at_home
async def test_metrics_and_status(made: House, client: httpx.AsyncClient) -> None:
    [run] = await accept(client, ONE)
    await ended(client, run)
    text = (await client.get("/metrics")).text
    assert 'tradewind_runs{state="succeeded"} 1.0' in text
    assert "tradewind_store_bytes" in text
    status = (await client.get("/api/v1/status")).json()
    assert status["counts"] == {"succeeded": 1}
    assert status["pools"][0]["name"] == "local"
    assert (await client.get("/api/v1/top")).json() == []
    assert (await client.get("/api/v1/pools")).json() == status["pools"]
    page = await client.get("/")
    assert run in page.text and page.headers["content-type"].startswith("text/html")


@at_home
async def test_a_page_of_runs_escapes_what_users_wrote(
    made: House, client: httpx.AsyncClient
) -> None:
    from dataclasses import replace

    from tradewind.control.road import Road

    run = Road.accept({**ONE, "name": "<script>"}, now=1.0, user="x")
    made.here.store.runs.accept([replace(run, waiting="<b>")])
    text = (await client.get("/")).text
    assert "<script>" not in text and "&lt;script&gt;" in text


@at_home
async def test_a_quote_and_a_rendered_request(made: House, client: httpx.AsyncClient) -> None:
    await ended(client, (await accept(client, ONE))[0])
    quote = (await client.post("/api/v1/quotes", json={"spec": ONE})).json()
    assert quote["plans"][0]["basis"] == "the run before"
    assert len(quote["elsewhere"]) == 2
    order = {"runs": [{"spec": ONE, "quote": quote["id"], "plan": 0}]}
    [run] = (await client.post("/api/v1/runs", json=order)).json()["runs"]
    assert (await ended(client, run["id"]))["quote"] == quote["id"]
    body = {"spec": ONE, "rows": 10, "deadlines": [60, 3600]}
    asked = (await client.post("/api/v1/quotes", json=body)).json()
    assert asked["curve"] == [
        {"deadline": seconds, "plan": 0, "estimate": estimate, "nearest": 0, "likely": None}
        for seconds, estimate in ((60.0, None), (3600.0, asked["curve"][1]["estimate"]))
    ]
    assert asked["curve"][1]["estimate"] in (0, 1), "no machine is rented within a minute"
    path = f"/api/v1/quotes/{asked['id']}"
    again = (await client.get(path, params={"deadline": [60, 3600]})).json()
    assert again == asked
    for wrong in ({"rows": -1}, {"deadlines": [0]}, {"deadlines": ["soon"]}):
        answer = await client.post("/api/v1/quotes", json={"spec": ONE, **wrong})
        assert answer.status_code == 400, wrong
    for question in ("all", {"rows": "all"}, {"rows": -1}, {"rows": True}):
        order = {"runs": [{"spec": ONE, "ask": question}]}
        assert (await client.post("/api/v1/runs", json=order)).status_code == 400, question
    [kept, whole] = (await client.get("/api/v1/promises")).json()
    assert (kept["function"], kept["backend"], kept["promises"]) == ("one", "python", 1)
    assert kept["kept"] + kept["broken"] == 1
    assert whole == {**kept, "function": "", "backend": ""}
    assert (await client.get("/api/v1/promises", params={"project": "x"})).json()[0]["kept"] == 0
    unknown = {"runs": [{"spec": ONE, "quote": "qnone"}]}
    assert (await client.post("/api/v1/runs", json=unknown)).status_code == 404
    [request] = (await client.post("/api/v1/render", json={"spec": ONE})).json()["requests"]
    assert request["roles"][0]["entry"]["target"] == "tradewind.components:one"
    assert len(made.here.store.runs.page.__self__.counts()) == 1  # type: ignore[attr-defined]


@at_home
async def test_lists_leave_out_what_only_measured_for_a_quote(
    made: House, client: httpx.AsyncClient
) -> None:
    run = await ended(client, (await accept(client, ONE))[0])
    order = {"runs": [{"spec": ONE, "ask": {}}]}
    [asked] = (await client.post("/api/v1/runs", json=order)).json()["runs"]
    await ended(client, asked["id"])
    for path in ("/api/v1/runs", "/api/v1/runs?name=one", "/api/v1/runs?text=one"):
        assert [each["id"] for each in (await client.get(path)).json()["items"]] == [run["id"]]
    every = (await client.get("/api/v1/runs", params={"quotes": True})).json()["items"]
    assert [each["id"] for each in every] == [asked["id"], run["id"]]
    page = (await client.get("/")).text
    assert run["id"] in page and asked["id"] not in page


@at_home
async def test_applied_specs_have_revisions(made: House, client: httpx.AsyncClient) -> None:
    body = {"specs": [ONE], "dry_run": True}
    [answer] = (await client.put("/api/v1/specs", json=body)).json()
    assert answer["change"] == "created"
    assert (await client.get("/api/v1/specs")).json() == []
    body["dry_run"] = False
    assert (await client.put("/api/v1/specs", json=body)).json()[0]["revision"] == 1
    assert (await client.put("/api/v1/specs", json=body)).json()[0]["change"] == "unchanged"
    changed = {"specs": [{**ONE, "timeout": "5s"}]}
    [answer] = (await client.put("/api/v1/specs", json=changed)).json()
    assert (answer["revision"], answer["diff"]) == (
        2, [{"field": "timeout", "old": None, "new": "5s"}],
    )  # fmt: skip
    got = (await client.get("/api/v1/specs/function/one", params={"revision": 1})).json()
    assert "timeout" not in got["document"]
    assert (await client.delete("/api/v1/specs/function/one")).status_code == 200
    assert (await client.get("/api/v1/specs/function/one")).status_code == 404
    both = {"specs": [ONE, {"kind": "function"}]}
    assert (await client.put("/api/v1/specs", json=both)).status_code == 422
    assert (await client.get("/api/v1/specs")).json() == [], "all or none"


@at_home
async def test_files_of_every_sort_of_output(made: House, client: httpx.AsyncClient) -> None:
    from tradewind.testing.fake_engine import Outcome

    data = b"PAR1"
    made.here.blobs.put_bytes(data)
    file = {"path": "p", "digest": digest_bytes(data), "size": 4}
    outputs = {
        "output": {"kind": "table", "rows": 1, "files": [file]},
        "plain": {"kind": "file", "files": [file]},
    }
    made.world.script = lambda *_: Outcome(outputs=outputs)
    [run] = await accept(client, ONE)
    assert (await ended(client, run))["result"]["output"]["kind"] == "dataset"
    for slot in ("output", "plain"):
        path = f"/api/v1/runs/{run}/results/{slot}/files"
        assert (await client.get(f"{path}/0")).content == data
        assert (await client.get(f"{path}/1")).status_code == 404
    assert (await client.get(f"/api/v1/runs/{run}/results/none/files/0")).status_code == 404
    version = (await client.get("/api/v1/datasets/one")).json()
    assert version["number"] == 1 and version["run"] == run
    assert (await client.get("/api/v1/datasets/one/versions/2")).status_code == 404


@at_home
async def test_stop_prune_and_shutdown(made: House, client: httpx.AsyncClient) -> None:
    from tradewind.testing.fake_engine import Outcome

    made.world.script = lambda *_: Outcome(
        outputs={"output": {"kind": "json", "value": "sha256:is no digest"}}
    )
    [old, kept] = await accept(client, ONE, {**ONE, "name": "kept"})
    await ended(client, old)
    await ended(client, kept)
    unused = made.here.blobs.put_bytes(b"nothing names me")
    made.world.script = lambda *_: Outcome(seconds=None)
    [run] = await accept(client, ONE)
    made.clock.advance(60.0)
    pruned = (await client.post("/api/v1/prune", json={"older_than": 1e6, "keep": 0})).json()
    assert pruned["runs"] == 0
    pruned = (await client.post("/api/v1/prune", json={"older_than": 10, "keep": 0})).json()
    assert pruned["runs"] == 2, pruned
    assert (await client.get(f"/api/v1/runs/{old}")).status_code == 404
    assert made.here.blobs.exists(unused), "it may belong to a run that is about to be accepted"
    goes_on = await client.post("/api/v1/shutdown", json={"stop_runs": False})
    assert [each["id"] for each in goes_on.json()["going_on"]] == [run]
    assert made.downs == [True]
    assert (await client.post(f"/api/v1/runs/{run}/stop")).status_code == 200
    assert (await ended(client, run))["state"] == "stopped"
    again = await client.post(f"/api/v1/runs/{run}/stop")
    assert again.json()["state"] == "stopped"


@at_home
async def test_one_request_that_cannot_be_stored_harms_no_other(
    made: House, client: httpx.AsyncClient
) -> None:
    store = made.here.store.runs
    stored = store.accept

    def picky(runs: Any, events: Any = ()) -> Any:
        if any(run.name == "bad" for run in runs):
            raise RuntimeError("no")
        return stored(runs, events)

    setattr(store, "accept", picky)  # noqa: B010
    specs = [{**ONE, "name": name} for name in ("a", "bad", "b")]
    answers = await asyncio.gather(
        *(client.post("/api/v1/runs", json={"runs": [{"spec": spec}]}) for spec in specs)
    )
    assert [each.status_code for each in answers] == [201, 500, 201]


@at_home
async def test_a_command_beside_a_unit(made: House, client: httpx.AsyncClient) -> None:
    from tradewind.testing.fake_engine import Outcome

    made.world.script = lambda *_: Outcome(seconds=None, log=b"up")
    [run] = await accept(client, ONE)
    while (await client.get(f"/api/v1/runs/{run}")).json()["state"] != "running":
        await asyncio.sleep(0.01)

    async def told(**asked: Any) -> list[dict[str, Any]]:
        answer = await client.post(f"/api/v1/runs/{run}/exec", json=asked)
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines() if line]

    output, ended = await told(command=["ls", "-l"])
    assert base64.b64decode(output["data"]) == b"main[0]$ ls -l\n" and ended == {"exit": 0}
    [missing] = await told(command=["ls"], index=7)
    assert missing["error"]["code"] == "not_found"
    [missing] = await told(command=["ls"], role="other")
    assert "its roles: main" in missing["error"]["hint"]
    empty = await client.post(f"/api/v1/runs/{run}/exec", json={"command": []})
    assert empty.status_code == 400
    nobody = await client.post("/api/v1/runs/r404/exec", json={"command": ["ls"]})
    assert nobody.status_code == 404
    await client.post(f"/api/v1/runs/{run}/stop")
