"""Every verb against the API in memory."""

import base64
import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.cli.conftest import Tw
from tests.unit.sdk.fake import Fake
from tradewind.base.errors import NotFound
from tradewind.sdk import catalog, local
from tradewind.sdk.http import Http

FUNCTION = "kind: function\nname: clean\nentry: code.py:clean\n"


@pytest.fixture(autouse=True)
def folder(fake: Fake) -> Path:
    Path("train.py").write_text("print(1)")
    Path("code.py").write_text("def clean(flights, rate=0.1, mode=None): ...")
    Path("clean.yaml").write_text(FUNCTION)
    Path("flights.csv").write_text("a\n1\n")
    return Path.cwd()


def spec_of(fake: Fake, number: int = 1) -> dict[str, Any]:
    document = dict(fake.runs[f"r{number:03}"]["spec"])
    document.pop("bundle", None)
    return document


def test_run_a_script_with_its_arguments(tw: Tw, fake: Fake) -> None:
    said = tw("run", "train.py", "one", "--performance", "1h", "--", "--epochs", "3")
    assert said.status == 0
    assert spec_of(fake) == {"kind": "training", "name": "train", "entry": "train.py",
                             "args": ["one", "--epochs", "3"], "performance": "1h"}  # fmt: skip
    assert said.out == "one\ntwo\n42\n"
    assert "train succeeded in 1.5s, $0.0020" in said.err


def test_run_a_spec_with_everything(tw: Tw, fake: Fake, folder: Path) -> None:
    said = tw("run", "clean.yaml", "--data", "flights=flights.csv", "--param", "rate=0.5",
              "--param", "mode=fast", "--budget", "$2", "--availability", "region",
              "--consistency", "soft", "--output", "tidy", "--name", "other", "--pool", "p",
              "--queue", "q", "--quote", "q1", "-o", "json")  # fmt: skip
    assert said.status == 0
    assert spec_of(fake) == {
        "kind": "function", "name": "other", "entry": "code.py:clean", "budget": "$2",
        "availability": "region", "consistency": "soft", "queue": "q", "pool": "p",
        "params": {"rate": 0.5, "mode": "fast"}, "output": "tidy",
        "input": {"flights": str(folder / "flights.csv")},
    }  # fmt: skip
    body = json.loads(said.out)
    assert body["quote"] == "q1" and body["results"]["output"]["value"] == 42


@pytest.mark.parametrize(
    ("field", "value"), [("performance", "-1s"), ("budget", "-$1"), ("budget", "-.5")]
)
def test_an_amount_below_nothing_is_told_as_what_it_is(tw: Tw, field: str, value: str) -> None:
    said = tw("run", "clean.yaml", f"--{field}", value)
    assert said.status == 2
    assert f"{field}: expected " in said.err and "more than nothing" in said.err


def test_an_input_without_a_name(tw: Tw, fake: Fake) -> None:
    tw("run", "clean.yaml", "--data", "flights")
    assert spec_of(fake)["input"] == {"data": "flights"}
    assert "two inputs" in tw("run", "clean.yaml", "--data", "a", "--data", "b").err


def test_a_failed_run_is_status_1(tw: Tw, fake: Fake) -> None:
    error = {"code": "user_error", "message": "division by zero", "type": "ZeroDivisionError",
             "hint": "look", "traceback": "Traceback\n  File train.py\n"}  # fmt: skip
    fake.outcome = lambda document: {"state": "failed", "error": error}
    said = tw("run", "train.py")
    assert said.status == 1
    assert said.err.endswith(
        "  File train.py\nerror: train failed (r001): ZeroDivisionError: division by zero\n  look\n"
    )
    assert json.loads(tw("run", "train.py", "-o", "json").out)["state"] == "failed"
    # What the run has printed itself is not said again.
    fake.logs = error["traceback"].encode()
    assert "File" not in tw("run", "train.py").err


