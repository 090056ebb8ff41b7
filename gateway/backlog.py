"""How much of the journals waits for the store, and what happens when it is too much.

While the store is away the journals grow. Once the folder holds `bound` bytes, new records are lost, and counted,
until it holds a tenth less: requests are answered all the same, and what waits is kept in its order.
"""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from gateway.journal import SEGMENT, Journal
from gateway.metrics import Board

_EVERY = 1.0  # seconds between two looks
_LOW = 0.9  # share of the bound below which records are taken again
_CURRENT = 8  # part of the bound that the segments which are being written may take
_SMALLEST = 4096  # bytes of a segment


def backlog_bytes(folder: str | Path) -> int:
    """What the journals in `folder` take of the disk. Files that are read go at the end of their segment."""
    total = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # stored just now
                total += entry.stat().st_size
    return total


def plan_segment(bound: int, workers: int) -> int:
    """Bytes of a segment. What is stored goes only at the end of its segment: large ones would fill a small bound.

    Then records would be lost though the store is there, and as nothing is written, no segment would ever end.
    """
    return min(SEGMENT, max(_SMALLEST, bound // (_CURRENT * workers))) if bound else SEGMENT


class Backlog:
    """Looks every second, for one worker's journal, and counts on its board what is lost. An item of the sweeper."""

    def __init__(self, journal: Journal, bound: int, board: Board, clock: Callable[[], float] = time.monotonic) -> None:
        self._journal = journal
        self._bound = bound  # bytes; 0: none
        self._board = board
        self._clock = clock
        self._counted: dict[str, int] = {}
        self.deadline = clock() + _EVERY

    def expire(self) -> None:
        self.deadline = self._clock() + _EVERY
        if self._bound:
            share = _LOW if self._journal.is_full else 1.0
            self._journal.is_full = backlog_bytes(self._journal.directory) >= self._bound * share
        for reason, records in self._journal.dropped.items():
            if more := records - self._counted.get(reason, 0):
                self._board.add(self._board.index("trace_dropped_total", reason), more)
                self._counted[reason] = records
