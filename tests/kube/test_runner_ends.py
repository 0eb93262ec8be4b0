"""How pods end on the runner: told to, too long, too big, by a crash; and that nothing is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kube.runner import Runner, fixtures
from tests.kube.runner.fixtures import (
    Cluster,
    Pod,
    conditions,
    processes,
    state,
    status,
    until,
)

control, runner = fixtures.control, fixtures.runner
cluster, node = fixtures.cluster, fixtures.node
pytestmark = pytest.mark.root

# Says that it was told to end, in its message and by its exit code, as a unit of work does.
OBEDIENT = (
    "trap 'echo told >/dev/termination-log; exit 143' TERM; echo up; while :; do sleep 0.05; done"
)
STUBBORN = "trap '' TERM; echo up; sleep 60 & sleep 60"


def marked(cluster: Cluster, node: str, script: str, **more: Any) -> tuple[Pod, str]:
    """A running pod and the word by which its processes are found on this machine."""
    word = f"mark-{os.urandom(6).hex()}"
    env = [{"name": "MARK", "value": word}]
    pod = cluster.run(node, "sh", "-c", script, main_env=env, **more)
    pod.says(b"up")
    assert processes(word)
    return pod, word


def test_a_deleted_pod_is_told_and_its_last_words_are_seen(cluster: Cluster, node: str) -> None:
    pod, word = marked(cluster, node, OBEDIENT)
    query = {"watch": "true", "fieldSelector": f"metadata.name={pod.name}"}
    last: dict[str, Any] = {}
    with cluster.http.stream("GET", f"{cluster.base}/pods", params=query) as answer:
        pod.delete()
        for line in answer.iter_lines():
            event = httpx.Response(200, text=line).json()
            last = event["object"]
            if event["type"] == "DELETED":
                break
    ended = state(last)["terminated"]
    assert (ended["exitCode"], ended["message"]) == (143, "told\n")
    assert last["status"]["phase"] == "Failed"
    assert processes(word) == []


def test_a_pod_that_does_not_listen_is_killed_with_all_its_processes(
    cluster: Cluster, node: str
) -> None:
    pod, word = marked(cluster, node, STUBBORN, meta_finalizers=["tradewind.dev/look"])
    pod.delete(gracePeriodSeconds=1)
    # A finalizer keeps the object, so that its end can be looked at.
    now = pod.until(lambda pod: "terminated" in state(pod))
    assert state(now)["terminated"]["exitCode"] == 137
    assert processes(word) == []
    cluster.patch(pod.path, {"metadata": {"finalizers": None}})
    pod.gone()


def test_a_pod_deleted_by_force_leaves_no_process(cluster: Cluster, node: str) -> None:
    pod, word = marked(cluster, node, STUBBORN)
    pod.delete(gracePeriodSeconds=0)
    until(lambda: processes(word), lambda found: not found)
    pod.gone()


def test_a_pod_deleted_before_it_runs(cluster: Cluster, node: str) -> None:
    pod = cluster.run(node, "true", main_image="nope:1")
    pod.waits("ErrImagePull")
    pod.delete()
    pod.gone()


def test_a_pod_deleted_after_it_ended(cluster: Cluster, node: str) -> None:
    pod = cluster.run(node, "true")
    pod.ended()
    pod.delete()
    pod.gone()


def test_a_pod_over_its_deadline_fails(cluster: Cluster, node: str) -> None:
    pod, word = marked(cluster, node, OBEDIENT, activeDeadlineSeconds=1)
    now = pod.phase("Failed")
    assert now["status"]["reason"] == "DeadlineExceeded"
    assert state(now)["terminated"]["exitCode"] == 143
    assert processes(word) == []


def test_a_container_over_its_memory_limit_is_killed(cluster: Cluster, node: str) -> None:
    pod = cluster.run(
        node,
        *("python", "-c", "import time; held = bytearray(200 << 20); time.sleep(60)"),
        main_resources={"limits": {"memory": "100Mi"}},
    )
    ended = pod.ended()
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")


def test_memory_of_children_counts(cluster: Cluster, node: str) -> None:
    inner = "held = bytearray(70 << 20); import time; time.sleep(60)"
    script = "import subprocess, sys; "
    script += f"[subprocess.Popen([sys.executable, '-c', '{inner}']) for _ in '12']"
    pod = cluster.run(
        node,
        *("python", "-c", f"{script}; import time; time.sleep(60)"),
        main_resources={"limits": {"memory": "100Mi"}},
    )
    assert pod.ended()["reason"] == "OOMKilled"


def test_the_message_is_the_end_of_the_file_and_no_longer_than_4096(
    cluster: Cluster, node: str
) -> None:
    script = "import sys; open('/dev/termination-log', 'w').write('a' * 5000 + 'z')"
    message = cluster.run(node, "python", "-c", script).ended()["message"]
    assert message == "a" * 4095 + "z"


def test_the_message_from_another_path_and_from_the_log(cluster: Cluster, node: str) -> None:
    other = cluster.run(
        node, "sh", "-c", "echo here >/run/why", main_terminationMessagePath="/run/why"
    )
    assert other.ended()["message"] == "here\n"
    logged = cluster.run(
        node,
        *("sh", "-c", "echo the reason; exit 1"),
        main_terminationMessagePolicy="FallbackToLogsOnError",
    )
    assert logged.ended()["message"] == "the reason\n"


def test_a_crash_is_a_crash(cluster: Cluster, runner: Runner) -> None:
    pod, word = marked(cluster, runner.settings.node, STUBBORN)
    runner.kill_pod(pod.name)
    ended = pod.ended()
    assert (ended["exitCode"], ended["reason"]) == (137, "Error")
    assert processes(word) == []
    with pytest.raises(LookupError):
        runner.kill_pod("nobody")


def test_a_frozen_node_says_nothing_and_its_processes_go_on(
    cluster: Cluster, control: Path
) -> None:
    with Runner(control, node="frozen", **fixtures.QUICK) as runner:
        pod, word = marked(cluster, "frozen", OBEDIENT)
        until(pod.now, lambda pod: conditions(pod).get("Ready") == "True")
        lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/frozen"
        runner.freeze()
        before = cluster.get(lease)["spec"]["renewTime"]
        pod.delete()
        assert pod.asked("log").status_code >= 500
        time.sleep(3 * runner.settings.heartbeat)  # it is silence that is looked at
        assert cluster.get(lease)["spec"]["renewTime"] == before
        assert "running" in state(pod.now())
        assert processes(word)
        runner.thaw()
        pod.gone()
        assert processes(word) == []


def test_a_slow_start(cluster: Cluster, runner: Runner) -> None:
    runner.settings.slow_start = 3600
    try:
        pod = cluster.run(runner.settings.node, "true")
        pod.waits("ContainerCreating")
        pod.delete()
        pod.gone()
    finally:
        runner.settings.slow_start = 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_what_the_command_started_ends_with_it(
    cluster: Cluster, control: Path, tmp_path: Path, number: int
) -> None:
    name = f"command-{number}"
    command = [sys.executable, "-m", "tests.kube.runner", "--kubeconfig", str(control)]
    command += ["--node", name, "--extended", "nvidia.com/gpu=2", "--root", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == f"node {name} is ready\n"
        node = cluster.get(f"/api/v1/nodes/{name}")
        assert node["status"]["allocatable"]["nvidia.com/gpu"] == "2"
        _, word = marked(cluster, name, STUBBORN, securityContext={"runAsUser": 10001})
        running.send_signal(number)
    until(lambda: processes(word), lambda found: not found)
    there = cluster.http.get(f"/api/v1/nodes/{name}").status_code
    if number == signal.SIGKILL:
        assert there == 200
        cluster.http.delete(f"/api/v1/nodes/{name}")
    else:
        assert (running.returncode, there) == (0, 404)
        assert list(tmp_path.iterdir()) == []


def test_a_pod_of_an_earlier_runner_has_lost_its_containers(
    cluster: Cluster, control: Path
) -> None:
    with Runner(control, node="again", keep_node=True, **fixtures.QUICK):
        never = cluster.run("again", "sleep", "60")
        always = cluster.run("again", "sleep", "60", restartPolicy="Always")
        for pod in (never, always):
            pod.phase("Running")
    with Runner(control, node="again", **fixtures.QUICK):
        ended = never.ended()
        assert (ended["exitCode"], ended["reason"]) == (137, "ContainerStatusUnknown")
        always.until(lambda pod: status(pod)["restartCount"] == 1 and status(pod)["ready"])
