"""What installs the server in a cluster: valid, restricted, in step with what the code needs."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.unit.engines.kubernetes.cases import OBJECTS, containers, of_kind, workloads
from tests.unit.engines.kubernetes.restricted import violations
from tests.unit.engines.kubernetes.test_schemas import VERSIONS
from tradewind import __version__, specs
from tradewind.cli import serve
from tradewind.engines.kubernetes import names, rules
from tradewind.engines.kubernetes.template import USER

Object = dict[str, Any]
ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
OVERLAYS = ("sqlite", "postgres")
NO_OBJECTS = {"Kustomization", "Component", None}
IMAGE = f"tradewind:{__version__}"


def files(folder: Path) -> Iterator[Path]:
    """All manifests that a kustomization reaches."""
    told = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    for name in [*told.get("resources", ()), *told.get("components", ())]:
        path = (folder / name).resolve()
        yield from files(path) if path.is_dir() else [path]


@cache
def written(overlay: str) -> list[Object]:
    """The objects as they stand in the files, without what kustomize makes of them."""
    found = [each for path in files(DEPLOY / "overlays" / overlay) for each in documents(path)]
    return [each for each in found if each["kind"] not in NO_OBJECTS]


def documents(path: Path) -> list[Object]:
    return [each for each in yaml.safe_load_all(path.read_text("utf-8")) if each]


@cache
def built(overlay: str) -> list[Object]:
    """The objects as kubectl would apply them."""
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl on PATH")
    command = ["kubectl", "kustomize", str(DEPLOY / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    assert "deprecated" not in done.stderr.lower(), done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(params=[(how, each) for how in (written, built) for each in OVERLAYS],
                ids=lambda param: f"{param[0].__name__}-{param[1]}")  # fmt: skip
def objects(request: pytest.FixtureRequest) -> list[Object]:
    how, overlay = request.param
    found: list[Object] = how(overlay)
    return found


@pytest.fixture
def server(objects: list[Object]) -> Object:
    """The server's container."""
    (found,) = (each for each in of_kind(objects, "Deployment"))
    container: Object = found["spec"]["template"]["spec"]["containers"][0]
    return container


# --- the objects ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(objects: list[Object], version: str) -> None:
    assert len(objects) >= 9
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)
    keys = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(set(keys)) == len(keys)


