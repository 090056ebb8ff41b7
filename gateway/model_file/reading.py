"""A model at a path, whatever its format, and the path of a model."""

import os
import re
from functools import lru_cache

from gateway.model_file import gguf, safetensors
from gateway.model_file.description import ModelFile, Unfit

_is_hub_id = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII).fullmatch
_is_revision = re.compile(r"[0-9a-f]{40}").fullmatch


def read_model(path: str) -> ModelFile:
    """What is in the GGUF file or safetensors folder at `path`. Raises Unfit: no model, not whole, not readable."""
    full = os.path.abspath(path)
    try:
        status = os.stat(full)
        return _read(full, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise Unfit(f"the model {error.filename or full} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise Unfit(f"the model {full} {error}") from None


def locate(model: str, cache: str) -> str | None:
    """The path of `model`: its own if it exists, or that of `org/name` in a cache of the hub; None if there is none.

    The cache's layout is that of huggingface_hub ("Understand caching"). What is no such id is never made a path.
    """
    path = os.path.expanduser(model)
    if os.path.exists(path):
        return os.path.abspath(path)
    if not _is_hub_id(model) or ".." in model:
        return None
    folder = os.path.join(os.path.expanduser(cache), "models--" + model.replace("/", "--"))
    try:
        with open(os.path.join(folder, "refs", "main")) as file:
            revision = file.read().strip()
    except OSError:
        return None
    snapshot = os.path.join(folder, "snapshots", revision)
    return snapshot if _is_revision(revision) and os.path.isdir(snapshot) else None


@lru_cache(64)
def _read(path: str, changed: int, size: int) -> ModelFile:
    """A model is asked for often, by `check`, by each process, at each reload; it is read anew when it changed."""
    return safetensors.read(path) if os.path.isdir(path) else gguf.read(path)
