"""What the gateway has of its machine: memory of its processes, room on the disk, time until certificates end."""

import logging
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from gateway.exposition import Readings
from gateway.settings.schema import Config

_PAGE = os.sysconf("SC_PAGE_SIZE")  # bytes

_log = logging.getLogger("tollkeeper")


def measure_memory(processes: Iterable[tuple[str, int]]) -> Readings:
    """The gauge `process_memory_bytes` of (role, pid) pairs; nothing where there is no /proc (macOS)."""
    for role, pid in processes:
        try:
            resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, ValueError, IndexError):  # it has just ended
            continue
        yield (role,), float(resident * _PAGE)


class Disk:
    """The file system of `directory`."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def size(self) -> Readings:
        state = os.statvfs(self._directory)
        return [((), float(state.f_blocks * state.f_frsize))]

    def free(self) -> Readings:
        state = os.statvfs(self._directory)
        return [((), float(state.f_bavail * state.f_frsize))]


class Certificates:
    """When listeners' certificates end. A file is read again when it changes, as the workers do."""

    def __init__(self) -> None:
        self._ends: dict[str, tuple[int, float]] = {}  # by file: its modification, and unix seconds

    def measure(self, config: Config, now: float) -> Readings:
        """The gauge `certificate_expiry_seconds`: the first to end of each file's chain. `now` is unix seconds."""
        files = {certificate.cert for listener in config.listen.proxy for certificate in listener.certificates}
        return [((file,), end - now) for file in sorted(files) if (end := self._end(file)) is not None]

    def _end(self, file: str) -> float | None:
        """A file that cannot be read now ends when it did before: that is what the workers go on with."""
        known = self._ends.get(file)
        try:
            changed = os.stat(file).st_mtime_ns
            if known is None or known[0] != changed:
                known = self._ends[file] = changed, read_end(Path(file).read_bytes()).timestamp()
        except (OSError, ValueError) as error:
            _log.warning("the end of certificate %s is unknown: %s", file, error)
        return known[1] if known is not None else None


def read_end(chain: bytes) -> datetime:
    """The first end of a PEM chain's certificates. Raises ValueError."""
    from cryptography import x509  # 14 MB that a supervisor without certificates saves

    return min(certificate.not_valid_after_utc for certificate in x509.load_pem_x509_certificates(chain))
