"""Budgets: what they count must have a price."""

from collections.abc import Iterator

from gateway.settings.problem import Problem
from gateway.settings.schema import Config


def check_prices(config: Config) -> Iterator[Problem]:
    """A model without a price costs nothing that a budget could count: it passes every one."""
    budget = next(_budgets(config), "")
    if not budget:
        return
    for name, model in config.models.items():
        if model.backend and model.price is None:
            message = f"has no price, so that {budget} does not count it; add one (0 if it costs nothing)"
            yield Problem(f"models.{name}", message, "warning")


def _budgets(config: Config) -> Iterator[str]:
    """Where money is limited."""
    for section in ("tiers", "models"):
        for name, part in getattr(config, section).items():
            if getattr(part, "budget", None) is not None or any(cap.budget for cap in part.limits):
                yield f"the budget of {section}.{name}"
    for route in config.routes:
        if any(cap.budget for cap in route.limits):
            yield f"the budget of {route.path}"
