"""What an engine printed, from the file that the supervisor keeps: redacted, small, begun anew when it is full."""

import os
from collections import deque
from contextlib import suppress


class LogFile:
    """Reads the file at `path`, and `<path>.1`, the one before. Every method blocks, for a moment."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._place = (0, 0)  # which file, and how far it is read
        self._rest = b""

    def last(self, count: int) -> list[str]:
        """The last `count` lines; `fresh` goes on behind them."""
        lines: deque[bytes] = deque(maxlen=count)
        with suppress(FileNotFoundError), open(f"{self._path}.1", "rb") as older:
            lines.extend(older.read().splitlines())
        lines.extend(line.encode() for line in self.fresh())
        return [line.decode(errors="replace") for line in lines]

    def fresh(self) -> list[str]:
        """The lines that came since."""
        try:
            file = open(self._path, "rb")  # noqa: SIM115
        except FileNotFoundError:
            return []
        with file:
            status, (inode, offset) = os.fstat(file.fileno()), self._place
            if status.st_ino != inode or status.st_size < offset:
                offset, self._rest = 0, b""
            file.seek(offset)
            data = file.read()
            self._place = status.st_ino, offset + len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in lines]
