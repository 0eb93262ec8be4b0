"""The client against the API in memory: nouns, pages, errors, streams that break."""

from collections.abc import Iterator

import httpx
import pytest

from tests.unit.sdk.fake import Fake
from tradewind.base import errors
from tradewind.sdk import http as wire
from tradewind.sdk.client import Client


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def client(fake: Fake) -> Iterator[Client]:
    with fake.client() as made:
        yield made


def orders(count: int) -> list[dict[str, object]]:
    return [{"spec": {"kind": "function", "name": f"f{n}"}} for n in range(count)]


def test_runs_are_made_in_order_and_listed_page_by_page(client: Client) -> None:
    made = client.runs.create(orders(7))
    assert [run["name"] for run in made] == [f"f{n}" for n in range(7)]
    assert len(list(client.runs.list())) == 7
    assert [run["name"] for run in client.runs.list(limit=3)] == ["f6", "f5", "f4"]


def test_many_pages_are_read_as_one_list(
    client: Client, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradewind.sdk.runs.PAGE", 10)
    client.runs.create(orders(35))
    assert len(list(client.runs.list())) == 35
    assert len(list(client.runs.list(limit=25))) == 25
    assert fake.calls.count("GET /api/v1/runs") == 4 + 3


def test_a_lost_answer_makes_no_second_run(client: Client, fake: Fake) -> None:
    fake.fail_next = [errors.TryAgain("later", after=0.1)]
    client.runs.create(orders(1))
    client.runs.create([{**orders(1)[0], "request_key": "k"}])
    client.runs.create([{**orders(1)[0], "request_key": "k"}])
    assert len(fake.runs) == 2


def test_a_long_delay_is_the_callers_to_wait(client: Client, fake: Fake) -> None:
    fake.fail_next = [errors.TryAgain("full", after=60.0)]
    with pytest.raises(errors.TryAgain, match="full") as raised:
        client.pools.list()
    assert raised.value.after == 60.0


def test_a_blob_is_sent_once(client: Client, fake: Fake) -> None:
    digest = client.blobs.put(b"code")
    assert client.blobs.put(b"code") == digest
    assert [call.split("/")[0] for call in fake.calls] == ["HEAD ", "PUT "]
    assert fake.blobs[digest] == b"code"


def test_logs_go_on_at_the_next_byte_after_a_break(client: Client, fake: Fake) -> None:
    client.runs.create(orders(1))
    fake.logs = b"0123456789"
    fake.cut_logs_at = [4, 7]
    assert b"".join(client.runs.logs("r001", follow=True)) == b"0123456789"


def test_a_log_that_ends_before_its_run_is_followed_on(
    client: Client, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a server closes it that is told to end."""
    client.runs.create(orders(1))
    fake.logs = b"0123"
    states = iter(["running", "running", "succeeded"])

    def wait(*_: object) -> dict[str, str]:
        fake.logs += b"45"
        return {"state": next(states)}

    monkeypatch.setattr(fake, "_wait", wait)
    assert b"".join(client.runs.logs("r001", follow=True)) == b"0123454545"


def test_events_go_on_behind_the_last_seen_after_a_break(client: Client, fake: Fake) -> None:
    fake.events = [
        {"seq": n, "type": "run.accepted", "at": 1.0, "project": "p", "subject": "s", "new": 1}
        for n in range(1, 6)
    ]
    fake.cut_events_after = [2, 4]
    assert [event.seq for event in client.events.stream(after=0)] == [1, 2, 3, 4, 5]


def test_a_break_that_lasts_is_raised(client: Client, fake: Fake) -> None:
    client.runs.create(orders(1))
    fake.cut_logs_at = [0] * 20
    with pytest.raises(errors.Unreachable):
        list(client.runs.logs("r001", follow=True))


ERRORS = list(errors.BY_CODE.values())


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_of_the_tree_crosses_the_wire(kind: type[errors.TradewindError]) -> None:
    fake = Fake()
    sent = kind("what", hint="how", where=errors.Location("f.yaml", 3, 4, "name"), after=99.0)
    fake.fail_next = [sent]
    with pytest.raises(kind) as raised:
        fake.client().pools.list()
    assert raised.value.to_json() == sent.to_json()


def test_a_wrong_token_is_said(fake: Fake) -> None:
    with pytest.raises(errors.Unauthenticated):
        fake.client("wrong").pools.list()


def _everything(base: type[Exception]) -> Iterator[type[Exception]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _everything(kind)


TRANSPORT = sorted({*_everything(httpx.TransportError)}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", TRANSPORT, ids=lambda kind: kind.__name__)
def test_no_error_of_httpx_comes_through(kind: type[Exception]) -> None:
    with pytest.raises(errors.TradewindError) as raised, wire.mapped("http://here"):
        raise kind("text")
    assert "here" in raised.value.message


def test_no_server_says_what_to_do() -> None:
    client = Client("http://127.0.0.1:9")
    client.http.sleep = lambda seconds: None
    with pytest.raises(errors.Unreachable) as raised:
        client.pools.list()
    assert "tw up" in raised.value.hint
    with pytest.raises(errors.UserError, match="no URL"):
        Client("127.0.0.1").pools.list()


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, errors.Unauthenticated), (404, errors.NotFound), (418, errors.UserError),
     (500, errors.Broken), (502, errors.Unreachable)],
)  # fmt: skip
def test_an_answer_that_is_not_ours_is_mapped_by_its_status(
    status: int, kind: type[errors.TradewindError]
) -> None:
    request = httpx.Request("GET", "http://x/api/v1/pools")
    with pytest.raises(kind, match=str(status)):
        wire.raise_for(httpx.Response(status, text="<html>", request=request))


def test_names_are_quoted() -> None:
    assert wire.path_of("specs", "function", "a/b c") == "/api/v1/specs/function/a%2Fb%20c"


def test_nouns(client: Client) -> None:
    assert client.datasets.get("flights")["rows"] == 336776
    assert client.models.get("late")["aliases"] == {"best": 1}
    assert client.server.ready()
    assert client.server.login_url().startswith("http://127.0.0.1")
    assert client.quotes.ask({"kind": "function"})["id"] == "q1"
    assert client.quotes.render({"kind": "function"}, "p")[0]["pool"] == "p"
