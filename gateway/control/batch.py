"""What a piece of journal means for the store. Pure: lines in, rows and changes out."""

from typing import Any

import msgspec

from gateway.exchange import Outcome
from gateway.journal import Closed, Content, Opened, Progress, Record
from gateway.price import parse_rates, price_tokens

Row = tuple[Any, ...]
Usage = dict[tuple[str, str], int]  # (quota key, period) -> milli-units

_decoder = msgspec.json.Decoder(Record)
_line_decoder = msgspec.json.Decoder(Opened)
_encoder = msgspec.json.Encoder()
_WORKER_LOST = 1903
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
    """The changes that whole lines of `writer`'s journal bring, however the journal was cut into pieces."""
    batch = Batch()
    opened: dict[str, Opened] = {}
    progress: dict[str, Progress] = {}
    for record in _decode(data.replace(_NUL, _NO_CHARACTER), batch):
        if isinstance(record, Closed):
            _finish(batch, record)
            if opened.pop(record.opened.id, None) is None:
                batch.closed.append((record.opened.id,))
            progress.pop(record.opened.id, None)
        elif isinstance(record, Opened):
            opened[record.id] = record
        elif isinstance(record, Progress):
            progress[record.id] = record
        elif isinstance(record, Content):
            batch.contents.append((record.id, record.input, record.output))
        else:
            batch.lost += record.records
    for request in opened.values():
        seen = progress.pop(request.id, None)
        line = _encoder.encode(request).decode()
        batch.opened.append((request.id, writer, line, seen.bytes_out if seen else 0, seen.tokens_out if seen else 0))
    batch.progress.extend((seen.bytes_out, seen.tokens_out, seen.id) for seen in progress.values())
    return batch


def plan_lost(left_open: list[Row], finished: int) -> Batch:
    """Close what a dead worker left open: rows of `open_requests`, and when its journal ended.

    Units are kept; tokens are the prompt's and what the last progress record says was delivered.
    """
    batch = Batch()
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
        _finish(batch, closed)
        batch.closed.append((id,))
    return batch


def _settle_lost(closed: Closed) -> None:
    """What the tokens of a request that a dead worker left open cost, and what stays charged for them."""
    opened, rates = closed.opened, parse_rates(closed.opened.price)
    if rates is not None:
        closed.cost_nano = price_tokens(rates, closed.tokens_in, closed.tokens_out)
    used = {"tokens": 1000 * (closed.tokens_in + closed.tokens_out), "money": closed.cost_nano or 0}
    closed.charges = tuple([(key, unit, used.get(unit, reserved)) for key, unit, reserved in opened.charges])


def _decode(data: bytes, batch: Batch) -> list[Record]:
    try:
        return _decoder.decode_lines(data)
    except msgspec.DecodeError:
        return _decode_one_by_one(data, batch)


def _decode_one_by_one(data: bytes, batch: Batch) -> list[Record]:
    """A line that cannot be read is what a failing disk left of a record."""
    records = []
    for line in filter(None, data.split(b"\n")):
        try:
            records.append(_decoder.decode(line))
        except msgspec.DecodeError:
            batch.lost += 1
            batch.unreadable += 1
    return records


def _finish(batch: Batch, closed: Closed) -> None:
    opened = closed.opened
    batch.finished.append(closed)
    if opened.quota_key and closed.units:
        month = (opened.quota_key, opened.period)
        batch.usage[month] = batch.usage.get(month, 0) + closed.units
    for key, _, units in closed.charges:
        if units:
            batch.usage[key, opened.period] = batch.usage.get((key, opened.period), 0) + units
