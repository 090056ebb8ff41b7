"""Certificates of listeners, as the check reads them."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.settings.rules.addresses import check_addresses
from gateway.settings.schema import Certificate, Config, Listen, Listener


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two certificates, a.pem and b.pem, their keys, and a.locked: a key with a passphrase."""
    for name in ("a", "b"):
        key = ec.generate_private_key(ec.SECP256R1())
        (tmp_path / f"{name}.pem").write_bytes(certificate(key))
        (tmp_path / f"{name}.key").write_bytes(private(key, serialization.NoEncryption()))
        (tmp_path / f"{name}.locked").write_bytes(private(key, serialization.BestAvailableEncryption(b"secret")))
    return tmp_path


def private(key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def problems(cert: object, key: object) -> list[str]:
    pair = Certificate(cert=str(cert), key=str(key))
    listen = Listen(proxy=(Listener(address="127.0.0.1:8443", certificates=(pair,)),))
    return [problem.message for problem in check_addresses(Config(listen=listen))]


def test_a_pair_that_fits(folder: Path) -> None:
    assert problems(folder / "a.pem", folder / "a.key") == []


def test_a_pair_that_does_not(folder: Path) -> None:
    (message,) = problems(folder / "a.pem", folder / "b.key")
    assert message.endswith("they do not belong together")


def test_a_key_with_a_passphrase_is_not_asked_for(folder: Path) -> None:
    (message,) = problems(folder / "a.pem", folder / "a.locked")
    assert message.endswith("the key is encrypted; store it without a passphrase")


def test_what_is_no_certificate(folder: Path) -> None:
    assert len(problems(os.devnull, folder / "a.key")) == 1
    assert len(problems(folder / "nope", folder / "nope")) == 2
