"""A model server that misbehaves on request: answers every request with 200, one after the other. Stdlib only."""

import argparse
import contextlib
import os
import signal
import socket
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--start-delay", type=float, default=0.0)
    parser.add_argument("--exit-after", type=float, help="seconds after it is ready")
    parser.add_argument("--exit-at-once", type=int, help="code, before it is ready")
    parser.add_argument("--needs", help="a file without which it exits with 3 before it is ready")
    parser.add_argument("--kill-itself", action="store_true", help="before it is ready, as a lack of memory would")
    parser.add_argument("--warm", default="/", help="a file without which it listens and answers 503")
    parser.add_argument("--hang", default="-", help="POST to a path that begins so is never answered; others are")
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--fork-child", action="store_true")
    parser.add_argument("--allocate", type=int, default=0, help="bytes that it and its child each take and use")
    parser.add_argument("--no-model", action="store_true", help="POST is answered with 404; GET is not")
    parser.add_argument("--say", default="ready to serve")
    parser.add_argument("--tell", help="a variable of its environment to print")
    options = parser.parse_args()
    if options.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    is_child = options.fork_child and os.fork() == 0
    held = bytearray(b"x") * options.allocate
    if is_child:
        time.sleep(600)
    print(options.say, flush=True)
    if options.tell:
        print(options.tell, "is", os.environ[options.tell], flush=True)
    if options.exit_at_once is not None:
        sys.exit(options.exit_at_once)
    if options.kill_itself:
        os.kill(os.getpid(), signal.SIGKILL)
    if options.needs and not os.path.exists(options.needs):
        sys.exit(3)
    time.sleep(options.start_delay)
    serve(options)
    del held


def serve(options: argparse.Namespace) -> None:
    listener = socket.create_server((options.address, options.port))
    listener.settimeout(options.exit_after)
    kept: list[contextlib.ExitStack] = []
    ends = None if options.exit_after is None else time.monotonic() + options.exit_after
    while ends is None or time.monotonic() < ends:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            break
        with contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            asked = connection.recv(65536)
            if asked.startswith(b"POST " + options.hang.encode()):
                kept.append(stack.pop_all())
            elif asked:
                status = answer(asked, os.path.exists(options.warm), options.no_model)
                connection.sendall(b"HTTP/1.1 %b\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok" % status)
    sys.exit(7)


def answer(asked: bytes, is_warm: bool, no_model: bool) -> bytes:
    if not is_warm:
        if asked.startswith(b"POST"):
            print("asked too early", flush=True)
        return b"503 Service Unavailable"
    if asked.startswith(b"POST /burn"):
        burn(3.0)
    return b"404 Not Found" if no_model and asked.startswith(b"POST") else b"200 OK"


def burn(seconds: float) -> None:
    """Use a processor, deaf to everybody."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


if __name__ == "__main__":
    main()
