"""Writes the tiny model of llama.cpp's tests as a folder that mlx-lm loads: the same weights, the same words.

    python -m backends.mlx.tiny models/tiny.gguf models/tiny

Its source is a GGUF file of the architecture `llama` with weights of 16 bits and a byte-level vocabulary without
merges, as `python -m backends.llama_cpp.tiny` makes it; other files are not converted.
"""

import argparse
import json
import os
from typing import Any

import gguf
import numpy as np

_BLOCKS = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
_OTHERS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def convert(source: str, folder: str) -> None:
    """Write the model of the GGUF file `source` to `folder`."""
    os.makedirs(folder, exist_ok=True)
    reader = gguf.GGUFReader(source)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    tensors = {f"{_rename(t.name.removesuffix('.weight'))}.weight": t.data.astype("<f2") for t in reader.tensors}
    _write_tensors(os.path.join(folder, "model.safetensors"), tensors)
    _write(folder, "config.json", _make_config(facts))
    _write(folder, "tokenizer.json", _make_tokenizer(facts))
    _write(folder, "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": facts["tokenizer.chat_template"],
        "model_max_length": facts["llama.context_length"], "clean_up_tokenization_spaces": False,
        **{f"{name}_token": facts["tokenizer.ggml.tokens"][number] for name, number in _find_special(facts).items()},
    })  # fmt: skip


def _rename(name: str) -> str:
    if name in _OTHERS:
        return _OTHERS[name]
    _, layer, part = name.split(".")
    return f"model.layers.{layer}.{_BLOCKS[part]}"


def _find_special(facts: dict[str, Any]) -> dict[str, int]:
    names = {"bos": "bos", "eos": "eos", "pad": "padding"}
    return {name: int(facts[f"tokenizer.ggml.{theirs}_token_id"]) for name, theirs in names.items()}


def _make_config(facts: dict[str, Any]) -> dict[str, Any]:
    heads, width = facts["llama.attention.head_count"], facts["llama.embedding_length"]
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width,
        "num_hidden_layers": facts["llama.block_count"], "intermediate_size": facts["llama.feed_forward_length"],
        "num_attention_heads": heads, "num_key_value_heads": facts["llama.attention.head_count_kv"],
        "head_dim": width // heads, "rms_norm_eps": facts["llama.attention.layer_norm_rms_epsilon"],
        "vocab_size": facts["llama.vocab_size"], "max_position_embeddings": facts["llama.context_length"],
        "rope_theta": 10000.0, "tie_word_embeddings": False, "hidden_act": "silu", "torch_dtype": "float16",
        **{f"{name}_token_id": number for name, number in _find_special(facts).items()},
    }  # fmt: skip


def _make_tokenizer(facts: dict[str, Any]) -> dict[str, Any]:
    """In the format of the library `tokenizers`."""
    tokens = facts["tokenizer.ggml.tokens"]
    rules = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    control = [
        {"id": n, "content": token, "special": True, **rules}
        for n, (token, kind) in enumerate(zip(tokens, facts["tokenizer.ggml.token_type"], strict=True))
        if kind == gguf.TokenType.CONTROL
    ]
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "ignore_merges": True, "vocab": {token: n for n, token in enumerate(tokens)}, "merges": []}
    return {"version": "1.0", "added_tokens": control, "pre_tokenizer": bytes_, "decoder": bytes_, "model": model}


def _write_tensors(path: str, tensors: dict[str, Any]) -> None:
    """github.com/huggingface/safetensors, README: the header's length, the header, the data."""
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    at = 0
    for name, tensor in tensors.items():
        end = at + tensor.nbytes
        header[name] = {"dtype": "F16", "shape": tensor.shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor).tobytes())


def _write(folder: str, name: str, value: dict[str, Any]) -> None:
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m backends.mlx.tiny")
    parser.add_argument("source")
    parser.add_argument("folder")
    options = parser.parse_args()
    convert(options.source, options.folder)


if __name__ == "__main__":
    main()
