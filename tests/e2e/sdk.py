"""The openai package, pointed at a gateway."""

from typing import Any

from openai import OpenAI

from tests.harness import Gateway

ASKED: Any = [{"role": "user", "content": "one two three"}]


def make_client(gateway: Gateway, key: str = "", **options: Any) -> OpenAI:
    key = key or gateway.key("open")
    return OpenAI(base_url=f"{gateway.url}/v1", api_key=key, **{"max_retries": 0, "timeout": 10.0, **options})


def chat(client: OpenAI, model: str = "echo", **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=ASKED, **more)
