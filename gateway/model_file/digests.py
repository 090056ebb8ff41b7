"""Digests of large files, kept until the file changes: a model of 20 GB is not read again at each start."""

import contextlib
import hashlib
import os

import msgspec

_MANY = 1000  # that are remembered


class _Known(msgspec.Struct, frozen=True):
    """What a file was like when it was read."""

    device: int
    inode: int
    changed: int  # nanoseconds; of the inode: that time nobody can set, as the file's own can be
    size: int
    sha256: str

    def is_of(self, status: os.stat_result) -> bool:
        seen = (status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size)
        return (self.device, self.inode, self.changed, self.size) == seen


class Digests:
    """`path` is the file that keeps them, for us alone; empty: they are forgotten with the process."""

    def __init__(self, path: str = "") -> None:
        self._path = path
        self._known: dict[str, _Known] = {}
        with contextlib.suppress(OSError, msgspec.DecodeError), open(path, "rb") as file:
            self._known = msgspec.json.decode(file.read(), type=dict[str, _Known])

    def read(self, path: str) -> str:
        """The SHA-256 of the file at `path` in hex. Raises OSError."""
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            known = self._known.get(path)
            if known is not None and known.is_of(status):
                return known.sha256
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self._known.pop(path, None)
        self._known[path] = _Known(status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size, sha256)
        while len(self._known) > _MANY:
            del self._known[next(iter(self._known))]
        self._write()
        return sha256

    def _write(self) -> None:
        """A disk that is full costs time at the next start, nothing else."""
        if not self._path:
            return
        draft = f"{self._path}.new"
        with contextlib.suppress(OSError):
            with open(draft, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(msgspec.json.encode(self._known))
            os.replace(draft, self._path)
