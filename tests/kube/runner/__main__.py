"""`python -m tests.kube.runner`: one node, until it is told to end."""

import argparse
import asyncio
import contextlib
import signal
from pathlib import Path

from tests.kube.runner.home import Settings
from tests.kube.runner.kubelet import Kubelet
from tests.kube.runner.rest import access, default_kubeconfig


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.kube.runner", description=__doc__)
    add = parser.add_argument
    add("--kubeconfig", type=Path, default=default_kubeconfig())
    add("--context", default="")
    add("--node", required=True, help="name of the node that this is to be")
    add("--cpu", default="8")
    add("--memory", default="16Gi")
    add("--extended", action="append", default=[], metavar="NAME=N", help="nvidia.com/gpu=2")
    add("--label", action="append", default=[], metavar="NAME=VALUE", help="label of the node")
    add("--image", action="append", default=[], help="an image that exists; without: tradewind*")
    add("--root", type=Path, help="folder that what the pods hold is to be in")
    add("--port", type=int, default=0, help="of the kubelet")
    add("--insecure-kubelet", action="store_true", help="plain HTTP on that port")
    add("--keep-node", action="store_true", help="leave the node object behind")
    add("--backoff", type=float, default=10.0, help="seconds before a container's second restart")
    add("--slow-start", type=float, default=0.0, help="seconds before a pod's first container")
    return parser.parse_args()


def pairs(given: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (one.partition("=") for one in given)}


async def main(asked: argparse.Namespace) -> None:
    settings = Settings(
        node=asked.node,
        cpu=asked.cpu,
        memory=asked.memory,
        extended=pairs(asked.extended),
        labels=pairs(asked.label),
        images=set(asked.image),
        port=asked.port,
        secure=not asked.insecure_kubelet,
        keep_node=asked.keep_node,
        backoff=(asked.backoff, asked.backoff * 30),
        slow_start=asked.slow_start,
    )
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    kubelet = Kubelet(access(asked.kubeconfig, asked.context), settings, asked.root)
    starting = asyncio.create_task(kubelet.start())
    waiting = asyncio.create_task(told.wait())
    try:
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            print(f"node {settings.node} is ready", flush=True)
        await waiting
    finally:
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        await kubelet.stop()


if __name__ == "__main__":
    asyncio.run(main(arguments()))
