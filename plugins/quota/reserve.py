"""How many tokens a request may take, before it is sent: an upper bound as far as there is one.

The prompt is one token for every two bytes of the fields that hold it, which is high for every tokenizer in use; an
image or another file inside it (a data: URL) counts as 2,000 tokens. The answer is what the client bounds it to, as
far as the model's `max_tokens` allows; else that; else the tier's `reserve`. It is taken as often as `n` says.
"""

import re
from collections.abc import Mapping

import msgspec

from gateway.errors import GatewayError
from gateway.plugin import Exchange, price_tokens
from plugins.quota.bill import Plan

_PROMPT = ("messages", "prompt", "input", "system", "instructions", "tools", "functions")
_CAPS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_FILE_TOKENS = 2000
_MOST = 2**52  # milli-units that any authority can count with; no limit is so large
_file = re.compile(rb'"data:[^"]*"')
_count = msgspec.json.Decoder(int | None)


def reserve(plan: Plan, exchange: Exchange) -> tuple[int, ...]:
    """Milli-units for each rule of the plan. A model without a price costs no money."""
    prompt = answer = 0
    if plan.counts_tokens and exchange.fields is not None:
        answer = bound_answer(exchange, plan.max_tokens, plan.tier.reserve)
        prompt = estimate_prompt(exchange.fields)
    money = 0 if plan.price is None else min(price_tokens(plan.price, prompt, answer), _MOST)
    costs = {"units": exchange.cost, "tokens": min(1000 * (prompt + answer), _MOST), "money": money, "slots": 1000}
    return tuple([costs[rule.unit] for rule in plan.rules])


def estimate_prompt(fields: Mapping[str, msgspec.Raw]) -> int:
    """Tokens of the prompt, rather too many than too few."""
    total = files = 0
    for name in _PROMPT:
        raw = fields.get(name)
        if raw is None:
            continue
        size = len(memoryview(raw))
        if size > 1000 and b'"data:' in (text := bytes(raw)):
            found = _file.findall(text)
            files += len(found)
            size -= sum(map(len, found))
        total += size
    return (total + 1) // 2 + files * _FILE_TOKENS


def bound_answer(exchange: Exchange, cap: int | None, reserve: int) -> int:
    """Tokens of the answer at most. Where the model has a `cap`, the body is made to keep it.

    Raises GatewayError 1214 for a bound that is no number.
    """
    fields = exchange.fields
    if fields is None or not (name := _field_of(exchange, fields)):
        return 0
    asked = {field: count for field in _CAPS if (count := _read(fields, field)) is not None}
    if cap is not None:
        for field in asked or (name,):
            if asked.get(field, cap + 1) > cap:
                asked[field] = cap
                exchange.set_field(field, cap)
    each = max(asked.values(), default=reserve)
    return each * max(1, _read(fields, "n") or 1, _read(fields, "best_of") or 1)


def _field_of(exchange: Exchange, fields: Mapping[str, msgspec.Raw]) -> str:
    """The field that bounds the answer in this API; empty where there is none, as for embeddings."""
    if "messages" in fields or "prompt" in fields:
        return "max_tokens"
    return "max_output_tokens" if exchange.path.endswith("/responses") else ""


def _read(fields: Mapping[str, msgspec.Raw], name: str) -> int | None:
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        count: int | None = _count.decode(raw)
    except msgspec.MsgspecError:
        count = -1
    if count is not None and count < 0:
        raise GatewayError(1214, f"{name} must be a whole number.", param=name)
    return count
