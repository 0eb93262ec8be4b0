"""What people set wrong: each is an error of a kind that fits, with words that say what to do, and
leaves nothing behind."""

from __future__ import annotations

import asyncio
import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kube.puppet import ENDS, SPACE, USER, Plan, Site, role, site, surely, task
from tradewind.base.errors import (
    Conflict,
    InvalidSpec,
    NotFound,
    Refused,
    TradewindError,
    TryAgain,
    Unauthenticated,
    Unreachable,
)
from tradewind.engines.base import NoSuchPlace
from tradewind.engines.kubernetes import api, engine, hands, keep, lease, mirror
from tradewind.records.tasks import Array, Gang, Replicas, Resources, Stop
from tradewind.testing.engine_suite import Session, a_placement


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as found:
        yield found


def refused(here: Site, kind: type[TradewindError], **options: str) -> TradewindError:
    """What `begin` says, or the making of the engine."""

    async def begin() -> None:
        made = here.engine(**options)
        try:
            await made.begin()
        finally:
            await made.close()

    with pytest.raises(kind) as told:
        asyncio.run(begin())
    assert told.value.hint, told.value.message
    assert not here.left() or not here.double.url
    return told.value


# -- the way to the cluster ------------------------------------------------------------------------


def test_no_kubeconfig(here: Site) -> None:
    assert "/nowhere/config" in refused(here, NotFound, kubeconfig="/nowhere/config").message


@pytest.mark.parametrize(
    "text", ["{", "- 1", "just words", "contexts: 3", "", "\x00", "current-context: a"]
)
def test_a_file_that_is_no_kubeconfig(here: Site, tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken"
    path.write_text(text)
    assert str(path) in refused(here, InvalidSpec, kubeconfig=str(path)).message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("just words", "no clusters and contexts"),
        ("contexts: [{name: a, context: {cluster: c}}]", "names no clusters"),
        ("kind: Config", "names no clusters and no contexts"),
        (
            "{current-context: a, contexts: [{name: a, context: {cluster: c}}], "
            "clusters: [{name: d, cluster: {server: 'http://x'}}]}",
            "'c' is missing in it",
        ),
    ],
)
def test_words_for_a_file_that_is_no_kubeconfig(
    here: Site, tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "broken"
    path.write_text(text)
    assert words in refused(here, InvalidSpec, kubeconfig=str(path)).message


def test_a_folder_is_no_kubeconfig(here: Site, tmp_path: Path) -> None:
    told = refused(here, InvalidSpec, kubeconfig=str(tmp_path))
    assert "is a folder" in told.message and f"{tmp_path}/config" in told.hint


def test_a_cluster_that_wants_tls(here: Site) -> None:
    class Door(http.server.BaseHTTPRequestHandler):
        """As the door of a real one, which waits for TLS."""

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            words = b"Client sent an HTTP request to an HTTPS server.\n"
            self.send_response(400)
            self.send_header("Content-Length", str(len(words)))
            self.end_headers()
            self.wfile.write(words)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door) as door:
        serving = threading.Thread(target=door.serve_forever)
        serving.start()
        rewrite(here.kubeconfig, server=f"http://127.0.0.1:{door.server_port}")
        told = refused(here, Refused)
        door.shutdown()
        serving.join()
    assert "without TLS" in told.message and "https://" in told.hint


def test_a_context_that_is_not_there(here: Site) -> None:
    told = refused(here, InvalidSpec, context="other")
    assert "'other'" in told.message and "double" in told.hint


def test_nobody_at_that_address(here: Site) -> None:
    rewrite(here.kubeconfig, server="http://127.0.0.1:9")
    told = refused(here, Unreachable)
    assert "127.0.0.1:9" in told.message and "network" in told.hint


def rewrite(path: Path, *, token: str = "", server: str = "") -> None:
    told = yaml.safe_load(path.read_text("utf-8"))
    if token:
        told["users"][0]["user"]["token"] = token
    if server:
        told["clusters"][0]["cluster"]["server"] = server
    path.write_text(yaml.safe_dump(told), "utf-8")


