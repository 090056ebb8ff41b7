"""The echo engine's process: `python -m backends.echo.server --port N`. It listens on 127.0.0.1 only."""

import argparse
import asyncio
import signal
import sys
from typing import Any, TypeVar

import msgspec
import uvloop
from aiohttp import WSMsgType, web

from backends.echo.answer import DONE, Answer, describe_error, describe_model, embed, encode
from backends.echo.fault import break_off, fails_before_head
from backends.echo.request import Chat, Embeddings, Text

_LARGEST = 64 * 1024 * 1024  # bytes in a request
_T = TypeVar("_T", Chat, Text, Embeddings)
_MODELS = web.AppKey("models", list[str])


async def _chat(request: web.Request) -> web.StreamResponse:
    return await _complete(request, await _read(request, Chat))


async def _text(request: web.Request) -> web.StreamResponse:
    return await _complete(request, await _read(request, Text))


async def _embeddings(request: web.Request) -> web.StreamResponse:
    asked = await _read(request, Embeddings)
    return await _send_whole(request, asked, embed(asked))


async def _complete(request: web.Request, asked: Chat | Text) -> web.StreamResponse:
    answer = Answer(asked)
    return await (_stream(request, asked, answer) if asked.stream else _send_whole(request, asked, answer.whole()))


async def _read(request: web.Request, kind: type[_T]) -> _T:
    """The body as `kind`. An error is answered as OpenAI does."""
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.MsgspecError as error:
        body = describe_error(str(error), "invalid_request_error")
        raise web.HTTPBadRequest(body=body, content_type="application/json") from None


class _Failed(web.HTTPError):
    """The status that the request asked for."""

    def __init__(self, status: int) -> None:
        self.status_code = status
        super().__init__(body=describe_error(f"asked to fail with {status}"), content_type="application/json")


async def _begin(asked: Chat | Text | Embeddings) -> None:
    if asked.echo.delay:
        await asyncio.sleep(asked.echo.delay)
    if isinstance(asked.echo.fail, int):
        raise _Failed(asked.echo.fail)


async def _send_whole(request: web.Request, asked: Chat | Text | Embeddings, body: bytes) -> web.StreamResponse:
    await _begin(asked)
    match asked.echo.fail:
        case "reset" | "hang" | "garbage" | "exit" as fault:
            await break_off(request, fault)
        case "truncate":
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            response.content_length = len(body)
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
            await break_off(request, "truncate")
        case "empty":
            body = b""
        case "in_band":
            body = describe_error("asked to fail in band")
    return web.Response(body=body, content_type="application/json")


async def _stream(request: web.Request, asked: Chat | Text, answer: Answer) -> web.StreamResponse:
    script = asked.echo
    await _begin(asked)
    if isinstance(script.fail, str) and fails_before_head(script.fail, script.after):
        await break_off(request, script.fail)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    if script.fail == "empty":
        return response
    await response.write(answer.opening())
    for count, event in enumerate(answer.events()):
        if script.fail and script.fail != "no_done" and count == script.after:
            break
        if count and script.pause:
            await asyncio.sleep(script.pause)
        await response.write(event)
    if script.fail == "in_band":
        await response.write(b"data: " + describe_error("asked to fail in band") + b"\n\n")
    elif isinstance(script.fail, str) and script.fail != "no_done":
        await break_off(request, script.fail)
    else:
        await response.write(answer.closing() + (b"" if script.fail else DONE))
    return response


async def _list_models(request: web.Request) -> web.Response:
    models = [describe_model(name) for name in request.app[_MODELS]]
    return _json({"object": "list", "data": models})


async def _show_model(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in request.app[_MODELS]:
        error = describe_error(f"The model `{name}` does not exist", "invalid_request_error", "model_not_found")
        return web.Response(status=404, body=error, content_type="application/json")
    return _json(describe_model(name))


async def _health(request: web.Request) -> web.Response:
    return _json({"status": "ok"})


async def _reflect(request: web.Request) -> web.Response:
    """The request as it arrived, for tests of what a proxy makes of it."""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]
    path, _, query = request.raw_path.partition("?")
    body = (await request.read()).decode(errors="replace")
    return _json({"method": request.method, "path": path, "query": query, "headers": headers, "body": body})


async def _web_socket(request: web.Request) -> web.WebSocketResponse:
    """Every message comes back as it was."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


def _json(data: Any) -> web.Response:
    return web.Response(body=encode(data), content_type="application/json")


def _make_app(models: list[str]) -> web.Application:
    app = web.Application(client_max_size=_LARGEST)
    app[_MODELS] = models
    app.router.add_post("/v1/chat/completions", _chat)
    app.router.add_post("/v1/completions", _text)
    app.router.add_post("/v1/embeddings", _embeddings)
    app.router.add_get("/v1/models", _list_models)
    app.router.add_get("/v1/models/{name:.+}", _show_model)
    app.router.add_get("/v1/echo/ws", _web_socket)
    app.router.add_get("/health", _health)
    app.router.add_route("*", "/echo", _reflect)
    app.router.add_route("*", "/echo/{rest:.*}", _reflect)
    return app


async def _serve(port: int, models: list[str]) -> None:
    # handler_cancellation: a stream stops when its client leaves, as a well-behaved engine does
    runner = web.AppRunner(_make_app(models), access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    sys.stderr.write(f"echo engine on http://127.0.0.1:{runner.addresses[0][1]}\n")
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="echo engine")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--models", type=lambda text: text.split(","), default=["echo"])
    options = parser.parse_args()
    uvloop.run(_serve(options.port, options.models))


if __name__ == "__main__":
    main()
