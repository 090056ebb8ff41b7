"""What a request may claim in the queue for a slot: its tier's class, and about how many tokens it will take."""

from collections.abc import Mapping

import msgspec

from gateway.exchange import Exchange
from gateway.priority import PRIORITIES, Priority, lower
from gateway.settings.schema import Tier

_CAPS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_MOST = 2**40
_DEFAULT = Tier()
_ALONE = Tier(may_evict=True)  # where there are no tiers, nobody's models are guarded from anybody
_read_count = msgspec.json.Decoder(int | None)


def find_tier(exchange: Exchange, tiers: Mapping[str, Tier]) -> Tier:
    """The tier that was applied; without a quota the one that the caller's credential names."""
    if not tiers:
        return _ALONE
    credential = exchange.credential
    name = exchange.tier or (credential.tier if credential is not None else "anonymous")
    return tiers.get(name, _DEFAULT)


def find_priority(exchange: Exchange, tier: Tier) -> Priority:
    """The tier's class, or a lower one that `X-Tollkeeper-Priority` asks for; other words say nothing."""
    asked = exchange.head.get(b"x-tollkeeper-priority")
    if asked is None or tier.priority == PRIORITIES[-1]:
        return tier.priority
    return lower(tier.priority, asked.decode("latin-1").strip().lower())


def find_consumer(exchange: Exchange) -> str:
    """Whose turn it is: a consumer's, or an address's where nobody is known."""
    return exchange.credential.consumer if exchange.credential is not None else exchange.peer


def estimate_tokens(exchange: Exchange, reserve: int) -> int:
    """Tokens of prompt and answer, before anybody has counted them. `reserve`: of an answer that nobody bounds.

    What is no model call is one, whatever it is: then it is requests that are shared fairly.
    """
    fields = exchange.fields
    if fields is None:
        return 1
    prompt = sum([len(memoryview(raw)) for raw in fields.values()]) // 4
    return min(max(1, prompt) + _bound_answer(exchange.path, fields, reserve), _MOST)


def count_tokens(exchange: Exchange, finished: bool) -> int:
    """Tokens that the request took, now that it is over; -1: nobody knows, the estimate may be right."""
    if exchange.fields is None:
        return -1
    tokens = exchange.tokens
    if tokens.source != "none":
        return tokens.prompt + tokens.completion
    return 0 if finished or not exchange.forwarded else -1


def _bound_answer(path: str, fields: Mapping[str, msgspec.Raw], reserve: int) -> int:
    if "messages" not in fields and "prompt" not in fields and not path.endswith("/responses"):
        return 0
    asked = [count for name in _CAPS if (count := _read(fields, name)) > 0]
    return max(asked, default=reserve) * max(1, _read(fields, "n"))


def _read(fields: Mapping[str, msgspec.Raw], name: str) -> int:
    """A number of the body; 0 where it is none: to complain is not our task."""
    raw = fields.get(name)
    try:
        return 0 if raw is None else _read_count.decode(raw) or 0
    except msgspec.MsgspecError:
        return 0
