"""What may be set, for either server."""

from typing import Annotated, Literal

import msgspec

from gateway.backend import BaseSettings

SAMPLE = '{"prompt": "a", "max_tokens": 1}'


class Settings(BaseSettings, frozen=True):
    model: str  # path of a GGUF file
    server: Literal["auto", "native", "python"] = "auto"
    binary: str = "llama-server"  # name or path, of the native one
    context: Annotated[int, msgspec.Meta(ge=1)] = 2048  # tokens, of each request
    parallel: Annotated[int, msgspec.Meta(ge=1, le=256)] = 2  # requests at once, of the native one
    embedding: bool = True
    grammar: bool = False  # the Python one takes grammars from clients
    threads: Annotated[int, msgspec.Meta(ge=1)] | None = None
    gpu_layers: int | None = None  # -1: all
    chat_format: str = ""
