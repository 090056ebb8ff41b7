import asyncio
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.http.head import read_head
from gateway.loader import load_plugin
from gateway.settings.problem import ConfigError
from plugins.ip_restriction import Plugin, Settings
from tests.gateway.relay.stage import Stage


def rule_for(settings: Settings, peer: str) -> str:
    """The rule that refuses calls from `peer`, empty where none does."""
    plugin = Plugin(settings)
    services: Any = None
    asyncio.run(plugin.start(services))
    exchange = Exchange("id", read_head(b"GET", b"/", "1.1", [(b"host", b"a")]), "GET", "/", 0.0)
    exchange.peer = peer
    for _ in range(2):  # the second verdict is remembered
        exchange.rule = ""
        try:
            plugin.access(exchange)
        except GatewayError as error:
            assert (error.number, error.status) == (1106, 403)
            assert error.details == {"rule": exchange.rule, "address": peer}
    return exchange.rule


BOTH = Settings(allow=("10.0.0.0/8", "2001:db8::/32"), deny=("10.6.0.0/16", "2001:db8:6::/48"))


@pytest.mark.parametrize(
    ("settings", "peer", "rule"),
    [
        (BOTH, "10.1.2.3", ""),
        (BOTH, "::ffff:10.1.2.3", ""),
        (BOTH, "2001:db8::1", ""),
        (BOTH, "10.6.6.6", "ip_restriction:deny"),  # deny wins
        (BOTH, "::ffff:10.6.6.6", "ip_restriction:deny"),
        (BOTH, "2001:db8:6::1", "ip_restriction:deny"),
        (BOTH, "192.0.2.7", "ip_restriction:allow"),
        (BOTH, "", "ip_restriction:allow"),
        (Settings(deny=("192.0.2.0/24",)), "192.0.2.7", "ip_restriction:deny"),
        (Settings(deny=("192.0.2.0/24",)), "198.51.100.1", ""),
        (Settings(deny=("192.0.2.0/24",)), "", ""),
        (Settings(allow=("unix",)), "", ""),
        (Settings(allow=("unix",)), "127.0.0.1", "ip_restriction:allow"),
        (Settings(deny=("unix",)), "", "ip_restriction:deny"),
    ],
)
def test_who_may_call(settings: Settings, peer: str, rule: str) -> None:
    assert rule_for(settings, peer) == rule


@pytest.mark.parametrize("settings", [{}, {"allow": ["10.0.0.1/8"]}, {"deny": ["example.org"]}])
def test_settings_that_mean_nothing_are_told(settings: dict[str, list[str]]) -> None:
    with pytest.raises(ConfigError, match=r"not a network|names no address"):
        load_plugin("ip_restriction", settings)


@pytest.mark.parametrize(("allow", "number"), [("127.0.0.0/8", 1001), ("10.0.0.0/8", 1106)])
async def test_it_stands_before_the_keys(stage: Stage, allow: str, number: int) -> None:
    await stage.start(f"plugins: [{{ip_restriction: {{allow: [{allow}]}}}}, key_auth]")
    answered = await stage.ask("GET", "/v1/models", key="", x_forwarded_for="10.0.0.1")
    assert answered.number == number
    assert (await stage.row()).rule == ("ip_restriction:allow" if number == 1106 else "")
