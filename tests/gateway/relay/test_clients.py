"""Whose request it is behind proxies: what a client invents counts for nothing (S27)."""

import pytest

from gateway.http.head import read_head
from gateway.relay.clients import Clients
from tests.gateway.relay.stage import Stage

TRUSTED = ("10.0.0.0/8", "2001:db8:aaaa::/48", "unix")


@pytest.mark.parametrize(
    ("peer", "told", "client"),
    [
        # nobody whom we trust connects: whatever he says is his own
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["127.0.0.1"], "192.0.2.7"),
        ("192.0.2.7", ["10.0.0.1, 10.0.0.2"], "192.0.2.7"),
        # one proxy
        ("10.0.0.1", ["198.51.100.9"], "198.51.100.9"),
        ("10.0.0.1", ["127.0.0.1, 198.51.100.9"], "198.51.100.9"),
        ("10.0.0.1", ["10.0.0.5, 198.51.100.9"], "198.51.100.9"),
        ("10.0.0.1", ["127.0.0.1", "198.51.100.9"], "198.51.100.9"),  # two lines are one list
        ("10.0.0.1", ["198.51.100.9:443"], "198.51.100.9"),
        ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]:443"], "2001:db8::7"),
        ("10.0.0.1", ['"[2001:db8::7]"'], "2001:db8::7"),
        ("10.0.0.1", ["::ffff:198.51.100.9"], "198.51.100.9"),
        # a chain of them
        ("10.0.0.1", ["127.0.0.1, 198.51.100.9, 10.0.0.3, 10.0.0.2"], "198.51.100.9"),
        ("2001:db8:aaaa::1", ["198.51.100.9,10.0.0.3"], "198.51.100.9"),
        ("", ["198.51.100.9"], "198.51.100.9"),  # over a unix socket
        # nothing but proxies: the farthest one
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        # what is no address ends the reading at the proxy that vouched for it
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.9, garbage, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.9, "], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.9,\xff"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.9, unix"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.9:" + "4" * 60], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.9, 10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", [", ".join(["198.51.100.9"] + ["10.0.0.2"] * 100)], "10.0.0.2"),  # hops are bounded
    ],
)
def test_s27_only_trusted_proxies_say_who_called_them(peer: str, told: list[str], client: str) -> None:
    fields = [(b"x-forwarded-for", value.encode("latin-1")) for value in told]
    head = read_head(b"GET", b"/", "1.1", [(b"host", b"a"), *fields])
    assert Clients(TRUSTED).locate(peer, head) == client


@pytest.mark.parametrize(("trusted", "peer"), [("[127.0.0.0/8]", "198.51.100.9"), ("[]", "127.0.0.1")])
async def test_s27_the_journal_knows_the_client(stage: Stage, trusted: str, peer: str) -> None:
    await stage.start(f"listen: {{trusted: {trusted}}}\nplugins: [key_auth]")
    await stage.ask("GET", "/v1/models", x_forwarded_for="203.0.113.1, 198.51.100.9")
    assert (await stage.row()).opened.peer == peer
