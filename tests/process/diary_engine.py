"""A model server that takes its time to load, and writes down when it did what: `asked` to end, `over`, `ready`.

Times are those of the wall clock in nanoseconds, as `date` tells them to whoever starts it.
"""

import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOADING = 0.5  # seconds
EVENT = (
    b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
)


def main() -> None:
    port, diary = int(sys.argv[1]), sys.argv[2]

    def note(what: str) -> None:
        with open(diary, "a") as file:
            file.write(f"{what} {time.time_ns()}\n")

    def end(number: int, frame: object) -> None:
        note("asked")
        note("over")
        os._exit(0)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(EVENT + b"data: [DONE]\n\n")

        def log_message(self, *_: object) -> None:
            pass

    signal.signal(signal.SIGTERM, end)
    time.sleep(LOADING)
    server = ThreadingHTTPServer(("127.0.0.1", port), Page)
    note("ready")
    server.serve_forever()


if __name__ == "__main__":
    main()
