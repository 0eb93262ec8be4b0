"""The campaign itself: a load, kills, mostly amid launches, and what was seen of both."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.chaos.cluster import load
from tests.chaos.cluster.relay import Relay
from tests.chaos.cluster.witness import Witness
from tests.kube.home import Served, Site
from tradewind.base.errors import TradewindError, Unauthenticated
from tradewind.engines.kubernetes import names
from tradewind.sdk.client import Client

Value = TypeVar("Value")

ENDED = frozenset({"succeeded", "failed", "stopped"})
DRAIN_SECONDS = 420.0
# Most kills come so soon after a submission to a pool that is ready, the others at any time.
LAUNCHING, AFTER = 0.8, (0.0, 0.3)
PAUSE = (0.2, 2.0)
READY_SECONDS = 20.0
# What else goes wrong before a kill, and how often.
MISCHIEF = {"": 12, "pod": 3, "cut": 2, "swallow": 3}


@dataclass(slots=True)
class Submitted:
    """One run of the load."""

    seed: int
    sort: str
    key: str
    id: str = ""
    last: dict[str, Any] = field(default_factory=dict)
    log: bytes = b""
    seen: float = 0.0


@dataclass(slots=True)
class Campaign:
    """Everything that happened. `pods` counts the pods that were killed, by run."""

    site: Site
    served: Served
    relay: Relay
    witness: Witness
    wanted: int
    seed: int
    width: int = 4
    say: Callable[[str], None] = lambda text: print(text, flush=True)
    kills: list[float] = field(default_factory=list)
    mischief: Counter[str] = field(default_factory=Counter)
    pods: Counter[str] = field(default_factory=Counter)
    runs: list[Submitted] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.time)
    _digest: str = ""
    _over: threading.Event = field(default_factory=threading.Event)
    _one: threading.RLock = field(default_factory=threading.RLock)

    # -- the server ------------------------------------------------------------------------------

    def ask(self, call: Callable[[Client], Value]) -> Value:
        """One call, as often as it takes; a server that was killed is started, as `tw` would."""
        until = time.monotonic() + 60
        while True:
            try:
                address = self.served.start()
                with Client(address.url, address.token) as client:
                    return call(client)
            except TradewindError as error:
                if error.http_status < 500 and not isinstance(error, Unauthenticated):
                    raise
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    # -- the load --------------------------------------------------------------------------------

    def _feed(self, chance: random.Random) -> None:
        """Keep `width` runs going until the kills are over, then wait for the last."""
        try:
            while not self._over.is_set():
                if len(self.going()) < self.width:
                    self._submit(chance)
                self._look()
                time.sleep(0.2)
            until = time.monotonic() + DRAIN_SECONDS
            while self.going() and time.monotonic() < until:
                self._look()
                time.sleep(0.2)
        except BaseException as error:
            self.faults.append(f"the load broke off: {error!r}")
            raise

    def _submit(self, chance: random.Random) -> None:
        with self._one:
            seed = len(self.runs) + 1
            run = Submitted(seed, load.choose(chance), f"chaos-{self.seed}-{seed}")
            self.runs.append(run)
        document = load.spec(run.sort, seed, self._digest, self.witness.ledger)
        order = {"spec": document, "request_key": run.key}
        run.id = self.ask(lambda client: client.runs.create([order]))[0]["id"]

    def _look(self) -> None:
        for run in self.going():
            run.last = self.ask(lambda client, id=run.id: client.runs.wait(id, timeout=0))  # type: ignore[misc]
            if run.last["state"] in ENDED:
                run.seen = time.time()
                if run.sort == "single":
                    run.log = self.ask(lambda client, id=run.id: b"".join(client.runs.logs(id)))  # type: ignore[misc]

    def going(self) -> list[Submitted]:
        """What was accepted and has not been seen to end."""
        return [run for run in self.runs if run.id and run.last.get("state") not in ENDED]

    # -- the kills -------------------------------------------------------------------------------

    def carry_out(self) -> None:
        """Load and kills, to the end of both."""
        chance = random.Random(self.seed)
        self._digest = self.ask(lambda client: client.blobs.put(load.packed()))
        feeder = threading.Thread(target=self._feed, args=(random.Random(self.seed + 1),))
        feeder.start()
        try:
            while len(self.kills) < self.wanted and feeder.is_alive():
                time.sleep(chance.uniform(*PAUSE))
                self._break(chance)
                if len(self.going()) < 3 * self.width and chance.random() < LAUNCHING:
                    self._await_pool()
                    for _ in range(chance.randint(1, 3)):
                        self._submit(chance)
                    time.sleep(chance.uniform(*AFTER))
                self._strike()
                if self.kills and len(self.kills) % 10 == 0:
                    self.say(self._progress())
        finally:
            self._over.set()
            feeder.join()

    def _strike(self) -> None:
        if not self.served.kill():
            return
        self.kills.append(time.time())
        began = time.monotonic()
        self.ask(lambda client: client.server.status())
        self.restarts.append(time.monotonic() - began)

    def _await_pool(self) -> None:
        """Until it launches again; what breaks the connection may keep it from that for a while."""
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            [pool] = self.ask(lambda client: client.server.status())["pools"]
            if pool["state"] == "ready":
                return
            time.sleep(0.1)

    def _break(self, chance: random.Random) -> None:
        what = chance.choices(list(MISCHIEF), list(MISCHIEF.values()))[0]
        match what:
            case "pod":
                self._kill_pod(chance)
                return
            case "cut":
                self.relay.cut()
            case "swallow":
                self.relay.swallow(chance.uniform(0.2, 1.0))
        self.mischief[what] += 1

    def _kill_pod(self, chance: random.Random) -> None:
        running = sorted(self.witness.running(), key=lambda pod: str(pod["metadata"]["name"]))
        if not running:
            return
        pod = chance.choice(running)
        self.pods[pod["metadata"]["annotations"][names.RUN]] += 1
        with contextlib.suppress(LookupError):
            node = {each.settings.node: each for each in self.site.nodes}[pod["spec"]["nodeName"]]
            node.kill_pod(pod["metadata"]["name"])
            self.mischief["pod"] += 1

    def _progress(self) -> str:
        ended = sum(run.last.get("state") in ENDED for run in self.runs)
        seconds = time.time() - self.began
        return f"  {len(self.kills)} kills, {ended} of {len(self.runs)} runs ended, {seconds:.0f} s"
