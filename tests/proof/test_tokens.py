"""The long version of `tests/process/test_tokens.py`."""

from pathlib import Path

import pytest

from tests.process.test_tokens import count_all

pytestmark = pytest.mark.proof


async def test_tokens_and_money_are_exact_under_kills(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    await count_all(tmp_path, 1200, kills=4)
