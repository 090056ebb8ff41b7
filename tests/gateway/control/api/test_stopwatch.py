import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.control.api.stopwatch import Stopwatch
from gateway.metrics import BY_NAME, Board, Reader, make_board_file


async def test_answers_are_timed_to_their_head() -> None:
    release = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await release.wait()
        return response

    file = make_board_file()
    board, reader = Board(file), Reader(file)  # the reader takes the descriptor over
    application = web.Application()
    application.router.add_get("/api/v1/things/{id}", stream)
    Stopwatch(board, "admin").watch(application)
    async with TestClient(TestServer(application)) as client:
        async with client.get("/api/v1/things/7") as answer:
            assert answer.status == 200
            timed = reader.read()["api_seconds", "admin", "GET /api/v1/things/{id}"]
            assert sum(timed[: len(BY_NAME["api_seconds"].buckets) + 1]) == 1.0
            release.set()
        for path in ("/a", "/b"):
            async with client.post(path) as answer:
                assert answer.status == 404
    assert sum(reader.read()["api_seconds", "admin", ""][:-1]) == 2.0  # paths that clients make up are no labels
    assert len(reader.read()) == 2
    reader.close()
