"""Tokens: who they are for, and every way in which they lie (RFC 8725; S07, S11, S13 to S17, S20, S21)."""

import asyncio
import hmac
import json
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.exchange import Credential
from gateway.loader import load_plugin
from gateway.settings.problem import ConfigError
from plugins.jwt import Plugin
from tests.plugins.issuer import (
    AUDIENCE,
    ISSUER,
    NOW,
    SECRET,
    URL,
    Worker,
    claims,
    encode,
    exchange_with,
    private_key,
    public_jwk,
    public_pem,
    published,
    sign,
    sign_parts,
)

ASYMMETRIC = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
Header = dict[str, Any]


def make(**changes: Any) -> Plugin:
    """A plugin as the loader makes it."""
    raw = {"issuer": ISSUER, "audience": AUDIENCE, "default_tier": "free", **changes}
    if "jwks" not in raw and "keys" not in raw:
        raw["jwks"] = URL
    plugin = load_plugin("jwt", raw)
    assert isinstance(plugin, Plugin)
    return plugin


def identify(token: str, *headers: tuple[str, str], worker: Worker | None = None, **changes: Any) -> Credential | None:
    """Whom a new plugin takes the bearer of `token` for."""
    plugin = make(**changes)
    services: Any = worker or Worker(published(public_jwk("RS256")))
    exchange = exchange_with(("authorization", f"Bearer {token}"), *headers)

    async def run() -> None:
        await plugin.start(services)
        await plugin.access(exchange)

    asyncio.run(run())
    return exchange.credential


