"""What the headers of a model's files tell."""

from typing import Literal

import msgspec

_SPARE = 1.2  # what an engine takes beside the weights: buffers for its sums, its own code


class Unfit(ValueError):
    """A file that no engine can load, in a sentence for the operator."""


class ModelFile(msgspec.Struct, frozen=True):
    """`size`: bytes of the weights. `cache`: bytes of the key/value cache for a token of context, 0 if unknown."""

    format: Literal["gguf", "safetensors"]
    architecture: str  # `llama`, `LlamaForCausalLM`; empty if the file does not say
    size: int
    context: int = 0  # tokens that the model was made for, 0 if unknown
    cache: int = 0

    def memory(self, context: int) -> int:
        """Bytes that an engine needs with room for `context` tokens, an estimate: half more is not unheard of."""
        return round(self.size * _SPARE) + self.cache * context
