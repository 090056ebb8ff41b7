"""Tiers: whether what they allow can be spent at all."""

import math
from collections.abc import Iterator

from gateway.settings.problem import Problem
from gateway.settings.schema import Config, Tier


def largest_charge(tier: Tier) -> float:
    """The most units that one request may cost in a tier, however long it waits."""
    rate = math.inf if tier.rate.unlimited else float(tier.burst or 1.5 * tier.rate.count)
    return min(rate, float(tier.monthly or math.inf))


def check_costs(config: Config) -> Iterator[Problem]:
    """A request that costs more than the burst or the month can never be served."""
    for name, tier in config.tiers.items():
        if tier.burst is not None and tier.rate.unlimited:
            yield Problem(f"tiers.{name}.burst", "means nothing beside an unlimited rate; remove it", "warning")
    if not config.tiers:
        return
    smallest = min(config.tiers, key=lambda name: largest_charge(config.tiers[name]))
    most = max(map(largest_charge, config.tiers.values()))
    for path, cost, told in _charges(config):
        if cost > most:
            yield Problem(path, f"{told} costs {cost:g} units, more than any tier can ever hold ({most:g})")
        elif cost > (least := largest_charge(config.tiers[smallest])):
            message = f"{told} costs {cost:g} units, more than tier `{smallest}` can ever hold ({least:g})"
            yield Problem(path, message, "warning")


def _charges(config: Config) -> Iterator[tuple[str, float, str]]:
    """Each kind of request with its cost: a route, and each model on a route that leads to models."""
    for at, route in enumerate(config.routes):
        path, most = f"routes[{at}].cost", max(route.cost, *route.costs.values(), 0.0)
        if route.to != "models":
            yield path, most, route.path
            continue
        costs = {name: model.cost for name, model in config.models.items() if model.backend}
        if costs:
            dearest = max(costs, key=lambda name: costs[name])
            yield path, most * costs[dearest], f"{route.path} with {dearest}"
