"""An append-only file of records, written through at once and replaced as a whole when it has grown.

A record is its length and CRC-32 (four bytes each, big endian) and then its bytes. What `append` wrote survives the
death of this process at any moment, but not that of the machine: only `replace` waits for the disk.
"""

import contextlib
import errno
import logging
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

_log = logging.getLogger("tollkeeper")
_head = struct.Struct(">II")


class Tape:
    """The file at `path`, made if absent. For one process and one thread. To be read once, before it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _open(path, os.O_APPEND)
        self.size = 0  # bytes in whole records

    def read(self) -> Iterator[bytes]:
        """Every whole record, oldest first. What follows the last one is a write that was cut short: it is removed."""
        data = self._path.read_bytes()
        while (record := _find_record(data, self.size)) is not None:
            self.size += _head.size + len(record)
            yield record
        if self.size < len(data):
            _log.warning("%s: the last %d bytes are no whole record, cut", self._path, len(data) - self.size)
            os.ftruncate(self._file, self.size)

    def append(self, records: Iterable[bytes]) -> None:
        """Write all records with one call. Raises OSError if that failed; then none of them is in the file."""
        data = b"".join([part for record in records for part in (_frame(record), record)])
        written = os.write(self._file, data)
        if written < len(data):
            os.ftruncate(self._file, self.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        self.size += len(data)

    def replace(self, record: bytes) -> None:
        """Put `record` in place of all there is. Raises OSError if that failed; then the file is as it was."""
        spare = self._path.with_suffix(".new")
        file = _open(spare, os.O_APPEND | os.O_TRUNC)
        try:
            with open(file, "wb", closefd=False) as stream:
                stream.write(_frame(record) + record)
            os.fsync(file)
            spare.replace(self._path)
        except OSError:
            os.close(file)
            with contextlib.suppress(OSError):
                spare.unlink()
            raise
        os.close(self._file)
        self._file = file
        self.size = _head.size + len(record)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _open(path: Path, flags: int) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)


def _frame(record: bytes) -> bytes:
    return _head.pack(len(record), zlib.crc32(record))


def _find_record(data: bytes, start: int) -> bytes | None:
    if start + _head.size > len(data):
        return None
    length, check = _head.unpack_from(data, start)
    record = data[start + _head.size : start + _head.size + length]
    return record if 0 < length == len(record) and zlib.crc32(record) == check else None
