"""A hub of models that tests run: files, ranges, checksums, and connections that break off."""

import asyncio
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from aiohttp import web

MODEL = "lab/tiny"
COMMIT, LATER = "c" * 40, "d" * 40
WEIGHTS = os.urandom(24_000_000)  # the library reads blocks of 10 MB
CUT = 15_000_000
TOKEN = "hf_" + "secret" * 5


class Hub:
    """The few routes of the hub that a download takes. Large files tell their SHA-256, small ones git's SHA-1."""

    def __init__(self) -> None:
        self.files = {"config.json": b"{}", "model.safetensors": WEIGHTS, "sub/README.md": b"hello"}
        self.commit = COMMIT
        self.cuts = self.failures = 0  # how many GETs break off, and how many fail after those
        self.corrupt = False
        self.speaks = True
        self.stalls = False  # where it would cut
        self.redirects = False  # large files to another host, as the hub does
        self.ranges: list[str] = []
        self.tokens: set[str] = set()
        self.strangers_tokens: list[str] = []
        self.port = 0

    async def describe(self, request: web.Request) -> web.Response:
        self.tokens.add(request.headers.get("Authorization", ""))
        if not self.speaks:
            return web.Response(text="<html>", content_type="text/html")
        if request.match_info["id"] != MODEL:
            return web.json_response({"error": "no"}, status=404, headers={"X-Error-Code": "RepoNotFound"})
        siblings = [{"rfilename": name} for name in self.files]
        return web.json_response({"id": MODEL, "sha": self.commit, "siblings": siblings})

    async def resolve(self, request: web.Request) -> web.StreamResponse:
        body = self.files[request.match_info["file"]]
        if self.redirects and len(body) > CUT:
            if request.host.startswith("127."):
                away = f"http://localhost:{self.port}{request.path}"
                linked = {"X-Linked-Size": str(len(body)), "X-Linked-ETag": f'"{checksum(body)}"'}
                return web.Response(status=302, headers={"Location": away, "X-Repo-Commit": self.commit, **linked})
            self.strangers_tokens.append(request.headers.get("Authorization", ""))
        headers = {
            "X-Repo-Commit": self.commit,
            "X-Linked-Size": str(len(body)),
            "ETag": f'"{checksum(body)}"',
            "Accept-Ranges": "bytes",
        }
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(len(body))})
        asked = request.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").partition("-")[0] or 0) if asked else 0
        if self.corrupt:
            body = bytes(len(body))
        if len(body) < CUT:
            return web.Response(body=body, headers=headers)
        self.ranges.append(asked)
        if self.cuts == 0 and self.failures:
            self.failures -= 1
            return web.Response(status=500)
        headers["Content-Length"] = str(len(body) - start)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        await response.prepare(request)
        if self.stalls:
            await response.write(body[start : start + CUT])
            await asyncio.sleep(60)  # until the client or the test ends it
        if self.cuts:
            self.cuts -= 1
            await response.write(body[start : start + CUT])
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(body[start:])
        return response


def checksum(body: bytes) -> str:
    if len(body) > 1000:
        return hashlib.sha256(body).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub on a port of its own, in a thread."""
    hub, loop = Hub(), asyncio.new_event_loop()
    app = web.Application()
    app.router.add_get("/api/models/{id:.+}", hub.describe)
    app.router.add_get("/{org}/{name}/resolve/{commit}/{file:.+}", hub.resolve)  # and HEAD
    runner = web.AppRunner(app, shutdown_timeout=1)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
    hub.port = runner.addresses[0][1]
    thread = Thread(target=loop.run_forever)
    thread.start()
    yield hub
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
