"""What goes wrong on real machines, tried through the API of a real server: clear errors, no loss.

`docs/faults.md` tells operators the same. The long campaign is `tests/chaos`.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chaos import victims
from tests.chaos.campaign import Campaign
from tests.chaos.verdict import judge
from tests.road.place import Json, Place, eventually, gone, packed
from tests.road.town import Town, failure, function, in_town, value
from tradewind.base import errors
from tradewind.blobs.folder import FolderBlobs
from tradewind.cli import serve as serving
from tradewind.engines.local import daemon
from tradewind.records.states import RunState
from tradewind.sdk import local
from tradewind.supervisor import layout

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    os.environ[victims.MARK] = f"faults-{os.getpid()}"
    made = Place(tmp_path_factory.mktemp("faults") / "data")
    try:
        yield made
    finally:
        made.close()
        del os.environ[victims.MARK]


# --- the server ---------------------------------------------------------------------------------


def serve(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*local.server_command(data), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_port_that_is_taken_is_an_error_only_if_it_was_asked_for(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        said = serve(tmp_path / "data", "--port", str(port))
    assert said.returncode == errors.Conflict("").exit_status
    assert f"cannot listen on 127.0.0.1:{port}" in said.stderr
    assert "--port" in said.stderr and "Traceback" not in said.stderr


def test_a_second_server_on_a_folder_is_refused_and_the_first_goes_on(place: Place) -> None:
    said = serve(place.data)
    assert said.returncode == errors.Conflict("").exit_status
    assert str(place.data) in said.stderr and "tw status" in said.stderr
    assert "Traceback" not in said.stderr
    assert place.run(place.function("fine"))["state"] == "succeeded"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Content-Type": "text/plain"}, 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 400),
        ({"Authorization": ""}, 401),
        ({"Authorization": "", "Cookie": "tradewind=guessed"}, 401),
    ],
)
def test_a_page_of_another_origin_starts_nothing(
    place: Place, headers: dict[str, str], status: int
) -> None:
    before = len(list(place.client.runs.list()))
    body = json.dumps({"runs": [{"spec": place.function("fine")}]})
    given = {"Authorization": f"Bearer {place.address.token}", "Content-Type": "application/json"}
    answer = httpx.post(
        f"{place.address.url}/api/v1/runs", content=body, headers={**given, **headers}
    )
    assert answer.status_code == status
    assert {"code", "message"} <= answer.json()["error"].keys()
    assert len(list(place.client.runs.list())) == before


# --- code that travels --------------------------------------------------------------------------


def hostile(*members: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        text = b"def fine():\n    return 1\n"
        good = tarfile.TarInfo("code.py")
        good.size = len(text)
        tar.addfile(good, io.BytesIO(text))
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.size = 4 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "members",
    [
        (member("../escaped"),),
        (member("a/../../escaped"),),
        (member("out", tarfile.SYMTYPE, "/etc"), member("out/escaped")),
        (member("out", tarfile.SYMTYPE, "../../.."), member("out/escaped")),
        (member("passwd", tarfile.LNKTYPE, "/etc/passwd"),),
        (member("device", tarfile.CHRTYPE),),
    ],
    ids=["up", "down-and-up", "link-away", "link-up", "hard-link", "device"],
)
def test_a_bundle_that_leads_out_is_refused(
    place: Place, members: tuple[tarfile.TarInfo, ...]
) -> None:
    code = place.client.blobs.put(hostile(*members))
    error = place.fails(place.function("fine") | {"bundle": code})
    assert error["code"] == "user_error" and error["reason"] == "input"
    assert "bundle" in error["message"] and "Error" not in error["message"]
    assert not list(place.data.rglob("escaped")) and not Path("/etc/escaped").exists()
    assert place.run(place.function("fine"))["state"] == "succeeded"


def test_code_that_is_no_archive_is_the_users_error(place: Place) -> None:
    code = place.client.blobs.put(b"no archive at all")
    error = place.fails(place.function("fine") | {"bundle": code})
    assert error["code"] == "invalid_data" and error["hint"]
    assert "archive" in error["message"] and "\n" not in error["message"]


# --- data -----------------------------------------------------------------------------------------

GOOD = b"flight,delay\nUA1,5\nAA2,\n"


def source(path: Path, **more: Any) -> Json:
    return {"kind": "dataset", "name": "delays", "source": {"path": str(path), **more}}


def test_bad_data_is_told_with_its_place_and_leaves_the_old_version(
    place: Place, tmp_path: Path
) -> None:
    def file(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    made = place.run(source(file("good.csv", GOOD)))
    assert made["state"] == "succeeded", made
    bad = {
        "wrong schema": source(
            file("text.csv", b"flight,delay\nUA1,late\n"), schema={"delay": "int64"}
        ),
        "missing column": source(file("less.csv", b"flight\nUA1\n"), schema={"delay": "int64"}),
        "empty": source(file("empty.csv", b"")),
        "not utf-8": source(file("latin.csv", b"flight,delay\nM\xfcnchen,5\n")),
        "ragged": source(file("ragged.csv", b"flight,delay\nUA1,5,7\nAA2,6\n")),
        "no parquet": source(file("broken.parquet", b"PAR1 and nothing else")),
        "missing": source(tmp_path / "nowhere.csv"),
    }
    runs = {name: place.start(document) for name, document in bad.items()}
    for name, run in runs.items():
        ended = place.end(run)
        assert ended["state"] == "failed", (name, ended)
        error = ended["error"]
        assert error["code"] == ("not_found" if name == "missing" else "invalid_data"), error
        assert str(tmp_path) in error["message"] and "\n" not in error["message"], error
        assert error.get("hint") or name == "no parquet", (name, error)
        said = b"".join(place.client.runs.logs(run)).decode()
        assert "Traceback" not in said + str(error.get("traceback", "")), (name, said)
        assert name == "missing" or str(tmp_path) in said
    assert [each["number"] for each in versions(place, "delays")] == [1]


def versions(place: Place, name: str) -> list[Json]:
    found = place.client.datasets.get(name)["versions"]
    return [each if isinstance(each, dict) else {"number": each} for each in found]


def test_no_rows_and_columns_of_nulls_are_data(place: Place, tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_bytes(b"flight,delay\n")
    (tmp_path / "null.csv").write_bytes(b"flight,delay\nUA1,\nAA2,\n")
    for name, rows in (("none", 0), ("null", 2)):
        document = {"kind": "dataset", "name": name, "source": str(tmp_path / f"{name}.csv")}
        made = place.run(document)
        assert made["state"] == "succeeded", made
        assert made["result"]["output"]["rows"] == rows
        read = place.run(place.function("rows", input={"table": name}))
        assert (read["state"], read["result"]["output"].get("value")) == ("succeeded", rows), read


def test_a_dataset_that_is_not_there_is_named_with_the_nearest(
    place: Place, tmp_path: Path
) -> None:
    (tmp_path / "planes.csv").write_bytes(GOOD)
    document = {"kind": "dataset", "name": "planes", "source": str(tmp_path / "planes.csv")}
    assert place.run(document)["state"] == "succeeded"
    error = place.fails(place.function("rows", input={"table": "plains"}))
    assert error["code"] == "not_found"
    assert "plains" in error["message"] and "planes" in error["hint"]
    assert place.fails(place.function("rows", input={"table": "planes@9"}))["code"] == "not_found"


# --- tasks ----------------------------------------------------------------------------------------


def test_daemons_end_with_their_task(place: Place, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    ended = place.run(place.function("daemons", params={"pids": str(pids)}))
    assert ended["state"] == "succeeded", ended
    left = [int(line) for line in pids.read_text().split()]
    assert len(left) == 3 and all(gone(pid) for pid in left)


def test_a_task_that_ignores_sigterm_is_stopped(place: Place, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    run = place.start(place.function("stubborn", params={"ready": str(ready)}))
    assert eventually(ready.exists)
    place.client.runs.stop(run)
    assert place.end(run)["state"] == "stopped"


def test_any_bytes_may_be_written_and_none(place: Place) -> None:
    binary, silent = place.start(place.function("binary")), place.start(place.function("silent"))
    assert place.end(binary)["state"] == place.end(silent)["state"] == "succeeded"
    assert b"".join(place.client.runs.logs(binary)) == bytes(range(256))
    assert b"".join(place.client.runs.logs(silent)) == b""


def test_a_task_over_its_memory_is_told_how_much_it_used(place: Place) -> None:
    error = place.fails(place.function("eats", resources={"memory": "200MiB"}))
    assert error["reason"] == "memory" and "200" in error["message"] and error["hint"]
    error = place.fails(place.function("eats_without_limit"))
    assert error["reason"] == "memory" and "memory" in error["message"] and error["hint"]
    assert place.run(place.function("fine"))["state"] == "succeeded"


# --- the disk -------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB that is nobody else's."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


@pytest.mark.root
def test_a_full_disk_is_told_and_recovered_from(small_disk: Path) -> None:
    place = Place(small_disk / "data")
    try:
        assert place.run(place.function("fine"))["state"] == "succeeded"
        error = place.fails(place.function("large", params={"megabytes": 60}))
        assert "full" in error["message"] or "No space" in error["message"], error
        # The disk fills up while a server runs: what is accepted ends, what is not says why.
        filler = small_disk / "filler"
        fill(filler)
        try:
            ended = place.end(place.start(place.function("wide", params={"rows": 1000})))
            assert ended["state"] == "failed"
            told = ended["error"]
        except errors.TradewindError as refused:
            told = refused.to_json()
        assert any(word in told["message"] for word in ("full", "No space")), told
        assert told["hint"], told
        filler.unlink()
        again = place.run(place.function("wide", params={"rows": 1000}))
        assert again["state"] == "succeeded", again
        live = [
            each
            for each in place.client.runs.list()
            if each["state"] not in ("succeeded", "failed")
        ]
        assert not live
    finally:
        place.close()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


# --- time -----------------------------------------------------------------------------------------


@in_town
async def test_a_clock_that_is_set_back_holds_nobody_up(town: Town) -> None:
    assert (await town.result(function("earlier"))).state is RunState.SUCCEEDED
    run = await town.submit(function("fine"))  # due by the old time
    town.clock.jump(-7200.0)
    other = await town.submit(function("other"))
    for _ in range(20):
        await town.turn()
    await town.settle(600.0)
    assert town.run(run).state is RunState.SUCCEEDED
    assert town.run(other).state is RunState.SUCCEEDED


@in_town
async def test_a_clock_that_is_set_back_during_a_pause_does_not_prolong_it(town: Town) -> None:
    tries = iter([failure()])
    town.act("once", lambda *_: next(tries, value(1)))
    run = await town.submit(function("once", retries={"max": 5, "backoff": "10s", "factor": 1}))
    while town.run(run).tries == 0:
        if not await town.turn():
            town.clock.advance(1.0)
    assert town.run(run).state is RunState.QUEUED
    town.clock.jump(-7200.0)
    await town.turn()
    await town.settle(600.0)
    assert town.run(run).state is RunState.SUCCEEDED


@in_town
async def test_a_clock_that_is_set_forward_loses_nothing(town: Town) -> None:
    run = await town.submit(function("fine"))
    await town.until(run, RunState.RUNNING)
    town.clock.jump(30 * 86400.0)
    await town.settle(600.0)
    found = town.run(run)
    assert found.state is RunState.SUCCEEDED and found.losses == 0


# --- kills ----------------------------------------------------------------------------------------


def test_a_server_that_dies_before_it_is_ready_is_replaced_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying, fresh = local.Running("http://127.0.0.1:1", 1), local.Running("http://127.0.0.1:2", 2)
    seen = iter([dying, dying, dying])
    monkeypatch.setattr(local, "running", lambda _folder: next(seen, None))
    monkeypatch.setattr(local, "_answers", lambda url: url == fresh.url)
    monkeypatch.setattr(local, "_start", lambda *_: fresh)
    monkeypatch.setattr(local, "read_token", lambda _folder: "token")
    assert local.ensure_server(tmp_path, timeout=5.0).url == fresh.url


def test_a_server_that_is_killed_while_it_writes_its_token_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_bytes: int) -> str:
        raise SystemExit(137)

    with monkeypatch.context() as killed:
        killed.setattr("tradewind.cli.serve.secrets.token_urlsafe", die)
        with pytest.raises(SystemExit):
            serving._token(tmp_path)
    assert len(serving._token(tmp_path)) >= 20


@in_town
async def test_the_code_of_an_accepted_run_survives_loss_of_power_as_the_run_does(
    town: Town,
) -> None:
    assert isinstance(town.here.blobs, FolderBlobs) and town.here.blobs.durable


def test_a_node_that_is_killed_while_it_starts_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = layout.Layout(str(tmp_path))

    def instead(code: str) -> None:
        command = [sys.executable, "-c", code]
        monkeypatch.setattr(daemon, "command", lambda *_: command)

    instead(f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})")
    with pytest.raises(errors.Unreachable):
        asyncio.run(daemon.start(places, sys.executable, {}))
    instead("raise SystemExit('there is no room')")
    with pytest.raises(errors.Broken, match="there is no room"):
        asyncio.run(daemon.start(places, sys.executable, {}))


@pytest.mark.parametrize("role", ["helper", "library"])
def test_who_is_killed_while_storing_an_output_is_not_the_users_fault(
    place: Place, role: str
) -> None:
    name = f"stored-{role}"
    run = place.start(place.function("wide", params={"rows": 10}, output=name))
    killed: list[int] = []

    def strike() -> bool:
        mark = os.environ[victims.MARK]
        killed.extend(
            each.pid for each in victims.mine(mark) if each.role == role and victims.kill(each)
        )
        return bool(killed)

    assert eventually(strike)
    ended = place.end(run)
    assert ended["state"] == "succeeded" and ended["tries"] == 0, ended
    assert [each["number"] for each in versions(place, name)] == [1]


@pytest.mark.parametrize("program", [True, False], ids=["program", "fork"])
def test_nothing_outlives_all_who_watched_over_it(
    place: Place, tmp_path: Path, program: bool
) -> None:
    pids = tmp_path / "pids"
    run = place.start(place.function("leaves", params={"pids": str(pids), "program": program}))
    assert eventually(pids.exists)
    watchers = [
        each
        for each in victims.mine(os.environ[victims.MARK])
        if each.role in {"node", "supervisor", "keeper", "warm"}
    ]
    assert {each.role for each in watchers} == {"node", "supervisor", "keeper", "warm"}
    for each in watchers:
        os.kill(each.pid, signal.SIGSTOP)
    for each in watchers:
        os.kill(each.pid, signal.SIGKILL)
    assert place.end(run)["result"]["output"]["value"] == "again"
    assert eventually(lambda: all(gone(int(pid)) for pid in pids.read_text().split()))


def test_a_short_campaign_of_kills_loses_and_doubles_nothing(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, wanted=6, seed=3, width=1, pause=(0.1, 0.6), say=lambda _: None)
    before = os.environ.get(victims.MARK)
    try:
        campaign.carry_out()
        campaign.close()
    finally:
        campaign.sweep()
        if before is not None:
            os.environ[victims.MARK] = before
    verdict = judge(campaign)
    assert len(campaign.kills) == 6 and verdict.runs
    assert not verdict.violated, verdict


# --- what commits a table -----------------------------------------------------------------------

HELD = """
import pathlib, time

