from pathlib import Path

import msgspec
import pytest

from gateway.settings.load import from_plain, load, load_text, plain
from gateway.settings.problem import ConfigError
from gateway.settings.schema import Certificate, Config, Listener
from gateway.settings.units import Rate

FULL = """
listen: {proxy: [0.0.0.0:8000, {address: 0.0.0.0:8443, cert: a.pem, key: b.pem}], status: 127.0.0.1:1}
workers: 2
limits: {body: 5MB}
timeouts: {connect: 250ms, reload_linger: 30m}
tiers:
  free: {rate: 100/min, burst: 150, monthly: 50_000}
  enterprise: {rate: unlimited}
consumers:
  acme: {tier: free, keys: [{sha256: "22", expires: 2027-01-01}]}
backends:
  qwen: {llama_cpp: {model: ./x.gguf}, slots: 2}
  toy: {echo: }
models: {qwen2.5-0.5b: {backend: qwen}}
plugins: [{cors: {origins: ["*"]}}, key_auth, {quota: }]
routes:
  - {path: /x, cost: 0.5}
  - {path: /y, to: toy, plugins: [key_auth], total: 4s}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, {})
    return [str(problem) for problem in caught.value.problems]


def test_nothing_is_a_configuration() -> None:
    assert load_text("", {}) == Config()


def test_short_forms() -> None:
    config = load_text(FULL, {})
    assert config.listen.proxy == (
        Listener(address="0.0.0.0:8000"),
        Listener(address="0.0.0.0:8443", certificates=(Certificate(cert="a.pem", key="b.pem"),)),
    )
    assert config.tiers["free"].rate == Rate(100, 60)
    assert config.tiers["enterprise"].rate.unlimited
    assert config.consumers["acme"].keys[0].expires == "2027-01-01"
    assert config.backends["qwen"].engine == ("llama_cpp", {"model": "./x.gguf"})
    assert config.backends["qwen"].slots == 2
    assert config.backends["toy"].engine == ("echo", {})
    assert config.plugins == ({"cors": {"origins": ["*"]}}, {"key_auth": {}}, {"quota": {}})
    assert config.routes[0].to == "models"
    assert config.routes[1].plugins == ({"key_auth": {}},)
    assert (config.timeouts.connect, config.timeouts.reload_linger, config.routes[1].total) == (0.25, 1800, 4)


@pytest.mark.parametrize("proxy", ["127.0.0.1:80", "{address: 127.0.0.1:80}", "[127.0.0.1:80]"])
def test_one_listener_in_three_forms(proxy: str) -> None:
    assert load_text(f"listen: {{proxy: {proxy}}}", {}).listen.proxy == (Listener(address="127.0.0.1:80"),)


def test_empty_sections_are_as_if_they_were_not_there() -> None:
    assert load_text("tiers:\nroutes:\nlisten:\n", {}) == Config()


@pytest.mark.parametrize("text", ["", FULL])
def test_the_plain_form_survives_the_link(text: str) -> None:
    config = load_text(text, {})
    assert from_plain(msgspec.msgpack.decode(msgspec.msgpack.encode(plain(config)))) == config
    assert from_plain(msgspec.json.decode(msgspec.json.encode(plain(config)))) == config


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    assert problems("""
workers: many
limit: {}
tiers:
  free: {rat: 100/min, burst: 0, monthly: x}
  b: {rate: 5/fortnight, burst: 1.5}
timeouts: {idle: soon, conect: 5s}
consumers: {a: {}, b: [1], c: {tier: 5}}
backends: {a: {slots: 2}, b: {echo: {}, http: {}}, c: {echo: {}, slotz: 3}, d: 7}
plugins: [1, {a: {}, b: {}}]
routes: [{path: 5, auth: maybe, total: x, cost: -1, plugins: x}]
demo: yes
""") == [
        "line 2: workers: must be a whole number of at least 1 and at most 256 or one of auto, not the text 'many'",
        "line 3: limit: unknown key `limit`, did you mean `limits`?",
        "line 5: tiers.free.rat: unknown key `rat`, did you mean `rate`?",
        "line 5: tiers.free.burst: must be a whole number of at least 1, not 0",
        "line 5: tiers.free.monthly: must be a whole number of at least 1, not the text 'x'",
        "line 6: tiers.b.rate: '5/fortnight' is not a rate; write 10/s, 100/min, 5_000/h, 50_000/day or unlimited",
        "line 6: tiers.b.burst: must be a whole number of at least 1, not 1.5",
        "line 7: timeouts.idle: 'soon' is not a duration; write 250ms, 5s, 10m, 2h or 1d",
        "line 7: timeouts.conect: unknown key `conect`, did you mean `connect`?",
        "line 8: consumers.b: must be a mapping, not a list",
        "line 8: consumers.c.tier: must be text; put it in quotes",
        "line 9: backends.a: must name exactly one engine, such as `http: {...}`",
        "line 9: backends.b: must name exactly one engine, not `echo` and `http`",
        "line 9: backends.c.slotz: unknown key `slotz`, did you mean `slots`?",
        "line 9: backends.d: must be a mapping, not 7",
        "line 10: plugins[0]: must be one plugin's name and its settings: `- quota: {}`",
        "line 10: plugins[1]: must be one plugin's name and its settings: `- quota: {}`",
        "line 11: routes[0].path: must be text; put it in quotes",
        "line 11: routes[0].auth: must be one of required, optional, none, not the text 'maybe'",
        "line 11: routes[0].total: 'x' is not a duration; write 250ms, 5s, 10m, 2h or 1d",
        "line 11: routes[0].cost: must be a number of at least 0, not -1",
        "line 11: routes[0].plugins: must be a list, not the text 'x'",
        "line 12: demo: must be true or false, not the text 'yes'",
    ]  # fmt: skip


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"a: \xff")
    for name, reason in (("nope", "No such file"), (".", "Is a directory"), ("latin", "is not UTF-8")):
        with pytest.raises(ConfigError, match=reason):
            load(str(tmp_path / name), {})
