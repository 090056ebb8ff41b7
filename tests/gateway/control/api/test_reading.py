"""What no database can hold is refused before one is asked."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from yarl import URL

from gateway.control.api import analytics, audit, directory, feedback, traces
from gateway.control.store import Store
from tests.gateway.control.api.stage import Stage, playing

ENDPOINTS = (*traces.ENDPOINTS, *feedback.ENDPOINTS, *analytics.ENDPOINTS, *audit.ENDPOINTS, *directory.ENDPOINTS)


@pytest.fixture
async def stage(postgres_store: Store) -> AsyncIterator[Stage]:
    """SQLite would take it."""
    async with playing(postgres_store, ENDPOINTS, door="admin") as made:
        yield made


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/v1/traces", "model"), ("/api/v1/traces", "cursor"), ("/api/v1/traces", "fields"),
        ("/api/v1/audit", "actor"), ("/api/v1/audit", "action"), ("/api/v1/audit", "cursor"),
        ("/api/v1/analytics/costs", "consumer"), ("/api/v1/models/compare", "models"),
        ("/admin/keys", "consumer"), ("/admin/keys", "cursor"),
    ],
)  # fmt: skip
async def test_a_parameter_holds_no_nul(stage: Stage, path: str, name: str) -> None:
    assert await stage.refusal(path, **{name: "a\0"}) == (1219, name)


@pytest.mark.parametrize("path", ["/api/v1/traces/a%00", "/admin/consumers/a%00"])
async def test_a_path_holds_no_nul(stage: Stage, path: str) -> None:
    assert (await stage.refusal(URL(path, encoded=True)))[0] == 1205


async def test_what_is_posted_to_a_path_is_no_exception(stage: Stage) -> None:
    assert (await stage.refusal(URL("/api/v1/traces/a%00/feedback", encoded=True), content={"score": 1}))[0] == 1205


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/api/v1/traces/a/feedback", {"score": 1, "comment": "\0"}), ("/admin/keys", {"consumer": "a\0"}),
        ("/api/v1/traces/search", {"where": {"field": "model", "op": "in", "value": ["a", "b\0"]}}),
        ("/admin/keys", {"consumer": "a", "no\0": 1}),
    ],
)  # fmt: skip
async def test_a_body_holds_no_nul(stage: Stage, path: str, content: dict[str, Any]) -> None:
    assert (await stage.refusal(path, content=content))[0] == 1214


async def test_a_body_may_speak_of_nul(stage: Stage) -> None:
    """A backslash is a character like others."""
    assert (await stage.refusal("/api/v1/traces/a/feedback", content={"score": 1, "comment": r"\u0000"}))[0] == 1303
