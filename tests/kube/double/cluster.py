"""The double itself: a control plane in a thread, with handles for tests."""

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.kube.double.access import ADMIN, Access, Call, Rule, Token
from tests.kube.double.admission import Admission, Webhook
from tests.kube.double.api import Api
from tests.kube.double.clock import Clock
from tests.kube.double.controllers import everything
from tests.kube.double.controllers.loop import Loop
from tests.kube.double.faults import Faults
from tests.kube.double.objects import Object, name_of, namespace_of
from tests.kube.double.registry import Registry
from tests.kube.double.resources import BY_KIND, NAMESPACES, PODS, RESOURCES, Resource
from tests.kube.double.settings import Settings
from tests.kube.double.storage import Storage
from tests.kube.double.watch import Watches
from tests.kube.double.wire import Server

T = TypeVar("T")


class Double:
    """One cluster without nodes. Its handles may be used from any thread.

    `settings`  how patient its controllers are
    `clock`     its time; `clock.advance(seconds)` moves it on
    `faults`    what goes wrong between it and its clients
    `rules`     what users other than administrators and nodes may do; None: everything
    `calls`     each authorised call so far
    `webhooks`  admission webhooks
    """

    def __init__(
        self, *, namespaces: tuple[str, ...] = ("default",), history: int = 100_000,
        **settings: float,
    ) -> None:  # fmt: skip
        self.clock, self.settings = Clock(), Settings(**settings)
        self.faults = Faults()
        self._storage = Storage(history)
        self._admission = Admission(self._storage)
        self._registry = Registry(self._storage, self.clock, self._admission)
        self._access = Access(self.clock)
        self._watches = Watches(self._storage, self.clock)
        self._api = Api(self._registry, self._access, self.faults, self._watches)
        controllers = everything(self._registry, self.settings)
        self._controllers = Loop(self._storage, self.clock, controllers)
        self._server = Server(self._api.handle)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.url = ""
        self.faults.cut = lambda: self._do(self._watches.cut)
        self.faults.refuse = lambda: self._await(self._server.close)
        self.faults.accept = lambda: self._await(self._server.open)
        for name in ("kube-system", "kube-node-lease", *namespaces):
            self._registry.create(NAMESPACES, {"metadata": {"name": name}})
        self._controllers.settle()

    # Running

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        """Serves in a thread of its own; yields the URL. Raises what went wrong inside."""
        ready = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._main(ready)), name="double")
        thread.start()
        ready.wait()
        try:
            yield self.url
        finally:
            self._do(self._stop.set)
            thread.join()
            self._loop = None
        if self._controllers.errors:
            raise AssertionError("a controller broke:\n" + "\n".join(self._controllers.errors))

    async def _main(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        controllers = asyncio.create_task(self._controllers.run())
        await self._server.open()
        self.url = f"http://127.0.0.1:{self._server.port}"
        ready.set()
        await self._stop.wait()
        controllers.cancel()
        await self._server.close()
        await asyncio.gather(controllers, return_exceptions=True)

    def _do(self, what: Callable[[], T]) -> T:
        """Runs something in the server's thread, or here while there is none."""
        if self._loop is None:
            return what()

        async def run() -> T:
            return what()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def _await(self, what: Callable[[], Any]) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(what(), self._loop).result(30)

    # Who may do what

    @property
    def rules(self) -> list[Rule] | None:
        return self._access.rules

    @rules.setter
    def rules(self, rules: list[Rule] | None) -> None:
        self._access.rules = rules

    @property
    def calls(self) -> list[Call]:
        return list(self._access.calls)

    def forget_calls(self) -> None:
        self._access.calls.clear()

    def token(self, user: str = ADMIN, *, seconds: float | None = None) -> str:
        """Returns a new token of a user; after `seconds` it is good no more."""
        text = secrets.token_hex(12)
        ends = None if seconds is None else self.clock.now() + seconds
        self._access.tokens[text] = Token(user, ends)
        return text

    def expire(self, user: str) -> None:
        """Makes all tokens of a user that exist now worthless."""
        for token in list(self._access.tokens.values()):
            if token.user == user:
                token.ends = self.clock.now()

    def kubeconfig(
        self, path: Path, *, user: str = ADMIN, namespace: str = "default",
        context: str = "double", token: str = "",
    ) -> Path:  # fmt: skip
        """Writes a kubeconfig file; without a token, one that never ends."""
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": context,
            "clusters": [{"name": "double", "cluster": {"server": self.url}}],
            "users": [{"name": user, "user": {"token": token or self.token(user)}}],
            "contexts": [{
                "name": context,
                "context": {"cluster": "double", "user": user, "namespace": namespace},
            }],
        }  # fmt: skip
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return path

    # What goes on inside

    @property
    def webhooks(self) -> list[Webhook]:
        return self._admission.webhooks

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return self._watches.count

    @property
    def version(self) -> int:
        return self._storage.version

    def compact(self) -> None:
        """Forgets the history: whoever resumes from before now is told 410."""
        self._do(lambda: self._storage.compact(self._storage.version))

    def gone_inside(self, inside: bool) -> None:
        """Whether 410 comes inside a watch, as from the real one, or as its answer."""
        self._api.gone_inside = inside

    def bookmarks(self, every: float) -> None:
        self._watches.bookmark_seconds = every

    def pause(self, paused: bool = True) -> None:
        """Stops all controllers, or lets them go on."""
        self._controllers.paused = paused
        self._do(self._controllers.poke)

    def objects(self, plural: str, namespace: str = "") -> list[Object]:
        """Returns all objects of a resource, sorted by name; not to be changed."""
        resource = _resource(plural)
        rows = self._do(lambda: self._storage.all(resource, namespace))
        return sorted(rows, key=lambda row: (namespace_of(row), name_of(row)))

    def object(self, plural: str, namespace: str, name: str) -> Object | None:
        return self._do(lambda: self._storage.get(_resource(plural), namespace, name))

    def create(self, obj: Object) -> Object:
        """Creates an object past all users' rights."""
        resource = BY_KIND[obj["apiVersion"], obj["kind"]]
        if resource.namespaced:
            obj = {**obj, "metadata": {"namespace": "default", **obj["metadata"]}}
        return self._do(lambda: self._registry.create(resource, obj))

    def edit(
        self, plural: str, namespace: str, name: str, change: Callable[[Object], None],
        subresource: str = "",
    ) -> Object | None:  # fmt: skip
        """Changes an object past all users' rights and the rules of its kind."""
        resource = _resource(plural)

        def run() -> Object | None:
            old = self._registry.get(resource, namespace, name)
            return self._registry.edit(resource, old, change, subresource)

        return self._do(run)

    def delete(self, plural: str, namespace: str, name: str, **options: Any) -> None:
        resource = _resource(plural)
        options.setdefault("propagationPolicy", "Background")
        self._do(lambda: self._registry.delete(resource, namespace, name, options))

    def pods(self, namespace: str = "") -> list[Object]:
        return self.objects(PODS.plural, namespace)


def _resource(plural: str) -> Resource:
    return next(one for one in RESOURCES if one.plural == plural)
