"""The server of llama-cpp-python (seen with 0.3.36)."""

import importlib.util
import sys
from collections.abc import Iterator

from backends.llama_cpp.settings import SAMPLE, Settings
from gateway.backend import Launch

NEEDED = ("llama_cpp", "uvicorn", "fastapi", "sse_starlette", "starlette_context", "pydantic_settings")

RENAMED = {"max_completion_tokens": "max_tokens"}  # it looks at the older name only, and would generate without bound
WITHHELD = frozenset(("grammar",))  # one that does not parse is a segmentation fault


def describe(name: str, settings: Settings, port: int) -> Launch:
    arguments = {
        "model": settings.model,
        "model_alias": name,
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
    return Launch(argv, ready="/docs", alive="/docs", sample=SAMPLE, key_variable="API_KEY")


def find_missing() -> Iterator[str]:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        yield (
            f"llama.cpp is not installed here ({', '.join(missing)}): pip install 'tollkeeper[llama]', "
            "or build it smaller and faster with: sh backends/llama_cpp/build.sh"
        )
