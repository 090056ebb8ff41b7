"""Every endpoint of control's API x role x project: only what the table says is reached, nothing crosses projects."""

import contextlib
import hashlib
import http.client
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from gateway.control.api.surfaces import ENDPOINTS
from tests.e2e.wire import CHAT
from tests.harness import Document, Gateway, config, eventually, running_gateway

ROLES = {
    "root": ["*"],
    "overseer": ["infer", "projects:all", "traces:read", "costs:read", "usage:read"],
    "viewer": ["infer", "traces:*"],
    "accountant": ["infer", "costs:read"],
    "biller": ["infer", "usage:read"],
    "critic": ["infer", "feedback:write"],
    "auditor": ["infer", "audit:read"],
    "user": ["infer"],
    "": ["infer"],  # no role: what acl's `unassigned` says
}
PROJECTS = ("red", "blue")
WIDE = ("root", "overseer")  # who sees all projects


class Row(NamedTuple):
    """Who reaches an endpoint: with any of these permissions; none: all with a key. `query`, `body`: of a call.

    `is_wide`: of those only who sees all projects.
    """

    permissions: tuple[str, ...]
    query: str = ""
    body: Any = None
    is_wide: bool = False


TRACES, COSTS = ("traces:read",), ("costs:read",)
TABLE = {
    "GET /api/v1/traces": Row(TRACES, "limit=1000"),
    "POST /api/v1/traces/search": Row(TRACES, "limit=1000", {}),
    "GET /api/v1/traces/tail": Row(TRACES),
    "GET /api/v1/traces/{id}": Row(TRACES),
    "POST /api/v1/traces/{id}/feedback": Row(("feedback:write", "traces:read"), "", {"score": 1}),
    "GET /api/v1/export/{format}": Row(TRACES),
    "GET /api/v1/analytics/costs": Row(COSTS, "group_by=consumer"),
    "GET /api/v1/analytics/performance": Row(TRACES, "group_by=consumer"),
    "GET /api/v1/analytics/quality": Row(TRACES, "group_by=consumer"),
    "GET /api/v1/analytics/models": Row(TRACES, "group_by=consumer"),
    "GET /api/v1/analytics/usage": Row((), "group_by=consumer"),
    "GET /api/v1/metrics/performance": Row(TRACES, "group_by=consumer"),
    "GET /api/v1/metrics/quality": Row(TRACES, "group_by=consumer"),
    "GET /api/v1/models/compare": Row(TRACES, "group_by=consumer"),
    "GET /api/v1/usage/{period}": Row(()),
    "GET /api/v1/audit": Row(("audit:read",), is_wide=True),
    "GET /openapi.json": Row(()),
}
OPERATORS = [f"{one.method} {one.path}" for one in ENDPOINTS if "client" not in one.doors]


def name_of(project: str, role: str) -> str:
    return f"{project}-{role or 'nobody'}"


CALLERS = list(itertools.product(PROJECTS, ROLES))


def document(plugins: list[Any]) -> Document:
    def holder(project: str, role: str) -> Document:
        key = hashlib.sha256(f"key-of-{name_of(project, role)}".encode()).hexdigest()
        return {"tier": "open", "project": project, "role": role, "keys": [{"sha256": key}]}

    return config(
        demo=False,
        tiers={"open": {"rate": "unlimited"}},
        roles={role: {"may": may} for role, may in ROLES.items() if role},
        consumers={name_of(*caller): holder(*caller) for caller in CALLERS},
        plugins=plugins,
    )


