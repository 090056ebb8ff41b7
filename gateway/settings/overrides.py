"""Overrides that change single limits, written out: each becomes a tier of its own, `override:<consumer>`."""

from msgspec.structs import asdict, replace

from gateway.settings.schema import Config, Consumer, Override, Tier

_OWN = ("tier", "until")


def changes(override: Override) -> dict[str, object]:
    """What an override says in place of the consumer's own tier. Another rate has another burst."""
    said = {name: value for name, value in asdict(override).items() if value is not None and name not in _OWN}
    return {"burst": None, **said} if "rate" in said else said


def write_out_overrides(config: Config) -> Config:
    """A checked `config` in which each override names a tier. Once more changes nothing."""
    tiers: dict[str, Tier] = dict(config.tiers)
    consumers: dict[str, Consumer] = dict(config.consumers)
    for name, consumer in config.consumers.items():
        override = consumer.override
        if override is None or not (changed := changes(override)):
            continue
        own = f"override:{name}"
        tiers[own] = replace(config.tiers[consumer.tier], **changed)
        consumers[name] = replace(consumer, override=Override(tier=own, until=override.until))
    return replace(config, tiers=tiers, consumers=consumers)
