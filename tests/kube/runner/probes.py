"""Startup, readiness and liveness of a running container."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

Json = dict[str, Any]
Exec = Callable[[list[str], float], Awaitable[bool]]


class Probes:
    """Asks one container as its spec says. `changed` is called when it becomes or stops being
    started or ready; `failed` when it is to be killed."""

    def __init__(
        self,
        container: Json,
        ip: str,
        execute: Exec,
        gate: asyncio.Event,
        changed: Callable[[bool, bool], None],
        failed: Callable[[str], None],
    ) -> None:
        self._container, self._ip, self._execute = container, ip, execute
        self._gate, self._changed, self._failed = gate, changed, failed

    async def run(self) -> None:
        """Until cancelled."""
        probes = [self._container.get(f"{kind}Probe") for kind in ("startup", "readiness")]
        startup, readiness = probes
        if startup:
            self._changed(False, False)
            if not await self._passes(startup):
                self._failed("startup")
                return
        self._changed(True, not readiness)
        async with asyncio.TaskGroup() as group:
            if readiness:
                group.create_task(self._readiness(readiness))
            if liveness := self._container.get("livenessProbe"):
                group.create_task(self._liveness(liveness))

    async def _passes(self, probe: Json) -> bool:
        """Until it has succeeded, or failed too often in a row."""
        failures = 0
        await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
        while not await self._ask(probe):
            failures += 1
            if failures >= (probe.get("failureThreshold") or 3):
                return False
            await asyncio.sleep(probe.get("periodSeconds") or 10)
        return True

    async def _liveness(self, probe: Json) -> None:
        while await self._passes(probe):
            await asyncio.sleep(probe.get("periodSeconds") or 10)
            probe = probe | {"initialDelaySeconds": 0}
        self._failed("liveness")

    async def _readiness(self, probe: Json) -> None:
        ready, row = False, 0
        await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
        while True:
            good = await self._ask(probe)
            row = row + 1 if good != ready else 0
            needed = (
                (probe.get("failureThreshold") or 3) if ready else probe.get("successThreshold")
            )
            if row >= (needed or 1):
                ready, row = good, 0
                self._changed(True, ready)
            await asyncio.sleep(probe.get("periodSeconds") or 10)

    async def _ask(self, probe: Json) -> bool:
        await self._gate.wait()  # nobody asks while the node is cut off
        patience = float(probe.get("timeoutSeconds") or 1)
        try:
            async with asyncio.timeout(patience):
                if get := probe.get("httpGet"):
                    return await self._http(get)
                if socket := probe.get("tcpSocket"):
                    return await self._tcp(socket)
                if execute := probe.get("exec"):
                    return await self._execute(execute["command"], patience)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            return False
        return False

    async def _http(self, get: Json) -> bool:
        tls = ssl._create_unverified_context() if get.get("scheme") == "HTTPS" else None
        host, port = get.get("host") or self._ip, self._port(get["port"])
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        try:
            headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.36", "Accept": "*/*"}
            headers |= {one["name"]: one["value"] for one in get.get("httpHeaders") or []}
            lines = [f"GET {get.get('path') or '/'} HTTP/1.1"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode())
            await writer.drain()
            status = int((await reader.readuntil(b"\r\n")).split()[1])
        except IndexError:
            return False
        finally:
            writer.close()
        return 200 <= status < 400

    async def _tcp(self, socket: Json) -> bool:
        host, port = socket.get("host") or self._ip, self._port(socket["port"])
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        return True

    def _port(self, port: int | str) -> int:
        for one in self._container.get("ports") or []:
            if one.get("name") == port:
                return int(one["containerPort"])
        return int(port)
