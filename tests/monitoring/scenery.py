"""What stands around a watched gateway: model servers that can be stopped, and clients that never stop asking."""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

CHAT = "/v1/chat/completions"
ANSWER = (
    b'{"id":"1","object":"chat.completion","choices":[{"index":0,"finish_reason":"stop","message":'
    b'{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}'
)


class Upstream:
    """A model server of somebody else, or whoever else gives `answer`. `status` is not that of its health check."""

    def __init__(self, answer: bytes = ANSWER) -> None:
        self.status = 200
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.reply(200, b"{}")

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.reply(upstream.status, answer)

            def reply(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing on stderr."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A gateway that was killed is no news here."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        """Nobody listens any more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


class Client:
    """Asks the gateway with one key. Answers are not looked at: what becomes of them is Prometheus' to tell."""

    def __init__(self, url: str, key: str) -> None:
        self._http = HTTPConnection(url.removeprefix("http://"), timeout=10)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def chat(
        self, model: str = "echo", stream: bool = False, text: str = "Hello there", idle: str = "", **more: Any
    ) -> int:
        """`idle`: seconds that the gateway itself shall waste."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream, **more}
        return self.post(CHAT, body, {"X-Idle": idle} if idle else {})

    def post(self, path: str, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> int:
        return self._ask("POST", path, json.dumps(body).encode(), headers or {})

    def get(self, path: str) -> int:
        return self._ask("GET", path, None, {})

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> int:
        """The status of the answer, 0 for none."""
        try:
            self._http.request(method, path, body, {**self._headers, **headers})
            with self._http.getresponse() as answer:
                answer.read()
                return answer.status
        except (OSError, HTTPException):
            self._http.close()
            return 0

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()


@contextlib.contextmanager
def repeating(act: Callable[[], object], pause: float = 0.2) -> Iterator[None]:
    """For the time of the block a thread does this, again and again."""
    ending = Event()

    def run() -> None:
        while not ending.wait(pause):
            act()

    thread = Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


@contextlib.contextmanager
def traffic(
    url: str, key: str, *asks: Callable[[Client], object], pause: float = 0.05, clients: int = 1
) -> Iterator[None]:
    """For the time of the block so many clients ask these one after another, again and again."""
    ending = Event()

    def run() -> None:
        with Client(url, key) as client:
            while not ending.is_set():
                for ask in asks:
                    ask(client)
                    ending.wait(pause)

    threads = [Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """256 MB at `folder`; false where we may not mount one."""
    folder.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", "size=256m,mode=0700", "tmpfs", str(folder)]
    is_mounted = subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
