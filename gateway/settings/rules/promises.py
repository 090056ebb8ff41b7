"""Overrides of consumers' tiers, and webhooks."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from gateway.settings.credentials import parse_expiry
from gateway.settings.overrides import changes
from gateway.settings.problem import Problem, join, suggest
from gateway.settings.schema import Config, Override

_EVENTS = ("quota.threshold",)


def check_promises(config: Config, now: float) -> Iterator[Problem]:
    """Overrides override something until some day (`now`: unix seconds), webhooks lead somewhere."""
    for name, consumer in config.consumers.items():
        if consumer.override is not None:
            yield from _override(config, consumer.override, f"consumers.{name}.override", now)
    for at, webhook in enumerate(config.webhooks):
        path = join("webhooks", at)
        url = urlsplit(webhook.url)
        if url.scheme not in ("http", "https") or not url.hostname or url.username is not None:
            yield Problem(f"{path}.url", "must be http://host/path or https://host/path, without a password")
        elif url.scheme == "http" and not webhook.private:
            yield Problem(f"{path}.url", "must be https, unless it is `private`")
        if len(webhook.secret) < 16:
            yield Problem(f"{path}.secret", "must have at least 16 characters: receivers know us by it")
        for event in webhook.events:
            if event not in _EVENTS:
                yield Problem(f"{path}.events", f"no event `{event}`{suggest(event, _EVENTS)}")


def _override(config: Config, override: Override, path: str, now: float) -> Iterator[Problem]:
    if bool(override.tier) == bool(changes(override)):
        yield Problem(path, "must name either another `tier`, or what it changes: {rate: 5000/min, until: 2026-12-31}")
    if override.tier and override.tier not in config.tiers:
        yield Problem(f"{path}.tier", f"no tier `{override.tier}`{suggest(override.tier, config.tiers)}")
    try:
        until = parse_expiry(override.until)
    except ValueError:
        yield Problem(f"{path}.until", f"`{override.until}` is not a date such as 2026-12-31 or 2026-12-31T12:00:00Z")
        return
    if until and until <= now:
        yield Problem(f"{path}.until", f"the override has ended on {override.until}; remove it", "warning")