def test_a_function_that_returned_nothing_is_told_in_the_last_line(tw: Tw, fake: Fake) -> None:
    assert "returned nothing" not in tw("run", "clean.yaml").err
    fake.result = {"output": {"kind": "json", "value": None}}
    assert "$0.0020; it returned nothing, so there is no dataset" in tw("run", "clean.yaml").err
    assert "returned nothing" not in tw("run", "train.py").err


def test_detached(tw: Tw, fake: Fake) -> None:
    said = tw("run", "train.py", "--detach")
    assert (said.status, said.out) == (0, "r001\n")
    assert "tw stop r001" in said.err
    assert fake.runs["r001"]["state"] == "accepted"


def test_detached_says_what_it_may_wait_for(tw: Tw) -> None:
    assert "tw approve" not in tw("run", "clean.yaml", "-d").err
    Path("clean.yaml").write_text(FUNCTION + "value: $0.02\n")
    said = tw("run", "clean.yaml", "-d").err
    assert "more than its value, $0.02, it waits for `tw approve r002`" in said


def test_detached_says_which_steps_it_may_wait_for(tw: Tw) -> None:
    steps = "kind: pipeline\nname: flow\nsteps: [{name: a, uses: function/clean}]\n"
    Path("flow.yaml").write_text(FUNCTION + "---\n" + steps)
    assert "tw approve" not in tw("run", "flow.yaml", "-d").err
    Path("flow.yaml").write_text(FUNCTION + "value: $0.02\n---\n" + steps)
    said = tw("run", "flow.yaml", "-d").err.splitlines()[-1]
    assert "if step a is expected to cost more than its value, it waits for `tw approve`;" in said
    assert "`tw describe r002` says of which run" in said
    Path("clean.yaml").write_text(FUNCTION + "value: $0.02\n")
    tw("apply", "clean.yaml")
    Path("flow.yaml").write_text(steps.replace("}]", "}, {name: b, uses: function/clean}]"))
    assert "if step a or b is" in tw("run", "flow.yaml", "-d").err


