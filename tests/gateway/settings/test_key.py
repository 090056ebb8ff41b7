import hashlib

from hypothesis import given
from hypothesis import strategies as st

from gateway.settings.key import digest, is_damaged, is_importable, key_id, make_demo_key, make_key


def test_s01_a_made_key_has_an_id_a_long_secret_and_a_check() -> None:
    key = make_key()
    prefix, name, secret, check = key.split("_")
    assert (prefix, len(name), len(secret), len(check)) == ("tk", 12, 43, 6)
    assert key_id(key) == name
    assert is_importable(key)
    assert len({make_key() for _ in range(100)}) == 100


@given(st.integers(3, 65), st.sampled_from("0aZ"))
def test_one_wrong_character_is_noticed(at: int, character: str) -> None:
    key = make_key()
    broken = key[:at] + character + key[at + 1 :]
    if broken != key and key[at] != "_":
        assert is_damaged(broken)
        assert not is_importable(broken)


def test_keys_of_others_are_named_by_their_hash() -> None:
    key = "sk-something-else"
    assert not is_damaged(key)
    assert key_id(key) == hashlib.sha256(key.encode()).hexdigest()[:12] == digest(key).hex()[:12]


def test_what_may_be_imported() -> None:
    assert is_importable("8letters")
    assert is_importable("My API Key")
    assert is_importable(make_demo_key("free"))
    for refused in ("short", " leading", "trailing ", "tab\tinside", "ümlaute-sind-nichts", "x" * 513, ""):
        assert not is_importable(refused)


def test_demo_keys_name_their_tier() -> None:
    assert make_demo_key("free").startswith("tk_demo_free_")
    assert make_demo_key("a_b.c").startswith("tk_demo_a-b-c_")
