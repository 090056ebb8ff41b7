"""The tokens of a request: asked of the engine where that helps, and guessed where nobody tells them."""

import json

import msgspec

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.usage import Usage

_PROMPT = ("messages", "prompt", "input", "system", "instructions", "query", "documents")


def ask_for_usage(exchange: Exchange, reports: bool) -> None:
    """Have the engine report usage on a stream; remember whether the client wanted to see it."""
    assert exchange.fields is not None
    raw = exchange.fields.get("stream_options")
    options = json.loads(bytes(raw)) if raw is not None else None
    if options is not None and not isinstance(options, dict):
        raise GatewayError(1214, "stream_options must be an object.", param="stream_options")
    exchange.client_wants_usage = bool(options and options.get("include_usage"))
    if exchange.stream and reports and not exchange.client_wants_usage:
        exchange.set_field("stream_options", {**(options or {}), "include_usage": True})


def count_tokens(exchange: Exchange, usage: Usage | None, delivered: int) -> None:
    """Fill the exchange's tokens: the engine's figures where present, else an estimate.

    `delivered` is the number of tokens (events with text) or, for a whole body, its estimate.
    """
    tokens = exchange.tokens
    if usage is not None and usage.prompt_tokens is not None:
        tokens.source = "counted"
        tokens.prompt = usage.prompt_tokens
        tokens.completion = usage.completion_tokens or 0
        if usage.prompt_tokens_details is not None:
            tokens.cached = usage.prompt_tokens_details.cached_tokens or 0
    else:
        estimate(exchange, delivered)


def estimate(exchange: Exchange, delivered: int) -> None:
    """Nobody told: a prompt is a token per four bytes, an answer is `delivered` where it is text."""
    tokens, dialect = exchange.tokens, exchange.dialect
    tokens.source = "estimated"
    tokens.prompt = estimate_prompt(exchange)
    tokens.completion = delivered if dialect is None or dialect.is_text else 0


def estimate_prompt(exchange: Exchange) -> int:
    """Tokens of the prompt, guessed from the bytes of the fields that hold it."""
    fields = exchange.fields
    if not fields:
        return 0
    found = [fields[name] for name in _PROMPT if name in fields]
    return (sum([len(memoryview(raw)) for raw in found if isinstance(raw, msgspec.Raw)]) + 3) // 4
