"""What a piece of journal means for the store. Pure: lines in, rows and changes out."""

from typing import Any

import msgspec

from gateway.exchange import Outcome
from gateway.journal import Closed, Content, Lost, Opened, Progress, Record
from gateway.price import parse_rates, price_tokens

Row = tuple[Any, ...]
Usage = dict[tuple[str, str], int]  # (quota key, period) -> milli-units

_decoder = msgspec.json.Decoder(Record)
_line_decoder = msgspec.json.Decoder(Opened)
_encoder = msgspec.json.Encoder()
_WORKER_LOST = 1903
_OPENED = b'["o","'  # how the line of an Opened begins; its id comes next
_ID = len(_OPENED)
_NUL, _NO_CHARACTER = rb"\u0000", rb"\ufffd"  # PostgreSQL's text holds any character but this one


class Batch(msgspec.Struct):
    """The changes that some lines of one writer's journal bring."""

    finished: list[Closed] = []
    opened: list[Row] = []  # of `open_requests`: still open at the end
    progress: list[Row] = []  # (bytes out, tokens out, id) of requests opened by an earlier batch
    closed: list[Row] = []  # (id,) of requests opened by an earlier batch
    usage: Usage = {}
    lost: int = 0  # records that are missing or cannot be read ...
    unreadable: int = 0  # ... of these: nobody else has counted them
    contents: list[Row] = []  # (id, input, output)


def plan(data: bytes, writer: str) -> Batch:
    """The changes that whole lines of `writer`'s journal bring, however the journal was cut into pieces.

    A line that opens a request and cannot be read is missed only where the line that closes it is in another piece.
    """
    batch = Batch()
    if b"\\" in data:  # which is quicker looked for than the whole
        data = data.replace(_NUL, _NO_CHARACTER)
    opened, others = _set_apart(data)
    records = _decode(others, batch)
    finished = [record for record in records if isinstance(record, Closed)]
    progress = {record.id: record for record in records if isinstance(record, Progress)}
    for closed in finished:
        id = closed.opened.id
        if opened.pop(id.encode(), None) is None:
            batch.closed.append((id,))
        if progress:
            progress.pop(id, None)
    _finish(batch, finished)
    if len(finished) < len(records):
        batch.contents = [(record.id, record.input, record.output) for record in records if isinstance(record, Content)]
        batch.lost += sum(record.records for record in records if isinstance(record, Lost))
    for request in _decode(list(opened.values()), batch):
        assert isinstance(request, Opened)
        seen = progress.pop(request.id, None)
        line = _encoder.encode(request).decode()
        batch.opened.append((request.id, writer, line, seen.bytes_out if seen else 0, seen.tokens_out if seen else 0))
    batch.progress.extend((seen.bytes_out, seen.tokens_out, seen.id) for seen in progress.values())
    return batch


def plan_lost(left_open: list[Row], finished: int) -> Batch:
    """Close what a dead worker left open: rows of `open_requests`, and when its journal ended.

    Units are kept; tokens are the prompt's and what the last progress record says was delivered.
    """
    batch, lost = Batch(), []
    for id, _, line, bytes_out, tokens_out in left_open:
        opened = _line_decoder.decode(line)
        closed = Closed(
            opened,
            finished,
            status=0,
            outcome=Outcome.WORKER_LOST.value,
            error=_WORKER_LOST,
            units=opened.reserved,
            tokens_in=opened.prompt_estimate,
            tokens_out=tokens_out,
            tokens_source="estimated",
            bytes_out=bytes_out,
            total_us=max(0, finished - opened.started),
        )
        _settle_lost(closed)
        lost.append(closed)
        batch.closed.append((id,))
    _finish(batch, lost)
    return batch


def _settle_lost(closed: Closed) -> None:
    """What the tokens of a request that a dead worker left open cost, and what stays charged for them."""
    opened, rates = closed.opened, parse_rates(closed.opened.price)
    if rates is not None:
        closed.cost_nano = price_tokens(rates, closed.tokens_in, closed.tokens_out)
    used = {"tokens": 1000 * (closed.tokens_in + closed.tokens_out), "money": closed.cost_nano or 0}
    closed.charges = tuple([(key, unit, used.get(unit, reserved)) for key, unit, reserved in opened.charges])


def _set_apart(data: bytes) -> tuple[dict[bytes, bytes], list[bytes]]:
    """The lines that open a request, by its id, and the others. Most are closed soon, and say nothing more then."""
    opened: dict[bytes, bytes] = {}
    others = []
    for line in data.split(b"\n"):
        if line.startswith(_OPENED) and (end := line.find(b'"', _ID)) > 0:
            opened[line[_ID:end]] = line
        elif line:
            others.append(line)
    return opened, others


def _decode(lines: list[bytes], batch: Batch) -> list[Record]:
    try:
        return _decoder.decode_lines(b"\n".join(lines))
    except msgspec.DecodeError:
        return _decode_one_by_one(lines, batch)


def _decode_one_by_one(lines: list[bytes], batch: Batch) -> list[Record]:
    """A line that cannot be read is what a failing disk left of a record."""
    records = []
    for line in lines:
        try:
            records.append(_decoder.decode(line))
        except msgspec.DecodeError:
            batch.lost += 1
            batch.unreadable += 1
    return records


def _finish(batch: Batch, finished: list[Closed]) -> None:
    batch.finished, usage = finished, batch.usage
    for closed in finished:
        opened = closed.opened
        if closed.units and opened.quota_key:
            month = (opened.quota_key, opened.period)
            usage[month] = usage.get(month, 0) + closed.units
        for key, _, units in closed.charges:
            if units:
                usage[key, opened.period] = usage.get((key, opened.period), 0) + units