def test_every_pod_keeps_the_standard_that_its_namespace_enforces(objects: list[Object]) -> None:
    (namespace,) = of_kind(objects, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for each in workloads(objects):
        pod = each["spec"]["template"]["spec"]
        assert violations(pod) == []
        for container in containers(pod):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert "memory" in container["resources"]["limits"]


def test_images_have_versions_and_ours_is_this_one(objects: list[Object], server: Object) -> None:
    for each in workloads(objects):
        for container in containers(each["spec"]["template"]["spec"]):
            _, _, tag = container["image"].rpartition("/")[2].partition(":")
            assert re.fullmatch(r"\d+(\.\d+)+", tag)
    env = {each["name"]: each.get("value") for each in server["env"]}
    assert server["image"] == env["TRADEWIND_IMAGE"] == IMAGE


def test_selectors_find_the_server_and_no_task(objects: list[Object]) -> None:
    ours = [each["spec"]["template"]["metadata"]["labels"] for each in workloads(objects)]
    tasks = [each["spec"]["template"]["metadata"]["labels"] for each in workloads(OBJECTS)]
    services = of_kind(objects, "Service")
    assert len(services) == len(ours)
    for each in services:
        selector = each["spec"]["selector"].items()
        assert sum(selector <= labels.items() for labels in ours) == 1
        assert not any(selector <= labels.items() for labels in tasks)
        # A task may be called anything, so only a label that no task has tells them apart.
        assert not set(each["spec"]["selector"]) & set(tasks[0])
    assert all(labels.get(names.MANAGED_BY) != names.OURS for labels in ours)


def test_what_pods_refer_to_is_there_or_is_told_of(objects: list[Object]) -> None:
    claims = {each["metadata"]["name"] for each in of_kind(objects, "PersistentVolumeClaim")}
    accounts = {each["metadata"]["name"] for each in of_kind(objects, "ServiceAccount")}
    page = (ROOT / "docs" / "cluster.md").read_text("utf-8")
    assert not of_kind(objects, "Secret")
    for each in workloads(objects):
        pod = each["spec"]["template"]["spec"]
        assert pod.get("serviceAccountName", "default") in {*accounts, "default"}
        templates = each["spec"].get("volumeClaimTemplates", ())
        known = {claim["metadata"]["name"] for claim in templates}
        for volume in pod["volumes"]:
            known.add(volume["name"])
            assert volume.get("persistentVolumeClaim", {}).get("claimName") in {None, *claims}
        for container in containers(pod):
            assert {mount["name"] for mount in container["volumeMounts"]} == known
            for variable in container["env"]:
                if secret := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert f"create secret generic {secret['name']}" in page
                    assert f"--from-literal={secret['key']}=" in page


# --- the server ----------------------------------------------------------------------------------


def test_the_server_takes_its_arguments_and_answers_to_its_service(
    objects: list[Object], server: Object
) -> None:
    assert server["command"] == ["python", "-m", serve.__name__]
    options = serve._parse(server["args"])
    mounts = {each["mountPath"] for each in server["volumeMounts"]}
    assert str(options.data) in mounts and options.host == "0.0.0.0" and options.behind_proxy
    assert options.port == server["ports"][0]["containerPort"]

    (service,) = (s for s in of_kind(objects, "Service") if s["metadata"]["name"] == "tradewind")
    host = f"{service['metadata']['name']}.{of_kind(objects, 'Namespace')[0]['metadata']['name']}"
    assert {host, f"{host}.svc", f"{host}.svc.cluster.local"} <= set(options.names)
    env = {each["name"]: each.get("value") for each in server["env"]}
    assert env["TRADEWIND_URL"] == f"http://{host}.svc:{service['spec']['ports'][0]['port']}"


def test_probes_come_by_a_name_that_the_server_answers_to(server: Object) -> None:
    paths = {}
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = server[name]["httpGet"]
        paths[name] = asked["path"]
        assert asked["httpHeaders"] == [{"name": "Host", "value": "localhost"}]
        assert asked["port"] == server["ports"][0]["name"]
    # A store that is away for a while is no reason to start the server anew.
    assert (paths["livenessProbe"], paths["readinessProbe"]) == ("/healthz", "/readyz")


def test_one_server_at_a_time(objects: list[Object]) -> None:
    (found,) = of_kind(objects, "Deployment")
    assert found["spec"]["replicas"] == 1 and found["spec"]["strategy"]["type"] == "Recreate"


def test_the_pool_is_the_namespace_that_the_server_has_rights_in() -> None:
    (pool,) = specs.read(DEPLOY / "base" / "pools.yaml")
    assert isinstance(pool, specs.PoolSpec) and pool.engine == "kubernetes"
    assert pool.options == {"namespace": "tradewind"}
    options = serve._parse(written_server()["args"])
    assert [path.name for path in options.pools] == ["pools.yaml"] and not options.local


def written_server() -> Object:
    (found,) = of_kind(written("sqlite"), "Deployment")
    container: Object = found["spec"]["template"]["spec"]["containers"][0]
    return container


def test_rights_are_just_what_the_engine_asks_for(objects: list[Object]) -> None:
    def asked(wanted: Any) -> set[tuple[str, str, str]]:
        return {
            (kind.group, f"{kind.plural}/{subresource}".rstrip("/"), verb)
            for kind, subresource, verbs in wanted
            for verb in verbs
        }

    def granted(kind: str) -> set[tuple[str, str, str]]:
        return {
            (group, resource, verb)
            for each in of_kind(objects, kind)
            for rule in each["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    assert granted("Role") == asked(rules.NAMESPACED)
    assert granted("ClusterRole") == asked(rules.CLUSTER)
    for binding in [*of_kind(objects, "RoleBinding"), *of_kind(objects, "ClusterRoleBinding")]:
        (subject,) = binding["subjects"]
        assert (subject["name"], subject["namespace"]) == ("tradewind", "tradewind")


# --- the image -----------------------------------------------------------------------------------


def steps() -> list[str]:
    """The Dockerfile's instructions, one a line."""
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    joined = re.sub(r"\\\n\s*", "", text)
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def test_the_image_is_of_this_version_and_runs_as_nobody_special() -> None:
    assert f"ARG VERSION={__version__}" in steps()
    assert f"-t {IMAGE} " in (DEPLOY / "Dockerfile").read_text("utf-8")
    assert f"USER {USER}:{USER}" in steps()
    for line in steps():
        if line.startswith("FROM"):
            assert re.fullmatch(r"FROM \w+:\d[\w.-]+( AS \w+)?", line)


def test_the_image_is_built_from_files_that_travel_to_the_builder() -> None:
    travels = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    copied = [line.split()[1:-1] for line in steps() if re.match(r"COPY (?!--from)", line)]
    sources = [name for names in copied for name in names]
    assert sources and all((ROOT / name).exists() for name in sources)
    assert {name.split("/")[0] for name in sources} == travels


def test_the_image_holds_its_extras_by_hash() -> None:
    assert sum("--require-hashes" in line for line in steps()) == 2
    lock = (ROOT / "requirements" / "image.txt").read_text("utf-8")
    pinned = set(re.findall(r"^([a-z0-9.-]+)(?:\[\w+\])?==", lock, re.M))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for extra in ("data", "ml", "pandas", "polars", "kubernetes", "postgres"):
        wanted = {re.split(r"[^A-Za-z0-9.-]", each)[0] for each in extras[extra]}
        assert wanted <= pinned, extra
