"""S12: which keys may verify. Each vector is one key that a library may take and we do not, or the other way round."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.jwt.key import ALGORITHMS, ASYMMETRIC, MOST_KEYS, Unfit, read_jwk, read_pem, read_secret, read_set
from tests.plugins.issuer import encode, private_key, public_jwk, public_pem, published

Jwk = dict[str, Any]
RSA, EC, ED = public_jwk("RS256"), public_jwk("ES256"), public_jwk("EdDSA")
OCT = {"kty": "oct", "kid": "a", "alg": "HS256", "k": encode(b"x" * 64).decode()}


def number(value: int) -> str:
    return encode(value.to_bytes((value.bit_length() + 7) // 8 or 1)).decode()


MODULUS = private_key("RS256").public_key().public_numbers().n
VECTORS: dict[str, tuple[Jwk, bool]] = {
    "RSA as published": (RSA, True),
    "EC as published": (EC, True),
    "Ed25519 as published": (ED, True),
    "no use, no alg, no kid": (public_jwk("RS256", use=None, alg=None, kid=None), True),
    "key_ops verify": ({**RSA, "key_ops": ["verify"]}, True),
    "x5c, x5u and unknown members are not looked at": ({**RSA, "x5c": ["!"], "x5u": "file:///", "zz": {}}, True),
    "use enc": ({**RSA, "use": "enc"}, False),
    "use SIG": ({**RSA, "use": "SIG"}, False),
    "use of another shape": ({**RSA, "use": ["sig"]}, False),
    "key_ops without verify": ({**RSA, "key_ops": ["encrypt"]}, False),
    "key_ops sign alone": ({**RSA, "key_ops": ["sign"]}, False),
    "key_ops empty": ({**RSA, "key_ops": []}, False),
    "key_ops with duplicates": ({**RSA, "key_ops": ["verify", "verify"]}, False),
    "key_ops of another shape": ({**RSA, "key_ops": "verify"}, False),
    "alg of another family": ({**RSA, "alg": "ES256"}, False),
    "alg of a secret on a public key": ({**RSA, "alg": "HS256"}, False),
    "alg none": ({**RSA, "alg": "none"}, False),
    "alg of encryption": ({**RSA, "alg": "RSA-OAEP"}, False),
    "alg of another curve": ({**EC, "alg": "ES384"}, False),
    "alg of another shape": ({**RSA, "alg": ["RS256"]}, False),
    "oct in a published set": (OCT, False),
    "oct that calls itself RSA": ({**OCT, "kty": "RSA"}, False),
    "RSA of 1024 bits": ({**RSA, "n": number((1 << 1023) | 1)}, False),
    "RSA of 2047 bits": ({**RSA, "n": number((1 << 2046) | 1)}, False),
    "RSA of 16384 bits": ({**RSA, "n": number((1 << 16383) | 1)}, False),
    "RSA with an even modulus": ({**RSA, "n": number(MODULUS - 1)}, False),
    "RSA exponent 1": ({**RSA, "e": number(1)}, False),
    "RSA exponent 3": ({**RSA, "e": number(3)}, False),
    "RSA exponent even": ({**RSA, "e": number(65538)}, False),
    "RSA exponent huge": ({**RSA, "e": number((1 << 64) + 1)}, False),
    "RSA exponent 0": ({**RSA, "e": "AA"}, False),
    "RSA without a modulus": ({"kty": "RSA", "e": "AQAB"}, False),
    "RSA number that is a number": ({**RSA, "e": 65537}, False),
    "RSA modulus with padding": ({**RSA, "n": RSA["n"] + "="}, False),
    "private RSA key": ({**RSA, "d": "AQAB"}, False),
    "private EC key": ({**EC, "d": "AQAB"}, False),
    "private Ed25519 key": ({**ED, "d": "AQAB"}, False),
    "EC curve unknown": ({**EC, "crv": "P-192"}, False),
    "EC curve secp256k1": ({**EC, "crv": "secp256k1", "alg": "ES256K"}, False),
    "EC curve of another length": ({**EC, "crv": "P-384", "alg": "ES384"}, False),
    "EC curve of another shape": ({**EC, "crv": ["P-256"]}, False),
    "EC point off the curve": ({**EC, "y": EC["x"]}, False),
    "EC point at zero": ({**EC, "x": encode(bytes(32)).decode(), "y": encode(bytes(32)).decode()}, False),
    "EC coordinate too short": ({**EC, "x": encode(b"x" * 31).decode()}, False),
    "EC without y": ({**{k: v for k, v in EC.items() if k != "y"}}, False),
    "OKP X25519": ({**ED, "crv": "X25519"}, False),
    "OKP Ed448": ({**ED, "crv": "Ed448"}, False),
    "OKP x too short": ({**ED, "x": "AAAA"}, False),
    "kid that is no text": ({**RSA, "kid": 7}, False),
    "kid of 257 bytes": ({**RSA, "kid": "k" * 257}, False),
    "kid with NUL": ({**RSA, "kid": "\0own0"}, False),
    "kty unknown": ({**RSA, "kty": "rsa"}, False),
    "kty of another shape": ({**RSA, "kty": ["RSA"]}, False),
    "no object": ([], False),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("name", VECTORS)
def test_s12_keys(name: str) -> None:
    jwk, is_good = VECTORS[name]
    if is_good:
        assert read_jwk(jwk, ASYMMETRIC).algorithms
    else:
        with pytest.raises(Unfit):
            read_jwk(jwk, ALGORITHMS)


def test_s12_a_key_is_for_its_own_algorithm_or_for_those_that_are_allowed() -> None:
    assert read_jwk(RSA, ASYMMETRIC).algorithms == {"RS256"}
    assert read_jwk(public_jwk("RS256", alg=None), frozenset(("RS256", "PS256", "ES256"))).algorithms == {
        "RS256",
        "PS256",
    }
    with pytest.raises(Unfit, match="allows none"):
        read_jwk(RSA, frozenset(("ES256",)))


def test_s12_keys_of_one_id_are_all_left_out() -> None:
    found, refused = read_set(published(RSA, public_jwk("ES256"), public_jwk("EdDSA", kid="b")), ASYMMETRIC)
    assert list(found) == ["b"] and len(refused) == 1
    three, _ = read_set(published(RSA, RSA, RSA), ASYMMETRIC)
    assert three == {}


def test_s12_a_refused_key_takes_nothing_from_the_others() -> None:
    found, refused = read_set(published(OCT, {**RSA, "use": "enc"}, RSA, public_jwk("ES256", kid=None)), ASYMMETRIC)
    assert len(found) == 2 and found["a"].algorithms == {"RS256"} and len(refused) == 2


@pytest.mark.parametrize(
    "document",
    [
        b"", b"{}", b"[]", b'{"keys":{}}', b'{"keys":null}', b"\xff", b'{"keys":[],"keys":[]}', b"[" * 100_000,
        json.dumps({"keys": [RSA] * (MOST_KEYS + 1)}).encode(), b'{"keys":[' + b" " * 300_000 + b"]}",
        b"<html>Service Unavailable</html>",
    ],
)  # fmt: skip
def test_what_is_no_key_set(document: bytes) -> None:
    with pytest.raises(ValueError):
        read_set(document, ASYMMETRIC)


@pytest.mark.parametrize(("algorithm", "least"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_s12_a_secret_is_as_long_as_the_hash(algorithm: str, least: int) -> None:
    assert read_secret(b"x" * least, "a", frozenset((algorithm,))).algorithms == {algorithm}
    with pytest.raises(Unfit, match=f"need {least}"):
        read_secret(b"x" * (least - 1), "a", frozenset((algorithm,)))


def test_s12_keys_in_pem() -> None:
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    for algorithm in ASYMMETRIC:
        assert algorithm in read_pem(public_pem(algorithm).encode(), "a", ASYMMETRIC).algorithms
    weak = rsa.generate_private_key(65537, 1024), rsa.generate_private_key(3, 2048)
    for key in (*weak, ec.generate_private_key(ec.SECP256K1()), ed448.Ed448PrivateKey.generate(),
                dsa.generate_private_key(2048)):  # fmt: skip
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(Unfit):
            read_pem(pem, "a", ASYMMETRIC)
    private = private_key("ES256").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(Unfit, match="private key"):
        read_pem(private, "a", ASYMMETRIC)


members = st.sampled_from(["kty", "crv", "n", "e", "x", "y", "k", "d", "use", "key_ops", "alg", "kid"])
values = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=9), st.lists(st.text(max_size=3)),
                   st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "Ed25519", "sig", "AQAB"]))  # fmt: skip


@given(st.sampled_from([RSA, EC, ED, {}]), st.dictionaries(members, values))
def test_no_key_makes_it_stumble(base: Jwk, changes: Jwk) -> None:
    try:
        read_jwk({**base, **changes}, ALGORITHMS)
    except Unfit:
        pass