def test_ctrl_c_detaches(tw: Tw, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: object, body: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tradewind.cli.follow.Plain.update", interrupt)
    said = tw("run", "train.py")
    assert said.status == 130
    assert "goes on as r001" in said.err and "`tw stop r001` stops it" in said.err
    assert fake.runs["r001"]["state"] == "accepted"


def test_arguments_for_what_takes_none(tw: Tw) -> None:
    said = tw("run", "clean.yaml", "extra")
    assert said.status == 2
    assert "--param" in said.err


FLOW = """
import tradewind as tw

@tw.function
def once(n): return n

@tw.pipeline
def flow(n: int = 1):
    return once(n)
"""
STORED = """
kind: pipeline
name: flow
params: {n: 1}
steps:
  - {name: once, uses: {kind: function, entry: "code.py:clean"}, params: {n: $params.n}}
"""


@pytest.mark.parametrize(("name", "text"), [("flow.py", FLOW), ("flow2.yaml", STORED)])
def test_a_parameter_that_a_pipeline_has_not(tw: Tw, name: str, text: str) -> None:
    Path(name).write_text(text)
    said = tw("run", name, "--param", "m=2")
    assert said.status == 2
    assert "the pipeline flow has no parameter 'm'" in said.err and "its parameters: n" in said.err


def test_a_located_error_of_a_spec(tw: Tw) -> None:
    Path("bad.yaml").write_text(FUNCTION + "performence: 60s\n")
    said = tw("run", "bad.yaml")
    assert said.status == 2
    assert "bad.yaml:4:1" in said.err and "performance" in said.err


def test_datasets_of_the_same_file_are_imported_first(tw: Tw, fake: Fake) -> None:
    Path("both.yaml").write_text(
        "kind: dataset\nname: flights\nsource: flights.csv\n---\n"
        + FUNCTION
        + "input: {flights: flights}\n"
    )
    assert tw("run", "both.yaml").status == 0
    assert [spec_of(fake, n)["kind"] for n in (1, 2)] == ["dataset", "function"]


def test_quote_plan_render(tw: Tw) -> None:
    assert "q1" in tw("quote", "clean.yaml").out
    assert "$0.0010 ≤ $0.0020" in tw("quote", "clean.yaml").out
    assert "unknown" in tw("plan", "clean.yaml").out
    assert json.loads(tw("render", "clean.yaml", "--pool", "p").out)["pool"] == "p"
    for verb in ("quote", "plan", "render"):
        json.loads(tw(verb, "clean.yaml", "-o", "json").out)


def test_objects_are_rendered_as_their_own_tools_read_them(
    tw: Tw, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = [{"kind": "Secret", "data": {"token": "…"}}, {"kind": "Job"}]
    answer = {"requests": [{"engine": "far", "objects": objects}], "later": {"last": "too early"}}
    monkeypatch.setattr(Fake, "_render", lambda *_: answer)
    said = tw("render", "clean.yaml")
    assert list(yaml.safe_load_all(said.out)) == objects and said.out.startswith("---\n")
    assert "not shown: last: too early" in said.err
    assert json.loads(tw("render", "clean.yaml", "-o", "json").out) == answer["requests"]


def test_a_pool_shows_its_state_and_what_is_wrong(tw: Tw, monkeypatch: pytest.MonkeyPatch) -> None:
    amount = {"cpu": 8.0, "memory": 16 << 30}
    wrong = {"code": "unreachable", "message": "no answer", "hint": "look at the network"}
    pools = [
        {"name": "far", "engine": "clouds", "state": "trouble", "machines": 2, "capacity": amount,
         "largest": amount, "used": {"cpu": 1.0}, "price": 10**9, "error": wrong,
         "options": {"region": "north"}},
        {"name": "b", "engine": "clouds", "state": "elsewhere", "server": "host7"},
    ]  # fmt: skip
    monkeypatch.setattr(Fake, "_pools", lambda *_: pools)
    said = tw("get", "pools").out
    assert "production" not in said
    assert "trouble" in said and "no answer" in said and "8 cores, 16 GiB" in said
    assert "on host7" in said
    said = tw("describe", "pool/far").out
    for words in ("trouble", "look at the network", "$1.00 an hour", "north"):
        assert words in said
    monkeypatch.setattr(Fake, "_status", lambda *_: {"pools": pools})
    said = tw("status").out
    assert "far (clouds, trouble, 2 machines, 8 cores, 16 GiB, 1 core in use, $1.00" in said
    assert "no answer" in said and "look at the network" in said


def test_nothing_is_a_price_and_what_is_not_known_is_none(
    tw: Tw, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = {"name": "far", "engine": "clouds", "state": "ready", "machines": 2, "price": 0}
    for known, shown in ((pool, "$0.00/h"), ({**pool, "machines": 0}, "-")):
        monkeypatch.setattr(Fake, "_pools", lambda *_, known=known: [known])
        assert tw("get", "pools").out.splitlines()[1].split()[-2] == shown
        assert ("$0.00 an hour" in tw("describe", "pool/far").out) == (shown != "-")
    fake.outcome = lambda document: {"state": "succeeded", "price": 0}
    assert "clean succeeded in 1.5s, $0.00\n" in tw("run", "clean.yaml").err
    assert "$0.00" in tw("get", "runs").out
    assert "$0.00" in tw("describe", "r001").out


def test_a_comparison_with_a_run_that_is_none_is_marked(
    tw: Tw, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"run": "r2", "name": "f", "state": "succeeded", "buckets": [], "files": [], "steps": [],
            "note": "", "against": {"run": "r1", "before": 5, "now": 6, "words": "the same",
                                    "lines": [], "notes": ["r1 failed"]}}  # fmt: skip
    monkeypatch.setattr("tradewind.sdk.runs.Runs.cost", lambda *_, **__: body)
    said = tw("cost", "r2", "--against", "r1").out
    assert said.index("note: r1 failed\n") < said.index("against r1: ")


def test_describe_tells_what_the_engine_itself_said(tw: Tw, fake: Fake) -> None:
    [run] = fake.client().runs.create([{"spec": yaml.safe_load(FUNCTION)}])
    exit_ = {"reason": "waiting", "message": "no room",
             "native": {"reason": "Full", "message": "0 of 3"}}  # fmt: skip
    fake.runs[run["id"]]["attempts"] = [
        {"role": "main", "index": 0, "number": 1, "state": "preparing", "exit": exit_}
    ]
    said = tw("describe", run["id"]).out
    assert "waiting: no room" in said and "Full: 0 of 3" in said


def test_describe_says_what_to_do_about_a_pool_that_holds_a_run_up(tw: Tw, fake: Fake) -> None:
    [run] = fake.client().runs.create([{"spec": yaml.safe_load(FUNCTION)}])
    told = {"waiting": "pool 'far': cannot be reached", "waiting_hint": "look at the network"}
    fake.runs[run["id"]] |= {"state": "queued", **told}
    said = tw("describe", run["id"]).out
    assert all(words in said for words in told.values())


def test_describe_numbers_tries_over_the_whole_run(tw: Tw, fake: Fake) -> None:
    [run] = fake.client().runs.create([{"spec": yaml.safe_load(FUNCTION)}])
    fake.runs[run["id"]]["attempts"] = [
        {"role": "main", "index": 0, "number": 1, "try": n, "state": state, "stale": n == 1}
        for n, state in ((1, "running"), (2, "succeeded"))
    ]
    rows = tw("describe", run["id"]).out.partition("attempts")[2].splitlines()[2:]
    assert [row.split()[:3] for row in rows] == [
        ["main[0]", "1", "running"], ["main[0]", "2", "succeeded"]
    ]  # fmt: skip
    assert "running (superseded)" in rows[0]


def test_what_a_run_notes_is_shown(tw: Tw, fake: Fake) -> None:
    fake.outcome = lambda document: {"state": "succeeded", "notes": ["it never held"]}
    assert "note: it never held" in tw("run", "train.py").err
    assert "it never held" in tw("describe", "r001").out


def test_a_service_shows_how_many_of_its_replicas_are_ready_and_why_not(tw: Tw, fake: Fake) -> None:
    [run] = fake.client().runs.create([{"spec": {"kind": "service", "name": "web"}}])
    words = "0 of 2 ready: no module named 'x'"
    fake.runs[run["id"]] |= {"state": "running", "waiting": words}
    fake.services = [{"name": "web", "state": "running", "replicas": [], "width": 2,
                      "why": "no module named 'x'"}]  # fmt: skip
    assert words in tw("get", "runs").out and words in tw("describe", run["id"]).out
    for said in (tw("get", "services").out, tw("status").out):
        assert "0 of 2" in said and "no module named 'x'" in said
    assert json.loads(tw("status", "-o", "json").out)["services"] == fake.services


def test_exec_passes_output_and_status_on(
    tw: Tw, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def lines(_: Any, path: str, body: Any) -> Any:
        asked.append((path, body))
        for part in ("ä".encode()[:1], "ä".encode()[1:] + b"\n"):
            yield {"data": base64.b64encode(part).decode()}
        yield {"exit": 7}

    monkeypatch.setattr(Http, "lines", lines)
    said = tw("exec", "r001", "--role", "worker", "--index", "2", "--", "ls", "-l")
    assert (said.status, said.out) == (7, "ä\n")
    body = {"command": ["ls", "-l"], "role": "worker", "index": 2}
    assert asked == [("/api/v1/runs/r001/exec", body)]
    assert json.loads(tw("exec", "r001", "-o", "json", "--", "ls").out) == {
        "output": "ä\n",
        "exit": 7,
    }
    assert tw("exec", "r001").status == 2


def test_bundle(tw: Tw) -> None:
    Path(".env").write_text("SECRET=1")
    said = tw("bundle")
    assert "train.py" in said.out and "may hold secrets" in said.out
    body = json.loads(tw("bundle", "train.py", "-o", "json").out)
    assert {"path": ".env", "reason": "may hold secrets"} in body["stays"]
    assert body["digest"].startswith("sha256:")
    assert tw("bundle", "absent").status == 2


@pytest.mark.parametrize("noun", ["runs", "run", "datasets", "models", "services", "pools",
                                  "specs", "functions", "queue"])  # fmt: skip
def test_get(tw: Tw, noun: str) -> None:
    tw("run", "train.py", "-d")
    assert tw("get", noun).status == 0
    assert isinstance(json.loads(tw("get", noun, "-o", "json").out), list)
    assert tw("get", noun, "-o", "yaml").status == 0


def test_get_what_is_not(tw: Tw) -> None:
    assert "did you mean datasets?" in tw("get", "datsets").err


def test_describe(tw: Tw, fake: Fake) -> None:
    fake.result = {}
    tw("run", "train.py")
    assert "succeeded" in tw("describe", "r001").out
    assert "336,776" in tw("describe", "dataset/flights").out
    assert "best → 1" in tw("describe", "model", "late").out
    tw("apply", "clean.yaml")
    assert "entry: code.py:clean" in tw("describe", "function/clean").out
    assert "local" in tw("describe", "pool/local").out
    assert json.loads(tw("describe", "r001", "-o", "json").out)["id"] == "r001"
    assert tw("describe", "nothing").status == 2
    fake.runs["r001"]["promise"] = {"seconds": 60.0, "price": 10**7, "outcome": "kept"}
    assert "promise" in (said := tw("describe", "r001").out) and "within 1m for at most" in said
    assert ": kept" in said


def test_logs(tw: Tw) -> None:
    tw("run", "train.py", "-d")
    assert tw("logs", "r001", "-f").out == "one\ntwo\n"
    said = tw("logs", "r001", "-o", "json")
    assert [json.loads(line)["line"] for line in said.out.splitlines()] == ["one", "two"]


def test_attach_wait_stop_delete(tw: Tw, fake: Fake) -> None:
    for _ in range(3):
        tw("run", "train.py", "-d")
    assert tw("attach", "r001").status == 0
    assert "r001" in tw("wait", "r001", "r002").out
    assert "stopped" in tw("stop", "r003").out
    assert tw("wait", "r003").status == 1
    assert tw("delete", "r003").status == 0
    assert "r003" not in fake.runs
    assert "no run" in tw("delete", "r003").err
    tw("run", "train.py", "-d")
    assert tw("wait", "r003", "--timeout", "0s").status == 4
    assert tw("wait", "r003", "--timeout", "soon").status == 2


@pytest.mark.parametrize("kind", ["dataset", "model"])
def test_versions_stay_and_that_is_said(
    tw: Tw, fake: Fake, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"name": "late", "versions": [{"number": 1}, {"number": 2}]}
    monkeypatch.setattr(Fake, f"_{kind}", lambda *_: body)
    for thing in (f"{kind}/late", f"{kind}s/late", f"{kind}/late@2"):
        said = tw("delete", thing)
        assert (said.status, said.out) == (2, "")
        assert "no stored spec" in said.err and "its 2 versions stay" in said.err
    fake.specs[kind, "late"] = {"document": {"kind": kind, "name": "late"}}
    said = tw("delete", f"{kind}/late")
    assert (said.status, said.out) == (0, f"deleted: {kind}/late\n")
    assert "its 2 versions stay" in said.err and not fake.specs


def test_what_is_nowhere_is_not_deleted(
    tw: Tw, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> Any:
        raise NotFound("there is no model late")

    monkeypatch.setattr(Fake, "_model", none)
    assert "there is no model" in tw("delete", "model/late").err
    assert "did you mean" in tw("delete", "modl/late").err


BACK = "waiting until it is back"


def test_a_server_that_dies_and_comes_back_is_waited_for_and_nothing_is_lost(
    tw: Tw, fake: Fake
) -> None:
    fake.logs = b"".join(b"line %d\n" % n for n in range(9))
    tw("run", "train.py", "-d")
    fake.cut_logs_at = [10, 30]
    fake.away, fake.away_after = 40, 2  # behind the run and the first bytes of its log
    said = tw("logs", "r001", "-f")
    assert (said.status, said.out) == (0, fake.logs.decode())
    assert said.err.count(BACK) == 1


def test_each_time_that_the_server_is_away_is_said(tw: Tw, fake: Fake) -> None:
    tw("run", "train.py", "-d")
    fake.cut_logs_at = [1, 2, 3]  # only the connection: it is there again at once
    assert tw("logs", "r001", "-f").err == ""


@pytest.mark.parametrize("words", [("wait", "r001"), ("attach", "r001"), ("run", "train.py")])
def test_whoever_waits_for_a_run_waits_for_its_server(
    tw: Tw, fake: Fake, words: tuple[str, ...]
) -> None:
    tw("run", "train.py", "-d")
    fake.away, fake.away_after = 40, 3 if words[0] == "run" else 1
    said = tw(*words)
    assert said.status == 0, said.err
    assert said.err.count(BACK) >= 1 and fake.away == 0


def test_no_server_at_all_is_not_waited_for_and_neither_is_one_beyond_the_timeout(
    tw: Tw, fake: Fake
) -> None:
    tw("run", "train.py", "-d")
    fake.away = 1000
    assert tw("wait", "r001").status == 4
    assert tw("logs", "r001", "-f").status == 4
    fake.away_after = 1
    assert tw("wait", "r001", "--timeout", "1s").status == 4


def test_events(tw: Tw, fake: Fake) -> None:
    fake.events = [{"seq": 1, "type": "run.accepted", "at": 1.0, "project": "p", "subject": "r1"}]
    assert "run.accepted" in tw("events").out
    assert json.loads(tw("events", "-o", "json").out)["seq"] == 1


def test_apply_and_diff(tw: Tw, fake: Fake) -> None:
    assert "created" in tw("apply", "clean.yaml", "--dry-run").out
    assert fake.specs == {}
    assert "+ function/clean created (revision 1)" in tw("apply", "-f", "clean.yaml").out
    assert "unchanged" in tw("diff", "clean.yaml").out
    Path("clean.yaml").write_text(FUNCTION + "timeout: 10m\n")
    assert "timeout: 1 → 2" in tw("diff", "clean.yaml").out
    assert json.loads(tw("apply", "clean.yaml", "-o", "json").out)[0]["change"] == "changed"
    assert "function/clean" in fake.calls[-1] or tw("delete", "function/clean").status == 0
    assert tw("apply").status == 2


def test_apply_stores_all_or_nothing_and_tells_all_faults(tw: Tw, fake: Fake) -> None:
    Path("bad.yaml").write_text("kind: queue\nnam: q\n---\nkind: pol\nname: p\n")
    Path("gone.yaml").write_text(FUNCTION.replace("code.py", "gone.py"))
    said = tw("apply", "clean.yaml", "bad.yaml", "gone.yaml", "none.yaml")
    assert said.status == 2 and fake.specs == {}
    places = ("bad.yaml:1:1", "bad.yaml:2:1", "bad.yaml:4:7", "gone.yaml:3:8", "no file none.yaml")
    lines = said.err.splitlines()
    for place in places:
        assert sum(place in line for line in lines) == 1, (place, lines)
    others = [line for line in lines if " also " in line]
    assert len(others) == 4 and all(line.startswith("  also ") for line in others)


def test_two_versions_of_a_dataset_are_told_in_words(
    tw: Tw, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {
        "schema": {"added": [{"name": "late", "type": "bool"}], "removed": [],
                   "changed": [{"name": "day", "old": "int64", "new": "string"}]},
        "by": ["id"],
        "rows": {"old": 1500, "new": 1499, "added": 0, "removed": 1, "changed": 1},
        "samples": {"added": [], "removed": [{"id": "7", "dest": "CLE"}],
                    "changed": [{"key": {"id": "8"}, "columns": {"dest": ["ATL", "BOS"]}}]},
        "columns": [{"name": "dest", "null_rate": [0.0, 0.5], "psi": 0.31},
                    {"name": "id", "null_rate": [0.0, 0.0], "mean": [1.0, 1.0], "psi": 0.0}],
    }  # fmt: skip
    monkeypatch.setattr(catalog.Datasets, "diff", lambda *_: found)
    said = tw("diff", "dataset/flights", "1", "2").out
    for line in (
        "rows    1,500 → 1,499: 0 added, 1 removed, 1 changed",
        "schema  + late bool",
        "schema  ~ day int64 → string",
        "removed id 7, dest CLE",
        "changed id 8: dest ATL → BOS",
    ):
        assert line in said
    assert re.search(r"dest +0\.31 +0 → 0\.5 +-", said) and not re.search(r"^id +", said, re.M)
    assert json.loads(tw("diff", "dataset/flights", "1", "2", "-o", "json").out) == found


def test_production_is_asked_about(tw: Tw, fake: Fake) -> None:
    Path("pool.yaml").write_text("kind: pool\nname: big\nproduction: true\n")
    said = tw("apply", "pool.yaml")
    assert said.status == 2 and "--yes" in said.err and fake.specs == {}
    assert tw("apply", "pool.yaml", "--yes").status == 0
    assert tw("apply", "pool.yaml").status == 0  # unchanged: nothing to ask
    assert tw("delete", "pool/big").status == 2
    assert tw("delete", "pool/big", "-y").status == 0


def test_schema(tw: Tw) -> None:
    assert json.loads(tw("schema").out)
    assert json.loads(tw("schema", "function").out)
    assert "did you mean 'function'?" in tw("schema", "functoin").err


def test_status_top_prune_open(tw: Tw) -> None:
    assert "0.1.0" in tw("status").out
    assert "2 KiB" in tw("top").out
    assert "2 KiB" in tw("prune", "--older-than", "7d").out
    assert "login?code=" in tw("open", "--print").out
    for verb in ("status", "top", "prune", "open"):
        json.loads(tw(verb, "-o", "json").out)


def test_up_and_down_without_a_server(tw: Tw, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tw("down").out == "no server runs\n"
    assert json.loads(tw("down", "-o", "json").out) == {"was_running": False, "going_on": []}
    given: list[Any] = []

    def ensure(folder: Path, arguments: list[str], on_start: Any) -> local.Address:
        given.extend(arguments)
        on_start()
        return local.Address("http://x", "t", local=True)

    monkeypatch.setattr(local, "ensure_server", ensure)
    assert "ready at http://x" in tw("up", "--port", "7000").out
    assert given == ["--port", "7000"]
    given.clear()
    words = ["--store", "postgresql://x", "--blobs", "/b", "--no-local"]
    tw("up", *words)
    assert given == words


def test_down_says_what_goes_on(tw: Tw, monkeypatch: pytest.MonkeyPatch) -> None:
    run = {"id": "r1", "kind": "training", "name": "t", "state": "running"}
    monkeypatch.setattr(local, "stop_server", lambda stop_runs: {"going_on": [run]})
    said = tw("down")
    assert "r1" in said.out and "--stop-runs" in said.err


def test_doctor(tw: Tw, tmp_path: Path) -> None:
    said = tw("doctor")
    assert said.status == 0 and "all is well" in said.out
    token = tmp_path / "tradewind" / "token"
    token.parent.mkdir()
    token.write_text("x")
    token.chmod(stat.S_IRUSR | stat.S_IROTH)
    said = tw("doctor", "-o", "json")
    assert said.status == 5
    found = {check["name"]: check["level"] for check in json.loads(said.out)["checks"]}
    assert found["token"] == "broken" and found["python"] == "good"


def test_completion(tw: Tw) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "tw completion words" in tw("completion", shell).out

    def words(*given: str) -> list[str]:
        return tw("completion", "words", "--", *given).out.split()

    assert words("de") == ["describe", "delete"]
    assert "--performance" in words("run", "--p")
    assert words("run", "--consistency", "s") == ["strong", "soft"]
    assert words("get", "p") == ["pools"]
    assert words("describe", "dataset/") == ["dataset/flights"]
    assert words("run", "--data", "fl") == ["flights"]
    tw("run", "train.py", "-d")
    assert words("logs", "r") == ["r001"]
    assert words("nonsense", "x") == []
