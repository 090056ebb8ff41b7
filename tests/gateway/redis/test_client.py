"""The client against real servers: order, deadlines, the breaker, and servers that are not what they were."""

import asyncio
import datetime
import hashlib
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import hiredis
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.redis.client import Client
from gateway.redis.cluster import SLOTS, SlotMap, key_of, parse_redirection, slot_of
from gateway.redis.connection import expect, pack
from gateway.redis.location import Location, parse_location
from gateway.redis.node import Down
from tests.redis import Caller, Server, free_port, running_cluster, running_redis


class Echo:
    """A script that gives its argument back and notes that it ran."""

    text = "redis.call('INCR', KEYS[1]) return ARGV[1]"
    sha = hashlib.sha1(text.encode()).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with running_redis() as server:
        yield server


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[Client]:
    client = Client(parse_location(url), **options)
    await client.start(5.0)
    try:
        yield client
    finally:
        client.close()
        await asyncio.sleep(0)


async def until(check: Any, within: float = 15.0) -> None:
    deadline = time.monotonic() + within
    while not check():
        assert time.monotonic() < deadline, f"not within {within:g} s"
        await asyncio.sleep(0.01)


async def test_answers_come_in_order(server: Server) -> None:
    async with connected(server.url, patience=5.0) as client:
        answers = await asyncio.gather(*[client.call("k", "ECHO", str(n)) for n in range(5000)])
        assert answers == [str(n).encode() for n in range(5000)]


async def test_f39_cancelled_callers_never_get_another_ones_answer(server: Server) -> None:
    """A storm of 100,000 calls, half of them given up at some moment: every answer that is seen is the right one."""
    seen = cancelled = 0

    async with connected(server.url, patience=5.0) as client:

        async def ask(number: int) -> None:
            nonlocal seen, cancelled
            try:
                async with asyncio.timeout(None if number % 2 else (number % 7) * 0.0002):
                    answer = await client.call("k", "ECHO", str(number))
            except TimeoutError:
                cancelled += 1
            else:
                assert answer == str(number).encode()
                seen += 1

        for start in range(0, 100_000, 2000):
            await asyncio.gather(*[ask(number) for number in range(start, start + 2000)])
        assert await client.call("k", "ECHO", "last") == b"last"
    assert seen + cancelled == 100_000 and cancelled > 10_000


async def test_f39_a_late_answer_is_told_as_late(server: Server) -> None:
    heard: list[tuple[Any, bool]] = []
    async with connected(server.url) as client:
        server.signal(signal.SIGSTOP)
        client.send("k", pack(("ECHO", "a")), lambda reply, is_late: heard.append((reply, is_late)))
        await until(lambda: heard)
        assert isinstance(heard[0][0], TimeoutError) and not heard[0][1]
        server.signal(signal.SIGCONT)
        await until(lambda: len(heard) == 2)
        assert heard[1] == (b"a", True)
        assert await client.call("k", "ECHO", "b") == b"b"


