"""The runner runs pods: what their containers see, and what the API says of them."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest

from tests.kube.runner import Runner, fixtures
from tests.kube.runner.fixtures import Cluster, conditions, state, status, until
from tests.kube.runner.launch import mapped

control, runner = fixtures.control, fixtures.runner
cluster, node = fixtures.cluster, fixtures.node
pytestmark = pytest.mark.root

PYTHON = ("python", "-c")


def test_the_node_is_there_ready_and_without_taints(cluster: Cluster, runner: Runner) -> None:
    name = runner.settings.node
    node = cluster.get(f"/api/v1/nodes/{name}")
    assert node["status"]["allocatable"]["cpu"] == "8"
    assert node["status"]["capacity"]["memory"] == "16Gi"
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == name
    assert {"type": "InternalIP", "address": "127.0.0.1"} in node["status"]["addresses"]
    ready = [one for one in node["status"]["conditions"] if one["type"] == "Ready"]
    assert ready[0]["status"] == "True"
    until(
        lambda: cluster.get(f"/api/v1/nodes/{name}")["spec"].get("taints") or [],
        lambda taints: not [one for one in taints if "not-ready" in one["key"]],
    )
    lease = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}"
    first = cluster.get(lease)["spec"]["renewTime"]
    until(lambda: cluster.get(lease)["spec"]["renewTime"], lambda renewed: renewed > first)


def test_a_pod_that_succeeds(cluster: Cluster, node: str) -> None:
    pod = cluster.run(node, "sh", "-c", "echo out; echo err >&2; printf '{}' >/dev/termination-log")
    ended = pod.ended()
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (0, "Completed", "{}")
    assert ended["startedAt"] <= ended["finishedAt"]
    now = pod.now()
    assert now["status"]["phase"] == "Succeeded"
    assert now["status"]["hostIP"] == "127.0.0.1"
    assert re.fullmatch(r"127\.\d+\.\d+\.\d+", now["status"]["podIP"])
    found = conditions(now)
    assert (found["Initialized"], found["Ready"], found["PodScheduled"]) == (
        "True",
        "False",
        "True",
    )
    assert pod.log() == b"out\nerr\n"


@pytest.mark.parametrize(
    ("script", "code"), [("exit 3", 3), ("kill -9 $$", 137), ("exec nope-nope", 127)]
)
def test_a_pod_that_fails(cluster: Cluster, node: str, script: str, code: int) -> None:
    # PID 1 is not hit by a signal that its own namespace sends: a child of it is.
    ended = cluster.run(node, "sh", "-c", f"sh -c '{script}'; exit $?").ended()
    assert (ended["exitCode"], ended["reason"]) == (code, "Error")


def test_a_command_that_does_not_exist(cluster: Cluster, node: str) -> None:
    ended = cluster.run(node, "nope-nope").ended()
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert 'exec: "nope-nope": executable file not found in $PATH' in ended["message"]


def test_a_pod_while_it_runs(cluster: Cluster, node: str) -> None:
    pod = cluster.run(node, "sleep", "60")
    now = pod.phase("Running")
    until(pod.now, lambda pod: conditions(pod).get("Ready") == "True")
    assert status(now)["ready"] and status(now)["started"] and status(now)["restartCount"] == 0
    assert conditions(pod.now())["PodReadyToStartContainers"] == "True"
    assert "startedAt" in state(now)["running"]


def test_init_containers_come_first_and_share_volumes(cluster: Cluster, node: str) -> None:
    mounts = [{"name": "work", "mountPath": "/tradewind"}, {"name": "tmp", "mountPath": "/scratch"}]

    def init(name: str, script: str) -> dict[str, Any]:
        command = ["sh", "-c", script]
        return {"name": name, "image": "tradewind:1", "command": command, "volumeMounts": mounts}

    pod = cluster.run(
        node,
        *("sh", "-c", "cat /tradewind/order; ls -A /scratch"),
        main_volumeMounts=mounts,
        initContainers=[
            init("one", "echo one >>/tradewind/order"),
            init("two", "echo two >>/tradewind/order; touch /scratch/file"),
        ],
        volumes=[{"name": "work", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    )
    assert pod.ended()["exitCode"] == 0
    assert pod.log() == b"one\ntwo\nfile\n"
    now = pod.now()
    assert state(now, "one")["terminated"]["exitCode"] == 0
    assert all(one["ready"] for one in now["status"]["initContainerStatuses"])


def test_an_init_container_that_fails_ends_the_pod(cluster: Cluster, node: str) -> None:
    script = "echo why >/dev/termination-log; exit 1"
    init = {"name": "stage", "image": "tradewind:1", "command": ["sh", "-c", script]}
    pod = cluster.run(node, "echo", "never", initContainers=[init])
    now = pod.phase("Failed")
    assert state(now, "stage")["terminated"]["message"] == "why\n"
    assert state(now)["waiting"]["reason"] == "PodInitializing"
    assert conditions(now)["Initialized"] == "False"
    assert pod.asked("log").status_code == 400


def test_what_the_environment_holds(cluster: Cluster, node: str) -> None:
    token = base64.b64encode(b"geheim").decode()
    name = "e-" + node
    secret = {"kind": "Secret", "metadata": {"name": name}, "data": {"token": token}}
    cluster.make("secrets", secret)
    cluster.make(
        "configmaps", {"kind": "ConfigMap", "metadata": {"name": name}, "data": {"mode": "fast"}}
    )

    def ref(variable: str, path: str) -> dict[str, Any]:
        return {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": path}}}

    chosen = {"name": name, "key": "mode"}
    limit = {"resource": "limits.memory", "divisor": "1Mi"}
    pod = cluster.run(
        node,
        *("env", "SAID=$(GREETING)"),
        meta_labels={"role": "train"},
        meta_annotations={"tradewind.dev/run": "r-1"},
        main_resources={"limits": {"memory": "512Mi"}},
        main_env=[
            {"name": "GREETING", "value": "hello"},
            {"name": "BOTH", "value": "$(GREETING) $(NOBODY) $$(GREETING)"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": name, "key": "token"}}},
            {"name": "MODE", "valueFrom": {"configMapKeyRef": chosen}},
            {
                "name": "NONE",
                "valueFrom": {"secretKeyRef": {"name": "no", "key": "n", "optional": True}},
            },
            {"name": "LIMIT", "valueFrom": {"resourceFieldRef": limit}},
            ref("POD", "metadata.name"),
            ref("SPACE", "metadata.namespace"),
            ref("UID", "metadata.uid"),
            ref("ROLE", "metadata.labels['role']"),
            ref("RUN", "metadata.annotations['tradewind.dev/run']"),
            ref("IP", "status.podIP"),
            ref("HOST_IP", "status.hostIP"),
            ref("NODE", "spec.nodeName"),
        ],
    )
    pod.ended()
    seen = dict(line.split("=", 1) for line in pod.log().decode().splitlines())
    now = pod.now()
    assert re.match(".*/bin:", seen.pop("PATH"))
    assert seen == {
        "SAID": "hello",
        "GREETING": "hello",
        "BOTH": "hello $(NOBODY) $(GREETING)",
        "TOKEN": "geheim",
        "MODE": "fast",
        "LIMIT": "512",
        "POD": pod.name,
        "SPACE": "default",
        "UID": now["metadata"]["uid"],
        "ROLE": "train",
        "RUN": "r-1",
        "IP": now["status"]["podIP"],
        "HOST_IP": "127.0.0.1",
        "NODE": node,
        "HOSTNAME": pod.name,
        "LANG": "C.UTF-8",
        "HOME": "/root",
    }


def test_a_missing_secret_is_waited_for(cluster: Cluster, node: str) -> None:
    name = "late-" + node
    source = {"secretKeyRef": {"name": name, "key": "token"}}
    pod = cluster.run(node, "env", main_env=[{"name": "TOKEN", "valueFrom": source}])
    assert pod.waits("CreateContainerConfigError") == f'secret "{name}" not found'
    assert pod.now()["status"]["phase"] == "Pending"
    data = {"token": base64.b64encode(b"there").decode()}
    cluster.make("secrets", {"kind": "Secret", "metadata": {"name": name}, "data": data})
    assert pod.ended()["exitCode"] == 0
    assert b"TOKEN=there" in pod.log()


def test_volumes_of_secrets_and_of_the_pod_itself(cluster: Cluster, node: str) -> None:
    name = "v-" + node
    data = {"a": base64.b64encode(b"1").decode(), "b": base64.b64encode(b"2").decode()}
    cluster.make("secrets", {"kind": "Secret", "metadata": {"name": name}, "data": data})
    labels = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    pod = cluster.run(
        node,
        *("sh", "-c", "cd /etc/given; head -n 1 s/* i/* d/* /run/l/a; touch s/new; echo $?"),
        meta_labels={"role": "x"},
        main_volumeMounts=[
            {"name": "s", "mountPath": "/etc/given/s", "readOnly": True},
            {"name": "i", "mountPath": "/etc/given/i"},
            {"name": "d", "mountPath": "/etc/given/d"},
            {"name": "s", "mountPath": "/var/run/l"},  # /var/run is a link to /run
        ],
        volumes=[
            {"name": "s", "secret": {"secretName": name}},
            {"name": "i", "secret": {"secretName": name, "items": [{"key": "b", "path": "c"}]}},
            {"name": "d", "downwardAPI": {"items": [labels]}},
        ],
    )
    pod.ended()
    shown = pod.log().decode()
    assert "==> s/a <==\n1" in shown and "==> i/c <==\n2" in shown and 'role="x"' in shown
    assert "==> /run/l/a <==\n1" in shown and not Path("/run/l").exists()
    assert "i/a" not in shown
    assert shown.endswith("touch: cannot touch 's/new': Read-only file system\n1\n")


@pytest.mark.parametrize(
    ("image", "reasons", "said"),
    [
        (
            "nope:1",
            ("ErrImagePull", "ImagePullBackOff"),
            'failed to pull and unpack image "docker.io/library/nope:1"',
        ),
        ("Not An Image", ("InvalidImageName",), "invalid reference format"),
    ],
)
def test_an_image_that_is_not_there(
    cluster: Cluster, node: str, image: str, reasons: tuple[str, ...], said: str
) -> None:
    pod = cluster.run(node, "true", main_image=image)
    for reason in reasons:
        assert said in pod.waits(reason)
    assert pod.now()["status"]["phase"] == "Pending"


def test_a_container_is_who_its_security_context_says(cluster: Cluster, node: str) -> None:
    if not mapped(10001):
        pytest.skip("no other user can be had here: not root, or in a user namespace")
    script = "id -u; id -g; id -G; touch /tradewind/f && echo made; touch /root-file; "
    script += "grep -h NoNew /proc/self/status"
    pod = cluster.run(
        node,
        *("sh", "-c", f"exec 2>&1; {script}; python -c 'import tradewind'"),
        securityContext={
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10002,
            "fsGroup": 10003,
        },
        main_securityContext={
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        main_volumeMounts=[{"name": "work", "mountPath": "/tradewind"}],
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    assert pod.ended()["exitCode"] == 0
    assert pod.log().decode().splitlines() == [
        *("10001", "10002", "10002 10003", "made"),
        "touch: cannot touch '/root-file': Read-only file system",
        "NoNewPrivs:\t1",
    ]


def test_a_root_that_must_not_be_is_refused(cluster: Cluster, node: str) -> None:
    pod = cluster.run(node, "true", securityContext={"runAsNonRoot": True})
    assert "image will run as root" in pod.waits("CreateContainerConfigError")


def test_probes_make_a_container_started_and_ready(
    cluster: Cluster, node: str, tmp_path: Path
) -> None:
    serve = "import os; os.chdir('/www'); from http.server import *; "
    serve += "HTTPServer((os.environ['IP'], 8080), SimpleHTTPRequestHandler).serve_forever()"
    ask = {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1}
    pod = cluster.run(
        node,
        *(*PYTHON, serve),
        main_env=[{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        main_ports=[{"name": "http", "containerPort": 8080}],
        main_startupProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 9},
        main_readinessProbe=ask | {"failureThreshold": 1},
        main_volumeMounts=[{"name": "www", "mountPath": "/www"}],
        volumes=[{"name": "www", "hostPath": {"path": str(tmp_path)}}],
    )
    now = pod.until(lambda pod: pod["status"].get("containerStatuses") and status(pod)["started"])
    assert conditions(now)["Ready"] == "False"
    pod.says(b'"GET /ready HTTP/1.1" 404')
    (tmp_path / "ready").touch()
    pod.until(lambda pod: status(pod)["ready"] and conditions(pod)["Ready"] == "True")
    (tmp_path / "ready").unlink()
    pod.until(lambda pod: not status(pod)["ready"] and conditions(pod)["Ready"] == "False")


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe"])
def test_a_container_that_fails_its_probe_is_restarted(
    cluster: Cluster, node: str, probe: str
) -> None:
    # Twice: at first it may not listen to what it is told yet.
    asked: Any = {"tcpSocket": {"port": 9}, "periodSeconds": 1, "failureThreshold": 2}
    pod = cluster.run(
        node,
        *("sh", "-c", "trap 'echo told; exit 7' TERM; while :; do sleep 0.1; done"),
        restartPolicy="Always",
        terminationGracePeriodSeconds=5,
        **{f"main_{probe}": asked},
    )
    now = pod.until(
        lambda pod: pod["status"].get("containerStatuses") and status(pod)["restartCount"]
    )
    assert status(now)["lastState"]["terminated"]["exitCode"] == 7


@pytest.mark.parametrize(("policy", "code"), [("Always", 0), ("OnFailure", 1)])
def test_a_container_is_restarted_with_a_back_off(
    cluster: Cluster, node: str, policy: str, code: int
) -> None:
    pod = cluster.run(node, "sh", "-c", f"echo try; exit {code}", restartPolicy=policy)
    assert "restarting failed container=main" in pod.waits("CrashLoopBackOff")
    now = pod.until(lambda pod: status(pod)["restartCount"] >= 2)
    assert status(now)["lastState"]["terminated"]["exitCode"] == code
    assert now["status"]["phase"] == "Running"


def test_names_of_pods_and_services_resolve(cluster: Cluster, node: str) -> None:
    name = "gang-" + node
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {"gang": name}}
    spec["ports"] = [{"port": 29500}]
    cluster.make("services", {"kind": "Service", "metadata": {"name": name}, "spec": spec})
    one = {"selector": {"gang": name}, "ports": [{"port": 8080}]}
    cluster.make("services", {"kind": "Service", "metadata": {"name": "s-" + name}, "spec": one})
    ask = "import socket,sys,time\n"
    ask += "def ask(name):\n"
    ask += "  while True:\n"
    ask += "    try: return sorted({a[4][0] for a in socket.getaddrinfo(name, 1)})\n"
    ask += "    except OSError: time.sleep(0.05)\n"
    ask += f"a, b = ask('one.{name}'), ask('two.{name}.default.svc.cluster.local')\n"
    ask += f"while ask('{name}') != sorted(a + b): time.sleep(0.05)\n"
    ask += f"assert ask('s-{name}.default.svc')[0] in a + b\n"
    ask += "print(a[0], b[0], socket.gethostname(), *ask(socket.gethostname()), flush=True)\n"
    ask += "time.sleep(60)"
    pods = [
        cluster.run(
            node,
            *(*PYTHON, ask),
            meta_labels={"gang": name},
            hostname=host,
            subdomain=name,
        )
        for host in ("one", "two")
    ]
    first, second = (
        pod.until(lambda pod: pod["status"].get("podIP"))["status"]["podIP"] for pod in pods
    )
    assert pods[0].says(b"\n").decode().split() == [first, second, "one", first]
    assert pods[1].says(b"\n").decode().split() == [first, second, "two", second]
