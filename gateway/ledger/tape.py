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
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND, 0o600)
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
        spare = self.make_spare()
        try:
            spare.append([record])
            self.adopt(spare)
        except OSError:
            spare.discard()
            raise

    def make_spare(self) -> "Tape":
        """An empty tape that may take this one's place."""
        spare = Tape(self._path.with_suffix(".new"))
        os.ftruncate(spare._file, 0)
        return spare

    def adopt(self, spare: "Tape") -> None:
        """Put all that is on `spare` in place of all there is, once the disk has it. Raises OSError if that failed."""
        os.fsync(spare._file)
        spare._path.replace(self._path)
        os.close(self._file)
        self._file, self.size = spare._file, spare.size

    def discard(self) -> None:
        """Close the file and remove it."""
        os.close(self._file)
        with contextlib.suppress(OSError):
            self._path.unlink()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _frame(record: bytes) -> bytes:
    return _head.pack(len(record), zlib.crc32(record))


def _find_record(data: bytes, start: int) -> bytes | None:
    if start + _head.size > len(data):
        return None
    length, check = _head.unpack_from(data, start)
    record = data[start + _head.size : start + _head.size + length]
    return record if 0 < length == len(record) and zlib.crc32(record) == check else None
