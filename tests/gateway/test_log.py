import logging
import sys

import pytest

from gateway.journal import Progress
from gateway.log import LineFormatter, redact, request_line, set_up
from gateway.settings.key import key_id, make_demo_key, make_key
from tests.gateway.control.records import closed, opened


def line(message: str, *arguments: object) -> str:
    record = logging.LogRecord("tollkeeper", logging.INFO, __file__, 1, message, arguments, None)
    record.created = 1_795_262_400.25
    return LineFormatter("worker 1").format(record)


def test_a_line_is_made_of_pairs() -> None:
    assert line("ready") == 'time=2026-11-21T12:00:00.250Z level=info process="worker 1" message=ready'
    assert line("took %d s", 3).endswith('message="took 3 s"')


@pytest.mark.parametrize("character", ["\n", "\r", "\x1b", "\x00", "\x7f", "\x85", "\u2028", "\u202e", "\udcff"])
def test_s58_control_characters_are_escaped(character: str) -> None:
    text = line(f"a{character}b")
    assert character not in text
    assert text.isprintable()
    assert text.encode().decode("unicode_escape").endswith(f'"a{character}b"')


def test_quotes_and_backslashes_cannot_forge_a_pair() -> None:
    assert line('x" level=error y="').endswith(r'message="x\" level=error y=\""')
    assert line("back\\slash").endswith(r'message="back\\slash"')


def test_a_traceback_stays_on_the_line() -> None:
    try:
        raise ValueError(f"bad key {make_key()}")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    text = LineFormatter("control").format(record)
    assert "\n" not in text
    assert "ValueError: bad key tk_" in text
    assert len(text.split("bad key tk_")[1]) < 20


def test_keys_are_taken_out_and_their_ids_stay() -> None:
    key = make_key()
    assert redact(f"with {key}.") == f"with tk_{key_id(key)}_…."
    assert redact(make_demo_key("free")) == "tk_demo_…"
    for damaged in (key[:-1], key[:40], key.replace(key_id(key), "short"), "tk_" + key.split("_")[2]):
        assert key.split("_")[2][:8] not in redact(damaged)


@pytest.mark.parametrize("text", ["Authorization: Bearer abc.def", "bearer  abc", 'h="BEARER abc"', "Basic abc=="])
def test_bearer_tokens_are_taken_out(text: str) -> None:
    assert "abc" not in redact(text)


def test_a_request_is_one_line() -> None:
    record = closed(opened("1f", model="qwen"), total_us=12_345, first_token_us=900)
    assert request_line(record) == (
        "time=2026-11-21T12:00:00.005Z request=1f peer=127.0.0.1 consumer=acme tier=pro method=POST "
        "path=/v1/chat/completions model=qwen backend=echo status=200 outcome=complete tokens=7+11 first_ms=0.9 "
        "total_ms=12.3"
    )
    assert "\n" not in request_line(closed(opened("1", model="a\nb")))


def test_set_up_writes_whole_lines_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        set_up("worker")
        logging.getLogger("tollkeeper.x").warning("seen %s", Progress("1", 2, 3))
    finally:
        root.handlers[:], root.level = before
        logging.captureWarnings(False)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("message=\"seen Progress(id='1', bytes_out=2, tokens_out=3)\"\n")
