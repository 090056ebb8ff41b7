"""Ollama: where it is, and how it is asked whether it is there."""

import pytest

from gateway.backend import Endpoint, Health
from gateway.loader import load_backend
from gateway.settings.problem import ConfigError


@pytest.mark.parametrize("url", ["http://127.0.0.1:11434", "http://127.0.0.1:11434/", "http://127.0.0.1:11434/v1"])
def test_its_own_paths_begin_with_v1(url: str) -> None:
    backend = load_backend("desk", "ollama", {"url": url})
    assert backend.endpoints() == (Endpoint("http://127.0.0.1:11434"),)
    assert (backend.mount, backend.models_path, backend.slots) == ("", "/v1/models", 0)


def test_it_is_asked_without_a_model() -> None:
    assert load_backend("desk", "ollama", {}).health == Health(path="/")
    assert load_backend("desk", "ollama", {"health": None}).health is None


def test_a_key_is_for_who_wants_one() -> None:
    assert load_backend("desk", "ollama", {}).request_headers() == {}
    assert load_backend("desk", "ollama", {"key": "k"}).request_headers() == {"Authorization": "Bearer k"}


def test_addresses_that_are_refused() -> None:
    with pytest.raises(ConfigError, match="must begin with"):
        load_backend("desk", "ollama", {"url": "127.0.0.1:11434"})