class Site(NamedTuple):
    """`traces` are the ids of model calls by consumer."""

    gateway: Gateway
    address: tuple[str, int]
    traces: dict[str, str]

    def ask(self, caller: tuple[str, str], method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Status and body; of a stream of events the status alone."""
        headers = {"Authorization": f"Bearer key-of-{name_of(*caller)}", "Content-Type": "application/json"}
        with contextlib.closing(http.client.HTTPConnection(*self.address, timeout=20)) as line:
            line.request(method, path, None if body is None else json.dumps(body), headers)
            answer = line.getresponse()
            if (answer.getheader("Content-Type") or "").startswith("text/event-stream"):
                return answer.status, ""
            return answer.status, answer.read().decode()

    def call(self, caller: tuple[str, str], endpoint: str, owner: tuple[str, str]) -> tuple[int, str]:
        """The endpoint as the table calls it; where it is about one trace, it is a trace of `owner`."""
        method, path = endpoint.split()
        row = TABLE[endpoint]
        path = path.replace("{id}", self.traces[name_of(*owner)]).replace("{format}", "jsonl")
        path = path.replace("{period}", f"{datetime.now(UTC):%Y-%m}")
        return self.ask(caller, method, f"{path}?{row.query}", row.body)


@contextlib.contextmanager
def serving(plugins: list[Any]) -> Iterator[Site]:
    """A gateway on which everybody has called a model once, and all of that can be read."""
    with running_gateway(document(plugins)) as gateway:
        site = Site(gateway, gateway.address, {})
        for caller in CALLERS:
            said = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
            assert site.ask(caller, "POST", CHAT, said)[0] == 200
        rows = eventually(lambda: _rows(gateway), 60.0, "a row for each call")
        site.traces.update({row["consumer"]: row["id"] for row in rows})
        yield site


def _rows(gateway: Gateway) -> Any:
    rows = gateway.query("SELECT id, consumer FROM requests WHERE path = ?", CHAT)
    return rows if len(rows) == len(CALLERS) else None


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving([{"key_auth": {}}, {"acl": {}}, {"quota": {}}]) as site:
        costs = "/api/v1/analytics/costs?group_by=consumer"
        everybody = {name_of(*caller) for caller in CALLERS}
        root = ("red", "root")
        eventually(lambda: all(name in site.ask(root, "GET", costs)[1] for name in everybody), 60.0, "roll-ups")
        yield site


def test_every_endpoint_of_clients_is_in_the_table() -> None:
    assert {f"{one.method} {one.path}" for one in ENDPOINTS if "client" in one.doors} == set(TABLE)


def holds(role: str, permissions: tuple[str, ...]) -> bool:
    may = ROLES[role]
    wide = {pattern.removesuffix("*") for pattern in may if pattern.endswith("*")}
    return not permissions or any(one in may or any(one.startswith(part) for part in wide) for one in permissions)


@pytest.mark.parametrize("endpoint", TABLE)
def test_only_whom_the_table_names_reaches_it(site: Site, endpoint: str) -> None:
    row = TABLE[endpoint]
    for caller in CALLERS:
        status, body = site.call(caller, endpoint, owner=caller)
        if holds(caller[1], row.permissions) and (caller[1] in WIDE or not row.is_wide):
            assert status in (200, 201), (caller, status, body)
        else:
            assert (status, json.loads(body)["error"]["number"]) == (403, 1104), caller


@pytest.mark.parametrize("endpoint", TABLE)
def test_nothing_of_another_project_is_told(site: Site, endpoint: str) -> None:
    """Who has a project and a role sees the project, who has no role himself alone."""
    for project, role in CALLERS:
        status, body = site.call((project, role), endpoint, owner=(project, role))
        if status not in (200, 201) or role in WIDE:
            continue
        other = "blue" if project == "red" else "red"
        assert f"{other}-" not in body, (project, role)
        if not role:
            others = {name_of(project, one) for one in ROLES} - {name_of(project, "")}
            assert not [name for name in others if f'"{name}"' in body], (project, role)


@pytest.mark.parametrize("endpoint", [name for name in TABLE if "{id}" in name])
def test_a_trace_of_another_project_is_as_if_it_were_not_there(site: Site, endpoint: str) -> None:
    for project, role in CALLERS:
        if not holds(role, TABLE[endpoint].permissions):
            continue
        other = "blue" if project == "red" else "red"
        status, body = site.call((project, role), endpoint, owner=(other, "viewer"))
        if role in WIDE:
            assert status in (200, 201)
        else:
            assert (status, json.loads(body)["error"]["number"]) == (404, 1303), (project, role)


def test_who_may_sees_all_projects(site: Site) -> None:
    for role, project in itertools.product(WIDE, PROJECTS):
        for endpoint in ("GET /api/v1/traces", "GET /api/v1/analytics/costs", "GET /api/v1/export/{format}"):
            _, body = site.call((project, role), endpoint, owner=(project, role))
            assert "red-viewer" in body and "blue-viewer" in body, (role, endpoint)


@pytest.mark.parametrize("endpoint", [name for name in TABLE if name != "GET /openapi.json"])
def test_nobody_comes_without_a_key(site: Site, endpoint: str) -> None:
    method, path = endpoint.split()
    with contextlib.closing(http.client.HTTPConnection(*site.address, timeout=20)) as line:
        line.request(method, path.replace("{", "").replace("}", ""))
        answer = line.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]["number"]) == (401, 1001)


@pytest.mark.parametrize("endpoint", OPERATORS)
def test_what_is_for_operators_is_not_behind_the_proxy(site: Site, endpoint: str) -> None:
    method, path = endpoint.split()
    status, body = site.ask(("red", "root"), method, path.replace("{", "").replace("}", ""))
    assert (status, json.loads(body)["error"]["number"]) == (404, 1301)


@pytest.mark.parametrize(
    "claim",
    [
        {"X-Consumer-ID": "blue-viewer"}, {"X-Consumer-Project": "blue"}, {"X-Consumer-Role": "root"},
        {"X-Tollkeeper-Permissions": "*"}, {"X-Tollkeeper-Token": "x"}, {"Connection": "X-Tollkeeper-Permissions"},
        {"X_Consumer_Project": "blue"},
    ],
)  # fmt: skip
def test_nobody_gets_further_by_claiming_to_be_somebody_else(site: Site, claim: dict[str, str]) -> None:
    """Headers that the worker sends to control are dropped where a client sends them."""
    headers = {"Authorization": "Bearer key-of-red-viewer", **claim}
    with contextlib.closing(http.client.HTTPConnection(*site.address, timeout=20)) as line:
        line.request("GET", "/api/v1/traces?limit=1000", headers=headers)
        answer = line.getresponse()
        body = answer.read().decode()
    assert answer.status in (200, 400)
    assert "blue-" not in body


def test_where_nobody_authorizes_everybody_may_and_sees_his_own() -> None:
    with serving([{"key_auth": {}}, {"quota": {}}]) as site:
        for caller in CALLERS:
            status, body = site.call(caller, "GET /api/v1/traces", owner=caller)
            assert status == 200
            rows = json.loads(body)["data"]
            assert {row["consumer"] for row in rows} == {name_of(*caller)}
        status, _ = site.call(("red", "root"), "GET /api/v1/traces/{id}", owner=("red", "viewer"))
        assert status == 404
