from typing import Any

import msgspec
import pytest

from gateway.usage import Usage, find_usage, read_event, read_usage


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (b'{"usage":{"prompt_tokens":3,"completion_tokens":0}}', Usage(3, 0)),
        (b'{"usage":{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":2}}}', (3, None, 2)),
        (b'{"usage":null}', None),
        (b'{"id":"x"}', None),
        (b'{"usage":{"prompt_tokens":"3"}}', None),
        (b'{"usage":{"prompt_tokens":-3}}', None),
        (b'{"usage":{"prompt_tokens":1' + b"0" * 30 + b"}}", None),
        (b'{"usage":{"input_tokens":3,"output_tokens":0,"cache_read_input_tokens":2}}', (5, 0, 2)),
        (b'{"timings":{"prompt_n":3,"predicted_n":2,"cache_n":4}}', (7, 2, 4)),
        (b'{"usage":{"prompt_tokens":1,"completion_tokens":1},"timings":{"prompt_n":3,"predicted_n":2}}', Usage(1, 1)),
        (b'{"timings":{"prompt_n":-1,"predicted_n":2}}', None),
        (b'{"timings":[1.5]}', None),
        (b"[1]", None),
        (b"", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
    ],
)
def test_usage_is_read_or_absent_never_an_error(body: bytes, usage: Any) -> None:
    found = read_usage(body)
    if isinstance(usage, tuple):
        assert found is not None and found.prompt_tokens_details is not None
        assert (found.prompt_tokens, found.completion_tokens, found.prompt_tokens_details.cached_tokens) == usage
    else:
        assert found == usage


@pytest.mark.parametrize(
    ("tail", "usage"),
    [
        (b'xxx"],"usage":{"prompt_tokens":3,"total_tokens":3}}', Usage(3)),
        (b'],"usage" : {"prompt_tokens":3,"completion_tokens":0},"id":"x"}\n', Usage(3, 0)),
        (b'"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":2}}', Usage(2)),
        (b'"usage":null}', None),
        (b'"usage":{"prompt_tokens":"3"}}', None),
        (b'"usage":{"prompt_tok', None),
        (b'"usage"', None),
        (b'{"prompt_tokens":3}', None),
        (b'"usage":{}\xff', None),
        (b'"usage":' + b"[" * 100_000, None),
        (b"", None),
    ],
)
def test_usage_is_found_at_the_end_of_an_answer(tail: bytes, usage: Usage | None) -> None:
    assert find_usage(tail) == usage


def test_an_event_tells_usage_choices_and_error() -> None:
    event = read_event(b'{"choices":[{"delta":{}}],"usage":{"prompt_tokens":1},"error":null,"x":[1]}')
    assert event is not None and event.usage == Usage(1) and event.choices == [msgspec.Raw(b'{"delta":{}}')]
    assert event.error is None
    failed = read_event(b'{"error":{"message":"boom"}}')
    assert failed is not None and failed.error == {"message": "boom"}
    assert read_event(b"[DONE]") is None
    assert read_event(b"\xff") is None
