"""The state directory: what lies where, and who may use it.

lock               held by the supervisor as long as it lives (flock)
tollkeeper.sock    commands to the running gateway, mode 0600
control.sock       the API behind the proxy, for workers, mode 0600
admin.key          of the admin address, where the file names none, mode 0600
journal/           one file per worker, until its records are in the store
store.sqlite       keys, consumers, traces
ledger.log, ledger.snapshot
instance           the name of this replica among those that share a Redis, for ever
engines.json       processes of engines, to end leftovers of a crash
digests.json       digests of models, so that none is read again that did not change
demo-keys.json     the keys of `demo: true`, mode 0600
logs/              what the engines say
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
import tempfile
from pathlib import Path

_LONGEST_SOCKET_PATH = 100  # bytes; the kernel's limit is 108 on Linux and 104 on macOS


class StateBusy(OSError):
    """Another gateway lives in the state directory."""


def claim(directory: str) -> int:
    """Make the directory if need be, lock it, and return the descriptor that holds the lock as long as it is open.

    Raises StateBusy when another process holds it, and OSError with a sentence when the directory
    cannot be made or written.
    """
    try:
        for folder in (directory, journal_folder(directory), logs_folder(directory)):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OSError(f"the state directory {directory} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "?"
        os.close(lock)
        raise StateBusy(f"another gateway (process {holder}) uses the state directory {directory}") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def is_claimed(directory: str) -> bool:
    """Whether a gateway runs in this directory now."""
    try:
        lock = os.open(os.path.join(directory, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def write_private(path: str, text: str) -> None:
    """Put `text` at `path` whole or not at all, readable by nobody else."""
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=".new-")  # mkstemp makes it 0600
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def read_instance(directory: str) -> str:
    """The name of this replica, made when it is first asked for."""
    path = os.path.join(directory, "instance")
    with contextlib.suppress(FileNotFoundError), open(path, encoding="ascii") as file:
        return file.read().strip()
    name = secrets.token_hex(8)
    write_private(path, f"{name}\n")
    return name


def journal_folder(directory: str) -> str:
    return os.path.join(directory, "journal")


def logs_folder(directory: str) -> str:
    return os.path.join(directory, "logs")


def store_file(directory: str) -> str:
    return os.path.join(directory, "store.sqlite")


def store_location(directory: str, database: str) -> str:
    """Where the store is: a file, or the URL of a database."""
    return database if is_url(database) else store_file(directory)


def is_url(database: str) -> bool:
    return "://" in database


def engines_file(directory: str) -> str:
    return os.path.join(directory, "engines.json")


def digests_file(directory: str) -> str:
    return os.path.join(directory, "digests.json")


def demo_keys_file(directory: str) -> str:
    return os.path.join(directory, "demo-keys.json")


def command_socket(directory: str) -> str:
    """Where the supervisor listens for commands."""
    return _socket(directory, "tollkeeper")


def control_socket(directory: str) -> str:
    """Where control answers its API to workers."""
    return _socket(directory, "control")


def audit_head_file(directory: str) -> str:
    return os.path.join(directory, "audit.head")


def admin_key_file(directory: str) -> str:
    return os.path.join(directory, "admin.key")


def _socket(directory: str, name: str) -> str:
    """In the directory, or in the temporary folder where that path is too long."""
    path = os.path.join(os.path.abspath(directory), f"{name}.sock")
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(os.path.realpath(directory))).hexdigest()[:16]
    return str(Path(tempfile.gettempdir(), f"{name}-{os.getuid()}-{digest}.sock"))
