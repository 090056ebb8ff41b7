"""Roles written out: what each may with all that it inherits, its own tier by name, the tier of each consumer.

What cannot be written out (circles, names of nothing, a tier that contradicts another) stays as it is: the rules tell.
"""

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from gateway.settings.schema import Config, Consumer, Role, Tier


def write_out_roles(config: Config) -> Config:
    """`config` without references from role to role. Once more changes nothing."""
    tiers, roles = dict(config.tiers), {}
    for name, role in config.roles.items():
        tier = role.tier
        if isinstance(tier, Tier) and tiers.setdefault(name, tier) == tier:
            tier = name
        may = tuple(dict.fromkeys(gather_permissions(config.roles, name)))
        roles[name] = replace(role, tier=tier, may=may)
    consumers = {name: _with_tier(consumer, roles) for name, consumer in config.consumers.items()}
    return replace(config, tiers=tiers, roles=roles, consumers=consumers)


def gather_permissions(roles: Mapping[str, Role], name: str) -> Iterator[str]:
    """What a role may, its own first. Each role is taken once, so circles end."""
    waiting, seen = [name], set()
    while waiting:
        role = roles.get(current := waiting.pop(0))
        if role is not None and current not in seen:
            seen.add(current)
            yield from role.may
            waiting += role.inherits


def find_tier(roles: Mapping[str, Role], role: str) -> str:
    """The name of the tier that comes with a role; empty where none does."""
    found = roles.get(role)
    return found.tier if found is not None and isinstance(found.tier, str) else ""


def narrow_methods(consumer: tuple[str, ...], key: tuple[str, ...]) -> tuple[str, ...]:
    """The methods that both allow; an empty list allows all."""
    if not consumer or not key:
        return consumer or key
    return tuple(method for method in consumer if method in key) or ("none",)  # a method that nobody can send


def _with_tier(consumer: Consumer, roles: Mapping[str, Role]) -> Consumer:
    return consumer if consumer.tier else replace(consumer, tier=find_tier(roles, consumer.role))
