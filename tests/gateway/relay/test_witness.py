"""The records and the figures of one request, in a time that the test makes."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.errors import GatewayError
from gateway.exchange import Credential, Exchange, Outcome, Upstream
from gateway.http.head import read_head
from gateway.journal import Closed, Journal, Opened, Progress
from gateway.metrics import Board, Reader, Series, make_board_file
from gateway.price import compile_price
from gateway.relay.dialect.kind import CHAT
from gateway.relay.registry import Registry
from gateway.relay.tally import Tally
from gateway.relay.trace import Trace
from gateway.relay.witness import Witness
from gateway.settings.schema import Model, Price
from gateway.wire import parse_object


class Desk:
    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.folder = folder
        self.journal = Journal(folder, "w")
        file = make_board_file()
        board, self._reader = Board(file), Reader(file)
        registry = Registry({"m-*": Model(backend="up")})
        self.registry = registry
        self.witness = Witness(self.journal, Tally(board, registry), lambda: self.now)

    def records(self) -> list[Opened | Progress | Closed]:
        decoder = msgspec.json.Decoder(Opened | Progress | Closed)
        return [decoder.decode(line) for line in (self.folder / "w.0.jsonl").read_bytes().splitlines()]

    def board(self) -> Series:
        return self._reader.read()

    def close(self) -> None:
        self.journal.close()
        self._reader.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def request(desk: Desk) -> Exchange:
    """At second 1000: it waits 1 s for a slot, 0.5 s for a load, 0.25 s to connect, and leaves at 1002."""
    head = read_head(b"POST", b"/v1/x", "1.1", [(b"host", b"a")])
    made = Exchange("rid", head, "POST", "/v1/x", 1000.0)
    made.route, made.peer, made.generation, made.stream = "/v1/*", "10.0.0.1", 3, True
    made.credential = Credential("k", "acme", "free", "rockets")
    made.tier, made.units, made.cost, made.month = "free", 1500, 1500, ("month:acme", "2026-11")
    made.body = b'{"model":"m-1","prompt":"12345678"}'
    made.fields = parse_object(made.body, 8)
    made.model_asked, made.model, made.entry = "nick", "m-1", desk.registry.find("m-1")
    made.queued, made.loading, made.connect = 1.0, 0.5, 0.25
    made.upstream = Upstream("up")
    made.upstream.endpoint, made.upstream.load, made.upstream.attempts = "http://x", "load-1", 1
    made.forwarded = desk.now = 1002.0
    return made


def test_the_three_records_of_a_request(desk: Desk) -> None:
    made = request(desk)
    desk.witness.opened(made)
    made.status, made.first_byte, made.sent = 200, 1003.0, 10
    desk.now = 1004.0
    desk.witness.progressed(made, 2)
    made.upstream.status, made.upstream.attempts = 200, 3  # type: ignore[union-attr]
    made.upstream.endpoint = "http://y"  # type: ignore[union-attr]
    made.outcome, made.sent, made.answered = Outcome.COMPLETE, 30, 1006.0
    made.tokens.prompt, made.tokens.completion, made.tokens.cached, made.tokens.source = 5, 7, 1, "counted"
    desk.now = 1006.5
    desk.witness.closed(made)
    opened, progress, closed = desk.records()
    assert isinstance(opened, Opened) and isinstance(closed, Closed)
    assert progress == Progress("rid", 10, 2)
    assert (opened.id, opened.consumer, opened.project, opened.credential) == ("rid", "acme", "rockets", "k")
    assert (opened.quota_key, opened.period, opened.reserved) == ("month:acme", "2026-11", 1500)
    assert (opened.endpoint, opened.prompt_estimate) == ("http://x", 3)
    assert closed.opened == msgspec.structs.replace(opened, endpoint="http://y"), "a retry went elsewhere"
    assert (closed.status, closed.outcome, closed.units, closed.retries, closed.upstream_status) == (
        200, "complete", 1500, 2, 200,
    )  # fmt: skip
    assert (closed.tokens_in, closed.tokens_out, closed.tokens_cached, closed.tokens_source) == (5, 7, 1, "counted")
    assert (closed.bytes_in, closed.bytes_out) == (35, 30)
    assert (closed.queue_us, closed.load_us, closed.connect_us) == (1_000_000, 500_000, 250_000)
    assert (closed.first_token_us, closed.decode_us, closed.total_us) == (3_000_000, 3_000_000, 6_500_000)
    assert closed.overhead_us == 750_000, "6.5 s, less 1.75 s of waiting and 4 s at the upstream"
    assert closed.finished - closed.opened.started == 6_500_000


def test_a_request_that_never_left(desk: Desk) -> None:
    head = read_head(b"GET", b"/x", "1.1", [(b"host", b"a")])
    made = Exchange("rid", head, "GET", "/x", 1000.0)
    made.status, made.outcome, made.error, made.rule = 429, Outcome.REFUSED, GatewayError(1501), "tier:free:rate"
    desk.now = 1000.001
    desk.witness.closed(made)
    (closed,) = desk.records()
    assert isinstance(closed, Closed)
    assert (closed.status, closed.outcome, closed.error, closed.rule, closed.units) == (
        429, "refused", 1501, "tier:free:rate", 0,
    )  # fmt: skip
    assert (closed.first_token_us, closed.decode_us, closed.connect_us) == (0, 0, 0)
    assert closed.overhead_us == closed.total_us == pytest.approx(1000, abs=1)
    assert (closed.opened.consumer, closed.opened.backend, closed.cancel) == ("", "", "")


@pytest.mark.parametrize("outcome", Outcome)
def test_units_that_went_back_are_not_in_the_row(desk: Desk, outcome: Outcome) -> None:
    made = request(desk)
    made.outcome = outcome
    desk.witness.closed(made)
    (closed,) = desk.records()
    assert isinstance(closed, Closed)
    assert closed.units == (1500 if outcome.keeps_units else 0)
    assert closed.cancel == ("client" if outcome in (Outcome.LEFT, Outcome.LEFT_WAITING) else "")


@pytest.mark.parametrize("outcome", Outcome)
def test_money_and_what_stays_charged_of_it(desk: Desk, outcome: Outcome) -> None:
    made = request(desk)
    assert made.entry is not None
    made.entry = msgspec.structs.replace(made.entry, price=compile_price(Price(input=1.5, output=2, cached=0.001)))
    made.charges = (("t", "tokens", 9_000_000), ("m", "money", 5), ("u", "units", 300))
    made.tokens.prompt, made.tokens.completion, made.tokens.cached = 5, 7, 1
    made.outcome, made.cache = outcome, "miss"
    desk.witness.closed(made)
    (closed,) = desk.records()
    assert isinstance(closed, Closed)
    assert (closed.cost_nano, closed.cache, closed.opened.price) == (20_001, "miss", "1.5/2/0.001")
    kept = (12_000, 20_001, 300) if outcome.keeps_units else (0, 0, 0)
    assert [units for _, _, units in closed.charges] == [*kept]


def test_without_a_price_there_is_no_money(desk: Desk) -> None:
    made = request(desk)
    made.outcome, made.status = Outcome.COMPLETE, 200
    made.tokens.prompt, made.tokens.source = 5, "counted"
    desk.witness.opened(made)
    desk.witness.closed(made)
    closed = desk.records()[-1]
    assert isinstance(closed, Closed) and closed.cost_nano is None
    assert desk.board()["unpriced_total", made.model_label] == [1.0]


def test_numbers_of_a_request(desk: Desk) -> None:
    made = request(desk)
    desk.witness.opened(made)
    assert desk.board()["inflight", "up"] == [1.0]
    made.status, made.outcome, made.first_byte = 200, Outcome.COMPLETE, 1003.0
    made.tokens.prompt, made.tokens.completion, made.tokens.source = 5, 7, "counted"
    desk.witness.closed(made)
    board = desk.board()
    assert board["inflight", "up"] == [0.0]
    assert board["requests_total", "/v1/*", "m-*", "free", "2xx"] == [1.0], "the label is the pattern"
    assert board["tokens_total", "m-*", "free", "prompt"] == [5.0]
    assert board["tokens_total", "m-*", "free", "completion"] == [7.0]
    assert sum(board["upstream_seconds", "up"][:-1]) == 1.0
    assert board["first_token_seconds", "m-*"][-1] == pytest.approx(3.0)


def test_failures_are_counted_where_they_belong(desk: Desk) -> None:
    for number, outcome in ((1702, Outcome.UPSTREAM_FAILED), (1805, Outcome.UPSTREAM_FAILED)):
        made = request(desk)
        desk.witness.opened(made)
        made.status, made.outcome, made.error = 502, outcome, GatewayError(number)
        desk.witness.closed(made)
    head = read_head(b"GET", b"/x", "1.1", [(b"host", b"a")])
    refused = Exchange("rid", head, "GET", "/x", 1000.0)
    refused.status, refused.outcome, refused.error, refused.rule = 429, Outcome.REFUSED, GatewayError(1501), "r"
    desk.witness.closed(refused)
    board = desk.board()
    assert board["upstream_errors_total", "up", "upstream_reset"] == [1.0]
    assert board["upstream_errors_total", "up", "first_byte_timeout"] == [1.0]
    assert board["rejected_total", "r", "rate_limit_exceeded"] == [1.0]
    assert board["inflight", "up"] == [0.0]


def test_made_up_names_make_no_series(desk: Desk) -> None:
    for number in range(300):
        made = request(desk)
        made.id = str(number)
        made.model_asked = made.model = f"m-{number}"
        made.entry = desk.registry.find(made.model)
        made.outcome, made.status = Outcome.REFUSED, 400
        desk.witness.closed(made)
    assert {series[2] for series in desk.board() if series[0] == "requests_total"} == {"m-*"}


def test_what_the_caller_says_of_it(desk: Desk) -> None:
    made = request(desk)
    fields = [(b"x-session-id", b"s-1"), (b"x-tollkeeper-tags", b"b, a"), (b"host", b"a")]
    made.head = read_head(b"POST", b"/v1/x", "1.1", fields)
    made.fields, made.dialect = parse_object(b'{"model": "m", "user": "jo"}', 10), CHAT
    made.trace = Trace("1" * 32, "2" * 16, "3" * 16)
    made.outcome, made.finish = Outcome.COMPLETE, "length"
    desk.witness.opened(made)
    desk.witness.closed(made)
    opened, closed = desk.records()
    assert isinstance(opened, Opened) and isinstance(closed, Closed)
    assert (opened.operation, opened.session, opened.user, opened.tags) == ("chat", "s-1", "jo", "a,b")
    assert (opened.trace, opened.span, opened.parent) == ("1" * 32, "2" * 16, "3" * 16)
    assert closed.opened == opened and closed.finish == "length"


def test_the_provider_is_who_was_asked_last(desk: Desk) -> None:
    made = request(desk)
    made.upstream = Upstream("up", "vllm")
    desk.witness.opened(made)
    made.upstream = Upstream("other", "openai")
    desk.witness.opened(made)
    made.outcome = Outcome.COMPLETE
    desk.witness.closed(made)
    closed = desk.records()[-1]
    assert isinstance(closed, Closed) and (closed.opened.backend, closed.opened.provider) == ("other", "openai")
