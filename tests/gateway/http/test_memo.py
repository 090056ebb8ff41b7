import pytest

from gateway.http.memo import LONGEST_KEY, Memo


def test_a_function_is_asked_once_per_key() -> None:
    asked: list[bytes] = []
    memo = Memo(lambda key: asked.append(key) or key.upper())
    assert memo[b"a"] == memo[b"a"] == b"A"
    assert asked == [b"a"]


def test_it_never_grows_beyond_its_size_nor_keeps_long_keys() -> None:
    memo = Memo(bytes.lower, 10)
    for number in range(1000):
        assert memo[b"%d" % number] == b"%d" % number
        assert len(memo) <= 10
    before = len(memo)
    assert memo[b"X" * (LONGEST_KEY + 1)] == b"x" * (LONGEST_KEY + 1)
    assert len(memo) == before


def test_failures_are_not_remembered() -> None:
    memo = Memo(int)
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            memo[b"x"]
    assert not memo
