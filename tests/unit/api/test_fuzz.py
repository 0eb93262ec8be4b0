"""Whatever is asked, no answer is a 500: every operation with made-up input, over a real socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.api.serving import NAMES, ONE, TOKEN, house

schemathesis = pytest.importorskip("schemathesis")
httpx = pytest.importorskip("httpx")

AUTH = {"authorization": f"Bearer {TOKEN}"}
# They end the server, or wait as long as they are asked to.
LEFT_OUT = {("POST", "/api/v1/shutdown"), ("GET", "/api/v1/runs/{run}/wait")}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server in a thread of its own."""
    ready, found = threading.Event(), dict[str, Any]()

    async def serve() -> None:
        async with house(tmp_path_factory.mktemp("fuzz")) as made:
            config = uvicorn.Config(made.app, port=0, log_config=None, lifespan="off")
            server = found["server"] = uvicorn.Server(config)
            task = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            found["url"] = f"http://127.0.0.1:{port}"
            ready.set()
            await task

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(30)
    assert "127.0.0.1" in NAMES
    yield found["url"]
    found["server"].should_exit = True
    thread.join(30)


FUZZ = settings(
    max_examples=25,
    suppress_health_check=list(HealthCheck),
    deadline=None,
    derandomize=True,
    database=None,
)


@pytest.mark.slow
def test_no_operation_breaks(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/api/v1/openapi.json", headers=AUTH)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 20
    broken: list[str] = []
    with httpx.Client(base_url=url, headers=AUTH, timeout=20.0) as client:
        for operation in operations:
            if (operation.method.upper(), operation.path) not in LEFT_OUT:
                _try(operation, client, broken)
    assert not broken, "\n".join(broken)


def _try(operation: Any, client: Any, broken: list[str]) -> None:
    @FUZZ
    @given(case=operation.as_strategy())
    def attempt(case: Any) -> None:
        asked = case.as_transport_kwargs(base_url=str(client.base_url))
        params = dict(asked.get("params") or {})
        params.pop("follow", None)
        body = asked.get("json")
        try:
            answer = client.request(
                case.method, asked["url"], params=params, **({"json": body} if body else {})
            )
        except (httpx.InvalidURL, UnicodeEncodeError, ValueError):
            return
        if answer.status_code >= 500 and answer.status_code not in {501, 503}:
            broken.append(f"{case.method} {asked['url']} {params} {body}: {answer.text}")

    attempt()


_NASTY = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from(["\0", "\ud800", "$x.y", "$$", "../..", "1e999s", "🚢" * 200, "a" * 5000]),
    st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
)  # fmt: skip
_FIELDS = ("name", "entry", "sql", "input", "params", "timeout", "retries", "dependencies", "env",
           "items", "at_once", "resources", "budget", "performance", "cache", "labels", "bundle",
           "queue", "pool", "project", "output", "kind")  # fmt: skip


@pytest.mark.slow
@settings(FUZZ, max_examples=150)
@given(fields=st.dictionaries(st.sampled_from(_FIELDS), _NASTY, max_size=3))
def test_no_spec_breaks_the_server(url: str, fields: dict[str, Any]) -> None:
    import json

    body = json.dumps({"runs": [{"spec": {**ONE, **fields}}]})
    with httpx.Client(base_url=url, headers=AUTH, timeout=20.0) as client:
        answer = client.post(
            "/api/v1/runs", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code < 500, answer.text
        assert client.get("/readyz").status_code == 200