def refuse(number: int, token: str, *headers: tuple[str, str], **changes: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        identify(token, *headers, **changes)
    error = caught.value
    assert error.number == number, error
    if error.status == 401:
        challenge = error.headers["WWW-Authenticate"]
        assert challenge.startswith('Bearer error="invalid_token", error_description="') and challenge.count('"') == 4
    assert len(token) < 10 or token not in error.message
    return error


# --- whom it stands for


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_token_of_a_published_key(algorithm: str) -> None:
    worker = Worker(published(public_jwk(algorithm)))
    found = identify(sign(algorithm, jti="t-1"), worker=worker, algorithms=[algorithm])
    assert found == Credential("t-1", "acme", "free", expires=NOW + 600, kind="jwt")


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_token_of_a_key_in_pem(algorithm: str) -> None:
    keys = [{"kid": "a", "pem": public_pem(algorithm)}]
    found = identify(sign(algorithm), keys=keys, algorithms=[algorithm])
    assert found is not None and found.consumer == "acme"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_token_of_a_shared_secret(algorithm: str) -> None:
    found = identify(sign(algorithm), keys=[{"kid": "a", "secret": SECRET}], algorithms=[algorithm])
    assert found is not None and found.consumer == "acme"


@pytest.mark.parametrize(("name", "algorithm"), [("public.pem", "ES256"), ("secret", "HS256")])
def test_a_key_in_a_file(tmp_path: Any, name: str, algorithm: str) -> None:
    file = tmp_path / name
    file.write_text((SECRET if algorithm == "HS256" else public_pem(algorithm)) + "\n")
    assert identify(sign(algorithm), keys=[{"file": str(file)}], algorithms=[algorithm]) is not None


def test_a_token_says_what_its_bearer_may() -> None:
    found = identify(
        sign(tier="vip", project="search", role="developer", models=["qwen*"], routes="/v1/* /x",
             scope="openid tollkeeper:infer tollkeeper:traces:read"),
    )  # fmt: skip
    assert found is not None
    assert (found.tier, found.project, found.role) == ("vip", "search", "developer")
    assert (found.models, found.routes, found.is_scoped) == (("qwen*",), ("/v1/*", "/x"), True)
    assert found.permissions == ("infer", "traces:read")
    assert len(found.id) == 12


@pytest.mark.parametrize(
    ("told", "changes", "tier"),
    [
        ({}, {}, "free"),
        ({"tier": "pro"}, {}, "pro"),
        ({"tier": "nonsense"}, {}, "free"),
        ({"tier": "vip"}, {"tiers": ["free", "pro"]}, "free"),
        ({"role": "developer"}, {}, "pro"),
        ({"role": "viewer"}, {}, "free"),
        ({"role": "developer", "tier": "vip"}, {}, "vip"),
        ({"role": "developer", "tier": "vip"}, {"tiers": ["free"]}, "free"),
        ({"role": "developer"}, {"default_tier": ""}, "pro"),
    ],
)
def test_the_tier_is_the_tokens_the_roles_or_the_default(told: Header, changes: Header, tier: str) -> None:
    found = identify(sign(**told), **changes)
    assert found is not None and found.tier == tier


def test_without_any_tier_the_token_is_refused() -> None:
    refuse(1006, sign(), default_tier="")
    refuse(1006, sign(tier="nonsense", role="developer"), default_tier="")


@pytest.mark.parametrize(
    ("names", "told", "role"),
    [
        ({"role": "realm_access.role"}, {"realm_access": {"role": "viewer"}}, "viewer"),
        ({"role": "https://x.org/role"}, {"https://x.org/role": "viewer"}, "viewer"),
        ({"role": "a.b.c"}, {"a": {"b": "viewer"}}, ""),
        ({"role": "roles"}, {"roles": ["offline_access", "viewer", "developer"]}, "viewer"),
        ({"role": "roles"}, {"roles": ["offline_access"]}, ""),
        ({"role": ""}, {"role": "viewer", "": "viewer"}, ""),
    ],
)
def test_claims_stand_where_the_operator_says(names: Header, told: Header, role: str) -> None:
    found = identify(sign(**told), claims=names)
    assert found is not None and found.role == role


@pytest.mark.parametrize(
    "told",
    [
        {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": ["acme"]}, {"sub": "a" * 257}, {"sub": "a\r\nx: y"},
        {"sub": "\u00e9"}, {"sub": " a"}, {"sub": "\x00"}, {"sub": "\ud800"}, {"tier": 7}, {"project": {"a": 1}},
        {"role": "a\nb"}, {"models": []}, {"models": "  "}, {"models": ["a", 7]}, {"models": {"a": 1}},
        {"routes": [""]}, {"routes": ["a"] * 101}, {"scope": 7}, {"scope": ["a b"]},
    ],
)  # fmt: skip
def test_s04_a_claim_of_another_shape_is_refused(told: Header) -> None:
    header = json.dumps({"alg": "RS256", "kid": "a"}).encode()
    refuse(1006, sign_parts(header, json.dumps(claims(**told)).encode()))


# --- moments, audience, issuer


@pytest.mark.parametrize(
    ("told", "number"),
    [
        ({"exp": NOW - 29}, 0), ({"exp": NOW - 30}, 1007), ({"exp": NOW - 31}, 1007), ({"exp": None}, 1006),
        ({"nbf": NOW + 30}, 0), ({"nbf": NOW + 31}, 1008), ({"iat": NOW + 30}, 0), ({"iat": NOW + 31}, 1008),
        ({"iat": NOW, "exp": NOW + 86400}, 0), ({"iat": NOW, "exp": NOW + 86401}, 1006),
        ({"iat": None, "exp": NOW + 86400}, 0), ({"iat": None, "exp": NOW + 86401}, 1006),
        ({"iat": NOW - 90000, "exp": NOW + 600}, 1006), ({"exp": "later"}, 1006), ({"exp": True}, 1006),
        ({"exp": -1}, 1006), ({"exp": 10**400}, 1006), ({"nbf": []}, 1006), ({"iat": "x"}, 1006),
        ({"exp": NOW + 600.5}, 0), ({"exp": 2**53 + 2}, 1006), ({"nbf": False}, 1006),
    ],
)  # fmt: skip
def test_s15_moments_are_kept_to_the_second(told: Header, number: int) -> None:
    token = sign_parts(b'{"alg":"RS256","kid":"a"}', json.dumps(claims(**told)).encode())
    if number:
        refuse(number, token)
    else:
        assert identify(token) is not None


@pytest.mark.parametrize("raw", [b'{"sub":"a","exp":NaN}', b'{"sub":"a","exp":Infinity}', b'{"sub":"a","exp":1e999}'])
def test_s15_a_moment_is_a_number(raw: bytes) -> None:
    refuse(1006, sign_parts(b'{"alg":"RS256","kid":"a"}', raw), issuer=None, audience=None)


@pytest.mark.parametrize("leeway", [0, 1, 60])
def test_s15_the_leeway_is_the_operators_up_to_a_minute(leeway: int) -> None:
    assert identify(sign(exp=NOW - leeway + 1), leeway=leeway) is not None
    refuse(1007, sign(exp=NOW - leeway), leeway=leeway)
    with pytest.raises(ConfigError, match="60 s"):
        make(leeway=61)


@pytest.mark.parametrize(
    "told",
    [
        {"iss": None}, {"iss": ISSUER[:-1]}, {"iss": ISSUER + "x"}, {"iss": ISSUER.upper()}, {"iss": ""},
        {"aud": None}, {"aud": "toll"}, {"aud": "tollkeeper "}, {"aud": "TOLLKEEPER"}, {"aud": []}, {"aud": ["x"]},
        {"aud": "tollkeeper,x"}, {"aud": ["toll", "keeper"]},
    ],
)  # fmt: skip
def test_s15_issuer_and_audience_are_exact(told: Header) -> None:
    refuse(1013, sign(**told))


@pytest.mark.parametrize(
    "told", [{"iss": [ISSUER]}, {"iss": {ISSUER: 1}}, {"aud": {AUDIENCE: 1}}, {"aud": [[AUDIENCE]]}]
)
def test_s15_issuer_and_audience_are_texts(told: Header) -> None:
    refuse(1013, sign_parts(b'{"alg":"RS256","kid":"a"}', json.dumps(claims(**told)).encode()))


def test_a_claims_name_of_any_characters_breaks_no_header() -> None:
    for name in ("\u5f79", 'a"b\\', "\u00e9\r\nx: y"):
        error = refuse(1006, sign(**{name: 7}), claims={"role": name})
        assert error.headers["WWW-Authenticate"].isascii() and error.headers["WWW-Authenticate"].isprintable()


def test_one_of_several_audiences_is_enough_and_null_asks_for_none() -> None:
    assert identify(sign(aud=["x", AUDIENCE])) is not None
    assert identify(sign(aud="x", iss="y"), audience=None, issuer=None) is not None
    with pytest.raises(ConfigError, match="audience"):
        load_plugin("jwt", {"jwks": URL})


# --- algorithms


def test_s11_a_token_without_a_signature_is_never_good() -> None:
    for name in ("none", "None", "NONE", "nOnE", ""):
        header = json.dumps({"alg": name, "kid": "a"}).encode()
        body = encode(json.dumps(claims()).encode())
        signature = sign().rpartition(".")[2].encode()
        for end in (b"", b"AA", signature):
            refuse(1006, (encode(header) + b"." + body + b"." + end).decode())
    for algorithms in (["none"], ["RS256", "none"], [], ["ES256K"], ["HS1"]):
        with pytest.raises(ConfigError, match="algorithms"):
            make(algorithms=algorithms)


def test_s11_the_public_key_is_no_secret() -> None:
    """The classic confusion: HS256 with what everybody may know."""
    body = encode(b'{"alg":"HS256","kid":"a"}') + b"." + encode(json.dumps(claims()).encode())
    for secret in (public_pem("RS256"), public_pem("RS256").strip(), json.dumps(public_jwk("RS256")), ""):
        forged = hmac.digest(secret.encode(), body, "sha256")
        token = (body + b"." + encode(forged)).decode()
        refuse(1006, token)
        refuse(1006, token, keys=[{"kid": "a", "pem": public_pem("RS256")}], algorithms=["RS256", "PS256"])


def test_s11_public_keys_and_secrets_never_share_a_verifier() -> None:
    for algorithms in (["HS256", "RS256"], ["EdDSA", "HS512"]):
        with pytest.raises(ConfigError, match="never of both"):
            make(algorithms=algorithms, keys=[{"secret": SECRET}])
    with pytest.raises(ConfigError, match="no shared secrets"):
        make(algorithms=["HS256"], jwks=URL)
    with pytest.raises(ConfigError, match="none that it is for"):
        make(algorithms=["RS256"], keys=[{"secret": SECRET}])
    with pytest.raises(ConfigError, match="none that it is for"):
        make(algorithms=["HS256"], keys=[{"pem": public_pem("RS256")}])


@pytest.mark.parametrize("algorithm", ["RS384", "PS256", "ES256", "EdDSA", "HS256"])
def test_s11_an_algorithm_that_the_operator_does_not_list_is_refused(algorithm: str) -> None:
    worker = Worker(published(*(public_jwk(a, alg=None) for a in (algorithm,) if a != "HS256")))
    refuse(1006, sign(algorithm), worker=worker)


def test_s11_a_key_is_used_for_its_own_algorithm_alone() -> None:
    worker = Worker(published(public_jwk("RS256", alg="RS256")))
    refuse(1006, sign("PS256", 0), worker=worker, algorithms=["RS256", "PS256"])


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA", "PS384"])
def test_a_changed_token_is_refused(algorithm: str) -> None:
    changes: Header = {"worker": Worker(published(public_jwk(algorithm))), "algorithms": [algorithm]}
    header, body, signature = sign(algorithm).split(".")
    other = encode(json.dumps(claims(sub="root")).encode()).decode()
    for token in (
        f"{header}.{other}.{signature}", f"{header}.{body}.{'A' * len(signature)}", f"{header}.{body}.AAAA",
        f"{header}.{body}.{signature[:-4]}", f"{header}.{body}.{signature}AAAA",
    ):  # fmt: skip
        refuse(1006, token, **changes)


def test_another_key_of_the_same_kind_does_not_sign() -> None:
    refuse(1006, sign("RS256", 1))
    refuse(1006, sign("HS256")[:-8] + "AAAAAAAA", keys=[{"kid": "a", "secret": SECRET}], algorithms=["HS256"])


def test_an_ecdsa_signature_of_zeros_is_none() -> None:
    """CVE-2022-21449."""
    header, body, _ = sign("ES256").split(".")
    worker = Worker(published(public_jwk("ES256")))
    refuse(1006, f"{header}.{body}.{encode(bytes(64)).decode()}", worker=worker, algorithms=["ES256"])


# --- the form


def test_s13_base64url_is_strict() -> None:
    header, body, signature = sign("EdDSA").split(".")  # 64 bytes: four bits of its last character mean nothing
    changes: Header = {"worker": Worker(published(public_jwk("EdDSA"))), "algorithms": ["EdDSA"]}
    assert identify(f"{header}.{body}.{signature}", **changes) is not None
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    stray = signature[:-1] + last[last.index(signature[-1]) ^ 1]
    for token in (
        f"{header}.{body}.{signature}==", f"{header}.{body}.{stray}", f"{header}.{body}.{signature}\t",
        f"{header}.{body}.{signature[:9]}+{signature[10:]}", f"{header}.{body}.{signature[:9]}/{signature[10:]}",
        f"{header}.{body}.{signature[:9]} {signature[9:]}", f"{header}.{body}.", f"{header}..{signature}",
        f"{header}=.{body}.{signature}", f"{header}.{body}=.{signature}", f"{header}.{body}.{signature}AAA",
        f"{header}.{body}.{signature}\xff",
    ):  # fmt: skip
        refuse(1006, token, **changes)


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":"RS256","kid":"a","crit":["exp"]}', b'{"alg":"RS256","kid":"a","crit":[]}',
        b'{"alg":"RS256","kid":"a","crit":["b64"],"b64":false}', b'{"alg":"RS256","kid":"a","b64":false}',
        b'{"alg":"RS256","kid":"a","crit":null}', b'{"alg":"RS256","kid":"a","crit":["x"],"x":1}',
    ],
)  # fmt: skip
def test_s14_extensions_that_must_be_understood_are_not(header: bytes) -> None:
    refuse(1006, sign_parts(header, json.dumps(claims()).encode()))


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c", "x5t"])
def test_s16_what_a_token_says_of_its_key_is_not_looked_at(name: str) -> None:
    """Signed with a key of its own that it brings along: that key is never used, and nothing is fetched for it."""
    value: Any = {"jwk": public_jwk("RS256", 1), "x5c": ["MIIB"], "x5t": "AA"}.get(name, "http://127.0.0.1:1/evil")
    worker = Worker(published(public_jwk("RS256")))
    refuse(1006, sign("RS256", 1, {name: value}), worker=worker)
    assert identify(sign("RS256", 0, {name: value}), worker=worker) is not None
    assert len(worker.fetched) == 2  # each new plugin fetches the one set that it was told of (`Worker.fetch`)


