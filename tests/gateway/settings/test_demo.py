import os
from pathlib import Path

import msgspec

from gateway.settings.demo import add_demo_keys
from gateway.settings.key import digest
from gateway.settings.schema import Config, Consumer, Key, State, Tier


def config(directory: Path, *tiers: str) -> Config:
    by = {name: Tier(by="ip" if name == "anonymous" else "consumer") for name in tiers}
    return Config(demo=True, state=State(directory=str(directory)), tiers=by)


def test_a_consumer_and_a_key_per_tier(tmp_path: Path) -> None:
    made, keys = add_demo_keys(config(tmp_path / "var", "free", "pro", "anonymous"))
    assert keys.keys() == {"free", "pro"}
    consumer = made.consumers["demo-free"]
    assert consumer == Consumer(tier="free", keys=(Key(sha256=digest(keys["free"]).hex(), id="demo-free"),))
    assert (tmp_path / "var" / "demo-keys.json").stat().st_mode & 0o777 == 0o600


def test_keys_survive_a_restart_and_new_tiers_get_one(tmp_path: Path) -> None:
    _, first = add_demo_keys(config(tmp_path, "free"))
    _, second = add_demo_keys(config(tmp_path, "free", "pro"))
    assert second["free"] == first["free"]
    _, third = add_demo_keys(config(tmp_path, "free"))
    assert third == first
    _, fourth = add_demo_keys(config(tmp_path, "free", "pro"))
    assert fourth == second


def test_the_configuration_holds_hashes_only(tmp_path: Path) -> None:
    made, keys = add_demo_keys(config(tmp_path, "free"))
    assert keys["free"].encode() not in msgspec.json.encode(made, enc_hook=str)


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "demo-keys.json").write_text("{")
    _, keys = add_demo_keys(config(tmp_path, "free"))
    assert keys["free"] in (tmp_path / "demo-keys.json").read_text()
    assert os.listdir(tmp_path) == ["demo-keys.json"]
