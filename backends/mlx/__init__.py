"""MLX, through the server of mlx-lm: for Apple silicon; on Linux it runs on the CPU.

    backends:
      mistral:
        mlx: {model: mlx-community/Mistral-7B-Instruct-v0.3-4bit}
      here:
        mlx: {model: ./models/tiny, python: /opt/mlx/bin/python, parallel: 4}

`model` is a folder with `config.json` and `*.safetensors`, or an id of the Hugging Face hub that is in `cache`;
`download: true` lets the engine fetch it when it starts. Install it with `pip install 'tollkeeper[mlx]'`, or in an
environment of its own, whose `python` is named then. It works on `parallel` requests at once. It knows no bound of
context and no embeddings.
"""

import glob
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec

from gateway.backend import BaseBackend, Launch
from gateway.model_file import HubSettings

_SAMPLE = '{"prompt": "a", "max_tokens": 1}'
_USUAL = 8192  # tokens of context, of all requests together, for an estimate


class Settings(HubSettings, frozen=True):
    python: str = ""  # path of the interpreter that has mlx-lm; default: ours
    parallel: Annotated[int, msgspec.Meta(ge=1, le=256)] = 8


class Backend(BaseBackend[Settings]):
    start_timeout = 600.0
    generates_after_leave = True
    choices = 1  # it takes `n` for nothing
    answers_as = "default_model"
    withheld = frozenset(("adapters", "draft_model"))  # it would load what stands there: a path, or an id of the hub

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        self.slots = settings.parallel

    def launch(self, port: int) -> Launch:
        settings = self.settings
        argv = (
            settings.python or sys.executable, "-P", "-m", "mlx_lm", "server",
            "--model", settings.find(),
            "--host", "127.0.0.1", "--port", str(port),
            "--decode-concurrency", str(settings.parallel), "--prompt-concurrency", str(settings.parallel),
        )  # fmt: skip
        # /health says 200 before the model is loaded, and 503 once it could not be: the process stays in either case
        return Launch(argv, settings.environment(), ready="/v1/completions", trial=_SAMPLE, sample=_SAMPLE)

    def model_name(self, model: str) -> str:
        """It would load what any other name says; this one stands for the model that it was started with."""
        return self.answers_as

    def problems(self) -> Sequence[str]:
        return [*self._find_missing(), *self.settings.problems()]

    def model_path(self) -> str:
        return self.settings.path()

    def drawbacks(self) -> Sequence[str]:
        if sys.platform == "darwin" and platform.machine() == "arm64":
            return ()
        return ("this machine is no Apple silicon, for which MLX is made",)

    def memory(self) -> int:
        model = self.settings.read()
        return 0 if model is None else model.memory(min(model.context or _USUAL, _USUAL))

    def _find_missing(self) -> Iterator[str]:
        python = self.settings.python
        if not python:
            if importlib.util.find_spec("mlx_lm") is None:
                yield "mlx-lm is not installed here: pip install 'tollkeeper[mlx]', or name a `python` that has it"
        elif not os.access(python, os.X_OK):
            yield f"`python`: {python} is not here, or may not be executed"
        elif not glob.glob(os.path.join(os.path.dirname(python), "..", "lib", "python*", "site-packages", "mlx_lm")):
            yield f"`python`: mlx-lm is not installed in the environment of {python}"
