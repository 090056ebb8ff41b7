"""What the OpenAPI document says is so: no answer of 5xx and none that it does not name, whoever asks whatever."""

import contextlib
import hashlib
import http.client
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.contract import Contract
from tests.e2e.wire import CHAT
from tests.harness import Document, Gateway, config, running_gateway

ROLES = {"root": ["*"], "viewer": ["traces:read", "infer"], "nobody": ["nothing"]}
WHO = ["root", "viewer", "nobody", "roleless", ""]  # "": without a key
PASSED = {"POST /admin/drain"}  # it would be the last
SLOW = {"POST /admin/reload", "POST /admin/models/pull"}  # processes are started


def document() -> Document:
    def holder(name: str) -> Document:
        return {"tier": "open", "keys": [{"sha256": hashlib.sha256(f"key-of-{name}".encode()).hexdigest()}]}

    return config(
        demo=False,
        tiers={"open": {"rate": "unlimited"}},
        roles={role: {"may": may} for role, may in ROLES.items()},
        consumers={**{role: {**holder(role), "role": role} for role in ROLES}, "roleless": holder("roleless")},
        plugins=[{"key_auth": {}}, {"acl": {}}, {"quota": {}}],
    )


@pytest.fixture(scope="module")
def site() -> Iterator[Gateway]:
    with running_gateway(document(), environment={"HF_HUB_OFFLINE": "1"}) as gateway:
        body = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "hi"}]}).encode()
        headers = {"Authorization": "Bearer key-of-viewer", "Content-Type": "application/json"}
        with fetch(f"{gateway.url}{CHAT}", headers, body):
            pass
        yield gateway


def fetch(url: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Any:
    return urllib.request.urlopen(urllib.request.Request(url, body, headers or {}), timeout=30)


def clients(site: Gateway) -> Contract:
    with fetch(f"{site.url}/openapi.json") as answer:
        return Contract(json.load(answer), site.url)


def operators(site: Gateway, passed: set[str]) -> Contract:
    with fetch(f"{site.admin_url}/admin/openapi.json", {"Authorization": f"Bearer {site.admin_key}"}) as answer:
        return Contract(json.load(answer), site.admin_url, passed)


def show(who: str) -> dict[str, str]:
    return {"Authorization": f"Bearer key-of-{who}"} if who else {}


@pytest.mark.parametrize(("who", "examples"), [("root", 3), ("viewer", 1), ("", 1)])
def test_the_document_of_clients_is_true(site: Gateway, who: str, examples: int) -> None:
    contract = clients(site)
    contract.check(show(who), examples)
    assert contract.statuses


def test_the_document_of_operators_is_true(site: Gateway) -> None:
    contract = operators(site, PASSED | SLOW)
    contract.check({"Authorization": f"Bearer {site.admin_key}"}, examples=2)
    assert contract.statuses["GET /admin/status", 200]


def test_nobody_reaches_anything_of_operators_without_the_key(site: Gateway) -> None:
    with fetch(f"{site.admin_url}/admin/openapi.json", {"Authorization": f"Bearer {site.admin_key}"}) as answer:
        paths = json.load(answer)["paths"]
    assert len(paths) > 20
    with contextlib.closing(http.client.HTTPConnection(site.status()["admin"], timeout=60)) as line:
        for path, methods in paths.items():
            for method in methods:
                line.request(method.upper(), path.replace("{", "").replace("}", ""))
                refused = line.getresponse()
                assert (refused.status, json.loads(refused.read())["error"]["number"]) == (401, 1001), path


@pytest.mark.proof
@pytest.mark.parametrize("who", WHO)
def test_the_document_of_clients_is_true_at_length(site: Gateway, who: str) -> None:
    contract = clients(site)
    contract.check(show(who), examples=100, seed=1)
    print(who, sum(contract.statuses.values()), "requests")


@pytest.mark.proof
def test_the_document_of_operators_is_true_at_length(site: Gateway) -> None:
    contract = operators(site, PASSED)
    contract.check({"Authorization": f"Bearer {site.admin_key}"}, examples=50, seed=1)
    print(sum(contract.statuses.values()), "requests")
