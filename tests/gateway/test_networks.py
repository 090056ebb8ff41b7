import pytest

from gateway.networks import Networks, group_address, read_address


@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        (["10.0.0.0/8"], ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["11.0.0.0", "::10.0.0.1", ""]),
        (["192.0.2.7"], ["192.0.2.7", "::ffff:c000:207"], ["192.0.2.8"]),
        (["2001:db8::/32"], ["2001:db8::1", "2001:db8:ffff::", "2001:db8::1%eth0"], ["2001:db9::", "1.2.3.4"]),
        (["::ffff:10.0.0.0/104"], ["10.9.9.9", "::ffff:10.9.9.9"], ["11.0.0.1", "2001:db8::1"]),
        (["::/0"], ["::1"], ["10.0.0.1", "::ffff:10.0.0.1"]),
        (["unix", "10.0.0.0/8"], ["", "10.0.0.1"], ["unix", "11.0.0.1"]),
        ([], [], ["", "10.0.0.1", "::1"]),
        (["0.0.0.0/0"], ["1.2.3.4"], ["", "nonsense", "1.2.3", "1.2.3.4.5", "01.2.3.4", "2130706433", "1.2.3.4/8"]),
    ],
)
def test_what_is_inside(networks: list[str], inside: list[str], outside: list[str]) -> None:
    found = Networks(networks)
    assert bool(found) is bool(networks)
    for _ in range(2):  # the second answer is remembered
        assert [address for address in (*inside, *outside) if found.hold(address)] == inside


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "10.0.0.0/33", "example.org", "10.0.0.0-10.0.0.9", "::/129"])
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(ValueError, match="is not a network"):
        Networks([text])


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::%eth0", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_what_counts_as_one_client(text: str, group: str) -> None:
    assert group_address(text) == group


def test_what_is_no_address() -> None:
    assert read_address("localhost") is None