def held(data):
    folder = pathlib.Path(FOLDER)
    (folder / "begun").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    if (folder / "fail").exists():
        raise ValueError("as ordered")
    return data
"""


def committers(role: str) -> list[victims.Process]:
    """Who waits for a table to commit: the process of the library, or who began it."""
    return [each for each in victims.mine(os.environ[victims.MARK]) if each.role == role]


def holding(place: Place, folder: Path) -> str:
    """A run that makes a table, has begun to commit it, and goes on until it is told."""
    folder.mkdir()
    (folder / "few.csv").write_text("k\n1\n2\n")
    place.run({"kind": "dataset", "name": "few", "source": str(folder / "few.csv")})
    code = HELD.replace("FOLDER", repr(str(folder)))
    run = place.start({
        "kind": "function", "name": "held", "entry": "late.py:held", "style": "batch",
        "bundle": place.client.blobs.put(packed({"late.py": code})),
        "input": {"data": "few"}, "backend": "duckdb",
    })  # fmt: skip
    assert eventually(lambda: bool(committers("library")))
    return run


@pytest.mark.parametrize("role", ["helper", "library"])
def test_a_commit_that_was_begun_ahead_and_killed_is_begun_again(
    place: Place, tmp_path: Path, role: str
) -> None:
    run = holding(place, tmp_path / "held")
    assert all(victims.kill(each) for each in committers(role))
    # The library ends with who began it.
    assert eventually(lambda: not committers(role) + committers("library"))
    (tmp_path / "held" / "go").touch()
    made = place.end(run)
    assert made["state"] == "succeeded" and made["result"]["output"]["rows"] == 2
    assert not committers("library")


def test_a_commit_that_was_begun_ahead_goes_with_a_run_that_fails(
    place: Place, tmp_path: Path
) -> None:
    run = holding(place, tmp_path / "failing")
    (tmp_path / "failing" / "fail").touch()
    (tmp_path / "failing" / "go").touch()
    assert place.end(run)["error"]["code"] == "user_error"
    assert eventually(lambda: not committers("helper") + committers("library"))
