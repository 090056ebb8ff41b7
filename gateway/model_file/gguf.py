"""GGUF, the files of llama.cpp (github.com/ggml-org/ggml, docs/gguf.md): versions 2 and 3, little-endian.

    magic, version, number of tensors, number of entries │ entries: name, type, value │ tensors: name, shape, type,
    offset │ padding │ the tensors' data

Tokens and merges are hundreds of thousands of entries: they are passed over, not read.
"""

import mmap
import os
import re
import struct
from typing import Any

from gateway.model_file.description import ModelFile

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_TEXT, _ARRAY = 8, 9
_KEPT = 1024  # numbers of an array that are read: such as a count for each layer
# Elements in a block of a tensor's type, and its bytes: ggml_type and type_traits of ggml.h and ggml.c
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54),
    35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}  # fmt: skip
_find_part = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$").search


def read(path: str) -> ModelFile:
    """The model in the file, all of its parts counted. Raises OSError, or ValueError with what is wrong."""
    entries, size = _read_part(path)
    part = _find_part(path)
    if part is not None:
        others = range(1, int(part[2]) + 1)
        names = [f"{path[: part.start()]}-{number:05}-of-{part[2]}.gguf" for number in others]
        size = sum(size if name == path else _read_part(name)[1] for name in names)
    architecture = str(entries.get("general.architecture", ""))
    context = entries.get(f"{architecture}.context_length", 0)
    return ModelFile("gguf", architecture, size, context, _cache(entries, architecture))


def _read_part(path: str) -> tuple[dict[str, Any], int]:
    """The entries of one file and its size, which is that of a whole one."""
    with open(path, "rb") as file:
        magic = file.read(4)
        if magic != b"GGUF":
            raise ValueError(f"is not a GGUF file: it begins with {magic!r}")
        size = os.fstat(file.fileno()).st_size
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            reader = _Reader(data)
            try:
                entries = reader.read_head()
                needed = reader.find_end(entries.get("general.alignment", 32))
            except (struct.error, IndexError, UnicodeDecodeError, OverflowError):
                raise ValueError("is not whole: its header is cut off or spoilt") from None
    if size < needed:
        raise ValueError(f"is not whole: {size} bytes are there, {needed} are needed")
    return entries, size


def _cache(entries: dict[str, Any], architecture: str) -> int:
    """Bytes of keys and values, of 16 bits each, for one token in all layers."""

    def get(name: str) -> Any:
        return entries.get(f"{architecture}.{name}", 0)

    layers, heads = get("block_count"), get("attention.head_count")
    groups = get("attention.head_count_kv") or heads
    if isinstance(heads, list) or not (layers and heads):
        return 0
    width = get("embedding_length") // heads
    sizes = (get("attention.key_length") or width) + (get("attention.value_length") or width)
    return 2 * int(sizes) * (sum(groups) if isinstance(groups, list) else layers * groups)


class _Reader:
    """Values one after the other; struct.error at the end of the data."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 4
        self._tensors = 0

    def read_head(self) -> dict[str, Any]:
        """The entries, without long arrays."""
        version = self._number("<I")
        if version not in (2, 3):
            raise ValueError(f"is GGUF of version {version}; 2 and 3 are known")
        self._tensors = self._number("<Q")
        return dict((self._text(), self._value(self._number("<I"))) for _ in range(self._number("<Q")))

    def find_end(self, alignment: int) -> int:
        """How many bytes the file needs for its tensors, whose descriptions come next."""
        end = 0
        for _ in range(self._tensors):
            self._skip_text()
            elements = 1
            for _ in range(self._number("<I")):
                elements *= self._number("<Q")
            per_block, size = _BLOCKS.get(self._number("<I"), (1, 0))  # of an unknown type only the beginning is known
            end = max(end, self._number("<Q") + elements // per_block * size)
        return -(-self._at // alignment) * alignment + end

    def _number(self, code: str) -> Any:
        (value,) = struct.unpack_from(code, self._data, self._at)
        self._at += struct.calcsize(code)
        return value

    def _text(self) -> str:
        start = self._skip_text()
        return self._data[start : self._at].decode()

    def _skip_text(self) -> int:
        """Where the text begins."""
        length = self._number("<Q")
        start = self._at
        self._at += length
        if self._at > len(self._data):
            raise IndexError
        return start

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind == _ARRAY:
            return self._array(self._number("<I"), self._number("<Q"))
        if kind not in _SCALARS:
            raise IndexError
        return self._number(_SCALARS[kind])

    def _array(self, kind: int, count: int) -> Any:
        if kind in _SCALARS and count > _KEPT:
            self._at += count * struct.calcsize(_SCALARS[kind])
            return None
        if kind == _TEXT:
            for _ in range(count):
                self._skip_text()
            return None
        return [self._value(kind) for _ in range(count)]
