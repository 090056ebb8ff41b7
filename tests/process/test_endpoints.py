"""What one configuration has found out about an endpoint is not held against it by the next."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx

from tests.harness import Document, Gateway, config, eventually, running_gateway


class Healthless(BaseHTTPRequestHandler):
    """Answers everything but its health check."""

    def do_GET(self) -> None:
        self.send_response(503 if self.path == "/health" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


def _document(port: int, **health: Any) -> Document:
    http = {"endpoints": [{"url": f"http://127.0.0.1:{port}"}], **health}
    return config(backends={"up": {"http": http}}, models={}, routes=[{"path": "/x", "to": "up", "auth": "none"}])


def _status(gateway: Gateway) -> int:
    return httpx.get(f"{gateway.url}/x", timeout=5).status_code


def test_a_reload_forgets_that_an_endpoint_was_down() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Healthless)
    Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    check = {"path": "/health", "interval": "100ms", "unhealthy": 1}
    with running_gateway(_document(port, health=check)) as gateway:
        eventually(lambda: _status(gateway) == 503, what="the endpoint goes down")
        gateway.reload(_document(port))
        eventually(lambda: _status(gateway) == 200, what="the endpoint is used again")
        assert gateway.status()["endpoints_down"] == {}
    server.shutdown()
    server.server_close()
