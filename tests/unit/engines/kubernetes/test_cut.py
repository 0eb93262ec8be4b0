"""A request that nobody waits for any more leaves no connection behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import yaml

from tradewind.engines.kubernetes import api
from tradewind.engines.kubernetes.connect import connect


def kubeconfig(path: Path, port: int) -> Path:
    """Of whatever listens there."""
    cluster = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
    found = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    }
    path.write_text(yaml.safe_dump(found), encoding="utf-8")
    return path


def test_one_given_up_before_the_cluster_has_shown_who_it_is(tmp_path: Path) -> None:
    """Seen from the other end: the connection is over at once, not when memory is tidied up."""

    async def whole() -> None:
        greeted, over = asyncio.Event(), asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.read(1)
                greeted.set()
                while await reader.read(1024):
                    pass
            except ConnectionError:
                pass
            over.set()
            writer.close()

        async with await asyncio.start_server(silent, "127.0.0.1") as listening:
            port = listening.sockets[0].getsockname()[1]
            cluster = connect({"kubeconfig": str(kubeconfig(tmp_path / "config", port))})
            asked = asyncio.create_task(cluster.get(api.PODS, "p"))
            await greeted.wait()
            asked.cancel()
            # Its frames hold what they opened until then.
            await asyncio.wait([asked])
            await asyncio.wait_for(over.wait(), 10.0)
            await cluster.close()

    asyncio.run(whole())
