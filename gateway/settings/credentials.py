"""The keys of the file's consumers."""

from datetime import UTC, datetime

import msgspec

from gateway.settings.key import digest, digest_id, key_id
from gateway.settings.schema import Config, Consumer, Key


def hash_keys(config: Config) -> Config:
    """A checked configuration whose keys are all told by id and SHA-256: no process but the first sees a key itself."""
    consumers = {name: _hash(consumer) for name, consumer in config.consumers.items()}
    return msgspec.structs.replace(config, consumers=consumers)


def _hash(consumer: Consumer) -> Consumer:
    keys = tuple(
        msgspec.structs.replace(key, key="", sha256=key_digest(key).hex(), id=shown_id(key)) for key in consumer.keys
    )
    return msgspec.structs.replace(consumer, keys=keys)


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
