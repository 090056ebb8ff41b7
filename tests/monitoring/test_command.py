"""`tollkeeper monitoring`, and what `make monitoring` does with it."""

import json
import re
from pathlib import Path

import yaml
from click.testing import CliRunner

from gateway.cli import tollkeeper
from gateway.monitoring.dashboards import DASHBOARDS
from gateway.monitoring.rules import Terms, write_manifests, write_rules

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(tollkeeper, ["monitoring", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_what_is_printed_is_what_is_asked_for() -> None:
    assert run("alerts") == write_rules(Terms())
    terms = Terms(60, "https://wiki.example.com", "trial")
    options = ("--scale", "60", "--runbooks", "https://wiki.example.com", "--free", "trial")
    assert run("alerts", *options) == write_rules(terms) != write_rules(Terms())
    assert run("manifests", *options) == write_manifests(terms)
    for name, dashboard in DASHBOARDS.items():
        assert json.loads(run("dashboard", name))["uid"] == dashboard.uid


def test_what_there_is_not_is_refused() -> None:
    for arguments in (["dashboard", "nothing"], ["alerts", "--scale", "0"]):
        assert CliRunner().invoke(tollkeeper, ["monitoring", *arguments]).exit_code == 2


def test_everything_is_made_and_applied() -> None:
    (names,) = re.findall(r"for name in ([\w ]+); do", (ROOT / "Makefile").read_text("utf-8"))
    assert set(names.split()) == set(DASHBOARDS)
    folder = ROOT / "k8s" / "monitoring"
    resources = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))["resources"]
    assert {*resources, "kustomization.yaml"} == {file.name for file in folder.iterdir()}
