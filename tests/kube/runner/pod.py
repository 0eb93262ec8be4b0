"""One pod of this node, from when it is seen to when it is gone."""

import asyncio
import contextlib
import logging
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.kube.runner import images, process, spec
from tests.kube.runner.container import Container
from tests.kube.runner.enter import enter
from tests.kube.runner.home import Home
from tests.kube.runner.probes import Probes
from tests.kube.runner.rest import Refused
from tests.kube.runner.status import Status
from tests.kube.runner.volumes import NotYet, Volumes

Json = dict[str, Any]
SAY = logging.getLogger(__name__)
DEFAULT_GRACE = 30
PROJECT = Path(__file__).resolve().parents[3]
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEADLINE = "Pod was active on the node longer than the specified deadline"


class Pod:
    """Runs a pod's containers and tells the API server how they are."""

    def __init__(self, pod: Json, home: Home) -> None:
        self.pod, self._home = pod, home
        meta, inner = pod["metadata"], pod["spec"]
        self.uid, self.name, self.namespace = meta["uid"], meta["name"], meta["namespace"]
        self._policy = inner.get("restartPolicy", "Always")
        self.folder = home.root / "pods" / self.uid
        waiting = "PodInitializing" if inner.get("initContainers") else "ContainerCreating"
        self._inits, self._mains = (
            [Container(one, self.folder / one["name"], waiting) for one in inner.get(kind) or []]
            for kind in ("initContainers", "containers")
        )
        self.status = Status(pod, self._inits, self._mains)
        for container in self.containers:
            container.recall(self.status.before.get(container.name, {}))
        self._path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        self._facts: spec.Facts | None = None
        self._volumes: Volumes | None = None
        self._stopping = asyncio.Event()
        self._kill_at = float("inf")
        self._deleted = self._gone = self._over = self._lost = False
        self._dirty = asyncio.Event()
        self._tasks = {asyncio.create_task(self._write())}
        self._life = asyncio.create_task(self._live())

    # What the kubelet tells it.

    def update(self, pod: Json) -> None:
        """It is so now in the API."""
        self.pod = pod
        if self.status.overruled(pod):
            self._touch()
        if "deletionTimestamp" in pod["metadata"]:
            grace = pod["metadata"].get("deletionGracePeriodSeconds", DEFAULT_GRACE)
            if not self._deleted and self._over:
                self._deleted = True
                self._tasks.add(asyncio.create_task(self._delete()))
            self._deleted = True
            self.stop(grace)

    def gone(self) -> None:
        """It is no longer in the API: nothing of it may go on."""
        self._gone = True
        self.stop(0)

    def stop(self, grace: float) -> None:
        """End all its containers. Again: only sooner."""
        self._stopping.set()
        now = asyncio.get_running_loop().time()
        self._kill_at = min(self._kill_at, now + grace)
        for container in self.containers:
            container.stop(self._kill_at - now)

    def kill(self) -> None:
        """As a crash of all its processes."""
        for container in self.containers:
            if container.process is not None:
                container.process.signal(signal.SIGKILL)

    async def ended(self) -> None:
        """Its processes are gone, and its folder."""
        await self._life
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for container in self.containers:
            container.drop()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._facts is not None:
            self._home.addresses.pop(self._facts.ip, None)

    @property
    def containers(self) -> list[Container]:
        return [*self._inits, *self._mains]

    @property
    def ip(self) -> str:
        return self._facts.ip if self._facts else ""

    # Its life.

    async def _live(self) -> None:
        if self.status.ended_before:
            self._over = True
        else:
            # An earlier runner's containers went with it.
            self._lost = self.status.ran_before and self._policy == "Never"
            try:
                if not self._lost:
                    await self._run()
            except _Stopped:
                pass
            except Exception:
                SAY.exception("pod %s/%s", self.namespace, self.name)
                self.stop(0)
            await self._end()
        if self._deleted and not self._gone:
            await self._delete()

    async def _run(self) -> None:
        self._touch()
        if deadline := self.pod["spec"].get("activeDeadlineSeconds"):
            self._tasks.add(asyncio.create_task(self._expire(float(deadline))))
        await self._pause(self._home.settings.slow_start)
        await self._sandbox()
        for container in self._inits:
            if not await self._init(container):
                return
        self.status.initialized = True
        self._touch()
        await asyncio.gather(*(self._keep(container) for container in self._mains))

    async def _sandbox(self) -> None:
        """Its address, its volumes, its hosts file."""
        settings = self._home.settings
        ip = self._home.address(self.uid)
        facts = spec.Facts(ip=ip, node=settings.node, allocatable=settings.allocatable())
        self.folder.mkdir(parents=True)
        volumes = Volumes(self.pod, self.folder / "volumes", facts, self._home.api, self._lookup)
        while True:
            try:
                await volumes.make()
                break
            except NotYet:
                await self._pause(settings.retry)
        self._facts, self._volumes = facts, volumes
        self._home.names.add(self.folder / "hosts", self.pod, ip)
        self.status.ip = ip
        self._touch()

    async def _init(self, container: Container) -> bool:
        """Until it has succeeded; False when it has failed for good."""
        once = self._policy == "Never"
        if await self._repeat(container, lambda code: code == 0 or once):
            self.status.failed = True
            return False
        container.ready = True
        self._touch()
        return True

    async def _keep(self, container: Container) -> None:
        policy = self._policy
        with contextlib.suppress(_Stopped):
            await self._repeat(
                container, lambda code: policy == "Never" or (policy == "OnFailure" and code == 0)
            )

    async def _repeat(self, container: Container, enough: Callable[[int], bool]) -> int:
        """Start it, with longer and longer pauses, until its exit code is enough; that code."""
        first, most = self._home.settings.backoff
        pause = 0.0
        while True:
            await self._once(container)
            self._touch()
            if self._stopping.is_set():
                raise _Stopped
            if enough(code := container.exit_code or 0):
                return code
            if pause:
                where = f"{self.name}_{self.namespace}({self.uid})"
                what = f"restarting failed container={container.name} pod={where}"
                container.wait("CrashLoopBackOff", f"back-off {pause:g}s {what}")
                self._touch()
                await self._pause(pause)
            pause = min(pause * 2, most) or first

    async def _once(self, container: Container) -> None:
        """Start it when all is there, and see it end."""
        plan = await self._plan(container)
        await self._home.api.open.wait()
        log = container.new_log()
        try:
            running = await process.start(plan, log)
        except process.NotStarted as error:
            log.drop()
            container.ended(128, "StartError", f"failed to create containerd task: {error}")
            return
        container.begin(running, log)
        if self._stopping.is_set():
            container.stop(self._kill_at - asyncio.get_running_loop().time())
        self._touch()
        pid, limit = running.pid, spec.memory_limit(container.spec)
        if limit and pid:
            self._home.memory.watch(pid, limit, container.out_of_memory)
        probes = asyncio.create_task(self._probes(container).run())
        code = await running.exited
        self._home.memory.forget(pid)
        probes.cancel()
        await asyncio.gather(probes, return_exceptions=True)
        shutil.rmtree(plan.stage, ignore_errors=True)
        container.ended(code)

    async def _plan(self, container: Container) -> process.Plan:
        """What to start, once its image and all that its configuration names is there."""
        assert self._facts and self._volumes
        while True:
            await self._image(container)
            try:
                rights = spec.rights(self.pod, container.spec)
                own = await spec.environment(self.pod, container.spec, self._facts, self._lookup)
            except spec.BadConfig as error:
                if container.wait("CreateContainerConfigError", str(error)):
                    self._touch()
            else:
                break
            await self._pause(self._home.settings.retry)
        name = spec.hostname(self.pod)
        base = {"PATH": f"{sys.prefix}/bin:{SEARCH}", "LANG": "C.UTF-8", "HOSTNAME": name}
        base["HOME"] = "/" if rights.user else "/root"
        env = base | own
        stage, message = container.folder / "stage", container.message_path
        stage.mkdir(parents=True, exist_ok=True)
        message.write_bytes(b"")
        message.chmod(0o666)
        told = container.spec.get("terminationMessagePath") or "/dev/termination-log"
        volumes = self._volumes.mounts(container.spec)
        return process.Plan(
            command=spec.command(container.spec, env) or ["/entrypoint-of-the-image-is-not-known"],
            env=env,
            hostname=name,
            stage=str(stage),
            mounts=[
                *volumes,
                *_uncovered(volumes),
                process.Mount(source=str(self.folder / "hosts"), target="/etc/hosts"),
                process.Mount(source=str(message), target=told),
            ],
            cwd=container.spec.get("workingDir") or "/",
            open=_open_folders(),
            read_only=rights.read_only,
            user=rights.user,
            group=rights.group,
            groups=rights.groups,
            drop=rights.drop,
            no_new_privs=rights.no_new_privs,
        )

    async def _image(self, container: Container) -> None:
        """Until there is such an image."""
        settings, image = self._home.settings, container.spec["image"]
        pause = settings.backoff[0]
        while not images.exists(image, settings.images):
            if not images.full_name(image):
                container.wait("InvalidImageName", images.invalid(image))
            elif container.spec.get("imagePullPolicy") == "Never":
                container.wait("ErrImageNeverPull", images.never(image))
            else:
                container.wait("ErrImagePull", images.not_found(image))
                self._touch()
                await self._pause(settings.retry)
                container.wait("ImagePullBackOff", images.back_off(image))
            self._touch()
            await self._pause(pause)
            pause = min(pause * 2, settings.backoff[1])

    def _probes(self, container: Container) -> Probes:
        def changed(started: bool, ready: bool) -> None:
            container.started, container.ready = started, ready
            self._touch()

        def failed(kind: str) -> None:
            probe = container.spec[f"{kind}Probe"]
            grace = self.pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE)
            container.stop(probe.get("terminationGracePeriodSeconds") or grace)

        async def execute(command: list[str], patience: float) -> bool:
            if container.process is None:
                return False
            entered = await enter(container.process, command)
            return await entered.wait() == 0

        gate = self._home.api.open
        return Probes(container.spec, self.ip, execute, gate, changed, failed)

    async def _expire(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._home.api.open.wait()
        self.status.verdict = {"reason": "DeadlineExceeded", "message": DEADLINE}
        self.stop(self.pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE))

    async def _end(self) -> None:
        """Say how it ended, once nothing of it runs."""
        await asyncio.gather(*(one.process.exited for one in self.containers if one.process))
        if self._stopping.is_set() or self._lost:
            for container in self.containers:
                container.lost()
        self.status.over = self._over = True
        self._home.names.drop(self.folder / "hosts")
        if self._volumes is not None:
            self._volumes.drop()
        if not self._gone:
            await self._send()

    async def _delete(self) -> None:
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        with contextlib.suppress(Refused):
            await self._home.api.surely("DELETE", self._path, body)

    # What the API server is told.

    def _touch(self) -> None:
        self._dirty.set()

    async def _write(self) -> None:
        while True:
            await self._dirty.wait()
            await self._send()

    async def _send(self) -> None:
        """Send the status as it is now, unless that is what was sent last."""
        async with self.status.sending:
            self._dirty.clear()
            if body := self.status.news(self._policy):
                try:
                    await self._home.api.patch(f"{self._path}/status", body)
                except Refused as refused:
                    if refused.code not in (404, 409):  # gone, which the watch will tell
                        SAY.warning("status of %s/%s: %s", self.namespace, self.name, refused)

    async def _lookup(self, kind: str, name: str) -> dict[str, bytes] | None:
        return await self._home.data(self.namespace, kind, name)

    async def _pause(self, seconds: float) -> None:
        """Raise `_Stopped` as soon as the pod is to end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        if self._stopping.is_set():
            raise _Stopped

    def find(self, name: str) -> Container | None:
        return next((one for one in self.containers if one.name == name), None)


class _Stopped(Exception):
    """The pod is to end; nothing more is started."""


def _uncovered(volumes: list[process.Mount]) -> list[process.Mount]:
    """The checkout and the interpreter, where a volume would hide them: both may lie below /tmp."""
    checkout = str(Path(__file__).resolve().parents[3])
    return [
        process.Mount(source=path, target=path, read_only=True)
        for path in sorted({checkout, sys.prefix})
        if any(Path(path).is_relative_to(each.target) for each in volumes)
    ]


def _open_folders() -> list[str]:
    """Folders that lead to the interpreter and to the project: a container's user need not be ours,
    and an image would hold both where anybody can read them."""
    found: set[Path] = set()
    for path in (Path(sys.prefix), Path(sys.base_prefix), PROJECT):
        for place in (path, path.resolve()):
            found.update(one for one in (place, *place.parents) if not one.stat().st_mode & 0o005)
    return [str(one) for one in sorted(found)]
