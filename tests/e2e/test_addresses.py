"""Where the gateway listens and whom it calls: TLS by name, unix sockets, IPv6; both ways, as its own upstream."""

import socket
import ssl
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.sync.client import connect

from tests.e2e.wire import Answer, Line, bearer, row_of
from tests.harness import Gateway, config, running_gateway

SECOND = ("second.example", "*.wild.example")


def _issue(folder: Path, name: str, *names: str) -> dict[str, str]:
    """A certificate for `names` that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    files = {"cert": folder / f"{name}.crt", "key": folder / f"{name}.key"}
    files["cert"].write_bytes(certificate.public_bytes(pem))
    files["key"].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return {part: str(path) for part, path in files.items()}


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        return int(server.getsockname()[1])


class Place:
    """A gateway that listens in four ways, and whose backends are its own addresses."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "front.sock")
        self.tls = ("127.0.0.1", _free_port("127.0.0.1"))
        self.plain = ("127.0.0.1", _free_port("127.0.0.1"))
        self.v6 = ("::1", _free_port("::1"))
        self.certificates: list[Any] = [
            {**_issue(folder, "first", "localhost"), "names": ["localhost"]},
            {**_issue(folder, "second", *SECOND), "names": [*SECOND]},
        ]
        self.trust = folder / "trust.pem"
        self.trust.write_text("".join(Path(c["cert"]).read_text() for c in self.certificates))
        listen = {
            "proxy": [
                f"127.0.0.1:{self.plain[1]}",
                {"address": f"127.0.0.1:{self.tls[1]}", "certificates": self.certificates},
                f"unix:{self.path}",
                f"[::1]:{self.v6[1]}",
            ]
        }
        own = {
            "https": f"https://localhost:{self.tls[1]}",
            "wrong": f"https://127.0.0.1:{self.tls[1]}",
            "unix": f"unix:{self.path}",
            "v6": f"http://[::1]:{self.v6[1]}",
        }
        self.document = config(
            listen=listen,
            backends={
                "echo": {"echo": {}},
                **{name: {"http": {"endpoints": [{"url": url}]}} for name, url in own.items()},
            },
            routes=[
                {"path": "/echo/*", "to": "echo", "auth": "none"},
                {"path": "/v1/echo/ws", "to": "echo"},
                *({"path": f"/by/{name}/*", "to": name, "strip": f"/by/{name}"} for name in own),
            ],
        )

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.trust))
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="tk-") as folder:
        yield Place(Path(folder))


@pytest.fixture(scope="module")
def gateway(place: Place) -> Iterator[Gateway]:
    with running_gateway(place.document, environment={"SSL_CERT_FILE": str(place.trust)}) as gateway:
        yield gateway


@pytest.mark.parametrize(
    ("name", "served"), [("localhost", "first"), ("second.example", "second"), ("deep.wild.example", "second")]
)
def test_a_certificate_for_each_name(gateway: Gateway, place: Place, name: str, served: str) -> None:
    with Line(place.tls, tls=place.context(), name=name) as line:
        assert isinstance(line.socket, ssl.SSLSocket)
        certificate: Any = line.socket.getpeercert()
        ((common,),) = certificate["subject"]
        assert common == ("commonName", served)
        assert line.socket.selected_alpn_protocol() == "http/1.1"
        assert line.socket.version() in ("TLSv1.2", "TLSv1.3")
        for _ in range(2):
            answer = line.ask("GET", "/echo/x")
            assert answer.status == 200
            assert dict(answer.json["headers"])["x-request-id"] == answer.request_id


def test_a_strange_name_gets_the_first_certificate(gateway: Gateway, place: Place) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        Line(place.tls, tls=place.context(), name="else.example")


def test_old_tls_and_plain_text_are_refused(gateway: Gateway, place: Place) -> None:
    with Line(place.tls) as line:
        line.send(b"GET /echo/x HTTP/1.1\r\nHost: test\r\n\r\n")
        assert b"200 OK" not in line.drain()
    with Line(place.tls, tls=place.context(), name="localhost") as line:
        assert line.ask("GET", "/echo/x").status == 200


def test_a_large_body_over_tls(gateway: Gateway, place: Place) -> None:
    with Line(place.tls, tls=place.context(), name="localhost") as line:
        answer = line.ask("POST", "/echo/x", body=b"x" * 3_000_000)
    assert answer.json["body"] == "x" * 3_000_000


def test_a_web_socket_over_tls(gateway: Gateway, place: Place) -> None:
    url = f"wss://localhost:{place.tls[1]}/v1/echo/ws"
    headers = {"Authorization": f"Bearer {gateway.key('open')}"}
    context = ssl.create_default_context(cafile=str(place.trust))
    with connect(url, ssl=context, additional_headers=headers) as client:
        client.send("hello")
        assert client.recv() == "hello"


def _ask(gateway: Gateway, place: Place, path: str, line: Line | None = None) -> Answer:
    with line or Line(place.plain) as line:
        return line.ask("GET", path, bearer(gateway.key("open")))


def test_a_unix_socket_and_ipv6(gateway: Gateway, place: Place) -> None:
    answer = _ask(gateway, place, "/echo/x", Line(place.path))
    assert (answer.status, row_of(gateway, answer.request_id)["peer"]) == (200, "")
    answer = _ask(gateway, place, "/echo/x", Line(place.v6))
    assert (answer.status, row_of(gateway, answer.request_id)["peer"]) == (200, "::1")


@pytest.mark.parametrize("way", ["https", "unix", "v6"])
def test_an_upstream_in_every_way(gateway: Gateway, place: Place, way: str) -> None:
    for _ in range(3):
        answer = _ask(gateway, place, f"/by/{way}/echo/x?q=1")
        assert (answer.status, answer.json["path"], answer.json["query"]) == (200, "/echo/x", "q=1")
    rows = gateway.query("SELECT backend, outcome, units FROM requests WHERE request_id = ?", answer.request_id)
    assert {(row["backend"], row["outcome"]) for row in rows} <= {(way, "complete"), ("echo", "complete")}


def test_an_upstream_that_cannot_prove_its_name(gateway: Gateway, place: Place) -> None:
    answer = _ask(gateway, place, "/by/wrong/echo/x")
    assert (answer.status, answer.error) == (502, 1701)
    row = row_of(gateway, answer.request_id)
    assert (row["outcome"], row["units"]) == ("not_reached", 0)