@pytest.mark.parametrize(
    ("kid", "number"),
    [
        ("../../dev/null", 1009), ("' UNION SELECT 'x", 1009), ("/etc/passwd", 1009), ("\0own0", 1009), ("", 1009),
        ("a" * 256, 1009), ("a" * 257, 1006), ("\u00e9" * 129, 1006), ("A", 1009), ("a ", 1009), ("x" * 5000, 1006),
    ],
)  # fmt: skip
def test_s17_a_kid_is_a_name_and_nothing_else(kid: str, number: int) -> None:
    refuse(number, sign("RS256", 0, {"kid": kid}))


@pytest.mark.parametrize("kid", [1, None, ["a"], {"a": 1}, True])
def test_s17_a_kid_is_a_text(kid: object) -> None:
    header = json.dumps({"alg": "RS256", "kid": kid}).encode()
    refuse(1006, sign_parts(header, json.dumps(claims()).encode()))


def test_a_token_without_a_kid_is_of_the_only_key_that_fits() -> None:
    token = sign_parts(b'{"alg":"RS256"}', json.dumps(claims()).encode())
    assert identify(token) is not None
    assert identify(token, worker=Worker(published(public_jwk("RS256", kid=None)))) is not None
    two = published(public_jwk("RS256"), public_jwk("RS256", 1, kid="b"))
    refuse(1009, token, worker=Worker(two))
    assert identify(token, worker=Worker(published(public_jwk("RS256"), public_jwk("ES256", kid="b")))) is not None