async def test_f32_a_server_that_hangs_costs_three_deadlines_and_then_nothing(server: Server) -> None:
    changes: list[bool] = []
    async with connected(server.url, on_change=lambda node, is_up: changes.append(is_up)) as client:
        server.signal(signal.SIGSTOP)
        waits = [await _time_failure(client) for _ in range(20)]
        assert all(0.04 < wait < 0.5 for wait in waits[:3])
        assert sorted(waits[3:])[len(waits[3:]) // 2] < 0.001
        assert changes == [True, False]
        server.signal(signal.SIGCONT)
        await until(lambda: client.is_up, 2.0)
        assert await client.call("k", "ECHO", "x") == b"x"
    assert changes == [True, False, True]


async def test_a_deadline_is_kept_though_others_begin_meanwhile(server: Server) -> None:
    """A command that is sent while an earlier one's deadline passes does not put off those in between."""
    loop, heard = asyncio.get_running_loop(), []
    async with connected(server.url, patience=0.1) as client:
        server.signal(signal.SIGSTOP)
        begun = loop.time()

        def note(reply: Any, is_late: bool) -> None:
            if not is_late:
                heard.append(loop.time() - begun)
                client.send("k", pack(("PING",)), lambda reply, is_late: None)

        client.send("k", pack(("PING",)), note)
        await asyncio.sleep(0.02)
        client.send("k", pack(("PING",)), note)
        await until(lambda: len(heard) == 2)
        assert heard[1] < 0.18
        server.signal(signal.SIGCONT)


def test_a_loop_that_stood_still_is_not_held_against_redis(server: Server) -> None:
    """On the loop that workers have: what lies there unread comes before the deadline that has passed."""

    async def stand_still() -> None:
        async with connected(server.url) as client:
            for _ in range(5):
                answer = client.call("k", "ECHO", "x")
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                time.sleep(0.07)
                assert await answer == b"x"

    uvloop.run(stand_still())


async def test_f31_a_server_that_dies_is_noticed_at_once_and_found_again(server: Server) -> None:
    async with connected(server.url) as client:
        server.kill()
        await until(lambda: not client.is_up, 1.0)
        assert await _time_failure(client) < 0.05
        server.start()
        await until(lambda: client.is_up, 2.0)
        assert await client.call("k", "ECHO", "x") == b"x"


async def test_f30_a_server_that_is_not_there_yet(server: Server) -> None:
    server.kill()
    client = Client(parse_location(server.url))
    begun = time.monotonic()
    await client.start(0.3)
    assert not client.is_up and time.monotonic() - begun < 5.0
    with pytest.raises(Down):
        await client.call("k", "PING")
    server.start()
    await until(lambda: client.is_up, 3.0)
    client.close()


async def test_f33_slow_is_failed(server: Server) -> None:
    async with connected(server.url) as client:
        server.call("CLIENT", "PAUSE", 1000)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await client.call("k", "GET", "k")
        assert not client.is_up
        await until(lambda: client.is_up, 3.0)


async def test_f36_a_server_out_of_memory_is_down(server: Server) -> None:
    async with connected(server.url) as client:
        server.call("CONFIG", "SET", "maxmemory", "1")
        for _ in range(3):
            with pytest.raises(hiredis.ReplyError, match="OOM"):
                await client.call("k", "SET", "k", "1")
        assert not client.is_up
        await asyncio.sleep(0.8)
        assert not client.is_up, "a probe writes"
        server.call("CONFIG", "SET", "maxmemory", "0")
        await until(lambda: client.is_up, 3.0)


async def test_f35_a_master_that_became_a_replica_is_left(server: Server) -> None:
    with running_redis() as other:
        async with connected(server.url) as client:
            server.call("REPLICAOF", "127.0.0.1", other.port)
            await _fail(client, "SET", "k", "1")
            assert not client.is_up
            await asyncio.sleep(0.8)
            assert not client.is_up
            server.call("REPLICAOF", "NO", "ONE")
            await until(lambda: client.is_up, 3.0)


async def test_f34_a_flushed_script_is_sent_again_also_in_a_pipeline(server: Server) -> None:
    async with connected(server.url, patience=5.0) as client, _flushing(server):
        for _ in range(100):
            answers = await asyncio.gather(*[_run(client, "count", str(n)) for n in range(50)])
            assert answers == [str(n).encode() for n in range(50)]
    assert server.call("GET", "count") == b"5000", "each ran once"


async def test_scripts_where_their_names_are_not_allowed(server: Server) -> None:
    server.call("ACL", "SETUSER", "poor", "on", ">secret", "~*", "+@all", "-evalsha", "-script")
    async with connected(f"redis://poor:secret@127.0.0.1:{server.port}") as client:
        assert await asyncio.gather(*[_run(client, "count", str(n)) for n in range(3)]) == [b"0", b"1", b"2"]
    assert server.call("GET", "count") == b"3"


async def test_passwords_users_and_databases() -> None:
    with running_redis(password="p@ss word") as server:
        server.call("ACL", "SETUSER", "me", "on", ">mine", "~*", "+@all")
        for identity in (":p%40ss%20word", "me:mine"):
            async with connected(f"redis://{identity}@127.0.0.1:{server.port}/3") as client:
                await client.call("k", "SET", "k", identity)
        with Caller(server.port, "p@ss word") as caller:
            caller.call("SELECT", 3)
            assert caller.call("GET", "k") == b"me:mine"
        client = Client(parse_location(f"redis://:wrong@127.0.0.1:{server.port}"))
        await client.start(0.3)
        assert not client.is_up
        client.close()


async def test_a_password_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    with running_redis(password="hunter2hunter2") as server:
        client = Client(parse_location(f"redis://:hunter3hunter3@127.0.0.1:{server.port}"))
        await client.start(0.3)
        client.close()
    assert "WRONGPASS" in caplog.text and "hunter" not in caplog.text


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with running_redis("--unixsocket", str(path)):
        async with connected(f"unix://{path}") as client:
            assert await client.call("k", "ECHO", "x") == b"x"


async def test_tls_is_verified(tmp_path: Path) -> None:
    _make_certificate(tmp_path)
    async with _tls_front(tmp_path) as port:
        async with connected(f"rediss://localhost:{port}?ca={tmp_path}/cert.pem") as client:
            assert await client.call("k", "ECHO", "x") == b"x"
        stranger = Client(parse_location(f"rediss://localhost:{port}"))
        await stranger.start(0.5)
        assert not stranger.is_up
        stranger.close()


async def test_sentinels_are_asked_who_is_master() -> None:
    with running_redis() as first, running_redis() as second, _sentinel(first) as port:
        location = parse_location(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/mymaster")
        client = Client(location)
        await client.start(3.0)
        await client.call("k", "SET", "k", "first")
        assert first.call("GET", "k") == b"first"
        with Caller(port) as sentinel:
            sentinel.call("SENTINEL", "REMOVE", "mymaster")
            sentinel.call("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", second.port, 1)
        first.kill()
        await asyncio.sleep(0.2)
        await until(lambda: client.is_up, 4.0)
        await client.call("k", "SET", "k", "second")
        assert second.call("GET", "k") == b"second"
        client.close()


async def test_a_cluster_is_recognised_and_moved_slots_are_followed() -> None:
    with running_cluster() as servers:
        async with connected(servers[1].url) as client:
            assert client.is_cluster and len(client.nodes) == 3
            names = [f"{{t{n}}}" for n in range(60)]
            assert await asyncio.gather(*[_run(client, name, name) for name in names]) == [n.encode() for n in names]
            assert all(len(server.call("KEYS", "{t*")) > 5 for server in servers)
            _move_empty_slot(servers, client, names[0])
            assert await client.call(names[0], "SET", names[0], "moved") == b"OK"


async def test_a_cluster_with_a_dead_node_serves_the_others() -> None:
    with running_cluster() as servers:
        for server in servers:
            server.call("CONFIG", "SET", "cluster-require-full-coverage", "no")
        async with connected(servers[0].url) as client:
            keys = {node.name: node.probe_key for node in client.nodes}
            servers[2].kill()
            dead = f"127.0.0.1:{servers[2].port}"
            await until(lambda: not client.is_up)
            for name, key in keys.items():
                if name == dead:
                    with pytest.raises(ConnectionError):
                        await client.call(key, "GET", key)
                else:
                    await client.call(key, "GET", key)


async def test_a_server_that_speaks_nonsense_is_left() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    nonsense = await asyncio.start_server(answer, "127.0.0.1", 0)
    client = Client(Location((("127.0.0.1", nonsense.sockets[0].getsockname()[1]),)))
    await client.start(0.3)
    assert not client.is_up
    client.close()
    nonsense.close()


def test_slots_are_those_of_the_specification() -> None:
    assert slot_of("123456789") == 0x31C3
    assert slot_of("{user1000}.following") == slot_of("{user1000}.followers") == slot_of("user1000")
    assert slot_of("foo{}{bar}") == slot_of("foo{}{bar}") != slot_of("bar")
    assert slot_of("foo{{bar}}zap") == slot_of("{bar")
    for slot in (0, 5461, SLOTS - 1):
        assert slot_of(key_of(slot)) == slot


def test_a_map_of_slots() -> None:
    slots = SlotMap([[0, 99, [b"a", 1, b"id"]], [200, 16383, [b"", 2, b"id"]]], ("asked", 9))
    assert [slots.find(slot) for slot in (0, 99, 100, 200, 16383)] == [
        ("a", 1),
        ("a", 1),
        None,
        ("asked", 2),
        ("asked", 2),
    ]
    assert slots.masters() == {("a", 1): 0, ("asked", 2): 200}
    assert parse_redirection("MOVED 3999 ::1:6381", ("x", 1)) == ("::1", 6381)
    assert parse_redirection("ASK 3999 :6381", ("x", 1)) == ("x", 6381)


async def _time_failure(client: Client) -> float:
    begun = time.perf_counter()
    with pytest.raises((TimeoutError, ConnectionError)):
        await client.call("k", "GET", "k")
    return time.perf_counter() - begun


async def _fail(client: Client, *command: str) -> None:
    with pytest.raises((hiredis.ReplyError, OSError)):
        await client.call("k", *command)


async def _run(client: Client, key: str, argument: str) -> Any:
    future, receiver = expect()
    client.run(Echo(), [key], [argument], receiver)
    return await future


@asynccontextmanager
async def _flushing(server: Server) -> AsyncIterator[None]:
    """SCRIPT FLUSH a hundred times a second."""

    async def flush() -> None:
        with Caller(server.port) as caller:
            while True:
                caller.call("SCRIPT", "FLUSH")
                await asyncio.sleep(0.01)

    task = asyncio.get_running_loop().create_task(flush())
    try:
        yield
    finally:
        task.cancel()


@asynccontextmanager
async def _tls_front(folder: Path) -> AsyncIterator[int]:
    """A server behind TLS, whether or not the binary was built with it: what is spoken inside is the same."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    tasks = set()
    with running_redis() as server:

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65536):
                writer.write(data)
            writer.close()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", server.port)
            tasks.add(asyncio.get_running_loop().create_task(pump(inner_reader, writer)))
            await pump(reader, inner_writer)

        front = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        yield front.sockets[0].getsockname()[1]
        front.close()
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()


def _make_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))


def _sentinel(master: Server) -> Any:
    import contextlib
    import subprocess

    from tests.redis import find_binary

    @contextlib.contextmanager
    def run() -> Iterator[int]:
        port = free_port()
        file = master.folder / "sentinel.conf"
        file.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {master.port} 1\n")
        process = subprocess.Popen(
            [find_binary(), str(file), "--sentinel"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 5
        while True:
            try:
                with Caller(port):
                    break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        try:
            yield port
        finally:
            process.kill()
            process.wait()

    return run()


def _move_empty_slot(servers: list[Server], client: Client, key: str) -> None:
    """Give the slot of `key`, emptied, to another node."""
    slot = slot_of(key)
    owner = next(server for server in servers if client.find(key).name.endswith(f":{server.port}"))
    taker = next(server for server in servers if server is not owner)
    name = taker.call("CLUSTER", "MYID")
    owner.call("DEL", key)
    for server in (taker, owner, *servers):
        server.call("CLUSTER", "SETSLOT", slot, "NODE", name)


async def test_a_mistake_of_one_receiver_is_not_the_others(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    def fail(reply: Any, is_late: bool) -> None:
        raise ValueError("mine")

    async with connected(server.url) as client:
        client.send("k", pack(("PING",)), fail)
        assert await client.call("k", "ECHO", "x") == b"x" and client.is_up
    assert "mine" in caplog.text
