"""The admin address's key: the file's, or one that is made once."""

import os
import stat
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.settings.admin import hash_admin_key
from gateway.settings.key import is_damaged
from gateway.settings.schema import Admin, Config, Listen, State


def config(folder: Path, admin: Admin = Admin(), listen: Listen = Listen()) -> Config:  # noqa: B008
    return Config(state=State(directory=str(folder / "state")), admin=admin, listen=listen)


def test_a_key_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    first = hash_admin_key(config(tmp_path)).admin
    path = tmp_path / "state" / "admin.key"
    key = path.read_text().strip()
    assert (first.key, first.sha256) == ("", sha256(key.encode()).hexdigest())
    assert key.startswith("tk_") and not is_damaged(key)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert hash_admin_key(config(tmp_path)).admin == first
    assert path.read_text().strip() == key


@pytest.mark.parametrize(
    "admin", [Admin(key="a-key-of-the-operators"), Admin(sha256=sha256(b"a-key-of-the-operators").hexdigest())]
)
def test_the_files_own_key_is_told_by_its_hash_alone(tmp_path: Path, admin: Admin) -> None:
    made = hash_admin_key(config(tmp_path, admin)).admin
    assert (made.key, made.sha256) == ("", sha256(b"a-key-of-the-operators").hexdigest())
    assert not (tmp_path / "state").exists()


def test_where_nobody_may_ask_no_key_is_made(tmp_path: Path) -> None:
    assert hash_admin_key(config(tmp_path, listen=Listen(admin=""))).admin == Admin()
    assert not (tmp_path / "state").exists()
