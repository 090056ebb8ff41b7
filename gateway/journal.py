"""The journal: what a worker leaves behind about its requests, one JSON array a line, written through at once.

A record survives the death of the worker that wrote it, not that of the machine. Each worker instance (the *writer*)
appends to `<writer>.<segment>.jsonl` and holds a lock on the segment it writes; control reads the files into the
store and knows by the lock whether more can come.

Times of day are unix microseconds, durations microseconds, units milli-units. Fields are only ever appended.
"""

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

SEGMENT = 64 * 1024 * 1024  # bytes, after which the next segment begins
_QUIET = 10.0  # seconds between two log lines about failing writes
DISK, BOUND = "disk", "bound"  # why a record is lost

_log = logging.getLogger("tollkeeper.journal")


class Opened(msgspec.Struct, array_like=True, tag="o", gc=False):
    """Who asks what of whom. Written when an upstream is contacted; every `Closed` carries it again, complete."""

    id: str  # the internal id
    started: int
    method: str
    path: str  # normalised, without its query
    peer: str  # the client's address
    request_id: str  # what the client is shown
    generation: int
    route: str = ""  # the route's path as configured; empty: none matched
    consumer: str = ""
    tier: str = ""
    project: str = ""
    credential: str = ""  # the key's id
    model_asked: str = ""
    model: str = ""
    backend: str = ""
    endpoint: str = ""
    load: str = ""  # the engine's process run
    stream: bool = False
    quota_key: str = ""  # the month counter that is charged; empty: none
    period: str = ""
    reserved: int = 0  # milli-units
    prompt_estimate: int = 0  # tokens
    role: str = ""
    price: str = ""  # USD per million tokens, input/output/cached; empty: not known
    charges: tuple[tuple[str, str, int], ...] = ()  # other month counters: their `exchange.Reserved`
    operation: str = ""  # the API's dialect: chat, embeddings, …; empty: no call of a model
    provider: str = ""  # the kind of engine behind the backend
    session: str = ""  # as the client names it
    user: str = ""  # the body's `user`
    tags: str = ""  # sorted, joined by commas
    trace: str = ""  # W3C trace id, 32 hex digits
    span: str = ""  # of this request, 16 hex digits
    parent: str = ""  # the caller's span; empty: the trace begins here


class Progress(msgspec.Struct, array_like=True, tag="p", gc=False):
    """How much of a stream has been delivered to the client's socket so far."""

    id: str
    bytes_out: int
    tokens_out: int


class Closed(msgspec.Struct, array_like=True, tag="c", gc=False):
    """A finished request, whole: it needs no earlier record. A duration of 0 says that the part did not happen."""

    opened: Opened
    finished: int
    status: int  # sent to the client; 0: nothing was
    outcome: str  # the value of an `exchange.Outcome`
    error: int = 0  # number in the catalogue
    cancel: str = ""  # why work was stopped early: client, or how its engine ended (signal 9)
    rule: str = ""  # the limit that refused
    units: int = 0  # milli-units kept
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0  # of tokens_in
    tokens_source: str = "none"  # none, counted, estimated
    upstream_status: int = 0
    retries: int = 0
    bytes_in: int = 0  # of the request's body
    bytes_out: int = 0  # of the answer's body
    queue_us: int = 0  # waiting for a slot
    load_us: int = 0  # waiting for the engine
    connect_us: int = 0
    first_token_us: int = 0  # from the start to the first body byte forwarded
    decode_us: int = 0  # from the first body byte to the last
    overhead_us: int = 0  # spent by the gateway itself
    total_us: int = 0
    cost_nano: int | None = None  # nano-USD; None: no price is known
    cache: str = ""  # what a cache did: hit, miss, bypass or coalesced
    charges: tuple[tuple[str, str, int], ...] = ()  # as in `opened`, with the milli-units kept
    finish: str = ""  # why the model stopped, in the words of OpenAI's `finish_reason`


class Lost(msgspec.Struct, array_like=True, tag="l", gc=False):
    """So many records could not be written before this one: the journal does not tell all that was spent."""

    records: int


class Content(msgspec.Struct, array_like=True, tag="t", gc=False):
    """What was asked and answered, redacted and cut, where the route keeps it. Written before `Closed`."""

    id: str
    input: str
    output: str


Record = Opened | Progress | Closed | Lost | Content


class Journal:
    """Appends records to the segments of one writer. `clock` is monotonic seconds.

    Raises OSError when the first segment cannot be made; `write` never raises.
    """

    def __init__(
        self, directory: Path, writer: str, clock: Callable[[], float] = time.monotonic, segment_bytes: int = SEGMENT
    ) -> None:
        self.is_full = False  # whoever looks after the disk sets it: records are dropped
        self.dropped = dict.fromkeys((DISK, BOUND), 0)  # records that could or should not be written
        self.directory = directory
        self._writer = writer
        self._clock = clock
        self._limit = segment_bytes
        self._encode = msgspec.json.Encoder().encode
        self._untold = 0
        self._torn = False
        self._complained = -_QUIET
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._segment = 0
        self._size = 0
        self._file = self._create()

    def write(self, record: Record) -> None:
        """Append `record` by one write(2). Where that fails the record is dropped and counted."""
        if self.is_full:
            self._drop(OSError("as much as may waits for the store"), BOUND)
            return
        try:
            line = self._encode(record) + b"\n"
            if self._untold:
                line = self._explain() + line
            written = os.write(self._file, line)
        except (OSError, ValueError) as error:
            self._drop(error)
            return
        self._size += written
        if written != len(line):
            self._torn = True
            self._drop(OSError(f"only {written} of {len(line)} bytes fitted"))
            return
        self._untold = 0
        self._torn = False
        if self._size >= self._limit:
            self._roll()

    def close(self) -> None:
        """Release the file: the reader takes it that this writer is done."""
        os.close(self._file)

    def _explain(self) -> bytes:
        torn = b"\n" if self._torn else b""
        return torn + self._encode(Lost(self._untold)) + b"\n"

    def _drop(self, error: Exception, reason: str = DISK) -> None:
        self.dropped[reason] += 1
        self._untold += 1
        now = self._clock()
        if now - self._complained >= _QUIET:
            self._complained = now
            count = sum(self.dropped.values())
            _log.error("the journal cannot be written (%d records dropped so far): %s", count, error)

    def _roll(self) -> None:
        """Begin the next segment; on failure go on with this one. The old lock is held until the new one is seen."""
        self._size = 0
        self._segment += 1
        try:
            file = self._create()
        except OSError as error:
            self._segment -= 1
            _log.error("the journal's next segment cannot be made: %s", error)
            return
        os.close(self._file)
        self._file = file

    def _create(self) -> int:
        """Make the current segment. It gets its name only once it is locked: no reader ever sees it without."""
        path = segment_path(self.directory, self._writer, self._segment)
        unnamed = path.with_suffix(".new")
        file = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            unnamed.rename(path)
        except OSError:
            os.close(file)
            with contextlib.suppress(OSError):
                unnamed.unlink()
            raise
        return file


def segment_path(directory: Path, writer: str, segment: int) -> Path:
    """Where the n-th segment of a writer's journal lies."""
    return directory / f"{writer}.{segment}.jsonl"


def is_locked(path: Path) -> bool:
    """Does a living writer hold this segment? False where the file is gone."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
