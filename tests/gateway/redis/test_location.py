"""URLs of `state.redis`, and what is said of bad ones."""

from pathlib import Path

import pytest

from gateway.redis.location import Location, parse_location


@pytest.mark.parametrize(
    "url,location",
    [
        ("redis://host", Location((("host", 6379),))),
        ("redis://:p%40ss@host:6380/3", Location((("host", 6380),), password="p@ss", database=3)),
        ("redis://user:secret@[::1]:6380", Location((("::1", 6380),), user="user", password="secret")),
        ("rediss://host/", Location((("host", 6379),), tls=True)),
        ("unix:///run/redis.sock", Location((("/run/redis.sock", 0),))),
        ("unix:///run/redis.sock?db=2", Location((("/run/redis.sock", 0),), database=2)),
        (
            "redis+sentinel://:s@one:26380,two/mymaster/1",
            Location((("one", 26380), ("two", 26379)), password="s", database=1, master="mymaster"),
        ),
    ],
)
def test_urls(url: str, location: Location) -> None:
    assert parse_location(url) == location


def test_a_ca_file(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    assert parse_location(f"rediss://host?ca={tmp_path}/ca.pem").authority == f"{tmp_path}/ca.pem"


@pytest.mark.parametrize(
    "url,says",
    [
        ("host:6379", "must be one of"),
        ("http://host", "must be one of"),
        ("redis://", "no host"),
        ("redis://:secret@host:99999", "port"),
        ("redis://:secret@host:x", "port"),
        ("redis://:secret@host/x", "database"),
        ("redis://:secret@host?ca=/x", "unknown option 'ca'"),
        ("rediss://:secret@host?ca=/no/such", "/no/such"),
        ("unix://host/path", "absolute path"),
        ("redis+sentinel://:secret@host", "master's name"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        parse_location(url)
    assert "secret" not in str(caught.value)


def test_a_location_never_shows_its_password() -> None:
    location = parse_location("redis://user:secret@host:6380")
    assert str(location) == repr(location) == "host:6380"
