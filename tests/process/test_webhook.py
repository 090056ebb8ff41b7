"""A month that is nearly used up is told to the operator once, whichever workers saw it."""

import asyncio
import json

from tests.gateway.control.test_webhook import SECRET, receiver
from tests.harness import config, running_gateway
from tests.load import Client, chat


async def test_eighty_and_a_hundred_percent_are_told_once() -> None:
    async with receiver(503) as (url, received):
        document = config(
            tiers={"small": {"monthly": 10}}, webhooks=[{"url": url, "secret": SECRET, "private": True}]
        )  # fmt: skip
        with running_gateway(document, workers=2) as gateway:
            clients = [Client(gateway.address, gateway.key("small"), fresh=True) for _ in range(4)]
            for number in range(14):
                await clients[number % 4].ask(chat())
            async with asyncio.timeout(10):
                while len(received) < 3:  # the first was refused
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.2)
            told = [json.loads(body)["data"] for _, body in received]
            assert sorted(data["threshold"] for data in told[-2:] + told[:1]) in ([80, 80, 100], [80, 100, 100])
            assert len(received) == 3
            assert {(data["consumer"], data["limit"], data["rule"]) for data in told} == {
                ("demo-small", 10, "tier:small:month")
            }
            assert gateway.metrics()['tollkeeper_quota_used_ratio{tier="small"}'] == 1.0