def test_a_key_without_an_id_serves_tokens_that_name_any() -> None:
    assert identify(sign(), keys=[{"pem": public_pem("RS256")}]) is not None
    refuse(1006, sign("RS256", 1), keys=[{"pem": public_pem("RS256")}])


@pytest.mark.parametrize(
    "token",
    [
        sign_parts(b'{"alg":"RS256","kid":"a","zip":"DEF"}', b"{}"),
        sign_parts(b'{"alg":"RS256","kid":"a","enc":"A256GCM"}', b"{}"),
        sign(padding="x" * 8192),
        sign_parts(b'{"alg":"RS256","kid":"a"}', b"[" * 5000),
        sign_parts(b'{"alg":"RS256","kid":"a"}', b'{"a":' * 1000 + b"1" + b"}" * 1000),
        sign_parts(b'{"alg":"RS256","kid":"a"}', b'{"exp":' + b"9" * 5000 + b"}"),
    ],
)
def test_s20_a_token_is_short_and_plain(token: str) -> None:
    refuse(1006, token)


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        (b'{"alg":"RS256","kid":"a","alg":"RS256"}', b"{}"),
        (b'{"alg":"RS256","kid":"a"}', b'{"sub":"acme","sub":"root"}'),
        (b'{"alg":"RS256","kid":"a"}', b'{"sub":"acme","x":{"a":1,"a":2}}'),
        (b'{"alg":"RS256","kid":"a"} x', b"{}"),
        (b'{"alg":"RS256","kid":"a"}', b"[]"),
        (b'{"alg":"RS256","kid":"a"}', b'"text"'),
        (b'{"alg":"RS256","kid":"a"}', b"\xff\xfe"),
        (b'{"alg":"RS256","kid":"a"}', b"\xef\xbb\xbf{}"),
        (b'{"alg":"RS256","kid":"a"}', b"eyJhbGciOiJSUzI1NiJ9.e30.AAAA"),
        (b'{"alg":["RS256"],"kid":"a"}', b"{}"),
        (b'{"kid":"a"}', b"{}"),
        (b'{"alg":null}', b"{}"),
    ],
)
def test_a_part_is_one_object_without_duplicates(header: bytes, payload: bytes) -> None:
    refuse(1006, sign_parts(header, payload), issuer=None, audience=None)


