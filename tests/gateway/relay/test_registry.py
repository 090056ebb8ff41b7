from typing import Any

import pytest

from gateway.exchange import Credential
from gateway.relay.registry import Registry, is_model_id, may_use_model, may_use_route
from gateway.settings.load import load_text

MODELS = load_text(
    """
backends: {a: {echo: }, b: {echo: }}
models:
  small: {backend: a, cost: 0.5}
  large: {backend: b, name: llama-3-70b, cost: 4}
  gpt-4: {alias: large}
  best: {alias: gpt-4}
  free: {backend: a, cost: 0}
  llama-*: {backend: a}
  llama-3-*: {backend: b}
  org/*: {backend: b}
""",
    {},
).models


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("small", ("small", "small", "a", "", 500)),
        ("large", ("large", "large", "b", "llama-3-70b", 4000)),
        ("gpt-4", ("large", "large", "b", "llama-3-70b", 4000)),
        ("best", ("large", "large", "b", "llama-3-70b", 4000)),  # aliases of aliases
        ("free", ("free", "free", "a", "", 0)),
        ("llama-2", ("llama-2", "llama-*", "a", "", 1000)),
        ("llama-3-8b", ("llama-3-8b", "llama-3-*", "b", "", 1000)),  # the longer pattern
        ("org/model", ("org/model", "org/*", "b", "", 1000)),
        ("Small", None),
        ("llama-*", None),  # a pattern is no name
        ("llama-; id", None),
        ("", None),
    ],
)
def test_a_name_stands_for_a_model(asked: str, found: tuple[str, str, str, str, int] | None) -> None:
    registry = Registry(MODELS)
    for _ in range(2):  # the second time from memory
        entry = registry.find(asked)
        assert (
            None if entry is None else (entry.name, entry.label, entry.backend, entry.upstream, entry.cost)
        ) == found


def test_labels_are_names_of_the_configuration_however_many_names_are_made_up() -> None:
    registry = Registry(MODELS)
    labels = {entry.label for i in range(10_000) if (entry := registry.find(f"llama-{i}")) is not None}
    assert labels == {"llama-*"}
    assert len(registry._found) <= 4096


def test_a_circle_of_aliases_is_no_model() -> None:
    assert Registry(load_text("models: {a: {alias: b}, b: {alias: a}}", {}).models).find("a") is None


def credential(**scopes: Any) -> Credential:
    return Credential("id", "acme", "free", **scopes)


@pytest.mark.parametrize(
    ("holder", "names"),
    [
        (None, ["small", "large", "gpt-4", "best", "free"]),
        (credential(), ["small", "large", "gpt-4", "best", "free"]),
        (credential(models=("s*", "free")), ["small", "free"]),
        (credential(models=("large",)), ["large", "gpt-4", "best"]),  # an alias is what it stands for
        (credential(models=("gpt-4",)), []),
        (credential(models=("*",), key_models=("small",)), ["small"]),
        (credential(models=("small",), key_models=("large",)), []),  # a key narrows, it never widens
    ],
)
def test_a_list_shows_what_the_key_may_use(holder: Credential | None, names: list[str]) -> None:
    assert Registry(MODELS).visible(holder) == names
    for name in names:
        entry = Registry(MODELS).find(name)
        assert entry is not None and may_use_model(holder, entry.name)


@pytest.mark.parametrize(
    ("holder", "path", "may"),
    [
        (credential(), "/v1/chat", True),
        (credential(routes=("/v1/chat",)), "/v1/chat", True),
        (credential(routes=("/v1/chat",)), "/v1/chats", False),
        (credential(routes=("/v1/*",)), "/v1/a/b", True),
        (credential(routes=("/v1/*",), key_routes=("/v1/a",)), "/v1/b", False),
        (credential(routes=("/v1/*",), key_routes=("/v1/a",)), "/v1/a", True),
    ],
)
def test_scopes_on_routes(holder: Credential, path: str, may: bool) -> None:
    assert may_use_route(holder, path) == may


@pytest.mark.parametrize("text", ["gpt-4", "a", "org/model:q4_K", "a.b@c+d", "x" * 128, "a/b/c/d"])
def test_ids_of_models(text: str) -> None:
    assert is_model_id(text)


@pytest.mark.parametrize(
    "text",
    ["", "/a", "../../etc/passwd", "a/../b", "a..b", "-x", "--host=0.0.0.0", "; id", "$(id)", "a b", "a\0", "a\n", "ä",
     "x" * 129, "a//b", "a/", "a/b/c/d/e", "x" * 10_240],
)  # fmt: skip
def test_s49_what_can_be_no_id_of_a_model(text: str) -> None:
    assert not is_model_id(text)
