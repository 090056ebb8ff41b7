"""S35, S36: where control may connect to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.outbound import check_url, is_allowed

PUBLIC = ["93.184.216.34", "8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
PRIVATE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "::1",
    "fc00::1", "fd12:3456::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
    "2002:7f00:1::", "2002:0a00:1::",
]  # fmt: skip
NEVER = [
    "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "224.0.0.1", "ff02::1", "::",
    "240.0.0.1", "255.255.255.255", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "::ffff:0.0.0.0", "192.0.2.1", "2001:db8::1", "2001::1", "",
    "localhost", "1.2.3", "nonsense",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_s35_public_addresses(address: str) -> None:
    assert is_allowed(address) and is_allowed(address, allow_private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_s35_private_addresses_where_the_operator_says_so(address: str) -> None:
    assert not is_allowed(address) and is_allowed(address, allow_private=True)


@pytest.mark.parametrize("address", NEVER)
def test_s35_addresses_that_are_never_right(address: str) -> None:
    assert not is_allowed(address) and not is_allowed(address, allow_private=True)


@given(st.ip_addresses(v=4))
def test_s35_an_address_means_the_same_in_every_dress(address: object) -> None:
    for allow_private in (False, True):
        assert is_allowed(f"::ffff:{address}", allow_private) == is_allowed(str(address), allow_private)


@given(st.text())
def test_no_text_makes_it_stumble(text: str) -> None:
    is_allowed(text)
    try:
        check_url(text)
    except OSError:
        pass


def test_s36_schemes_and_what_else_an_address_must_be() -> None:
    check_url("https://id.example.com/.well-known/jwks.json")
    check_url("http://127.0.0.1:8080/jwks", allow_private=True)
    for url in ("http://id.example.com/", "https://", "https:///x", "https://user:pw@host/", "https://host:0/",
                "https://host:99999/", "file:///x", "unix:/run/x", "//host/x", "host/x", "https://[::1/"):  # fmt: skip
        with pytest.raises(OSError):
            check_url(url)
