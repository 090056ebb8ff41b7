"""The order of a chain: each plugin says where it belongs, and what it would miss elsewhere is told."""

from collections.abc import Iterator, Sequence

from gateway.plugin import AnyPlugin
from gateway.settings.problem import Problem
from gateway.settings.schema import Config, Route

Chain = Sequence[tuple[str, AnyPlugin]]  # where each plugin stands in the file, and the plugin

ANONYMOUS = "anonymous"  # the tier of callers without a key
_RANKS = {"edge": 0, "identity": 1, "access": 2, "shape": 3, "charge": 4, "answer": 4}
_REASONS = {
    "identity": "asks for a credential before {other} has answered those who carry none",
    "access": "judges the caller before {other} has done its part",
    "shape": "looks into the request before {other} has said whether the caller is welcome",
    "charge": "charges before {other} has looked at the request: what that refuses would be paid for",
    "answer": "may answer before {other} has looked at the request: who is answered here passes that by",
}


def check_order(chain: Chain) -> Iterator[Problem]:
    """No plugin stands twice, no body is read for somebody who is not known yet, and every plugin where it belongs."""
    last = max((at for at, (_, plugin) in enumerate(chain) if plugin.authenticates), default=-1)
    seen: dict[type, str] = {}
    for at, (path, plugin) in enumerate(chain):
        if type(plugin) in seen:
            yield Problem(path, f"stands twice in its chain, first as {seen[type(plugin)]}")
        seen[type(plugin)] = path
        if at < last and plugin.needs != "head":
            message = "reads the request's body before the caller is known; put it after the plugins that authenticate"
            yield Problem(path, message, "warning")
        elif (place := _place(plugin)) and (other := _find_late(chain[at + 1 :], place)):
            yield Problem(path, f"{_REASONS[place].format(other=other)}; put it after", "warning")


def _place(plugin: AnyPlugin) -> str:
    return "identity" if plugin.authenticates else "access" if plugin.authorizes else plugin.place


def _find_late(later: Chain, place: str) -> str:
    """The first plugin that should have come before one of this place."""
    for path, plugin in later:
        if (theirs := _place(plugin)) and _RANKS[theirs] < _RANKS[place]:
            return path.rpartition(".")[2]
    return ""


def check_strangers(config: Config, route: Route, chain: Chain, path: str) -> Iterator[Problem]:
    """Where callers without a key are let in and pay, there is a tier for them."""
    pays = any(plugin.place == "charge" for _, plugin in chain)
    if route.auth != "required" and pays and route.cost and ANONYMOUS not in config.tiers:
        message = f"callers without a key have no limit here: add a tier `{ANONYMOUS}`, or write `cost: 0`"
        yield Problem(f"{path}.auth", message, "warning")


def check_use(config: Config, chains: Sequence[Chain]) -> Iterator[Problem]:
    """What is configured is heeded by a plugin of some chain: limits, permissions, keys."""
    plugins = [plugin for chain in chains for _, plugin in chain]
    limited = [name for name, tier in config.tiers.items() if not tier.rate.unlimited or tier.monthly]
    if limited and not any(plugin.place == "charge" for plugin in plugins):
        yield Problem(f"tiers.{limited[0]}", "no chain has a plugin that charges: no limit is ever applied", "warning")
    if config.roles and not any(plugin.authorizes for plugin in plugins):
        message = "no chain has a plugin that authorizes: what a role may is not heeded"
        yield Problem("roles", message, "warning")
    holders = [name for name, consumer in config.consumers.items() if consumer.keys]
    if holders and not any(plugin.authenticates for plugin in plugins):
        message = "no chain has a plugin that authenticates: nobody is asked for a key"
        yield Problem(f"consumers.{holders[0]}.keys", message, "warning")
