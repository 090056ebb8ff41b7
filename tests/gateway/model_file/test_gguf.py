"""GGUF: what the header says, and files that are not whole. The tiny model is a real one; others are spelled out."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.model_file import Unfit, read_model
from gateway.model_file.gguf import _BLOCKS


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def number(name: str, value: int) -> bytes:
    return text(name) + struct.pack("<II", 4, value)


def write(path: Path, entries: list[bytes], tensors: Sequence[bytes] = (), data: int = 0) -> Path:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries)) + b"".join([*entries, *tensors])
    path.write_bytes(head + bytes(-len(head) % 32 + data))
    return path


def tensor(name: str, shape: list[int], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


ABOUT = [
    text("general.architecture") + struct.pack("<I", 8) + text("llama"),
    number("llama.context_length", 4096), number("llama.block_count", 2), number("llama.embedding_length", 512),
    number("llama.attention.head_count", 8), number("llama.attention.head_count_kv", 2),
]  # fmt: skip


def test_the_tiny_model(tmp_path: Path) -> None:
    tiny = pytest.importorskip("backends.llama_cpp.tiny", reason="numpy and gguf are not installed")
    path = tmp_path / "tiny.gguf"
    tiny.write_model(str(path), layers=2)
    model = read_model(str(path))
    assert (model.format, model.architecture, model.context) == ("gguf", "llama", 2048)
    assert model.size == path.stat().st_size
    assert model.cache == 2 * 512 * 2 * 2  # keys and values, 512 wide, 16 bits, two layers
    assert model.memory(1000) == round(model.size * 1.2) + 4096 * 1000


def test_types_of_tensors_are_those_of_ggml() -> None:
    gguf = pytest.importorskip("gguf", reason="not installed")
    theirs = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert theirs == _BLOCKS


def test_groups_of_heads_and_their_widths(tmp_path: Path) -> None:
    assert read_model(str(write(tmp_path / "a.gguf", ABOUT))).cache == 2 * 128 * 2 * 2
    widths = [number("llama.attention.key_length", 32), number("llama.attention.value_length", 16)]
    assert read_model(str(write(tmp_path / "b.gguf", ABOUT + widths))).cache == 2 * 48 * 2 * 2
    by_layer = text("llama.attention.head_count_kv") + struct.pack("<IIQ2I", 9, 4, 2, 4, 0)
    assert read_model(str(write(tmp_path / "c.gguf", [*ABOUT[:-1], by_layer]))).cache == 2 * 128 * 4


def test_long_arrays_are_passed_over(tmp_path: Path) -> None:
    tokens = text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 3) + text("a") + text("bc") + text("")
    scores = text("tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, 5000) + bytes(20000)
    assert read_model(str(write(tmp_path / "a.gguf", [tokens, scores, *ABOUT]))).context == 4096


@pytest.mark.parametrize("kind", [0, 1, 8, 12])
def test_one_byte_less_is_not_whole(tmp_path: Path, kind: int) -> None:
    block, size = _BLOCKS[kind]
    tensors = [tensor("a", [block, 4], kind, 0), tensor("b", [block], kind, 4 * size)]
    path = write(tmp_path / "a.gguf", ABOUT, tensors, data=5 * size)
    assert read_model(str(path)).size == path.stat().st_size
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(Unfit, match=f"{len(whole) - 1} bytes are there, {len(whole)} are needed"):
        read_model(str(path))


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gguf", ABOUT, [tensor("a", [8], 0, 0)], data=32)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(Unfit):
            read_model(str(path))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not a GGUF file: it begins with b''"),
        (b"version https://git-lfs", "it begins with b'vers'"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "is GGUF of version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "cut off or spoilt"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "cut off or spoilt"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<I", 77), "cut off or spoilt"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**63), "cut off or spoilt"),
    ],
)
def test_what_is_no_model(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.gguf").write_bytes(content)
    with pytest.raises(Unfit, match=told) as caught:
        read_model(str(tmp_path / "a.gguf"))
    assert str(tmp_path / "a.gguf") in str(caught.value)


def test_parts_belong_together(tmp_path: Path) -> None:
    parts = [write(tmp_path / f"m-0000{n}-of-00002.gguf", ABOUT if n == 1 else [], data=64) for n in (1, 2)]
    model = read_model(str(parts[0]))
    assert model.size == sum(part.stat().st_size for part in parts)
    parts[1].unlink()
    parts[0].write_bytes(parts[0].read_bytes() + b"\0")  # what was read is remembered until the file changes
    with pytest.raises(Unfit, match=r"m-00002-of-00002\.gguf cannot be read: No such file"):
        read_model(str(parts[0]))


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gguf", ABOUT)
    first: Any = read_model(str(path))
    write(path, ABOUT, data=100)
    assert read_model(str(path)).size == first.size + 100
