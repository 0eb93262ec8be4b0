"""One replica: the protocol, bad input, limits, and how it ends."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tradewind.base.errors import Conflict
from tradewind.kinds.service.work import Replica, bind
from tradewind.models.manifest import Column
from tradewind.models.package import Model, ModelArtifact, load

INPUTS = (
    Column(name="a", type="float64"),
    Column(name="b", type="float64", nullable=True),
    Column(name="kind", type="string", nullable=True),
)
PAYLOAD = {
    "link": "logit",
    "intercept": 0.0,
    "numbers": {
        name: {"fill": 0.0, "mean": 0.0, "scale": 1.0, "weight": weight}
        for name, weight in (("a", 1.0), ("b", -1.0))
    },
    "categories": {},
}
ROW = {"a": 2.0, "b": 1.0, "kind": "x"}
SCORE = 1 / (1 + np.exp(-1.0))


def save(folder: Path, inputs: tuple[Column, ...] = INPUTS) -> Path:
    made = ModelArtifact(format="linear", payload=PAYLOAD, inputs=inputs, answer="binary")
    made.save(folder)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load(save(tmp_path / "m"))


def ask(model: Model, method: str, path: str, *, token: str = "", **rest: Any) -> httpx.Response:
    replica = Replica(model, name="late", version="3", max_body=rest.pop("max_body", 100_000))

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=replica.app(token))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path, **rest)

    try:
        return asyncio.run(send())
    finally:
        replica.pool.shutdown()


def tensor(name: str, data: Any, **change: Any) -> dict[str, Any]:
    datatype = "BYTES" if name == "kind" else "FP64"
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data, **change}


def tensors(**change: Any) -> dict[str, Any]:
    data = {"a": [2.0, 0.0], "b": [1.0, None], "kind": ["x", None]}
    made = {name: tensor(name, values) for name, values in data.items()}
    return {"inputs": [{**one, **change.get(name, {})} for name, one in made.items()]}


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/v2", {"name": "tradewind"}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/late", {"name": "late", "versions": ["3"]}),
        ("/v2/models/late/versions/3", {"platform": "tradewind_linear"}),
        ("/v2/models/late/ready", {"ready": True}),
        ("/v2/models/late/versions/3/ready", {"name": "late"}),
    ],
)
def test_what_it_says_of_itself(model: Model, path: str, part: dict[str, Any]) -> None:
    answer = ask(model, "GET", path)
    assert answer.status_code == 200
    assert part.items() <= answer.json().items()


def test_metadata_names_the_tensors(model: Model) -> None:
    found = ask(model, "GET", "/v2/models/late").json()
    assert [(one["name"], one["datatype"]) for one in found["inputs"]] == [
        ("a", "FP64"), ("b", "FP64"), ("kind", "BYTES"),
    ]  # fmt: skip
    assert found["outputs"][0] == {"name": "score", "datatype": "FP64", "shape": [-1]}


@pytest.mark.parametrize("path", ["/v2/models/late/infer", "/v2/models/late/versions/3/infer"])
def test_infer(model: Model, path: str) -> None:
    answer = ask(model, "POST", path, json={"id": "q1", **tensors()})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["id"], body["model_name"], body["model_version"]) == ("q1", "late", "3")
    score, label = body["outputs"]
    assert score["data"] == pytest.approx([SCORE, 0.5]) and score["shape"] == [2]
    assert label == {"name": "label", "datatype": "BOOL", "shape": [2], "data": [True, True]}


def test_infer_gives_the_outputs_asked_for(model: Model) -> None:
    body = {**tensors(), "outputs": [{"name": "label"}]}
    found = ask(model, "POST", "/v2/models/late/infer", json=body).json()
    assert [one["name"] for one in found["outputs"]] == ["label"]


@pytest.mark.parametrize("datatype", ["FP32", "FP16", "INT8", "UINT64", "INT32"])
@pytest.mark.parametrize("data", [[2, 1, 0, 0], [[2, 1], [0, 0]]])
def test_a_matrix(tmp_path: Path, datatype: str, data: Any) -> None:
    model = load(save(tmp_path / "m", INPUTS[:2]))
    one = {"name": "any", "shape": [2, 2], "datatype": datatype, "data": data}
    found = ask(model, "POST", "/v2/models/late/infer", json={"inputs": [one]}).json()
    assert found["outputs"][0]["data"] == pytest.approx([SCORE, 0.5])


BAD_TENSORS: list[tuple[Any, str]] = [
    ([], "list of inputs"),
    ({"inputs": []}, "no inputs"),
    ({"inputs": [{"shape": [1]}]}, "an input with a name"),
    (tensors(a={"shape": [3]}), "holds 3 values, and data 2"),
    (tensors(a={"shape": [-1]}), "expected a shape"),
    (tensors(a={"shape": 2}), "expected a shape"),
    (tensors(a={"datatype": "FP128"}), "unknown datatype"),
    (tensors(a={"datatype": "BYTES"}), "expected BYTES, got 2.0"),
    (tensors(kind={"datatype": "FP64"}), "expected FP64, got 'x'"),
    (tensors(a={"datatype": "BOOL", "data": [True, False]}), "expected FP64, got BOOL"),
    (tensors(a={"datatype": "INT8", "data": [1, 300]}), "300 is no INT8"),
    (tensors(a={"datatype": "UINT8", "data": [1, -1]}), "-1 is no UINT8"),
    (tensors(a={"data": "2,0"}), "JSON list"),
    (tensors(a={"data": [[2.0], 0.0]}), "nested unevenly"),
    (tensors(a={"data": [None, 1.0]}), "row 0, 'a': expected float64, got null"),
    (tensors(a={"name": "aa"}), "no such column"),
    (tensors(a={"name": "b"}), "given twice"),
    ({"inputs": tensors()["inputs"][:2]}, ""),
    ({**tensors(), "outputs": [{"name": "odds"}]}, "no output 'odds'"),
    ({"inputs": [tensor("x", [1.0] * 6, shape=[2, 3])]}, "is string: expected BYTES, got FP64"),
    ({"inputs": [tensor("x", [1.0] * 4, shape=[2, 2])]}, "expected the shape [rows, 3]"),
]


@pytest.mark.parametrize(("body", "words"), BAD_TENSORS)
def test_infer_refuses(model: Model, body: Any, words: str) -> None:
    answer = ask(model, "POST", "/v2/models/late/infer", json=body)
    if not words:  # the column left out may be null
        assert answer.status_code == 200
        return
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_predict_answers_as_it_was_asked(model: Model) -> None:
    one = {"score": pytest.approx(SCORE), "label": True}
    assert ask(model, "POST", "/predict", json={"rows": [ROW, ROW]}).json()["predictions"] == [
        one, one,
    ]  # fmt: skip
    assert ask(model, "POST", "/predict", json=[ROW]).json()["predictions"] == [one]
    assert ask(model, "POST", "/predict", json=ROW).json()["prediction"] == one
    columns = {name: [value] for name, value in ROW.items()}
    found = ask(model, "POST", "/predict", json={"columns": columns}).json()
    assert found["outputs"]["score"] == [pytest.approx(SCORE)]
    found = ask(model, "POST", "/v1/models/late:predict", json={"instances": [ROW]}).json()
    assert found == {"predictions": [one]}


BAD_ROWS: list[tuple[bytes, int, str]] = [
    (b"", 400, "not JSON"),
    (b"{", 400, "not JSON"),
    (b'{"a": NaN, "b": 1, "kind": "x"}', 400, "not JSON"),
    (b'{"a": 1e999, "b": 1, "kind": "x"}', 400, "row 0, 'a': expected float64, got an infinite"),
    (b'\xff{"a": 1}', 400, "not JSON"),
    (b'"text"', 400, "one row as an object"),
    (b"[]", 400, "no rows"),
    (b'{"rows": []}', 400, "no rows"),
    (b'{"rows": [3]}', 400, "row 0: expected an object"),
    (b'{"b": 1, "kind": "x"}', 400, "'a': expected float64, got nothing"),
    (b'{"a": null, "b": 1, "kind": "x"}', 400, "'a': expected float64, got null"),
    (b'{"a": "2", "b": 1, "kind": "x"}', 400, "expected float64, got text '2'"),
    (b'{"aa": 2, "a": 1, "b": 1, "kind": "x"}', 400, "did you mean 'a'?"),
    (b'{"columns": {"a": 1}}', 400, "expected a list of values"),
    (b'{"columns": {"a": [1, 2], "b": [1]}}', 400, "expected 2 values, got 1"),
    (b"[" * 5000, 400, "not JSON"),
    (b'{"rows": [' + b" " * 200_000 + b"]}", 413, "larger than 100000 bytes"),
]


@pytest.mark.parametrize(("body", "status", "words"), BAD_ROWS)
def test_predict_refuses(model: Model, body: bytes, status: int, words: str) -> None:
    answer = ask(model, "POST", "/predict", content=body)
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/late/versions/4", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("POST", "/v2/models/late/versions/4/infer", 404),
        ("GET", "/predict", 405),
        ("POST", "/v2", 405),
    ],
)
def test_what_is_not_here(model: Model, method: str, path: str, status: int) -> None:
    answer = ask(model, method, path, json={} if method == "POST" else None)
    assert answer.status_code == status
    assert isinstance(answer.json()["error"], str)


def test_the_token(model: Model) -> None:
    def status(path: str, given: str | None) -> int:
        headers = {} if given is None else {"authorization": given}
        return ask(model, "GET", path, token="s3cret", headers=headers).status_code

    assert status("/v2/health/ready", None) == 200
    assert status("/v2", None) == status("/v2", "Bearer wrong") == status("/v2", "s3cret") == 401
    assert status("/metrics", None) == 401
    assert status("/v2", "Bearer s3cret") == 200


def test_a_failing_model_is_not_the_callers_fault(model: Model) -> None:
    def fail(columns: Any) -> Any:
        raise RuntimeError("out of luck")

    broken = Model(model.manifest, None, fail)
    answer = ask(broken, "POST", "/predict", json=ROW)
    assert answer.status_code == 500
    assert "out of luck" in answer.json()["error"]


def test_too_many_requests_are_told_to_come_again(model: Model) -> None:
    gate = threading.Event()

    def slow(columns: Any) -> Any:
        gate.wait()
        return {"": np.zeros(1)}

    replica = Replica(Model(model.manifest, None, slow), name="late", version="3", threads=1)
    replica.most = 2

    async def flood() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=replica.app())
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            tasks = [asyncio.create_task(client.post("/predict", json=ROW)) for _ in range(3)]
            while not any(task.done() for task in tasks):
                await asyncio.sleep(0)
            assert (await client.get("/v2/health/live")).status_code == 200
            gate.set()
            return [await task for task in tasks]

    answers = asyncio.run(flood())
    replica.pool.shutdown()
    assert sorted(one.status_code for one in answers) == [200, 200, 503]
    refused = next(one for one in answers if one.status_code == 503)
    assert refused.headers["retry-after"] == "1"


def test_metrics(model: Model) -> None:
    replica = Replica(model, name="late", version="3")

    async def send() -> str:
        transport = httpx.ASGITransport(app=replica.app())
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            await client.post("/predict", json={"rows": [ROW, ROW]})
            await client.post("/predict", json={"rows": 1})
            return (await client.get("/metrics")).text

    text = asyncio.run(send())
    replica.pool.shutdown()
    label = '{model_name="late",model_version="3"}'
    assert f"request_predict_seconds_count{label} 1.0" in text
    assert f"predicted_rows_total{label} 2.0" in text
    assert 'rest_server_requests_total{path="/predict",status_code="400"} 1.0' in text


def test_a_taken_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Conflict, match="cannot listen on"):
            bind("127.0.0.1", taken.getsockname()[1])


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A replica as the supervisor starts it, and its address."""
    command = [sys.executable, "-m", "tradewind.kinds.service.work", "--name", "late"]
    environment = {**os.environ, "TRADEWIND_SERVICE_MAX_BODY": "100000", "PORT": "0"}
    with subprocess.Popen(
        [*command, str(save(tmp_path / "m"))],
        stdout=subprocess.PIPE, text=True, env=environment,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        line = running.stdout.readline()
        yield running, line.partition(" answers on ")[2].partition(" ")[0]
        running.kill()


def test_it_finishes_what_was_begun(process: tuple[subprocess.Popen[str], str]) -> None:
    running, address = process
    port = int(address.rpartition(":")[2])
    with httpx.Client(base_url=address) as client:
        assert client.get("/v2/health/ready").json() == {"ready": True}
        # The body is read to its end, so that the sender gets the reason and no broken pipe.
        assert client.post("/predict", content=b" " * 10_000_000).status_code == 413
    with socket.create_connection(("127.0.0.1", port)) as begun:
        body = b'{"a": 2, "b": 1, "kind": null}'
        begun.sendall(
            b"POST /predict HTTP/1.1\r\nhost: here\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        begun.sendall(body[:5])
        time.sleep(0.2)  # until the request has reached the replica: there is no other sign of it
        running.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        begun.sendall(body[5:])
        assert b"200 OK" in begun.recv(4096)
    assert running.wait(10) == 0
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass


LIGHT = """
import sys
from pathlib import Path
from tradewind.kinds.service.work import load_light
print(load_light(Path(sys.argv[1])).predict_rows([{"a": 1.0, "b": None}])["score"][0])
assert not {"pandas", "sklearn"} & set(sys.modules)
import sklearn  # hidden for a while, and not for good
"""


def test_a_booster_is_served_without_what_it_does_not_need(tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    rows = np.random.default_rng(0).normal(size=(200, 2))
    booster = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1},
        lightgbm.Dataset(rows, rows[:, 0] > 0),
        5,
    )
    ModelArtifact(format="lightgbm", payload=booster, inputs=INPUTS[:2], answer="binary").save(
        tmp_path / "m"
    )
    command = [sys.executable, "-c", LIGHT, str(tmp_path / "m")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = booster.predict(np.array([[1.0, np.nan]]), num_threads=1)[0]
    assert float(done.stdout) == pytest.approx(expected)
