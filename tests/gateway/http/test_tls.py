import asyncio
import datetime
import logging
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.http.deadline import Sweeper
from gateway.http.faults import ConnectFailed
from gateway.http.origin import Origin
from gateway.http.server import Request, ServerLimits
from gateway.http.tls import CertificateFile, Renewal, ServerContext, client_context, server_context
from gateway.http.tunnel import TunnelEnd, splice
from tests.gateway.http.peers import Site, eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
_DAY = datetime.timedelta(days=1)


@dataclass
class Authority:
    """Signs certificates and writes them, with their keys, into a folder."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    cert: x509.Certificate

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, name: str, *names: str, serial: int = 0) -> CertificateFile:
        key = ec.generate_private_key(ec.SECP256R1())
        alt = x509.SubjectAlternativeName([x509.DNSName(each) for each in names or (name,)])
        cert = build(name, key, self.cert.subject, serial or x509.random_serial_number()).add_extension(alt, False)
        file = CertificateFile(self.folder / f"{name}.pem", self.folder / f"{name}.key", names or (name,))
        file.cert.write_bytes(cert.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        file.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return file


def build(name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Name | None, serial: int) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    return x509.CertificateBuilder(
        issuer or subject, subject, key.public_key(), serial, now - _DAY, now + _DAY
    )  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = build("test ca", key, None, 1).add_extension(x509.BasicConstraints(True, None), True)
    cert = builder.sign(key, hashes.SHA256())
    authority = Authority(tmp_path_factory.mktemp("tls"), key, cert)
    authority.file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    return authority


async def hello(request: Request) -> None:
    request.respond(200, [], request.scheme.encode())


async def serial_of(port: int, name: str | None, authority: Authority) -> int:
    """The serial number of the certificate that a handshake with this name gets."""
    context = client_context(authority.file)
    context.check_hostname = False
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name or "")
    cert = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return x509.load_der_x509_certificate(cert).serial_number


async def test_requests_over_tls(site: Site, authority: Authority) -> None:
    _, port = await site.serve(hello, tls=server_context([authority.issue("localhost")]))
    client = await site.client(port, ssl=client_context(authority.file), server_hostname="localhost")
    for _ in range(3):
        assert (await client.ask(GET))[2] == b"https"
    tls = client.writer.get_extra_info("ssl_object")
    assert tls.version() in ("TLSv1.2", "TLSv1.3")
    assert tls.selected_alpn_protocol() == "http/1.1"


async def test_a_refusal_over_tls(site: Site, authority: Authority) -> None:
    _, port = await site.serve(hello, tls=server_context([authority.issue("localhost")]))
    client = await site.client(port, ssl=client_context(authority.file), server_hostname="localhost")
    assert (await client.ask(b"GET //x HTTP/1.1\r\nHost: a\r\n\r\n"))[2].startswith(b"1205")
    client.close()


async def test_s61_old_tls_is_refused(site: Site, authority: Authority) -> None:
    _, port = await site.serve(hello, tls=server_context([authority.issue("localhost")]))
    with pytest.warns(DeprecationWarning):
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await site.client(port, ssl=old, server_hostname="localhost")


async def test_s61_the_certificate_is_chosen_by_name(site: Site, authority: Authority) -> None:
    files = [
        authority.issue("default.example", serial=101),
        authority.issue("a.example", "a.example", "b.example", serial=102),
        authority.issue("wild.example", "*.wild.example", serial=103),
    ]
    _, port = await site.serve(hello, tls=server_context(files))
    wanted = {
        "default.example": 101, "a.example": 102, "B.example": 102, "x.wild.example": 103, "x.y.wild.example": 101,
        "wild.example": 101, "other.example": 101, None: 101,
    }  # fmt: skip
    for name, serial in wanted.items():
        assert await serial_of(port, name, authority) == serial, name


async def test_s61_changed_files_are_used_for_new_handshakes(
    site: Site, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    file = authority.issue("renewed.example", serial=201)
    context = server_context([file])
    _, port = await site.serve(hello, tls=context)
    client = await site.client(port, ssl=client_context(authority.file), server_hostname="renewed.example")
    assert (await client.ask(GET))[0] == 200
    assert not context.reload_if_changed()
    authority.issue("renewed.example", serial=202)
    os.utime(file.cert, ns=(1, 1))
    assert context.reload_if_changed()
    assert await serial_of(port, "renewed.example", authority) == 202
    assert (await client.ask(GET))[0] == 200
    file.key.write_text("not a key")
    with caplog.at_level(logging.ERROR):
        assert not context.reload_if_changed()
    assert "renewed.example.pem is not reloaded" in caplog.text
    assert await serial_of(port, "renewed.example", authority) == 202
    file.cert.unlink()
    assert not context.reload_if_changed()
    assert await serial_of(port, "renewed.example", authority) == 202


async def test_an_upstream_over_tls(site: Site, authority: Authority) -> None:
    _, port = await site.serve(hello, tls=server_context([authority.issue("localhost")]))
    pool = site.pool()
    for context, works in (
        (client_context(authority.file), True),
        (client_context(verify=False), True),
        (client_context(), False),
    ):
        origin = Origin.parse(f"https://localhost:{port}", context)
        if not works:
            with pytest.raises(ConnectFailed) as failure:
                await pool.connect(origin, 2.0)
            assert (failure.value.kind, failure.value.sent) == ("tls", False)
            continue
        connection = await pool.connect(origin, 2.0)
        for _ in range(2):
            connection.send(GET)
            await connection.response()
            assert connection.body() == b"https"
        connection.close()
    await eventually(lambda: not pool.open)


async def test_the_upstreams_name_is_verified(site: Site, authority: Authority) -> None:
    _, port = await site.serve(hello, tls=server_context([authority.issue("else.example")]))
    with pytest.raises(ConnectFailed) as failure:
        await site.pool().connect(Origin.parse(f"https://localhost:{port}", client_context(authority.file)), 2.0)
    assert failure.value.kind == "tls"


async def test_a_client_certificate(site: Site, authority: Authority) -> None:
    file = authority.issue("localhost")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file.cert, file.key)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(authority.file)
    _, port = await site.serve(hello, tls=server)
    own = authority.issue("gateway")
    pool = site.pool()
    context = client_context(authority.file, own.cert, own.key)
    connection = await pool.connect(Origin.parse(f"https://localhost:{port}", context), 2.0)
    connection.send(GET)
    assert (await connection.response()).status == 200
    connection.close()


async def test_a_handshake_that_does_not_come_is_dropped(site: Site, authority: Authority) -> None:
    tls = server_context([authority.issue("localhost")])
    _, port = await site.serve(hello, ServerLimits(header_timeout=0.2), tls=tls)
    client = await site.client(port)
    assert await client.is_closed()


async def test_a_tunnel_over_tls_ends_with_either_side(site: Site, authority: Authority) -> None:
    """TLS cannot half-close: the end of one direction is the end of the tunnel."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nfirst ")
        writer.write(await reader.readexactly(4))
        await writer.drain()

    upstream, ends = await site.upstream(script), []

    async def handler(request: Request) -> None:
        connection = await site.connect(upstream)
        connection.send(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        await connection.response()
        request.inform(101, [(b"connection", b"upgrade"), (b"upgrade", b"websocket")])
        ends.append(await splice(request.upgrade(), connection, site.sweeper, 5.0))

    _, port = await site.serve(handler, tls=server_context([authority.issue("localhost")]))
    client = await site.client(port, ssl=client_context(authority.file), server_hostname="localhost")
    await client.send(GET[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    await client.head()
    await client.send(b"data")
    assert await client.rest() == b"first data"
    client.close()
    await eventually(lambda: ends == [TunnelEnd("upstream", 4, 10)])


async def test_a_renewal_looks_at_the_files_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[ServerContext] = []
    monkeypatch.setattr(ServerContext, "reload_if_changed", lambda context: looks.append(context) or False)
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    sweeper = Sweeper(asyncio.get_running_loop(), interval=0.01)
    sweeper.add(Renewal([context], every=0.02))
    async with asyncio.timeout(2):
        while len(looks) < 3:
            await asyncio.sleep(0.01)
    sweeper.close()
    assert looks[0] is context