@pytest.mark.parametrize(
    ("types", "typ", "is_good"),
    [
        (None, "JWT", True), (None, "jwt", True), (None, "at+jwt", True), (None, "application/at+jwt", True),
        (None, None, True), (None, "admin+jwt", False), (None, "dpop+jwt", False),
        (["at+jwt"], "at+jwt", True), (["at+jwt"], "JWT", False), (["at+jwt"], None, False),
        (["application/admin+jwt"], "admin+jwt", True),
    ],
)  # fmt: skip
def test_s21_tokens_for_other_ends_are_told_apart(types: list[str] | None, typ: str | None, is_good: bool) -> None:
    changes: Header = {} if types is None else {"typ": types}
    token = sign("RS256", 0, {"typ": typ})
    if is_good:
        assert identify(token, **changes) is not None
    else:
        refuse(1006, token, **changes)


def test_s21_a_type_is_a_text() -> None:
    for typ in (b"7", b"null", b'""', b'["JWT"]'):
        refuse(1006, sign_parts(b'{"alg":"RS256","kid":"a","typ":' + typ + b"}", json.dumps(claims()).encode()))


# --- beside other credentials


@pytest.mark.parametrize(
    "value", ["Basic dXNlcg==", "Bearer tk_key", "Bearer eyJhbGciOi", "Bearer a.b.c", "eyJ.e30.x", ""]
)
def test_what_is_no_token_is_another_plugins(value: str) -> None:
    plugin, exchange = make(), exchange_with(("authorization", value))

    async def run() -> None:
        services: Any = Worker(published())
        await plugin.start(services)
        await plugin.access(exchange)
        await plugin.access(exchange_with())

    asyncio.run(run())
    assert exchange.credential is None


