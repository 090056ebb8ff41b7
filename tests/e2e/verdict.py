"""What must hold of a request to a failing model server: for its client, and in the trace."""

import json
from typing import Any

from tests.e2e.wire import CHAT, Answer, ask, bearer, row_of
from tests.faults.origin import Origin
from tests.harness import Gateway

EVENT = b'data: {"id":"c1"'
MESSAGES = [{"role": "user", "content": "x" * 29}]
PROMPT = (len(json.dumps(MESSAGES)) + 3) // 4  # tokens, as the gateway estimates them
NO_TOKENS = ("none", 0, 0)


def ask_model(gateway: Gateway, fault: str = "ok", *, model: str = "origin", stream: bool = False) -> Answer:
    document = {"model": model, "stream": stream, "messages": MESSAGES}
    body = json.dumps(document).encode()
    return ask(gateway, "POST", CHAT, bearer(gateway.key("monthly"), **{"X-Fault": fault}), body)


def check_failed(answer: Answer, status: int, number: int) -> None:
    assert (answer.status, answer.error, answer.is_cut) == (status, number, False)


def check_row(gateway: Gateway, answer: Answer, outcome: str, units: int, tokens: tuple[str, int, int]) -> Any:
    row = row_of(gateway, answer.request_id)
    assert (row["outcome"], row["units"]) == (outcome, units)
    assert (row["tokens_source"], row["tokens_in"], row["tokens_out"]) == tokens
    return row


def check_broken(answer: Answer, number: int) -> None:
    """What had come stands; then one error in the stream, no end mark, and no clean end."""
    assert answer.status == 200
    assert answer.is_cut
    assert b"[DONE]" not in answer.body
    last = answer.body.rstrip(b"\n").rpartition(b"\n\n")[2]
    error = json.loads(last.removeprefix(b"data: "))
    assert error["error"]["number"] == number
    assert error["meta"]["request_id"] == answer.request_id


def attempts(origin: Origin, answer: Answer) -> int:
    return sum(f"x-request-id: {answer.request_id}\r\n" in entry.head for entry in origin.entries())
