"""Roles in the file: written out once, and everything that can be wrong with them."""

import pytest

from gateway.settings.check import find_problems
from gateway.settings.load import from_plain, load_text, plain
from gateway.settings.problem import ConfigError
from gateway.settings.roles import narrow_methods, write_out_roles
from gateway.settings.units import Rate

TIERS = "tiers: {free: {rate: 100/min}, pro: {rate: 1000/min}}\n"
TARGET = """
tiers: {pro: {rate: 1000/min}}
roles:
  admin:     {tier: {rate: 100_000/min, burst: 120_000}, may: ["*"]}
  developer: {tier: pro, may: [infer, "models:*"], inherits: [viewer]}
  viewer:    {tier: {rate: 1_000/min, burst: 1_200}, may: [traces:read], inherits: [guest]}
  guest:     {may: [infer]}
consumers:
  ann: {role: admin}
  dan: {role: developer}
  vic: {role: viewer, tier: pro}
"""


def test_roles_are_written_out() -> None:
    config = load_text(TARGET, {})
    assert config.roles["developer"].may == ("infer", "models:*", "traces:read")
    assert config.roles["viewer"].may == ("traces:read", "infer")
    assert {name: role.tier for name, role in config.roles.items()} == {
        "admin": "admin", "developer": "pro", "viewer": "viewer", "guest": "",
    }  # fmt: skip
    assert (config.tiers["admin"].rate, config.tiers["admin"].burst) == (Rate(100_000, 60), 120_000)
    assert {name: who.tier for name, who in config.consumers.items()} == {"ann": "admin", "dan": "pro", "vic": "pro"}
    assert write_out_roles(config) == config == from_plain(plain(config))


def problems(text: str) -> list[str]:
    return [str(problem) for problem in find_problems(load_text(text, {})) if problem.path != "routes"]


def test_a_sound_file_has_no_problems() -> None:
    assert [problem for problem in find_problems(load_text(TARGET, {})) if problem.level == "error"] == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "backends: {b: {echo: }}\nplugins: [key_auth]\nroutes: [{path: /x, to: b, permission: a:b}]",
            "routes[0].permission: nobody asks for it",
        ),
        ("roles: {a: {tier: fre}}", "roles.a.tier: no tier `fre`, did you mean `free`?"),
        ("roles: {free: {tier: {rate: 1/s}}}", "roles.free.tier: `tiers` has another tier `free`"),
        ("roles: {a: {may: [Infer]}}", "roles.a.may: `Infer` is no permission"),
        ("roles: {a: {may: ['tr*']}}", "roles.a.may: `tr*` is no permission"),
        ("roles: {a: {inherits: [b]}}", "roles.a.inherits: no role `b`"),
        ("roles: {a: {inherits: [a]}}", "roles.a.inherits: `a` would inherit from itself"),
        ("roles: {a: {inherits: [b]}, b: {inherits: [a]}}", "roles.b.inherits: `b` would inherit from itself"),
        ("consumers: {c: {}}", "consumers.c: needs a `tier`, or a `role` that has one"),
        ("roles: {a: {}}\nconsumers: {c: {role: a}}", "consumers.c: needs a `tier`, or a `role` that has one"),
        ("consumers: {c: {tier: fre}}", "consumers.c.tier: no tier `fre`, did you mean `free`?"),
        ("consumers: {c: {tier: free, role: b}}", "consumers.c.role: no role `b`"),
        ("consumers: {c: {tier: free, methods: [get]}}", "consumers.c.methods: `get` is not a method"),
        ("consumers: {c: {tier: free, addresses: [10.0.0.1/8]}}", "consumers.c.addresses[0]: `10.0.0.1/8` is not"),
        ("listen: {trusted: [proxy]}", "listen.trusted[0]: `proxy` is not a network"),
        (
            "consumers: {c: {tier: free, methods: [GET], keys: [{key: 'key-0001', methods: [POST]}]}}",
            "consumers.c.keys[0].methods: `POST` is none of the consumer's methods",
        ),
        (
            "backends: {b: {echo: }}\nmodels: {m: {backend: b}, n: {alias: m, projects: [x]}}",
            "models.n.projects: an alias has the projects of its model `m`",
        ),
        (
            "backends: {b: {echo: }}\nroutes: [{path: /x, to: b, auth: none, projects: [p]}]",
            "routes[0].projects: nobody is known here",
        ),
        (
            "backends: {b: {echo: }}\nroutes: [{path: /x, to: b, auth: none, permission: A}]",
            "routes[0].permission: `A` is not a permission",
        ),
    ],
)
def test_what_is_wrong_is_told(text: str, told: str) -> None:
    assert any(told in problem for problem in problems(TIERS + text)), problems(TIERS + text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("roles: {a: {tier: {rat: 1/s}}}", "roles.a.tier.rat: unknown key `rat`, did you mean `rate`?"),
        ("roles: {a: {tier: 5}}", "roles.a.tier: "),
        ("roles: {a: {can: [x]}}", "roles.a.can: unknown key"),
    ],
)
def test_a_tier_of_a_roles_own_is_looked_into(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(text, {})
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("consumer", "key", "both"),
    [
        ((), (), ()),
        (("GET",), (), ("GET",)),
        ((), ("GET",), ("GET",)),
        (("GET", "POST"), ("POST", "PUT"), ("POST",)),
        (("GET",), ("POST",), ("none",)),  # not an empty list, which would allow all
    ],
)
def test_a_key_only_narrows(consumer: tuple[str, ...], key: tuple[str, ...], both: tuple[str, ...]) -> None:
    assert narrow_methods(consumer, key) == both