def test_s07_two_tokens_are_one_too_many() -> None:
    error = refuse(1004, sign(), ("authorization", f"Bearer {sign(sub='other')}"))
    assert error.status == 400
    same = sign()
    assert identify(same, ("authorization", f"bearer  {same}")) is not None


def test_s07_a_key_and_a_token_are_one_too_many() -> None:
    for first, second in (("key", "jwt"), ("jwt", "key")):
        exchange = exchange_with(("authorization", f"Bearer {sign()}"), ("x-api-key", "good-key"))
        plugins = {"jwt": make(), "key": load_plugin("key_auth", {})}
        worker: Any = Worker(published(public_jwk("RS256")))
        worker.directory = worker
        worker.look_up = lambda digest: Credential("k", "acme", "free")

        async def run(order: tuple[str, str], plugins: Any, worker: Any, exchange: Any) -> None:
            for plugin in plugins.values():
                await plugin.start(worker)
            for name in order:
                await plugins[name].access(exchange)

        with pytest.raises(GatewayError) as caught:
            asyncio.run(run((first, second), plugins, worker, exchange))
        assert caught.value.number == 1004


# --- what is remembered


def test_a_token_seen_before_is_known_until_its_end() -> None:
    plugin, worker = make(), Worker(published(public_jwk("RS256")))
    token = sign(exp=NOW + 600)

    async def ask() -> Credential | None:
        exchange = exchange_with(("authorization", f"Bearer {token}"), received=worker.now)
        await plugin.access(exchange)
        return exchange.credential

    async def run() -> None:
        services: Any = worker
        await plugin.start(services)
        first = await ask()
        worker.now = 629.9
        assert await ask() is first
        worker.now = 630.0
        with pytest.raises(GatewayError) as caught:
            await ask()
        assert caught.value.number == 1007

    asyncio.run(run())


def test_a_bad_token_is_looked_at_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, worker = make(), Worker(published(public_jwk("RS256")))
    verified: list[str] = []
    monkeypatch.setattr("plugins.jwt.key.Key.verifies", lambda self, algorithm, *_: bool(verified.append(algorithm)))

    async def run() -> None:
        services: Any = worker
        await plugin.start(services)
        for worker.now in (0.0, 1.0, 9.9, 10.0, 11.0):
            with pytest.raises(GatewayError) as caught:
                await plugin.access(exchange_with(("authorization", f"Bearer {sign()}"), received=worker.now))
            assert caught.value.number == 1006 and "signature" in caught.value.message

    asyncio.run(run())
    assert len(verified) == 2


