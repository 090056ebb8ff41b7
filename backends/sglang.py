"""SGLang, for GPUs.

    backends:
      large:
        sglang: {model: Qwen/Qwen2.5-7B-Instruct, python: /opt/sglang/bin/python, context: 16384}

`model` is a folder with safetensors, or an id of the Hugging Face hub that is in `cache`; `download: true` lets SGLang
fetch it. `python` names the interpreter that has it, ours unless it is given. It works on `parallel` requests at once
and takes `gpu_memory` (a share) of each of its `gpus`.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec

from gateway.backend import BaseBackend, Launch
from gateway.model_file import HubSettings


class Settings(HubSettings, frozen=True):
    python: str = ""
    context: Annotated[int, msgspec.Meta(ge=1)] | None = None  # tokens; default: the model's own
    parallel: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64
    gpus: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    gpu_memory: Annotated[float, msgspec.Meta(ge=0.01, le=1)] | None = None  # default: SGLang's own choice


class Backend(BaseBackend[Settings]):
    start_timeout = 1200.0  # it compiles kernels at its first start

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        self.slots = settings.parallel
        self.answers_as = name

    def launch(self, port: int) -> Launch:
        settings = self.settings
        argv = [
            settings.python or sys.executable, "-P", "-m", "sglang.launch_server",
            "--model-path", settings.find(), "--served-model-name", self.name,
            "--host", "127.0.0.1", "--port", str(port),
            "--max-running-requests", str(settings.parallel), "--tp-size", str(settings.gpus),
        ]  # fmt: skip
        if settings.context is not None:
            argv += ["--context-length", str(settings.context)]
        if settings.gpu_memory is not None:
            argv += ["--mem-fraction-static", str(settings.gpu_memory)]
        return Launch(tuple(argv), settings.environment())

    def model_name(self, model: str) -> str:
        return self.name

    def problems(self) -> Sequence[str]:
        return [*self._find_missing(), *self.settings.problems()]

    def model_path(self) -> str:
        return self.settings.path()

    def drawbacks(self) -> Sequence[str]:
        return () if os.path.exists("/dev/nvidiactl") else ("this machine has no NVIDIA GPU, for which SGLang is made",)

    def memory(self) -> int:
        """What the weights and one full context need; of its GPUs it takes `gpu_memory` at once, whatever it needs."""
        return self.settings.memory(self.settings.context)

    def _find_missing(self) -> Iterator[str]:
        python = self.settings.python
        if not python and importlib.util.find_spec("sglang") is None:
            yield "SGLang is not installed here: name a `python` that has it"
        elif python and not os.access(python, os.X_OK):
            yield f"`python`: {python} is not here, or may not be executed"
