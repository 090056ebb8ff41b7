"""The table of endpoints, and the document that is made of it."""

import msgspec
import pytest

from gateway.control.api.document import describe
from gateway.control.api.endpoint import Door, Endpoint
from gateway.control.api.surfaces import ENDPOINTS
from gateway.link import door
from gateway.relay.router import Router
from gateway.settings.load import load_text
from gateway.settings.schema import Config

PERMISSIONS = {"traces:read", "costs:read", "usage:read", "feedback:write", "audit:read"}
BOTH_DOORS: tuple[Door, ...] = ("client", "admin")
IDS = [f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS]


class Way(msgspec.Struct, frozen=True):
    path: str
    methods: frozenset[str] = frozenset(door.METHODS)


def test_no_endpoint_stands_twice() -> None:
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=IDS)
def test_workers_lead_to_every_endpoint_of_clients_and_to_none_of_operators(endpoint: Endpoint) -> None:
    """The two lists are in different processes: this is what holds them together."""
    path = endpoint.path.replace("{", "").replace("}", "")
    router = Router([Way(path) for path in (*door.PATHS, *door.OPEN_PATHS)])
    assert (router.find(endpoint.method, path)[0] is not None) is ("client" in endpoint.doors)
    assert endpoint.path.startswith("/admin/") is ("client" not in endpoint.doors)
    assert endpoint.is_open is (path in door.OPEN_PATHS)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=IDS)
def test_permissions_are_known_ones(endpoint: Endpoint) -> None:
    assert set(endpoint.permissions) <= set(PERMISSIONS)


@pytest.mark.parametrize("name", BOTH_DOORS)
def test_the_document_holds_every_endpoint_and_refers_to_what_is_there(name: Door) -> None:
    document = describe(ENDPOINTS, name, Config())
    for endpoint in ENDPOINTS:
        assert (endpoint.method.lower() in document["paths"].get(endpoint.path, {})) is (name in endpoint.doors)
    text = msgspec.json.encode(document).decode()
    schemas = document["components"]["schemas"]
    for reference in set(text.split('"$ref":"#/components/schemas/')[1:]):
        assert reference.partition('"')[0] in schemas
    ids = [one["operationId"] for path in document["paths"].values() for one in path.values() if "operationId" in one]
    assert len(set(ids)) == len(ids)


def test_routes_of_the_configuration_are_told_to_clients_alone() -> None:
    config = load_text(
        "backends: {far: {http: {endpoints: [{url: 'http://127.0.0.1:1'}]}}}\n"
        "routes: [{path: /v1/chat/completions}, {path: /files/*, to: far, methods: [GET, PUT], auth: none}]",
        {},
    )
    paths = describe(ENDPOINTS, "client", config)["paths"]
    assert set(paths["/v1/chat/completions"]) == {"post"}
    assert set(paths["/files/{rest}"]) == {"get", "put"}
    assert paths["/files/{rest}"]["get"]["security"] == []
    assert "/v1/chat/completions" not in describe(ENDPOINTS, "admin", config)["paths"]
