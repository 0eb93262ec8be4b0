"""The API server over plain REST: who we are comes from a kubeconfig, lists are kept by watches."""

import asyncio
import base64
import contextlib
import json
import os
import ssl
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

Json = dict[str, Any]
AGAIN_AFTER = (0.1, 0.3, 1.0, 3.0)  # seconds between tries while the server does not answer
WATCH_SECONDS = 300


class Refused(Exception):
    """The API server answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(frozen=True)
class Access:
    """Where the API server is, and what proves who we are."""

    server: str
    verify: ssl.SSLContext | bool = True
    headers: dict[str, str] = field(default_factory=dict)


def access(kubeconfig: Path, context: str = "") -> Access:
    """Read one context of a kubeconfig: CA, client certificate and key, or token."""
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    chosen = _named(config["contexts"], context or config["current-context"])["context"]
    cluster = _named(config["clusters"], chosen["cluster"])["cluster"]
    user = _named(config.get("users") or [], chosen["user"]).get("user") or {}
    server = str(cluster["server"]).rstrip("/")
    token = user.get("token") or ""
    if not token and user.get("tokenFile"):
        token = (kubeconfig.parent / user["tokenFile"]).read_text(encoding="utf-8").strip()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Access(server, _verify(server, cluster, user, kubeconfig.parent), headers)


def _named(entries: list[Json], name: str) -> Json:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise ValueError(f"the kubeconfig has no entry {name!r}")


def _verify(server: str, cluster: Json, user: Json, folder: Path) -> ssl.SSLContext | bool:
    if not server.startswith("https:"):
        return False
    tls = ssl.create_default_context()
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    elif authority := _inline(cluster, "certificate-authority", folder):
        tls = ssl.create_default_context(cadata=authority.decode())
    certificate = _inline(user, "client-certificate", folder)
    key = _inline(user, "client-key", folder)
    if certificate and key:
        with tempfile.NamedTemporaryFile() as file:  # ssl reads a chain from a file only
            file.write(certificate + b"\n" + key)
            file.flush()
            tls.load_cert_chain(file.name)
    return tls


def _inline(entry: Json, name: str, folder: Path) -> bytes:
    if data := entry.get(f"{name}-data"):
        return base64.b64decode(data)
    return (folder / entry[name]).read_bytes() if entry.get(name) else b""


class Api:
    """Requests to the API server. While `open` is not set every one of them waits: a node that
    is cut off, for tests."""

    def __init__(self, entry: Access) -> None:
        def client(read: float, limit: int) -> httpx.AsyncClient:
            return httpx.AsyncClient(
                base_url=entry.server,
                verify=entry.verify,
                headers=entry.headers | {"User-Agent": "tradewind-test-kubelet"},
                timeout=httpx.Timeout(10, read=read, pool=None),
                limits=httpx.Limits(max_connections=limit),
                trust_env=False,
            )

        self._short = client(30, 24)
        self._long = client(WATCH_SECONDS + 30, 16)
        self._under_way = 0
        self.open = asyncio.Event()
        self.open.set()

    async def shut(self) -> None:
        """From now on nothing goes out; returns when what is under way has come back."""
        self.open.clear()
        while self._under_way:
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        await self._short.aclose()
        await self._long.aclose()

    async def call(
        self, method: str, path: str, body: Json | None = None, kind: str = "application/json"
    ) -> Json:
        """One request; `Refused` when the server says no, httpx's errors when it says nothing."""
        await self.open.wait()
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": kind} if body is not None else {}
        self._under_way += 1
        try:
            answer = await self._short.request(method, path, content=content, headers=headers)
        finally:
            self._under_way -= 1
        if answer.status_code >= 400:
            raise Refused(answer.status_code, _reason(answer))
        loaded: Json = answer.json() if answer.content else {}
        return loaded

    async def surely(
        self, method: str, path: str, body: Json | None = None, kind: str = "application/json"
    ) -> Json:
        """`call` that outlasts a server that is away, overloaded, or has a fault."""
        for turn in range(1 << 30):
            try:
                return await self.call(method, path, body, kind)
            except httpx.TransportError:
                pass
            except Refused as refused:
                if refused.code < 500 and refused.code != 429:
                    raise
            await asyncio.sleep(AGAIN_AFTER[min(turn, len(AGAIN_AFTER) - 1)])
        raise AssertionError

    async def patch(self, path: str, body: Json) -> Json:
        """A strategic merge patch: of a list of conditions it leaves those of others alone."""
        return await self.surely("PATCH", path, body, "application/strategic-merge-patch+json")

    async def follow(self, path: str, selector: str = "") -> AsyncGenerator[tuple[str, Any], None]:
        """("LIST", objects) first and again whenever the thread is lost, then (type, object) for
        each event. Never ends; a server that is away is asked again."""
        turn, version = 0, ""
        query = {"fieldSelector": selector} if selector else {}
        while True:
            try:
                if not version:
                    listed = await self._listed(path, query)
                    version = listed["metadata"]["resourceVersion"]
                    yield "LIST", listed.get("items") or []
                async with contextlib.aclosing(self._watch(path, query, version)) as events:
                    async for event in events:
                        turn, gone = 0, event["type"] == "ERROR"
                        version = "" if gone else event["object"]["metadata"]["resourceVersion"]
                        if gone:
                            break
                        if event["type"] != "BOOKMARK":
                            yield event["type"], event["object"]
            except (httpx.TransportError, httpx.StreamError):
                pass
            except Refused as refused:
                version = ""
                if refused.code == 410:
                    continue
            else:
                if turn == 0:  # an orderly end after events: resume at once
                    turn = 1
                    continue
            await asyncio.sleep(AGAIN_AFTER[min(turn, len(AGAIN_AFTER) - 1)])
            turn += 1

    async def _listed(self, path: str, query: dict[str, str]) -> Json:
        return await self.call("GET", str(httpx.URL(path, params=query)))

    async def _watch(
        self, path: str, query: dict[str, str], version: str
    ) -> AsyncGenerator[Json, None]:
        await self.open.wait()
        params = query | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        async with self._long.stream("GET", path, params=params) as answer:
            if answer.status_code >= 400:
                await answer.aread()
                raise Refused(answer.status_code, _reason(answer))
            async for line in answer.aiter_lines():
                if line.strip():
                    yield json.loads(line)


def _reason(answer: httpx.Response) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(answer.json()["message"])
    return answer.text[:300]


def default_kubeconfig() -> Path:
    return Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