def test_a_token_that_is_too_early_is_looked_at_again() -> None:
    plugin, worker = make(), Worker(published(public_jwk("RS256")))
    exchange = exchange_with(("authorization", f"Bearer {sign(nbf=NOW + 31)}"))

    async def run() -> None:
        services: Any = worker
        await plugin.start(services)
        with pytest.raises(GatewayError):
            await plugin.access(exchange)
        worker.now = 1.0
        await plugin.access(exchange)

    asyncio.run(run())
    assert exchange.credential is not None


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.jwt._KNOWN", 3)
    monkeypatch.setattr("plugins.jwt._REFUSED", 2)
    plugin = make(keys=[{"kid": "a", "secret": SECRET}], algorithms=["HS256"])

    async def run() -> None:
        services: Any = Worker()
        await plugin.start(services)
        for at in range(20):
            await plugin.access(exchange_with(("authorization", f"Bearer {sign('HS256', sub=f's{at}')}")))
            with pytest.raises(GatewayError):
                await plugin.access(exchange_with(("authorization", f"Bearer {sign('HS256', sub=f's{at}', exp=1)}")))

    asyncio.run(run())
    assert (len(plugin._known), len(plugin._refused)) == (3, 2)


# --- settings


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"jwks": ""}, "neither"),
        ({"jwks": "http://id.example.com/"}, "https"),
        ({"jwks": "file:///etc/keys", "allow_private": True}, "https"),
        ({"keys": [{"kid": "a"}]}, "one of"),
        ({"keys": [{"kid": "a", "pem": "x", "secret": "y"}]}, "one of"),
        ({"keys": [{"kid": "a", "pem": "nonsense"}]}, "not a public key"),
        ({"keys": [{"kid": "a", "secret": "short"}], "algorithms": ["HS256"]}, "5 bytes"),
        ({"keys": [{"kid": "a", "secret": "x" * 32}], "algorithms": ["HS256", "HS512"]}, "need 64"),
        ({"keys": [{"kid": "a", "pem": public_pem("RS256")}] * 2}, "same `kid`"),
        ({"refresh": 0}, "refresh"),
        ({"claims": {"consumer": ""}}, "consumer"),
        ({"algorithm": ["RS256"]}, "algorithms"),
    ],
)
def test_settings_that_cannot_work_are_told(raw: Header, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        make(**raw)


@pytest.mark.parametrize("raw", [{"default_tier": "gold"}, {"tiers": ["gold"]}, {"keys": [{"file": "/no/such/file"}]}])
def test_what_only_the_start_can_tell(raw: Header) -> None:
    plugin = make(**raw)
    services: Any = Worker()
    with pytest.raises((ValueError, OSError)):
        asyncio.run(plugin.start(services))


# --- whatever comes


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=100).map(lambda b: b"Bearer eyJ" + b),
        st.lists(st.binary(max_size=60), min_size=3, max_size=3).map(
            lambda parts: b"Bearer eyJ" + b".".join(encode(part) for part in parts)
        ),
        st.dictionaries(
            st.sampled_from(["alg", "kid", "typ", "crit", "x"]), st.one_of(st.text(), st.integers(), st.none())
        ).map(lambda header: b"Bearer " + sign_parts(json.dumps(header).encode(), b"{}").encode()),
        st.dictionaries(
            st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "role", "tier", "models", "scope", "jti"]),
            st.recursive(st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text()), st.lists),
        ).map(lambda told: b"Bearer " + sign_parts(b'{"alg":"RS256","kid":"a"}', json.dumps(told).encode()).encode()),
    )
)  # fmt: skip
def test_s03_no_bytes_make_it_stumble(value: bytes) -> None:
    exchange = exchange_with(("authorization", value.decode("latin-1")))

    async def run() -> None:
        services: Any = Worker(published(public_jwk("RS256")))
        plugin = make(issuer=None, audience=None)
        await plugin.start(services)
        await plugin.access(exchange)

    try:
        asyncio.run(run())
    except GatewayError as error:
        assert 1004 <= error.number <= 1013
        error.body("id")
    assert exchange.credential is None or exchange.credential.consumer.isascii()


def test_the_library_agrees() -> None:
    """What we take, PyJWT takes as well."""
    token = sign()
    told = jwt.decode(token, private_key("RS256").public_key(), ["RS256"], options={"verify_signature": True,
                      "verify_exp": False, "verify_iat": False, "verify_aud": False})  # fmt: skip
    assert told == claims()
