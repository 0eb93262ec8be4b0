"""Patience and the termination message, without processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pod.pods import TOKEN, Server
from tradewind.pod import alone, ending
from tradewind.pod.desk import LONGEST, PATIENCE, Away, Desk, Refused
from tradewind.pod.stage import needed
from tradewind.supervisor import roles


class Clock:
    now = 1000.0

    def sleep(self, seconds: float) -> None:
        assert 0.2 <= seconds <= LONGEST
        self.now += seconds

    def time(self) -> float:
        return self.now


@contextmanager
def desk(server: str, clock: Clock) -> Iterator[Desk]:
    made = Desk(server, TOKEN, "pod-1", clock.sleep, clock.time)
    yield made
    made.close()


def test_patience_has_an_end_and_words(server: Server) -> None:
    clock = Clock()
    server.down.add("GET work")
    with desk(server.url, clock) as asked, pytest.raises(Away) as caught:
        asked.work()
    assert PATIENCE <= clock.now - 1000.0 <= PATIENCE + LONGEST
    words = f"the server at {server.url} cannot be reached from where the task runs ("
    assert str(caught.value).startswith(words)
    assert str(caught.value).endswith("; its operator sets `server:` in the pool's options")


@pytest.mark.parametrize("address", ["", "no-url", "http://x:y"])
def test_an_address_that_is_none_is_said_at_once(address: str) -> None:
    with pytest.raises(Refused, match="no address"), desk(address, Clock()):
        pass


def test_a_server_that_is_not_ours_is_said_at_once(server: Server) -> None:
    server.work = {"hello": 1}
    with desk(server.url, Clock()) as asked, pytest.raises(Refused, match="no Tradewind server"):
        asked.work()
    server.answers["GET work"] = 302
    with desk(server.url, Clock()) as asked, pytest.raises(Refused, match="sends us on"):
        asked.work()


def test_a_server_that_is_never_ready_says_what_it_said(server: Server) -> None:
    server.answers["GET work"] = 503
    with desk(server.url, Clock()) as asked, pytest.raises(Away, match="the test says so"):
        asked.work()


def test_patience_counts_from_the_end_of_the_unit(server: Server) -> None:
    clock = Clock()
    server.down.add("POST facts")
    with desk(server.url, clock) as told, pytest.raises(Away):
        told.patience_from = 1500.0
        told.post([])
    assert clock.now >= 1500.0 + PATIENCE


HALVES = st.text(st.characters(codec=None, categories=["L", "Cc", "Cs", "So"]), max_size=20)


@given(message=HALVES, times=st.integers(1, 10_000))
def test_every_end_fits(message: str, times: int) -> None:
    message *= times
    ended = {"reason": "error", "message": message, "traceback": message}
    whole = {"state": "failed", "at": 1.5, "exit": ended}
    made = ending.short(whole, "sha256:" + "0" * 64)
    assert len(ending.encode(made)) <= ending.MOST
    assert json.loads(ending.encode(made)) == made
    kept = made["exit"]["message"].removesuffix(" …")
    assert message.startswith(kept)
    assert made["exit"]["reason"] == "error"


def test_each_state_has_its_status() -> None:
    assert ending.STATUS == {"succeeded": 0, "failed": 1, "stopped": 143, "lost": 75}


def test_an_elastic_gang_of_one_knows_where_to_meet() -> None:
    role = {"shape": {"shape": "gang", "least": 1, "most": 4}}
    made = alone.variables(role, {"rank": 0, "width": 1}, "10.0.0.7")
    assert (made["MASTER_ADDR"], made["WORLD_SIZE"]) == ("10.0.0.7", "1")
    role["shape"]["most"] = 1
    assert "MASTER_ADDR" not in alone.variables(role, {"rank": 0, "width": 1}, "10.0.0.7")


class OnePort:
    def port(self) -> int:
        return 20_001


def test_on_a_machine_of_its_own_a_task_listens_for_that_alone() -> None:
    role = {"ports": ["http"], "shape": {"shape": "replicas"}}
    port, env = roles.named_ports(cast(roles.Host, OnePort()), role)
    assert (port, env["HOST"], env["PORT"]) == (20_001, "127.0.0.1", "20001")


def test_only_what_is_a_blob_is_fetched() -> None:
    inputs = {
        "table": {"kind": "table", "digest": "content", "files": ["a", "b"]},
        "value": {"kind": "value", "digest": "of-json", "value": 1},
        "model": {"kind": "folder", "digest": "names", "files": ["c"], "meta": {"paths": ["x"]}},
        "folder": {"kind": "folder", "digest": "archive", "files": [], "meta": {}},
        "file": {"kind": "file", "digest": "d", "files": []},
    }
    request = {"bundle": "code", "environment": {"digest": "e", "lock": "lock"},
               "roles": [{"inputs": inputs}]}  # fmt: skip
    assert needed(request) == ["a", "archive", "b", "c", "code", "d", "lock"]
