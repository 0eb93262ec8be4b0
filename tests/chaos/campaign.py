"""The campaign itself: a load, kills at random moments, and what was counted of both."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.chaos import load, victims
from tradewind.base.errors import TradewindError, Unauthenticated
from tradewind.sdk import local
from tradewind.sdk.client import Client

Value = TypeVar("Value")

# How often each is chosen, while there is one.
WEIGHTS = {
    **{"task": 6, "supervisor": 6, "server": 5, "node": 5, "keeper": 4, "warm": 3},
    **{"helper": 4, "library": 2},
}
# A server that is starting is killed too, but seldom: else little else would ever be alive.
YOUNG, SPARED = 4.0, 0.85
# Two at the same moment: what one of them would have told of the other's death is lost too.
PAIRS = (("node", "supervisor"), ("server", "node"), ("supervisor", "keeper"), ("warm", "keeper"))
PAIRED = 0.12
ENDED = frozenset({"succeeded", "failed", "stopped"})
DRAIN_SECONDS = 240.0
# A call that took longer, restarts of the server included, is told.
SLOW = 15.0


@dataclass(frozen=True, slots=True)
class Kill:
    """One `kill -9`. `run`: whose process that was, if it was a run's."""

    at: float
    role: str
    pid: int
    run: str


@dataclass(slots=True)
class Submitted:
    """One run of the load."""

    seed: int
    key: str
    id: str = ""
    last: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Campaign:
    """Everything that happened."""

    folder: Path
    wanted: int
    seed: int
    width: int = 4
    pause: tuple[float, float] = (0.4, 3.0)
    say: Callable[[str], None] = lambda text: print(text, flush=True)
    mark: str = ""
    kills: list[Kill] = field(default_factory=list)
    runs: list[Submitted] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    restarted: float = 0.0
    slow: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    left: list[victims.Process] = field(default_factory=list)
    began: float = field(default_factory=time.time)
    _over: threading.Event = field(default_factory=threading.Event)
    _started: threading.Lock = field(default_factory=threading.Lock)

    @property
    def data(self) -> Path:
        """The server's data folder."""
        return self.folder / "data"

    @property
    def ledger(self) -> Path:
        """Where the steps write what they did."""
        return self.folder / "ledger.jsonl"

    # -- the server ------------------------------------------------------------------------------

    def ask(self, call: Callable[[Client], Value]) -> Value:
        """One call, as often as it takes; a server that was killed is started, as `tw` would."""
        began, told = time.monotonic(), ""
        until = began + 60
        while True:
            try:
                address = self._address()
                with Client(address.url, address.token) as client:
                    answer = call(client)
                if (waited := time.monotonic() - began) > SLOW:
                    self.slow.append(f"{waited:.0f} s until {time.time() - self.began:.0f}: {told}")
                return answer
            except TradewindError as error:
                told = str(error)
                # A server of somebody else may have taken the port of the one that was killed.
                ours = error.http_status >= 500 or isinstance(error, Unauthenticated)
                if not ours or time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def _address(self) -> local.Address:
        with self._started:
            began = time.monotonic()
            fresh: list[bool] = []

            def starting() -> None:
                fresh.append(True)
                self.restarted = time.time()

            address = local.ensure_server(self.data, on_start=starting)
            if fresh:
                self.restarted = time.time()
                self.restarts.append(time.monotonic() - began)
            return address

    # -- the load --------------------------------------------------------------------------------

    def _feed(self) -> None:
        """Keep `width` runs going until the kills are over, then wait for the last."""
        try:
            digest = self.ask(lambda client: client.blobs.put(load.packed()))
            inner = load.inner(digest, self.ledger)
            self.ask(lambda client: client.specs.apply([inner]))
            while not self._over.is_set() or not self.runs:
                while len(self._going()) < self.width:
                    self._submit(digest)
                self._look()
                time.sleep(0.2)
            until = time.monotonic() + DRAIN_SECONDS
            while self._going() and time.monotonic() < until:
                self._look()
                time.sleep(0.2)
        except BaseException as error:
            self.faults.append(f"the load broke off: {error!r}")
            raise

    def _submit(self, digest: str) -> None:
        run = Submitted(seed=len(self.runs) + 1, key=f"chaos-{self.seed}-{len(self.runs) + 1}")
        order = {"spec": load.outer(digest, self.ledger, run.seed), "request_key": run.key}
        run.id = self.ask(lambda client: client.runs.create([order]))[0]["id"]
        if run.seed % 3 == 0:  # an answer that was lost is asked for again
            again = self.ask(lambda client: client.runs.create([order]))[0]["id"]
            if again != run.id:
                self.faults.append(f"the same request made two runs: {run.id} and {again}")
        self.runs.append(run)

    def _look(self) -> None:
        for run in self._going():
            run.last = self.ask(lambda client, run=run: client.runs.wait(run.id, timeout=0))  # type: ignore[misc]

    def _going(self) -> list[Submitted]:
        return [run for run in self.runs if run.last.get("state") not in ENDED]

    # -- the kills -------------------------------------------------------------------------------

    def carry_out(self) -> None:
        """Load and kills, to the end of both."""
        os.environ[victims.MARK] = self.mark = f"{os.getpid()}-{self.seed}-{time.time():.0f}"
        chance = random.Random(self.seed)
        self._address()
        self.restarts.clear()
        feeder = threading.Thread(target=self._feed)
        feeder.start()
        try:
            time.sleep(1.0)
            while len(self.kills) < self.wanted and feeder.is_alive():
                time.sleep(chance.uniform(*self.pause))
                self._strike(chance)
                if self.kills and len(self.kills) % 20 == 0:
                    self.say(self._progress())
        finally:
            self._over.set()
            feeder.join()

    def _strike(self, chance: random.Random) -> None:
        found = victims.mine(self.mark)
        if time.time() - self.restarted < YOUNG and chance.random() < SPARED:
            found = [each for each in found if each.role != "server"]
        roles = [role for role in WEIGHTS if any(each.role == role for each in found)]
        if not roles:
            return
        chosen: tuple[str, ...] = chance.choice(PAIRS)
        if chance.random() > PAIRED:
            chosen = (chance.choices(roles, [WEIGHTS[role] for role in roles])[0],)
        targets = []
        for role in chosen:
            if some := [each for each in found if each.role == role]:
                targets.append(chance.choice(some))
        whose = [_run_of(target) for target in targets]
        for target, run in zip(targets, whose, strict=True):
            if len(self.kills) < self.wanted and victims.kill(target):
                self.kills.append(Kill(time.time(), target.role, target.pid, run))

    def _progress(self) -> str:
        ended = len(self.runs) - len(self._going())
        seconds = time.time() - self.began
        return f"  {len(self.kills)} kills, {ended} runs ended, {seconds:.0f} s"

    # -- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """End the server and the node, as their owner would; note what is left of them."""
        from tradewind.engines.local.client import Client as NodeClient

        local.stop_server(self.data)
        self.left = self._wait_for(lambda each: each.role not in {"node", "warm"})

        async def end_node() -> None:
            with contextlib.suppress(OSError, TradewindError):
                client = await NodeClient.connect(str(self.data / "node" / "node.sock"))
                await client.ask("shutdown", stop=False)
                await client.close()

        import asyncio

        asyncio.run(end_node())
        self.left += self._wait_for(lambda each: each not in self.left)

    def _wait_for(self, counts: Callable[[victims.Process], bool]) -> list[victims.Process]:
        """What still lives after a while, of those that count."""
        until = time.monotonic() + 8.0
        while True:
            living = [each for each in victims.mine(self.mark) if counts(each)]
            if not living or time.monotonic() > until:
                return living
            time.sleep(0.1)

    def sweep(self) -> None:
        """Kill whatever is left: the campaign leaves nothing of its own behind."""
        for process in victims.mine(self.mark):
            victims.kill(process)

    def by_role(self) -> Counter[str]:
        """Kills by victim."""
        return Counter(kill.role for kill in self.kills)


def _run_of(process: victims.Process) -> str:
    """The run whose placement this process serves, by what it has open."""
    places = [f"/proc/{process.pid}/cwd"]
    with contextlib.suppress(OSError):
        places += [f"/proc/{process.pid}/fd/{fd}" for fd in os.listdir(f"/proc/{process.pid}/fd")]
        kin = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        places += [f"/proc/{child}/cwd" for child in kin]
    for place in places if process.role not in {"server", "node", "warm"} else ():
        with contextlib.suppress(OSError):
            _, found, rest = os.readlink(place).partition("/attempts/")
            if found:
                return rest.partition("/")[0].partition("-")[0]
    return ""
