import re
import time

import pytest

from gateway.redaction import PRESETS, compile_redaction
from gateway.settings.key import key_id, make_key

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhY21lIn0.c2lnbmF0dXJl-_x"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc+/=\n-----END RSA PRIVATE KEY-----"
redact = compile_redaction(PRESETS)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("mail me at jo.doe+x@mail.example.com.", "mail me at [email]."),
        ("card 4111 1111 1111 1111 please", "card [card] please"),
        ("card 4111-1111-1111-1111", "card [card]"),
        ("amex 378282246310005", "amex [card]"),
        ("order 4111 1111 1111 1112", "order 4111 1111 1111 1112"),  # no check digit of a card
        ("at 1700000000000 ms", "at 1700000000000 ms"),
        (f"token {JWT} end", "token [key] end"),
        (f"key:\n{PEM}\nend", "key:\n[key]\nend"),
        ("aws AKIAIOSFODNN7EXAMPLE", "aws [key]"),
        ("gh ghp_0123456789abcdefghij0123456789", "gh [key]"),
        ("use sk-proj-abcdef0123456789", "use sk-…"),
        ("stripe sk_live_abcdef0123456789", "stripe [key]"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer …"),
        ("password: hunter2!", "[key]"),
        ('{"api_key": "abcd1234"}', '{"[key]"}'),
        ("no secret here, only sk- and eyJ and a@b", "no secret here, only sk- and eyJ and a@b"),
    ],
)
def test_presets(text: str, left: str) -> None:
    assert redact(text) == left


def test_a_key_of_ours_keeps_its_id() -> None:
    key = make_key()
    assert redact(f"I use {key}") == f"I use tk_{key_id(key)}_…"


def test_patterns_of_a_site() -> None:
    own = compile_redaction(["emails", r"PAT-[0-9]{6}"])
    assert (
        own("PAT-123456 of a@b.example, card 4111 1111 1111 1111") == "[redacted] of [email], card 4111 1111 1111 1111"
    )
    assert compile_redaction([])("a@b.example") == "a@b.example"
    with pytest.raises(re.error):
        compile_redaction(["("])


WORST = ["a", "a.", "eyJ-", "eyJa.", "1 ", "1-", "sk-", "bearer  ", "-----BEGIN PRIVATE KEY-----", "a@", "a@b.", "a%",
         "password=", "api_key ", "ghp_", "AKIA", " \t", "Bearer\n", "é", "hf_"]  # fmt: skip


@pytest.mark.parametrize("piece", WORST)
def test_the_time_grows_with_the_text_and_no_faster(piece: str) -> None:
    """Twenty times the text may take a hundred times as long here; squared it would be four hundred."""

    def measure(length: int) -> float:
        text, took = (piece * length)[:length], []
        for _ in range(3):
            began = time.process_time()
            redact(text)
            took.append(time.process_time() - began)
        return min(took)

    assert measure(40_000) < 100 * max(measure(2000), 1e-4)
