"""The keys of the file's consumers, as the directory of every process knows them."""

from collections.abc import Mapping
from datetime import UTC, datetime

from gateway.exchange import Credential
from gateway.settings.key import digest, digest_id, key_id
from gateway.settings.schema import Config, Key


def file_credentials(config: Config) -> Mapping[bytes, Credential]:
    """Every key of a checked configuration, by its SHA-256."""
    return {
        key_digest(key): Credential(
            id=shown_id(key), consumer=name, tier=consumer.tier, project=consumer.project,
            expires=parse_expiry(key.expires), models=consumer.models, routes=consumer.routes,
            key_models=key.models, key_routes=key.routes,
        )
        for name, consumer in config.consumers.items()
        for key in consumer.keys
    }  # fmt: skip


def key_digest(key: Key) -> bytes:
    """The SHA-256 of a key, however the file writes it."""
    return bytes.fromhex(key.sha256) if key.sha256 else digest(key.key)


def shown_id(key: Key) -> str:
    """What lists and traces call a key."""
    return key.id or (digest_id(bytes.fromhex(key.sha256)) if key.sha256 else key_id(key.key))


def parse_expiry(text: str) -> float:
    """Unix seconds of an ISO date or date-time (UTC where it names no zone), 0.0 of nothing. Raises ValueError."""
    if not text:
        return 0.0
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
