"""Writes a tiny model in llama.cpp's format, without training and without a download, for tests and demos.

    python -m backends.llama_cpp.tiny models/tiny.gguf [--layers N] [--ffn N] [--endless]

The weights are computed, not learned. The token embedding is a one-hot vector; the output matrix holds the
log-probabilities of a word bigram model of `TEXT`; the first layer's attention (queries and keys are zero, so it
averages the context) marks the words seen so far, and the output matrix makes those less likely. So every run writes
the same bytes, and even greedy decoding gives readable sentences. More layers make it slower, not wiser.
"""

import argparse
import os
import re
from collections.abc import Iterator
from itertools import pairwise

import gguf
import numpy as np
from numpy.typing import NDArray

TEXT = """
The gateway accepts a request and picks a healthy backend for it. Every backend reports its
own health, so the gateway knows where to send the next call. When a backend stops answering,
the router marks it as down and tries another one. A short pause follows each failed attempt,
and the pause grows with every retry. If no backend is left, the client receives a clear error
instead of silence. Streaming replies travel one token at a time, which keeps the first word
close to the question. A slow reader never blocks other readers because each stream has its
own buffer. The supervisor starts a model server, waits until it is ready, and watches it from
then on. A crashed server comes back after a moment, unless it keeps crashing. Old servers
drain before they stop, so nobody loses an answer halfway. The cache remembers recent answers
and returns them without asking a model again. Limits protect small machines from large
crowds. One key may spend only what its budget allows, and the counter resets at midnight.
Metrics show how many tokens went in, how many came out, and how long the work took. Logs tell
the same story in plain words. An operator reads them, changes one line of the configuration,
and reloads it while traffic flows. Good defaults make that a rare event. This tiny model knows
nothing about the world, yet it speaks in sentences about gateways. Ask it anything and it will
answer with calm confidence. It runs on one core, fits in a few megabytes, and starts before
you finish reading this line.
"""

_SPECIAL = ["<|pad|>", "<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
_PAD, _BOS, _END = 0, 1, 2
_TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_WIDTH, _HALF, _HEADS, _CONTEXT, _EPSILON = 512, 256, 8, 2048, 1e-5
_FLOOR, _PENALTY = -30.0, 60.0  # of log-probabilities: never seen; said already
_SCALE = _WIDTH**0.5  # what RMS normalisation makes of the 1 in a one-hot row

Matrix = NDArray[np.float64]


class Vocabulary:
    """The special tokens, the 256 bytes, and the words of `TEXT`. `text` and `firsts` are token ids."""

    def __init__(self) -> None:
        symbols = _byte_symbols()
        space = symbols[32]
        pieces = re.findall(r"\w+|[.,]", TEXT)
        # a reply starts without a space; every later word carries the one before it
        words = [piece if piece in ".," else space + piece for piece in pieces]
        firsts = [piece for n, piece in enumerate(pieces) if n == 0 or pieces[n - 1] == "."]
        self.tokens = list(dict.fromkeys(_SPECIAL + symbols + words + firsts))
        index = {token: n for n, token in enumerate(self.tokens)}
        self.text = [index[word] for word in words]
        self.firsts = [index[first] for first in firsts]
        self.rows = self._number_rows(space)

    def _number_rows(self, space: str) -> list[int]:
        """Which one-hot row a token is: one for each word, with or without its space; row 0 is any plain byte."""
        known = {*self.text, *self.firsts}
        plain = range(len(_SPECIAL), len(_SPECIAL) + 256)
        rows: dict[str, int] = {}
        return [
            0 if n in plain and n not in known else rows.setdefault(token.lstrip(space), len(rows) + 1)
            for n, token in enumerate(self.tokens)
        ]


def _byte_symbols() -> list[str]:
    """GPT-2's printable stand-in for each byte."""
    kept = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in kept else chr(next(spare)) for byte in range(256)]


def _count_bigrams(words: Vocabulary, endless: bool) -> Matrix:
    """How often a token (row) follows a word (column); earlier counts more, so greedy decoding meets no ties."""
    text, rows = words.text, words.rows
    counts = np.zeros((len(words.tokens), _HALF))
    for n, (now, then) in enumerate(pairwise(text)):
        counts[then, rows[now]] += 2 - n / len(text)
    counts[_END, rows[text[-1]]] = 0 if endless else 9  # some full stops end the reply
    for n, first in enumerate(words.firsts):  # a reply starts with a sentence's first word
        counts[first, [0, *rows[: len(_SPECIAL)]]] += 2 - n / len(words.firsts)
    return counts


