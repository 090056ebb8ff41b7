"""Servers with OpenAI's API and a key: where our paths end up there, and what goes with them."""

import pytest

from gateway.backend import Endpoint, Health
from gateway.loader import load_backend
from gateway.settings.problem import ConfigError


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("https://api.openai.com", "https://api.openai.com/v1"),
        ("https://router.example/api/v1", "https://router.example/api/v1"),
        ("https://example.com/v1beta/openai", "https://example.com/v1beta/openai"),
    ],
)
def test_the_url_is_the_base_url_of_openais_clients(url: str, endpoint: str) -> None:
    backend = load_backend("hosted", "openai", {"url": url})
    assert backend.endpoints() == (Endpoint(endpoint),)
    assert (backend.mount, backend.models_path, backend.slots, backend.reports_usage) == ("/v1", "/models", 0, True)
    assert backend.launch(1) is None


def test_headers_are_those_that_are_set() -> None:
    assert load_backend("hosted", "openai", {}).request_headers() == {}
    raw = {"key": "sk-1", "organization": "org-1", "project": "proj-1"}
    assert load_backend("hosted", "openai", raw).request_headers() == {
        "Authorization": "Bearer sk-1", "OpenAI-Organization": "org-1", "OpenAI-Project": "proj-1",
    }  # fmt: skip


def test_health_is_asked_only_where_it_is_wanted() -> None:
    assert load_backend("hosted", "openai", {}).health is None
    assert load_backend("hosted", "openai", {"health": {"path": "/models"}}).health == Health(path="/models")


def test_addresses_that_are_refused() -> None:
    with pytest.raises(ConfigError, match="must hold no credential"):
        load_backend("hosted", "openai", {"url": "https://me:secret@api.openai.com/v1"})
