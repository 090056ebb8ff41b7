"""What is counted of that which never became a request."""

from gateway.errors import GatewayError
from gateway.metrics import Board, Reader, make_board_file
from gateway.relay.registry import Registry
from gateway.relay.tally import Tally


def test_a_refused_head_is_counted_by_its_code() -> None:
    file = make_board_file()
    board, reader = Board(file), Reader(file)
    tally = Tally(board, Registry({}))
    for number in (1201, 1201, 1205):
        tally.refuse(GatewayError(number))
    series = reader.read()
    reader.close()
    assert series["rejected_total", "", "malformed_request"] == [2.0]
    assert series["rejected_total", "", "invalid_path"] == [1.0]
