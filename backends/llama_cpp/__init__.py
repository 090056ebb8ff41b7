"""llama.cpp, through the server of llama-cpp-python.

    backends:
      qwen:
        llama_cpp: {model: ./models/qwen2.5-0.5b.gguf, context: 4096}

Install it with `pip install 'tollkeeper[llama]'` (it is compiled: some minutes), or smaller and faster with
`sh backends/llama_cpp/build.sh`. It works on one request at a time, so the backend has one slot. `threads` and
`gpu_layers` are llama.cpp's own choice unless they are given; `chat_format` is the model's own.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec

from gateway.backend import BaseBackend, BaseSettings, Blame, Launch

_NEEDED = ("llama_cpp", "uvicorn", "fastapi", "sse_starlette", "starlette_context", "pydantic_settings")


class Settings(BaseSettings, frozen=True):
    model: str  # path of a GGUF file
    context: Annotated[int, msgspec.Meta(ge=1)] = 2048  # tokens
    embedding: bool = True
    threads: Annotated[int, msgspec.Meta(ge=1)] | None = None
    gpu_layers: int | None = None  # -1: all
    chat_format: str = ""


class Backend(BaseBackend[Settings]):
    slots = 1
    reports_usage = False  # it sends no usage on streams, whatever `stream_options` say
    start_timeout = 600.0

    def launch(self, port: int) -> Launch:
        settings = self.settings
        arguments = {
            "model": settings.model,
            "model_alias": self.name,
            "host": "127.0.0.1",
            "port": port,
            "n_ctx": settings.context,
            "embedding": settings.embedding,
            # True is its default: then every request, even one for /v1/models, cuts the stream that is running
            "interrupt_requests": False,
            "n_threads": settings.threads,
            "n_gpu_layers": settings.gpu_layers,
            "chat_format": settings.chat_format or None,
        }
        flags = [f"--{name}={value}" for name, value in arguments.items() if value is not None]
        # There is no health path, and /v1/models waits for the model; the page of the documentation waits for nothing.
        # The port is not open before the model is loaded.
        argv = (sys.executable, "-P", "-m", "llama_cpp.server", *flags)
        return Launch(argv, ready="/docs", alive="/docs")

    def problems(self) -> Sequence[str]:
        return [*_find_missing(), *_inspect_model(self.settings.model)]

    def blame(self, status: int, body: bytes) -> Blame:
        """It answers 500 to wrong types, unknown roles and the like, with the text of the validation error."""
        if status == 500 and b"validation error" in body:
            return Blame.CLIENT
        return super().blame(status, body)


def _find_missing() -> Iterator[str]:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        yield (
            f"llama.cpp is not installed here ({', '.join(missing)}): pip install 'tollkeeper[llama]', "
            "or build it smaller and faster with: sh backends/llama_cpp/build.sh"
        )


def _inspect_model(path: str) -> Iterator[str]:
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        yield f"the model {os.path.abspath(path)} cannot be read: {error.strerror}"
        return
    if magic != b"GGUF":
        yield f"the model {os.path.abspath(path)} is not a GGUF file: it begins with {magic!r}"
