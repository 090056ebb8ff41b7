import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.settings.address import parse_address
from gateway.supervisor.listening import AddressTaken, Listeners, listen


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    made = Listeners()
    yield made
    made.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for the path of a socket."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def can_connect(name: str) -> bool:
    if name.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(name.removeprefix("unix:")) == 0
    host, _, port = name.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), 1).close()
    except OSError:
        return False
    return True


def test_a_port_0_becomes_a_real_one(listeners: Listeners) -> None:
    sockets = listeners.bind(["127.0.0.1:0", "[::1]:0"])
    first, second = listeners.names()
    assert first.startswith("127.0.0.1:") and second.startswith("[::1]:")
    assert can_connect(first) and can_connect(second)
    assert not any(sock.getblocking() for sock in sockets)


def test_a_reload_keeps_what_it_shares(listeners: Listeners, folder: Path) -> None:
    unix = f"unix:{folder}/a.sock"
    (kept,) = listeners.bind(["127.0.0.1:0"])
    again, fresh = listeners.bind(["127.0.0.1:0", unix])
    assert again is kept
    assert can_connect(unix)
    listeners.keep_only(["127.0.0.1:0"])
    assert listeners.names() == [f"127.0.0.1:{kept.getsockname()[1]}"]
    assert fresh.fileno() == -1 and not (folder / "a.sock").exists()
    listeners.close()
    assert kept.fileno() == -1


def test_an_address_that_is_taken_is_told_and_nothing_stays_bound(listeners: Listeners, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(AddressTaken, match=f"{taken} is taken: another program listens there"):
            listeners.bind([f"unix:{folder}/a.sock", taken])
    assert listeners.names() == []
    assert not (folder / "a.sock").exists()


def test_a_port_of_a_process_that_has_just_ended_is_free(listeners: Listeners) -> None:
    """Its connections may linger in TIME_WAIT."""
    listeners.bind(["127.0.0.1:0"])
    (name,) = listeners.names()
    with socket.create_connection(("127.0.0.1", int(name.rpartition(":")[2]))):
        listeners.close()
    listeners.bind([name])
    assert can_connect(name)


def test_v6_leaves_the_same_port_of_v4_to_others(listeners: Listeners) -> None:
    listeners.bind(["[::]:0"])
    port = listeners.names()[0].rpartition(":")[2]
    listeners.bind([f"127.0.0.1:{port}"])
    assert can_connect(f"127.0.0.1:{port}")


def test_a_socket_file_of_the_dead_is_replaced_and_of_the_living_not(listeners: Listeners, folder: Path) -> None:
    path = folder / "a.sock"
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(path))
    other.listen()
    with pytest.raises(AddressTaken, match="is taken"):
        listeners.bind([f"unix:{path}"])
    other.close()
    assert path.exists()
    listeners.bind([f"unix:{path}"])
    assert can_connect(f"unix:{path}")


def test_a_file_that_is_no_socket_is_left_alone(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OSError, match=r"^cannot listen on unix:.*notes.txt: the file exists and is no socket$"):
        listen(parse_address(f"unix:{folder}/notes.txt"))
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("192.0.2.1:8000", r"^cannot listen on 192\.0\.2\.1:8000: Cannot assign requested address$"),
        ("no.such.host.invalid:80", r"^cannot listen on no\.such\.host\.invalid:80: .+"),
        ("unix:/no/such/folder/x.sock", r"^cannot listen on unix:/no/such/folder/x\.sock: No such file or directory$"),
        ("unix:/tmp/" + "x" * 200, r"^cannot listen on unix:/tmp/x+: AF_UNIX path too long$"),
    ],
)
def test_an_address_that_cannot_be_had_is_a_sentence(address: str, sentence: str) -> None:
    with pytest.raises(OSError, match=sentence) as caught:
        listen(parse_address(address))
    assert not isinstance(caught.value, AddressTaken)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may listen anywhere")
def test_a_port_that_is_not_for_everybody() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:1: Permission denied"):
        listen(parse_address("127.0.0.1:1"))
