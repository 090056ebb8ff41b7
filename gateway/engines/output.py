"""What an engine prints: the last lines in memory, all of it in a file that stays small."""

import contextlib
import os
import re
from collections import deque
from collections.abc import Iterable

from gateway.log import redact

_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")  # ECMA-48: CSI, OSC, C1
_CONTROLS = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_LINE = 2000  # bytes kept of a line
_FILE = 2 * 1024 * 1024  # bytes in a file; there is one more, the one before it


class Output:
    """A ring of the last `lines` lines. Escape codes and control characters are gone from them, and so are keys: the
    `secrets` that the engine was given, and what looks like one.

    `path` is the file, `<path>.1` the one before; a disk that is full costs the file, not the engine.
    """

    def __init__(self, path: str, lines: int = 200, secrets: Iterable[str] = ()) -> None:
        self._path = path
        self._secrets = [secret.encode() for secret in secrets]
        self._lines: deque[bytes] = deque(maxlen=lines)
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        if len(rest) > _LINE:
            lines.append(rest)
            rest = b""
        self._rest = rest
        self._keep(lines)

    def finish(self) -> None:
        """Keep what came last without a line's end."""
        self._keep([self._rest])
        self._rest = b""

    def last(self, count: int) -> list[str]:
        """The last lines, the oldest first."""
        return [line.decode(errors="replace") for line in list(self._lines)[-count:]]

    def _keep(self, lines: list[bytes]) -> None:
        kept = [self._redact(line) for line in map(_clean, lines) if line]
        self._lines.extend(kept)
        with contextlib.suppress(OSError):
            self._write(b"".join(line + b"\n" for line in kept))

    def _redact(self, line: bytes) -> bytes:
        for secret in self._secrets:
            line = line.replace(secret, b"***")
        return redact(line.decode(errors="replace")).encode()

    def _write(self, text: bytes) -> None:
        """Opened anew each time: engines print little, and nobody has to close it."""
        if os.path.exists(self._path) and os.path.getsize(self._path) + len(text) > _FILE:
            os.replace(self._path, f"{self._path}.1")
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, text)
        finally:
            os.close(file)


def _clean(line: bytes) -> bytes:
    return _CONTROLS.sub(b"", _ESCAPES.sub(b"", line))[:_LINE].rstrip()
