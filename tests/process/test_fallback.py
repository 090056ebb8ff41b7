"""Falling back through a whole gateway: real engines that are busy, not loaded, broken; and OpenAI's own client."""

import asyncio
from typing import Any

import openai

from tests.harness import Document, config, running_gateway
from tests.load import Answer, Client, chat


def document(**more: Any) -> Document:
    return config(
        tiers={"free": {"may_load": False}, "open": {"rate": "unlimited"}},
        backends={
            "one": {"echo": {}, "slots": 1, "queue": 0},
            "two": {"echo": {}, "slots": 8},
            "cold": {"echo": {}, "load": "demand"},
            "gone": {"http": {"endpoints": [{"url": "http://127.0.0.1:9"}]}},
        },
        models={
            "big": {"backend": "one", "fallback": ["small"]},
            "small": {"backend": "two"},
            "cold": {"backend": "cold", "fallback": {"to": ["small"], "on": ["not_loaded"]}},
            "gone": {"backend": "gone", "fallback": {"to": ["cold", "small"], "on": ["error", "not_loaded"]}},
        },
        routes=[{"path": "/v1/chat/completions"}],
        **more,
    )


async def test_each_request_is_answered_by_who_can() -> None:
    with running_gateway(document(workers=2)) as gateway:

        async def ask(model: str, tier: str = "open", **echo: Any) -> Answer:
            client = Client(gateway.address, gateway.key(tier), fresh=True)
            return await client.ask({**chat("hello", **echo), "model": model})

        first = asyncio.ensure_future(ask("big", delay=1.5))
        await asyncio.sleep(0.3)
        crowd = await asyncio.gather(*[ask("big") for _ in range(20)])
        assert {(answer.status, answer.headers["x-tollkeeper-model"]) for answer in crowd} == {(200, "small")}
        assert {answer.headers["x-tollkeeper-fallback"] for answer in crowd} == {"big"}
        whole = await first
        assert (whole.status, whole.headers.get("x-tollkeeper-fallback")) == (200, None)

        cold = await ask("cold", "free")
        assert (cold.status, cold.headers["x-tollkeeper-backend"]) == (200, "two"), "this tier may not load it"
        gone = await ask("gone", "free")
        assert (gone.status, gone.headers["x-tollkeeper-model"]) == (200, "small"), "not there, not loaded, here"
        assert (await ask("cold")).headers["x-tollkeeper-backend"] == "cold"

        rows = {row["model_asked"]: row["model"] for row in gateway.rows() if row["status"] == 200}
        assert rows["gone"] == "small"
        busy = [value for name, value in gateway.metrics().items() if name.startswith("tollkeeper_inflight{")]
        assert set(busy) == {0.0}


def test_openais_client_notices_nothing() -> None:
    with running_gateway(document()) as gateway:
        client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key("open"), max_retries=0)
        hello: Any = [{"role": "user", "content": "hello there"}]
        whole = client.chat.completions.create(model="gone", messages=hello)
        assert whole.choices[0].message.content == "hello there"
        stream = client.chat.completions.create(model="gone", messages=hello, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "hello there"
