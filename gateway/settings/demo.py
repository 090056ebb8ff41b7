"""Keys for trying things out: with `demo: true`, one consumer and one key per tier, made at the first start.

The keys are kept in the state directory, so that a restart does not change them; the configuration gets their hashes.
`check` allows `demo` on loopback only.
"""

import json
import os

import msgspec

from gateway.settings.key import digest, make_demo_key
from gateway.settings.schema import Config, Consumer, Key
from gateway.settings.state import demo_keys_file, write_private


def add_demo_keys(config: Config) -> tuple[Config, dict[str, str]]:
    """`config` with a consumer `demo-<tier>` per tier that counts by consumer, and the keys by tier.

    Raises OSError when the keys cannot be kept.
    """
    tiers = [name for name, tier in config.tiers.items() if tier.by == "consumer"]
    keys = _keep(config.state.directory, tiers)
    made = {
        f"demo-{tier}": Consumer(tier=tier, keys=(Key(sha256=digest(key).hex(), id=f"demo-{tier}"),))
        for tier, key in keys.items()
    }
    return msgspec.structs.replace(config, consumers={**made, **config.consumers}), keys


def _keep(directory: str, tiers: list[str]) -> dict[str, str]:
    path = demo_keys_file(directory)
    kept = _read(path)
    keys = {tier: kept.get(tier) or make_demo_key(tier) for tier in tiers}
    if keys.items() - kept.items():
        os.makedirs(directory, mode=0o700, exist_ok=True)
        write_private(path, json.dumps({**kept, **keys}, indent=2) + "\n")
    return keys


def _read(path: str) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8") as file:
            return msgspec.json.decode(file.read(), type=dict[str, str])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}
