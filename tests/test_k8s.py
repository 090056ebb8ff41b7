"""The manifests: what they name exists, and the configuration they carry is one the gateway would serve."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from gateway.settings.address import parse_address
from gateway.settings.check import find_problems
from gateway.settings.load import build, read
from gateway.settings.schema import State

ROOT = Path(__file__).parents[1]
K8S = ROOT / "k8s"


def _load(name: str) -> Any:
    return yaml.safe_load((K8S / name).read_text())


@pytest.fixture
def container() -> Any:
    return _load("statefulset.yaml")["spec"]["template"]["spec"]["containers"][0]


def test_the_configuration_is_clean(tmp_path: Path) -> None:
    document = read(str(K8S / "gateway.yaml"), {})
    config = msgspec.structs.replace(build(document), state=State(directory=str(tmp_path)))
    assert [problem for problem in find_problems(config, document) if problem.level == "error"] == []


def test_ports_are_those_of_the_configuration(container: Any) -> None:
    config = build(read(str(K8S / "gateway.yaml"), {}))
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["proxy"] == parse_address(config.listen.proxy[0].address).port
    assert ports["status"] == parse_address(config.listen.status).port
    assert [port["targetPort"] for port in _load("service.yaml")["spec"]["ports"]] == ["proxy"]


def test_the_state_lies_on_the_volume(container: Any) -> None:
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts["state"] == build(read(str(K8S / "gateway.yaml"), {})).state.directory
    assert container["args"][1].startswith(mounts["config"])


def test_the_pod_outlives_the_drain() -> None:
    grace = _load("statefulset.yaml")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > build(read(str(K8S / "gateway.yaml"), {})).timeouts.shutdown_drain + 5


def test_every_resource_is_there_and_selects_the_same_pods() -> None:
    assert all((K8S / name).exists() for name in _load("kustomization.yaml")["resources"])
    labels = _load("statefulset.yaml")["spec"]["template"]["metadata"]["labels"]
    assert _load("service.yaml")["spec"]["selector"].items() <= labels.items()
    assert _load("statefulset.yaml")["spec"]["selector"]["matchLabels"].items() <= labels.items()
