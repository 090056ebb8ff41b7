"""The plugin chain of a route, compiled once: flat tuples that hold only the hooks that exist.

The order is the order of the configuration. Steps of the core stand among the plugins' `access` hooks: the checks that
somebody is identified, and that a signed body is the one that came, after the last plugin that authenticates; the
reading of the body, before the first plugin that needs it; and the check that the caller may use the model, as soon as
both are known.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any

import msgspec

from gateway.errors import GatewayError
from gateway.exchange import Exchange, Outcome, Reply
from gateway.plugin import AnyPlugin, BasePlugin

Hook = Callable[..., Any]
Step = tuple[bool, Hook]  # (is a coroutine function, hook)
ReadBody = Callable[[Exchange], Awaitable[None]]


class Chain(msgspec.Struct, frozen=True):
    """`access` and `response` may be async, `chunk` and `log` are plain functions. `names` are for `explain`."""

    access: tuple[Step, ...]
    response: tuple[Step, ...]
    chunk: tuple[Hook, ...]
    log: tuple[Hook, ...]
    buffers: bool
    leaves_answers: bool  # no plugin looks at them
    names: tuple[str, ...]


def compile_chain(
    plugins: Sequence[tuple[str, AnyPlugin]], check_identity: Hook | None, read_body: ReadBody,
    check_model: Hook | None = None, check_digest: Hook | None = None,
) -> Chain:  # fmt: skip
    """The chain of one route. `check_identity` is None where the route asks for nobody: then no plugin authenticates.

    `check_model` is there where the route leads to models: then the body is needed as JSON even if no plugin asks.
    `check_digest` is called behind the check of identity where a plugin binds the body.
    Raises TypeError for an async `chunk` or `log`, and for a hook that yields.
    """
    if check_identity is None:
        plugins = [(name, plugin) for name, plugin in plugins if not plugin.authenticates]
    if not any(plugin.binds_body for _, plugin in plugins):
        check_digest = None
    steps = list(_order(plugins, (check_identity, check_digest), read_body, check_model))
    parts = [plugin for _, plugin in plugins]
    response = tuple((iscoroutinefunction(p.response), p.response) for p in parts if _overrides(p, "response"))
    chunk = _plain(parts, "chunk")
    return Chain(
        access=tuple((iscoroutinefunction(hook), hook) for _, hook in steps),
        response=response,
        chunk=chunk,
        log=_plain(parts, "log"),
        buffers=any(plugin.buffers for plugin in parts),
        leaves_answers=not (response or chunk),
        names=tuple(name for name, _ in steps),
    )


def _order(
    plugins: Sequence[tuple[str, AnyPlugin]], gates: tuple[Hook | None, ...], read_body: ReadBody,
    check_model: Hook | None,
) -> Iterator[tuple[str, Hook]]:  # fmt: skip
    """The access steps by name. `gates` stand behind the last plugin that authenticates."""
    gate = max((at for at, (_, plugin) in enumerate(plugins) if plugin.authenticates), default=-1)
    named = [(name, hook) for name, hook in zip(("identity", "digest"), gates, strict=True) if hook is not None]
    if gate < 0:
        yield from named
    is_read = is_checked = False
    for at, (name, plugin) in enumerate(plugins):
        if not is_read and (plugin.needs == "body" or (plugin.needs == "model" and check_model is not None)):
            is_read = True
            yield "body", read_body
        if check_model is not None and is_read and at > gate and not is_checked:
            is_checked = True
            yield "model", check_model
        if _overrides(plugin, "access"):
            yield name, plugin.access
        if at == gate:
            yield from named
    if check_model is not None and not is_read:
        yield "body", read_body
    if check_model is not None and not is_checked:
        yield "model", check_model


def _overrides(plugin: AnyPlugin, phase: str) -> bool:
    hook = getattr(type(plugin), phase)
    if isgeneratorfunction(hook) or isasyncgenfunction(hook):
        raise TypeError(f"{hook.__module__}.{hook.__qualname__} must be a plain function: nothing may `yield` in it")
    return hook is not getattr(BasePlugin, phase)


def _plain(plugins: Sequence[AnyPlugin], phase: str) -> tuple[Hook, ...]:
    hooks = tuple(getattr(plugin, phase) for plugin in plugins if _overrides(plugin, phase))
    for hook in hooks:
        if iscoroutinefunction(hook):
            raise TypeError(f"{hook.__module__}.{hook.__qualname__} must be a plain function, not async")
    return hooks


async def run_access(chain: Chain, exchange: Exchange) -> Reply | None:
    """Run the `access` hooks in order; the first reply ends the phase."""
    for is_async, hook in chain.access:
        reply: Reply | None = await hook(exchange) if is_async else hook(exchange)
        if reply is not None:
            return reply
    return None


async def run_response(chain: Chain, exchange: Exchange, refused: Outcome = Outcome.REFUSED) -> None:
    """Run the `response` hooks. `refused` is how the request ends if one of them refuses to hand the answer on."""
    try:
        for is_async, hook in chain.response:
            if is_async:
                await hook(exchange)
            else:
                hook(exchange)
    except GatewayError:
        exchange.outcome = refused
        raise


def run_chunk(chain: Chain, exchange: Exchange, data: bytes) -> bytes:
    for hook in chain.chunk:
        data = hook(exchange, data)
    return data
