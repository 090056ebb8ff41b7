"""A folder as it comes from the Hugging Face hub: `config.json`, and weights in `*.safetensors`.

A safetensors file (github.com/huggingface/safetensors, README) is the length of its header in 8 bytes, the header in
JSON, the tensors. An index names the files where there are several.
"""

import os
from typing import Any

import msgspec

from gateway.model_file.description import ModelFile

_LONGEST = 100_000_000  # bytes of a header, the format's own bound
_INDEX = "model.safetensors.index.json"


class _Tensor(msgspec.Struct):
    data_offsets: tuple[int, int]


class _Config(msgspec.Struct):
    """What is read of `config.json`; of a model that sees as well, `text_config` is the part that writes."""

    architectures: list[str] = []
    max_position_embeddings: int | None = None
    num_hidden_layers: int = 0
    num_attention_heads: int = 0
    num_key_value_heads: int | None = None
    hidden_size: int = 0
    head_dim: int | None = None
    text_config: "_Config | None" = None


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def read(folder: str) -> ModelFile:
    """The model in the folder. Raises OSError, or ValueError with what is wrong."""
    config = _decode(os.path.join(folder, "config.json"), _Config)
    names = {name for name in os.listdir(folder) if name.endswith(".safetensors")}
    if os.path.exists(index := os.path.join(folder, _INDEX)):
        named = set(_decode(index, _Index).weight_map.values())
        if missing := sorted(named - names):
            raise ValueError(f"is not whole: {missing[0]} is missing, one of {len(named)} files")
        names = named
    if not names:
        raise ValueError("holds no weights: there is no file *.safetensors")
    size = sum(_measure(os.path.join(folder, name)) for name in names)
    text = config.text_config or config
    architecture = next(iter(config.architectures), "")
    return ModelFile("safetensors", architecture, size, text.max_position_embeddings or 0, _cache(text))


def _cache(config: _Config) -> int:
    """Bytes of keys and values, of 16 bits each, for one token in all layers."""
    heads = config.num_attention_heads
    if not heads:
        return 0
    width = config.head_dim or config.hidden_size // heads
    return 2 * 2 * width * config.num_hidden_layers * (config.num_key_value_heads or heads)


def _measure(path: str) -> int:
    """The size of a file that is whole."""
    name = os.path.basename(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_LONGEST, size - 8):
            raise ValueError(f"is not whole: {name} is cut off, or no safetensors file")
        try:
            header = msgspec.json.decode(file.read(length), type=dict[str, msgspec.Raw])
            header.pop("__metadata__", None)
            tensors = [msgspec.json.decode(raw, type=_Tensor) for raw in header.values()]
        except msgspec.MsgspecError:
            raise ValueError(f"is spoilt: {name} has no header of a safetensors file") from None
    needed = 8 + length + max((tensor.data_offsets[1] for tensor in tensors), default=0)
    if size < needed:
        raise ValueError(f"is not whole: {name} has {size} bytes, {needed} are needed")
    return size


def _decode(path: str, kind: Any) -> Any:
    with open(path, "rb") as file:
        try:
            return msgspec.json.decode(file.read(), type=kind)
        except msgspec.MsgspecError as error:
            raise ValueError(f"has a spoilt {os.path.basename(path)}: {error}") from None