def test_a_certificate_that_is_not_trusted(here: Site, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out",
         certificate, "-days", "1", "-subj", "/CN=127.0.0.1", "-addext",
         "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        rewrite(here.kubeconfig, server=f"https://127.0.0.1:{server.server_port}")
        told = refused(here, Unreachable)
        assert "not trusted" in told.message and "certificate-authority" in told.hint
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_what_is_no_cluster_at_all(here: Site) -> None:
    rewrite(here.kubeconfig, server=f"http://127.0.0.1:{here.puppet.port}")
    told = refused(here, TradewindError)
    assert "127.0.0.1" in told.message


# -- who we are ------------------------------------------------------------------------------------


def test_a_token_that_is_no_good(here: Site) -> None:
    rewrite(here.kubeconfig, token="old")
    assert "renew" in refused(here, Unauthenticated).hint


@pytest.mark.parametrize("where", ["kubeconfig", "file"])
def test_a_token_that_runs_out_and_is_renewed(
    here: Site, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(engine, "DEAF", 0.3)
    monkeypatch.setattr(mirror, "LONGEST", 0.3)
    token = here.folder / "token"
    if where == "file":
        told = yaml.safe_load(here.kubeconfig.read_text("utf-8"))
        token.write_text(told["users"][0]["user"].pop("token"))
        told["users"][0]["user"]["tokenFile"] = str(token)
        here.kubeconfig.write_text(yaml.safe_dump(told))

    async def test(session: Session) -> None:
        await session.launch(task("p1"))
        await session.reached("running")
        here.double.expire(USER)
        here.double.faults.cut()
        here.puppet.plan = lambda _: ENDS
        with pytest.raises(Unauthenticated):
            await session.until(lambda told: bool(told.ends()))
        with pytest.raises(TryAgain, match="sign-in"):
            await session.launch(task("p2"))
        fresh = here.double.token(USER)
        if where == "file":
            token.write_text(fresh)
        else:
            rewrite(here.kubeconfig, token=fresh)
        await surely(lambda: all(each.trouble is None for each in mirrors(session)))
        await session.launch(task("p2"))
        assert set((await session.end("p1", "p2")).ends().values()) == {"succeeded"}

    here.sit(test)
    here.empty()


def test_what_ends_while_nobody_is_signed_in_keeps_its_log(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod is still there: its log is late, not lost."""
    asked: list[str] = []
    copy = keep.Keeper._copy

    async def counted(self: keep.Keeper, pod: Any, to: str) -> None:
        asked.append(pod.name)
        await copy(self, pod, to)

    monkeypatch.setattr(keep.Keeper, "_copy", counted)
    monkeypatch.setattr(keep, "PATIENCE", 0.0)

    async def test(session: Session) -> None:
        await session.launch(task("p1"))
        await session.reached("running")
        here.double.expire(USER)
        here.puppet.plan = lambda _: ENDS
        # What is watched already goes on being told.
        await surely(lambda: asked)
        rewrite(here.kubeconfig, token=here.double.token(USER))
        assert (await session.end("p1")).ends() == {"p1": "succeeded"}
        said = session.engine.logs("p1", "main", 0, offset=0, follow=False)
        assert b"".join([part async for part in said]) == b"said\n"

    here.sit(test)
    here.empty()


def test_a_bad_sign_in_is_said_once(
    here: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By whatever tries again and again as long as it lasts."""
    for module, name in ((engine, "RENEW"), (engine, "AGAIN"), (mirror, "LONGEST")):
        monkeypatch.setattr(module, name, 0.05)
    tried: list[str] = []
    taken: list[str] = []
    obey, take = hands.Hands.obey, lease.Lease.take

    async def renewed(self: Any) -> None:
        taken.append("lease")
        await take(self)

    async def counted(self: Any, order: Any, track: Any) -> None:
        tried.append(order.do)
        await obey(self, order, track)

    monkeypatch.setattr(hands.Hands, "obey", counted)
    monkeypatch.setattr(lease.Lease, "take", renewed)

    async def test(session: Session) -> None:
        await session.launch(task("p1"))
        await session.reached("running")
        await session.engine.stop("p1", Stop())
        here.double.expire(USER)
        tried.clear()
        await surely(lambda: len(tried) > 5)
        here.double.faults.cut()
        await surely(lambda: all(isinstance(m.trouble, Unauthenticated) for m in mirrors(session)))
        taken.clear()
        await surely(lambda: len(taken) > 5)
        said = [each.getMessage() for each in caplog.records if "sign-in" in each.getMessage()]
        assert said and sorted(set(said)) == sorted(said)
        rewrite(here.kubeconfig, token=here.double.token(USER))
        # Until the lease is renewed, whoever observes is told of the sign-in.
        await surely(lambda: made(session)._lease.trouble is None)
        await session.end("p1")

    with caplog.at_level("INFO", "tradewind"):
        here.sit(test)
    here.empty()


def made(session: Session) -> Any:
    return session.engine


def mirrors(session: Session) -> Any:
    return made(session)._mirrors


# -- where it goes ---------------------------------------------------------------------------------


def test_a_namespace_that_is_not_there(here: Site) -> None:
    told = refused(here, NoSuchPlace, namespace="nowhere")
    assert "'nowhere'" in told.message and "create it" in told.hint


def going(here: Site, pods: bool = False) -> str:
    """A namespace that is being deleted, and takes its time."""
    name = "going"
    here.double.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    holds = {"name": "holds", "namespace": name, "finalizers": ["corp/hold"]}
    here.double.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": holds})
    return name


def test_a_namespace_that_is_being_deleted(here: Site) -> None:
    name = going(here)
    here.double.delete("namespaces", "", name)
    told = refused(here, Conflict, namespace=name)
    assert "being deleted" in told.message and "another" in told.hint


def test_a_namespace_is_deleted_under_way(here: Site) -> None:
    name = going(here)

    async def test(session: Session) -> None:
        await session.launch(task("p1"))
        await session.launch(task("p2", Array(count=2)))
        await session.launch(task("p3", Replicas(count=1)))
        await session.until(lambda told: len({each.placement for each in told}) == 3)
        here.double.delete("namespaces", "", name)
        with pytest.raises(Conflict, match="being deleted"):
            await session.launch(task("p4"))
        told = await session.end("p1", "p2", "p3")
        # Lost if it went before anybody saw why, else failed with the reason: never without an end.
        ends = told.ends()
        assert set(ends) == {"p1", "p2", "p3"} and set(ends.values()) <= {"lost", "failed"}
        for report in told:
            if report.kind == "placement" and ends[report.placement] == "failed":
                assert "being deleted" in report.body["reason"]["message"]

    here.sit(test, namespace=name)
    here.double.edit("configmaps", name, "holds", lambda obj: obj["metadata"].pop("finalizers"))


def test_a_request_that_no_machine_can_hold(here: Site) -> None:
    async def test(session: Session) -> None:
        much = Resources(cpu=5000.0, accelerators={"corp.com/gpu": 1})
        await session.launch(task("p1", resources=much))
        told = await session.until(lambda told: bool(told))
        assert told[0].body["why"] == "no machine has enough CPU and corp.com/gpu free now"
        assert "Insufficient" in told[0].body["native"]["message"]
        await session.engine.stop("p1", Stop())
        assert (await session.end("p1")).ends() == {"p1": "stopped"}

    here.sit(test)
    here.empty()


LONG = "飞" * 300


@pytest.mark.parametrize("shape", [Gang(least=2, most=2), Array(count=2), Replicas(count=1)])
def test_names_of_any_length_in_any_script(here: Site, shape: Any) -> None:
    async def test(session: Session) -> None:
        placed = a_placement("p1", role(shape, name=LONG[:60], ports=(LONG, "网页")))
        placed = replace(placed, task=replace(placed.task, name=LONG))
        await session.launch(placed)
        await session.until(lambda told: (1, "running") in told.states(0, LONG[:60]))
        assert list(await session.engine.known()) == ["p1"]
        await session.engine.stop("p1", Stop())
        await session.end("p1")

    here.sit(test, pool=LONG)
    here.empty()


# -- the image -------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [126, 127, 128])
@pytest.mark.parametrize("shape", [Gang(), Array(count=1)])
def test_an_image_without_us(here: Site, shape: Any, code: int) -> None:
    here.puppet.plan = lambda _: Plan(seconds=0.0, code=code, reason="StartError")

    async def test(session: Session) -> None:
        await session.launch(task("p1", shape))
        told = await session.end("p1")
        assert told.ends() == {"p1": "failed"} and told.reason()["reason"] == "environment"
        assert "corp/other:1" in told.reason()["message"] and "image" in told.reason()["hint"]

    here.sit(test, image="corp/other:1")
    here.empty()


@pytest.mark.parametrize("shape", [Gang(), Array(count=2), Replicas(count=2)])
def test_an_image_that_is_not_there(here: Site, shape: Any) -> None:
    here.puppet.pulls = 'failed to resolve reference "corp/none:1": not found'

    async def test(session: Session) -> None:
        await session.launch(task("p1", shape))
        told = await session.end("p1")
        assert told.ends() == {"p1": "failed"} and told.reason()["reason"] == "environment"
        assert "corp/none:1" in told.reason()["message"] and "image" in told.reason()["hint"]

    here.sit(test, image="corp/none:1")
    here.empty()


def test_the_patience_of_requests_is_bounded(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "PATIENCE", 0.3)

    async def test(session: Session) -> None:
        await session.engine.observe(0.0)
        here.double.faults.answer(503, times=1000, verb="create")
        with pytest.raises(Unreachable, match="cannot do this now"):
            await session.launch(task("p1"))

    here.sit(test)
    assert SPACE == "default" and not here.left()