def _tensors(words: Vocabulary, layers: int, ffn: int, endless: bool) -> Iterator[tuple[str, Matrix]]:
    """All weights under their names in the file."""
    rows, size = words.rows, len(words.tokens)
    counts = _count_bigrams(words, endless)
    chances = counts / np.maximum(counts.sum(0), 1e-9)
    embedding, output = np.zeros((size, _WIDTH)), np.zeros((size, _WIDTH))
    embedding[np.arange(size), rows] = 1
    output[:, :_HALF] = np.where(counts > 0, np.log(np.maximum(chances, 1e-12)), _FLOOR) / _SCALE
    for token in set(words.text):
        output[token, _HALF + rows[token]] = 0 if words.tokens[token] in ".," else -_PENALTY
    yield from (("token_embd", embedding), ("output", output), ("output_norm", np.ones(_WIDTH)))
    for layer in range(layers):
        for name, weight in _layer(ffn, is_first=layer == 0):
            yield f"blk.{layer}.{name}", weight


def _layer(ffn: int, is_first: bool) -> Iterator[tuple[str, Matrix]]:
    """The first layer copies the mean of the context from the lower half to the upper; the others do nothing."""
    zero = np.zeros((_WIDTH, _WIDTH))
    value, merge = zero.copy(), zero.copy()
    value[:_HALF, :_HALF] = np.eye(_HALF) * is_first
    merge[_HALF:, :_HALF] = np.eye(_HALF) / _SCALE**2
    yield from (("attn_norm", np.ones(_WIDTH)), ("ffn_norm", np.ones(_WIDTH)))
    yield from (("attn_q", zero), ("attn_k", zero), ("attn_v", value), ("attn_output", merge))
    yield from (("ffn_gate", np.zeros((ffn, _WIDTH))), ("ffn_up", np.zeros((ffn, _WIDTH))))
    yield "ffn_down", np.zeros((_WIDTH, ffn))


def write_model(path: str, layers: int = 1, ffn: int = 64, endless: bool = False) -> None:
    """Write the model to `path`. `endless`: a reply ends at max_tokens only."""
    words = Vocabulary()
    file = gguf.GGUFWriter(path, "llama")
    _describe(file, words, layers, ffn)
    for name, weight in _tensors(words, layers, ffn, endless):
        file.add_tensor(f"{name}.weight", weight.astype(np.float32 if weight.ndim == 1 else np.float16))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def _describe(file: gguf.GGUFWriter, words: Vocabulary, layers: int, ffn: int) -> None:
    size = len(words.tokens)
    file.add_name("tiny-gateway-talk")
    file.add_context_length(_CONTEXT)
    file.add_embedding_length(_WIDTH)
    file.add_block_count(layers)
    file.add_feed_forward_length(ffn)
    file.add_head_count(_HEADS)
    file.add_head_count_kv(_HEADS)
    file.add_rope_dimension_count(_WIDTH // _HEADS)
    file.add_layer_norm_rms_eps(_EPSILON)
    file.add_vocab_size(size)
    file.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre("llama-bpe")  # takes a whole word that is a token without looking at the merges
    file.add_token_list(words.tokens)
    file.add_token_merges(["\u0120 \u0120"])
    special = len(_SPECIAL)
    file.add_token_types([gguf.TokenType.CONTROL] * special + [gguf.TokenType.NORMAL] * (size - special))
    file.add_pooling_type(gguf.PoolingType.MEAN)  # one vector per text from /v1/embeddings
    file.add_bos_token_id(_BOS)
    file.add_eos_token_id(_END)
    file.add_pad_token_id(_PAD)
    file.add_add_bos_token(False)
    file.add_chat_template(_TEMPLATE)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m backends.llama_cpp.tiny")
    parser.add_argument("path")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--ffn", type=int, default=64)
    parser.add_argument("--endless", action="store_true", help="a reply ends at max_tokens only")
    options = parser.parse_args()
    os.makedirs(os.path.dirname(os.path.abspath(options.path)), exist_ok=True)
    write_model(options.path, options.layers, options.ffn, options.endless)


if __name__ == "__main__":
    main()
