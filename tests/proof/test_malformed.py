"""Every malformed request there is, and noise of ten seeds, beside a load."""

import pytest

from tests.faults.malformed import Template, generate
from tests.harness import config, running_gateway
from tests.process.test_malformed import send_malformed

pytestmark = pytest.mark.proof


async def test_ten_rounds_of_malformed_requests_hurt_nobody() -> None:
    with running_gateway(config(), workers=2) as gateway:
        template = Template(gateway.key("open").encode(), b"echo")
        for seed in range(10):
            await send_malformed(gateway, generate(template, seed))
