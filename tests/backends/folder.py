"""A safetensors folder for tests: whole, of a few bytes, and of no use to an engine."""

import json
from pathlib import Path

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 512, "num_hidden_layers": 2, "num_attention_heads": 8,
    "num_key_value_heads": 4, "max_position_embeddings": 4096,
}  # fmt: skip


def write_weights(path: Path, size: int = 64) -> None:
    header = json.dumps({
        "__metadata__": {"format": "pt"}, "w": {"dtype": "F16", "shape": [size // 2], "data_offsets": [0, size]},
    }).encode()  # fmt: skip
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))


def write_folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(CONFIG))
    write_weights(path / "model.safetensors")
    return path


def write_snapshot(cache: Path, model: str = "org/name") -> Path:
    """The folder as huggingface_hub keeps it after a download."""
    folder, revision = cache / f"models--{model.replace('/', '--')}", "0" * 39 + "1"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(revision)
    return write_folder(folder / "snapshots" / revision)
