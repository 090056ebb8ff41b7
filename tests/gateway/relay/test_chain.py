import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.exchange import Exchange, Reply
from gateway.http.head import read_head
from gateway.plugin import AnyPlugin, BasePlugin, BaseSettings
from gateway.relay.chain import Chain, compile_chain, run_access, run_chunk, run_response

SETTINGS = BaseSettings()


class Recorder(BasePlugin[BaseSettings]):
    """Notes its hooks in the exchange."""

    def __init__(self, name: str = "") -> None:
        super().__init__(SETTINGS)
        self.name = name

    def note(self, exchange: Exchange, phase: str) -> None:
        exchange.notes.setdefault("calls", []).append(f"{self.name}.{phase}")


class Sync(Recorder):
    def access(self, exchange: Exchange) -> Reply | None:
        self.note(exchange, "access")
        return None

    def response(self, exchange: Exchange) -> None:
        self.note(exchange, "response")

    def chunk(self, exchange: Exchange, data: bytes) -> bytes:
        return data + self.name.encode()

    def log(self, exchange: Exchange) -> None:
        self.note(exchange, "log")


class Async(Recorder):
    async def access(self, exchange: Exchange) -> Reply | None:
        await asyncio.sleep(0)
        self.note(exchange, "access")
        return None

    async def response(self, exchange: Exchange) -> None:
        await asyncio.sleep(0)
        self.note(exchange, "response")


class Answers(Recorder):
    def access(self, exchange: Exchange) -> Reply | None:
        return Reply(200, body=self.name.encode())


class LogsOnly(Recorder):
    def log(self, exchange: Exchange) -> None:
        self.note(exchange, "log")


class Key(Sync):
    authenticates = True


class NeedsBody(Sync):
    needs = "body"


class NeedsModel(Sync):
    needs = "model"


class Buffers(LogsOnly):
    buffers = True


def exchange() -> Exchange:
    head = read_head(b"GET", b"/x", "1.1", [(b"host", b"a")])
    return Exchange("id", head, head.method, head.path, 0.0)


def check(exchange: Exchange) -> None:
    exchange.notes.setdefault("calls", []).append("identity")


async def read(exchange: Exchange) -> None:
    exchange.notes.setdefault("calls", []).append("body")


def check_model(exchange: Exchange) -> None:
    exchange.notes.setdefault("calls", []).append("model")


def compiled(*plugins: AnyPlugin, auth: bool = True, model: bool = False) -> Chain:
    named = [(type(plugin).__name__, plugin) for plugin in plugins]
    return compile_chain(named, check if auth else None, read, check_model if model else None)


def test_only_hooks_that_exist_are_in_the_chain() -> None:
    chain = compiled(LogsOnly("a"), Sync("b"), Recorder("c"), auth=False)
    assert (len(chain.access), len(chain.response), len(chain.chunk), len(chain.log)) == (1, 1, 1, 2)
    assert chain.names == ("Sync",)


async def test_hooks_run_in_the_order_of_the_configuration() -> None:
    chain = compiled(Sync("a"), Async("b"), Sync("c"), auth=False)
    made = exchange()
    assert await run_access(chain, made) is None
    await run_response(chain, made)
    assert made.notes["calls"] == ["a.access", "b.access", "c.access", "a.response", "b.response", "c.response"]
    assert run_chunk(chain, made, b"-") == b"-ac"


async def test_the_first_reply_ends_the_phase() -> None:
    chain = compiled(Sync("a"), Answers("b"), Answers("c"), Sync("d"), auth=False)
    made = exchange()
    reply = await run_access(chain, made)
    assert reply is not None and reply.body == b"b"
    assert made.notes["calls"] == ["a.access"]


@pytest.mark.parametrize(
    ("plugins", "auth", "model", "names"),
    [
        # identity: after the last plugin that authenticates; with none, before everything
        ([Sync, Key, Sync, Key, Sync], True, False, "Sync Key Sync Key identity Sync"),
        ([Sync, Sync], True, False, "identity Sync Sync"),
        ([], True, False, "identity"),
        # `auth: none`: nobody is asked who he is, not even those who could tell
        ([Sync, Key, Sync], False, False, "Sync Sync"),
        # the body: when the first plugin that needs it is reached, once; in the end for a model
        ([Sync, Key, NeedsBody, NeedsBody], True, False, "Sync Key identity body NeedsBody NeedsBody"),
        ([Key, NeedsModel, Sync], True, True, "Key identity body model NeedsModel Sync"),
        ([Key, NeedsModel, Sync], True, False, "Key identity NeedsModel Sync"),
        ([Key, Sync], True, True, "Key identity Sync body model"),
        ([], False, True, "body model"),
        ([NeedsBody, Key], True, True, "body NeedsBody Key identity model"),
    ],
)
def test_the_cores_steps_stand_where_they_belong(
    plugins: list[Callable[..., AnyPlugin]], auth: bool, model: bool, names: str
) -> None:
    chain = compiled(*[plugin() for plugin in plugins], auth=auth, model=model)
    assert " ".join(chain.names) == names
    assert len(chain.access) == len(chain.names)


def test_answers_are_left_alone_where_no_plugin_looks_at_them() -> None:
    assert compiled(LogsOnly(), Answers()).leaves_answers
    assert not compiled(Sync()).leaves_answers
    assert not compiled(Async()).leaves_answers


def test_one_plugin_that_buffers_makes_the_chain_buffer() -> None:
    assert compiled(Sync(), Buffers()).buffers
    assert not compiled(Sync(), LogsOnly()).buffers


class AsyncChunk(Recorder):
    async def chunk(self, exchange: Exchange, data: bytes) -> bytes:  # type: ignore[override]
        return data


class AsyncLog(Recorder):
    async def log(self, exchange: Exchange) -> None: ...  # type: ignore[override]


class StreamedLog(Recorder):
    async def log(self, exchange: Exchange) -> Any:
        yield b""


class YieldsAccess(Recorder):
    async def access(self, exchange: Exchange) -> Any:
        yield Reply(200)


class YieldsResponse(Recorder):
    def response(self, exchange: Exchange) -> Any:
        yield


@pytest.mark.parametrize("plugin", [AsyncChunk, AsyncLog, StreamedLog, YieldsAccess, YieldsResponse])
def test_a_hook_that_would_never_run_is_refused_when_it_is_loaded(plugin: type[Recorder]) -> None:
    with pytest.raises(TypeError, match=rf"{plugin.__name__}\.[a-z]+ must be a plain function"):
        compiled(plugin())


class Binds(Key):
    binds_body = True


def test_a_signed_body_is_checked_when_the_caller_is_known() -> None:
    def names(*plugins: AnyPlugin, auth: bool = True, model: bool = False) -> tuple[str, ...]:
        named = [(type(plugin).__name__, plugin) for plugin in plugins]
        return compile_chain(named, check if auth else None, read, check_model if model else None, read).names

    assert names(Binds("a"), Key("b"), Sync("c")) == ("Binds", "Key", "identity", "digest", "Sync")
    assert names(Key("a"), Sync("b")) == ("Key", "identity", "Sync")
    assert names(Binds("a"), auth=False) == ()
    assert names(Binds("a"), model=True) == ("Binds", "identity", "digest", "body", "model")
