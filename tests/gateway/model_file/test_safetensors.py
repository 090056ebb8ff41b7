"""Folders with safetensors, the hub's cache, and what is wrong with either."""

import json
from pathlib import Path

import pytest

from gateway.model_file import Unfit, locate, read_model
from tests.backends.folder import CONFIG, write_folder, write_snapshot, write_weights


def test_a_whole_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    model = read_model(str(folder))
    assert (model.format, model.architecture, model.context) == ("safetensors", "LlamaForCausalLM", 4096)
    assert model.size == (folder / "model.safetensors").stat().st_size
    assert model.cache == 2 * 2 * 64 * 2 * 4  # keys and values, 16 bits, heads 64 wide, two layers of 4


def test_the_part_that_writes_of_one_that_sees(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    (folder / "config.json").write_text(json.dumps({"architectures": ["SeesForAll"], "text_config": CONFIG}))
    model = read_model(str(folder))
    assert (model.architecture, model.context, model.cache) == ("SeesForAll", 4096, 2048)


def test_several_files(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": dict(zip("ab", names, strict=True))})
    )
    write_weights(folder / names[0], 100)
    with pytest.raises(Unfit, match=f"is not whole: {names[1]} is missing, one of 2 files"):
        read_model(str(folder))
    write_weights(folder / names[1], 200)
    assert read_model(str(folder)).size == sum((folder / name).stat().st_size for name in names)


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    weights = write_folder(tmp_path / "model") / "model.safetensors"
    whole = weights.read_bytes()
    for length in range(len(whole)):
        weights.write_bytes(whole[:length])
        with pytest.raises(Unfit, match="is not whole"):
            read_model(str(weights.parent))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.json", b"{", "has a spoilt config.json"),
        ("config.json", b'{"num_hidden_layers": "two"}', "has a spoilt config.json"),
        ("model.safetensors", (12).to_bytes(8, "little") + b"<!DOCTYPE html>", "is spoilt: model.safetensors"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1", "is not whole: model.safetensors"),
    ],
)
def test_what_is_no_model(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    folder = write_folder(tmp_path / "model")
    (folder / name).write_bytes(content)
    with pytest.raises(Unfit, match=told) as caught:
        read_model(str(folder))
    assert str(folder) in str(caught.value)


def test_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Unfit, match="cannot be read: No such file"):
        read_model(str(tmp_path / "no"))
    with pytest.raises(Unfit, match=r"config\.json cannot be read: No such file"):
        read_model(str(tmp_path))
    folder = write_folder(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(Unfit, match="holds no weights"):
        read_model(str(folder))


def test_where_a_model_is(tmp_path: Path) -> None:
    folder, snapshot = write_folder(tmp_path / "model"), write_snapshot(tmp_path / "cache")
    cache = str(tmp_path / "cache")
    assert locate(str(folder), cache) == str(folder)
    assert locate("org/name", cache) == str(snapshot)
    assert locate("org/other", cache) is None


@pytest.mark.parametrize(
    "name", ["../cache", "org/../name", "org/name/more", "org", "--host=0.0.0.0", "; id", "a\0/b", ""]
)
def test_s49_an_id_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    write_snapshot(tmp_path / "cache")
    assert locate(name, str(tmp_path / "cache")) is None


def test_s50_a_cache_that_points_elsewhere_is_not_followed(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "cache")
    (tmp_path / "cache" / "models--org--name" / "refs" / "main").write_text("../../../../etc")
    assert locate("org/name", str(tmp_path / "cache")) is None
