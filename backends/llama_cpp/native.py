"""llama.cpp's own server, `llama-server`.

`--offline` keeps it from the network; its chat page is off, and so is /slots, which tells of other callers' prompts.
"""

import shutil
import sysconfig

from backends.llama_cpp.settings import SAMPLE, Settings
from gateway.backend import Launch

STOP_TIMEOUT = 2.0  # it never ends on SIGTERM while a request runs; those were waited for before
WITHHELD = frozenset(("id_slot", "n_discard"))  # another caller's slot; a negative one wrote out of bounds


def find(binary: str) -> str:
    """The path of the program, empty if it is not here."""
    return shutil.which(binary, path=sysconfig.get_path("scripts")) or shutil.which(binary) or ""


def describe(program: str, name: str, settings: Settings, port: int) -> Launch:
    arguments = {
        "--model": settings.model,
        "--alias": name,
        "--host": "127.0.0.1",
        "--port": port,
        "--ctx-size": settings.context * settings.parallel,  # it is shared out among the slots
        "--parallel": settings.parallel,
        "--threads": settings.threads,
        "--n-gpu-layers": settings.gpu_layers,
        "--chat-template": settings.chat_format or None,
    }
    given = {flag: str(value) for flag, value in arguments.items() if value is not None}
    flags = ["--no-webui", "--offline", "--no-slots", *(["--embeddings"] if settings.embedding else [])]
    argv = (program, *(part for pair in given.items() for part in pair), *flags)
    return Launch(argv, sample=SAMPLE, key_variable="LLAMA_API_KEY")
