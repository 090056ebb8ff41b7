"""Roles, and who has which; the scopes of methods, addresses and projects."""

import re
from collections.abc import Iterator, Sequence

from gateway.networks import Networks
from gateway.settings.problem import Problem, join, suggest
from gateway.settings.schema import Config, Consumer, Role, Tier

_PERMISSION = re.compile(r"\*|[a-z][a-z0-9_.-]*(:[a-z0-9_.-]+)*(:\*)?")
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")


def check_roles(config: Config) -> Iterator[Problem]:
    """Every role, tier, permission, method and address that is named is one; every consumer comes to a tier."""
    for name, role in config.roles.items():
        yield from _role(config, name, role)
    for name, consumer in config.consumers.items():
        yield from _consumer(config, name, consumer)
    yield from _networks(config.listen.trusted, "listen.trusted")
    for name, model in config.models.items():
        if model.alias and model.projects:
            yield Problem(f"models.{name}.projects", f"an alias has the projects of its model `{model.alias}`")
    for at, route in enumerate(config.routes):
        path = join("routes", at)
        if route.permission and not _PERMISSION.fullmatch(route.permission):
            yield Problem(f"{path}.permission", f"`{route.permission}` is not a permission such as traces:read")
        if route.projects and route.auth == "none":
            yield Problem(f"{path}.projects", "nobody is known here, so nobody is of a project; drop `auth: none`")


def _role(config: Config, name: str, role: Role) -> Iterator[Problem]:
    path = f"roles.{name}"
    if isinstance(role.tier, Tier):
        yield Problem(f"{path}.tier", f"`tiers` has another tier `{name}`; name that one, or call one otherwise")
    elif role.tier and role.tier not in config.tiers:
        yield Problem(f"{path}.tier", f"no tier `{role.tier}`{suggest(role.tier, config.tiers)}")
    for permission in role.may:
        if not _PERMISSION.fullmatch(permission):
            yield Problem(f"{path}.may", f"`{permission}` is no permission such as infer, traces:read, traces:* or *")
    for other in role.inherits:
        if other not in config.roles:
            yield Problem(f"{path}.inherits", f"no role `{other}`{suggest(other, config.roles)}")
        elif other == name or name in _ancestors(config, other):
            yield Problem(f"{path}.inherits", f"`{name}` would inherit from itself, through `{other}`")


def _ancestors(config: Config, name: str) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for other in config.roles[waiting.pop()].inherits:
            if other in config.roles and other not in found:
                found.add(other)
                waiting.append(other)
    return found


def _consumer(config: Config, name: str, consumer: Consumer) -> Iterator[Problem]:
    path = f"consumers.{name}"
    if consumer.role and consumer.role not in config.roles:
        yield Problem(f"{path}.role", f"no role `{consumer.role}`{suggest(consumer.role, config.roles)}")
    if consumer.tier and consumer.tier not in config.tiers:
        yield Problem(f"{path}.tier", f"no tier `{consumer.tier}`{suggest(consumer.tier, config.tiers)}")
    elif not consumer.tier:
        yield Problem(path, "needs a `tier`, or a `role` that has one")
    yield from _methods(consumer.methods, f"{path}.methods")
    yield from _networks(consumer.addresses, f"{path}.addresses")
    for at, key in enumerate(consumer.keys):
        where = f"{join(f'{path}.keys', at)}.methods"
        yield from _methods(key.methods, where)
        for method in key.methods:
            if consumer.methods and method not in consumer.methods:
                yield Problem(where, f"`{method}` is none of the consumer's methods; a key only narrows", "warning")


def _methods(methods: Sequence[str], path: str) -> Iterator[Problem]:
    for method in methods:
        if not _METHOD.fullmatch(method):
            yield Problem(path, f"`{method}` is not a method of HTTP such as GET or POST")


def _networks(texts: Sequence[str], path: str) -> Iterator[Problem]:
    for at, text in enumerate(texts):
        try:
            Networks([text])
        except ValueError as error:
            yield Problem(join(path, at), str(error))
